"""RepNet's networks: the generator with its camera network, as published and as it is today, and the critic.

Wandt and Rosenhahn, "RepNet: Weakly Supervised Training of an Adversarial Reprojection Network for 3D Human Pose Estimation",
CVPR 2019. Layers, widths and slopes of `PublishedGenerator` and of a critic 1000 wide are those of its training script.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: How strong perspective may be: depth in units of the normalised pose (about 0.3 m) over the camera's distance; 1 m away.
_STRONGEST_PERSPECTIVE = 0.3


class Lifted(NamedTuple):
    """What a generator makes of a view.

    pose: (B, J, 3) as the critic judges it, in the published generator's canonical frame or in camera axes.
    reprojection: (B, J, 2), the pose in the normalised view. cameras: (B, 2, 3), None where the pose is in camera axes.
    perspective: (B, 1, 1), depth times which plus 1 divided the view; 0 for weak perspective. elevation: (B,) rad, how far the
    camera looks down on the person; None where the generator does not say.
    """

    pose: Float[Tensor, "B J 3"]
    reprojection: Float[Tensor, "B J 2"]
    cameras: Float[Tensor, "B 2 3"] | None
    perspective: Float[Tensor, "B 1 1"]
    elevation: Float[Tensor, " B"] | None = None

    def in_camera_axes(self) -> Float[Tensor, "B J 3"]:
        """Return the pose with x to the right, y down and z away from the camera."""
        if self.cameras is None:
            return self.pose
        return self.pose @ nearest_rotation(self.cameras).transpose(1, 2)


def nearest_rotation(cameras: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 3 3"]:
    """Return the rotations whose first two rows are nearest to those of cameras K, but for their scale."""
    u, _, vt = torch.linalg.svd(cameras, full_matrices=False)
    rows = u @ vt
    return torch.cat((rows, torch.linalg.cross(rows[:, :1], rows[:, 1:], dim=-1)), dim=1)


class ResidualBlock(nn.Module):
    """Two dense layers, each followed by a leaky rectifier, beside the identity."""

    def __init__(self, width: int, slope: float) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.activation = nn.LeakyReLU(slope)

    def forward(self, x: Float[Tensor, "B n"]) -> Float[Tensor, "B n"]:
        """Return x plus what the two layers make of it."""
        changed = self.activation(self.second(self.activation(self.first(x))))
        result: Tensor = x + changed
        return result


def _dense(inputs: int, outputs: int, slope: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LeakyReLU(slope))


def _blocks(count: int, width: int, slope: float) -> list[nn.Module]:
    return [ResidualBlock(width, slope) for _ in range(count)]


class PublishedGenerator(nn.Module):
    """Pose generator and camera network on one dense layer and one residual block, as in the published script.

    It sees the coordinates alone, of a single frame; missing ones are 0.
    """

    def __init__(self, joints: int, width: int = 1000, blocks: int = 2, slope: float = 0.3) -> None:
        super().__init__()
        self.joints = joints
        self.trunk = nn.Sequential(_dense(2 * joints, width, slope), ResidualBlock(width, slope))
        self.pose = nn.Sequential(
            *_blocks(blocks, width, slope), _dense(width, width, slope), nn.Linear(width, 3 * joints)
        )
        self.camera = nn.Sequential(*_blocks(blocks, width, slope), nn.Linear(width, 6))

    def forward(self, xy: Float[Tensor, "B *T J 2"], there: Float[Tensor, "B *T J"]) -> Lifted:
        """Return a pose, a camera, and the pose in that camera, W' = K X. The axis T is of one frame, or lacks."""
        shared = self.trunk((xy * there[..., None]).flatten(1))
        pose = self.pose(shared).view(-1, self.joints, 3)
        cameras = self.camera(shared).view(-1, 2, 3)
        return Lifted(pose, pose @ cameras.transpose(1, 2), cameras, pose.new_zeros(len(pose), 1, 1))


