"""The networks of a variant of RepNet for a skeleton."""

from posekit.lifting.kcs import body_parts, bone_matrix, bones_of
from posekit.lifting.settings import RepNetSettings
from posekit.models.repnet import PoseCritic, PublishedGenerator, ViewGenerator
from posekit.skeleton import Skeleton


def build_generator(skeleton: Skeleton, settings: RepNetSettings) -> PublishedGenerator | ViewGenerator:
    """Make the generator of some settings, with random weights."""
    if settings.generator == "published":
        return PublishedGenerator(skeleton.joint_count, settings.width, settings.blocks, settings.slope)
    return ViewGenerator(
        skeleton.joint_count,
        settings.width,
        settings.blocks,
        settings.slope,
        mask=settings.mask,
        perspective=settings.perspective,
        frames=settings.frames,
        elevation=settings.learned_elevation,
    )


def build_critic(skeleton: Skeleton, settings: RepNetSettings) -> PoseCritic:
    """Make the critic of some settings, with random weights."""
    bones = bones_of(skeleton)
    return PoseCritic(
        bone_matrix(bones, skeleton.joint_count),
        body_parts(skeleton, bones),
        settings.critic_width,
        settings.slope,
        pose_path=settings.pose_path,
        whole_kcs=settings.whole_kcs,
        part_kcs=settings.part_kcs,
    )