class ViewGenerator(nn.Module):
    """A small generator whose pose is the view itself, corrected, with a depth for every joint, in camera axes.

    mask: it is told which joints are there. perspective: it also says how strong the perspective is, and takes it out of the
    pose; its camera network is that one number, since camera axes leave no rotation to find. frames: of the window that it is
    shown, whose middle frame it lifts; every frame of it is normalised by itself, so that only the person's own motion counts.
    elevation: it also says from how high its camera looks.
    """

    def __init__(
        self,
        joints: int,
        width: int,
        blocks: int,
        slope: float,
        *,
        mask: bool = True,
        perspective: bool = True,
        frames: int = 1,
        elevation: bool = False,
    ) -> None:
        super().__init__()
        self.joints, self.mask, self.perspective = joints, mask, perspective
        self.frames, self.elevation = frames, elevation
        self.layers = nn.Sequential(
            _dense((3 if mask else 2) * joints * frames, width, slope),
            *_blocks(blocks, width, slope),
            nn.Linear(width, 3 * joints + int(perspective) + int(elevation)),
        )

    def forward(self, xy: Float[Tensor, "B *T J 2"], there: Float[Tensor, "B *T J"]) -> Lifted:
        """Return poses in camera axes, in units of the normalised view. The axis T may lack where there is one frame."""
        xy = xy * there[..., None]
        seen = xy.flatten(1)
        out = self.layers(torch.cat((seen, there.flatten(1)), dim=1) if self.mask else seen)
        change = out[:, : 3 * self.joints].view(-1, self.joints, 3)
        middle = xy.reshape(-1, self.frames, self.joints, 2)[:, self.frames // 2]
        reprojection = middle + change[..., :2]
        depth = change[..., 2:] - change[..., 2:].mean(dim=1, keepdim=True)
        strength = out.new_zeros(len(out), 1, 1)
        if self.perspective:
            # Near 0.05 at first, as people six metres away have it.
            strength = _STRONGEST_PERSPECTIVE * torch.sigmoid(out[:, 3 * self.joints] - 1.6)[:, None, None]
        pose = torch.cat((reprojection * (1 + strength * depth), depth), dim=-1)
        return Lifted(pose, reprojection, None, strength, out[:, -1] if self.elevation else None)


class PoseCritic(nn.Module):
    """How much a pose looks like a person's: a path over the joints, one over the KCS matrix, one over those of body parts.

    bone_matrix: C, (J, b), so that bones are X C. parts: numbers of the bones of each part. A path that is not wanted is not
    there. Without a sigmoid, as Wasserstein critics have it.
    """

    bone_matrix: Tensor

    def __init__(
        self,
        bone_matrix: Float[Tensor, "J b"],
        parts: Sequence[Sequence[int]],
        width: int,
        slope: float,
        *,
        pose_path: bool = True,
        whole_kcs: bool = True,
        part_kcs: bool = True,
    ) -> None:
        super().__init__()
        joints, bones = bone_matrix.shape
        self.register_buffer("bone_matrix", bone_matrix, persistent=False)
        narrow = max(width // 10, 96)
        self.pose = _path(3 * joints, narrow, narrow, slope) if pose_path else None
        # Published: all b x b entries. Both halves of the symmetric matrix say the same, and cost twice as much.
        self.whole = _path(bones * (bones + 1) // 2, width, narrow, slope) if whole_kcs else None
        self.parts = tuple(tuple(part) for part in parts) if part_kcs else ()
        self.of_parts = nn.ModuleList(_path(len(part) * (len(part) + 1) // 2, 32, 32, slope) for part in self.parts)
        inputs = narrow * (int(pose_path) + int(whole_kcs)) + 32 * len(self.parts)
        self.score = nn.Sequential(_dense(inputs, 100, slope), nn.Linear(100, 1))

    def forward(self, poses: Float[Tensor, "B J 3"]) -> Float[Tensor, " B"]:
        """Return a score for each pose, higher for those that look real."""
        bones = self.bone_matrix.T @ poses
        psi = bones @ bones.transpose(1, 2)
        seen = []
        if self.pose is not None:
            seen.append(self.pose((poses - poses.mean(dim=1, keepdim=True)).flatten(1)))
        if self.whole is not None:
            seen.append(self.whole(_upper(psi, range(psi.shape[-1]))))
        seen += [path(_upper(psi, part)) for part, path in zip(self.parts, self.of_parts, strict=True)]
        score: Tensor = self.score(torch.cat(seen, dim=1))
        return score[:, 0]


def _path(inputs: int, width: int, outputs: int, slope: float) -> nn.Sequential:
    """Dense, a residual block, dense."""
    return nn.Sequential(_dense(inputs, width, slope), ResidualBlock(width, slope), _dense(width, outputs, slope))


def _upper(psi: Float[Tensor, "B b b"], of: Sequence[int]) -> Float[Tensor, "B n"]:
    row, column = torch.triu_indices(len(of), len(of))
    chosen = torch.as_tensor(of)
    return psi[:, chosen[row], chosen[column]]
