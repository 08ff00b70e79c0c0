"""What kind of RepNet to train, and how: one record, in which every idea is a switch."""

from dataclasses import dataclass
from typing import Literal

from posekit.errors import PosekitError

#: Windows longer than this (eight seconds) are a mistake.
_MOST_FRAMES = 243


@dataclass(frozen=True)
class RepNetSettings:
    """A variant of RepNet; the defaults are today's, `PUBLISHED` is the paper's.

    Networks. generator: ``published`` gives a pose in its own canonical frame and a 2 x 3 camera, on layers as in the published
    script; ``view`` gives the pose in camera axes, as what must be added to the view, so that no camera is left to find.
    width, blocks: units of a layer and residual blocks of the generator's trunk. critic_width: of the critic's paths.
    slope: of the leaky rectifiers. mask: tell the generator which joints are there. perspective: let it see how strong the
    view's perspective is; ``view`` alone. frames: consecutive frames, at 30 Hz, that it is shown, of which it lifts the middle
    one; odd, 1 for single poses; ``view`` alone.

    Views. lost_joints: how often each joint is taken out of a view, besides those that the detector missed; lost_head: how
    often nose, or head and upper neck, are, which detectors do not have from behind.

    Critic. pose_path, whole_kcs, part_kcs: what it sees of a pose: its joints, the KCS matrix of all bones, those of five body
    parts. one_size: it sees all poses at one size; in metres otherwise.

    Losses. adversarial_weight, reprojection_weight (from the start of the training to its end), camera_weight, penalty_weight
    (of the gradient penalty), penalty_every (steps between two of them, which then weigh as much more). consistency_weight:
    of lifting again what was lifted, turned and projected; turned_weight: of the critic's opinion of the turned poses.
    learned_elevation: the generator also says from how high its camera looks; people are turned upright by that, and the new
    camera's elevation is drawn from the normal distribution of the batch's (ElePose, Wandt et al., CVPR 2022) instead of a
    fixed one. Only the critic of the turned poses teaches it; ``view`` alone.
    bones_weight: of bones' lengths, against the other side's and against people's (`posekit.lifting.losses.bone_loss`).
    prior_weight: of what a `posekit.models.pose_prior` says of the poses, with noise of prior_noise (least and largest, in mean
    bone lengths); it is prior_width wide and taught alone for the first prior_share of the training. A critic whose weight is 0
    is not trained.

    Optimisation. batch_size, learning_rate, critic_rate: of Adam(beta1 0.5, beta2 0.9), whose rates fall as a cosine
    (``cosine``) or to a tenth after each quarter (``steps``, as published). average_decay: of the moving average of the
    weights, which is what a training gives; 0 for the last weights.
    """

    generator: Literal["published", "view"] = "view"
    width: int = 256
    blocks: int = 2
    critic_width: int = 192
    slope: float = 0.1
    mask: bool = True
    perspective: bool = True
    frames: int = 1
    lost_joints: float = 0.04
    lost_head: float = 0.25
    pose_path: bool = True
    whole_kcs: bool = True
    part_kcs: bool = True
    one_size: bool = True
    adversarial_weight: float = 0.5
    prior_weight: float = 1.5
    prior_noise: tuple[float, float] = (0.1, 0.7)
    prior_width: int = 320
    prior_share: float = 0.25
    reprojection_weight: tuple[float, float] = (16.0, 24.0)
    camera_weight: float = 0.0
    penalty_weight: float = 10.0
    penalty_every: int = 4
    consistency_weight: float = 1.0
    bones_weight: float = 0.0
    turned_weight: float = 0.5
    learned_elevation: bool = False
    batch_size: int = 128
    learning_rate: float = 1e-3
    critic_rate: float = 1e-3
    schedule: Literal["cosine", "steps"] = "cosine"
    average_decay: float = 0.998

    def __post_init__(self) -> None:
        """Refuse what cannot be trained; raises PosekitError."""
        if not (isinstance(self.frames, int) and self.frames % 2 == 1 and 0 < self.frames <= _MOST_FRAMES):
            raise PosekitError(
                f"lifter's settings: frames: found {self.frames}, expected an odd number to {_MOST_FRAMES}"
            )
        if self.generator != "view" and (self.frames > 1 or self.learned_elevation):
            raise PosekitError(
                f"lifter's settings: found frames {self.frames}, learned_elevation {self.learned_elevation} with the generator "
                f"'{self.generator}', expected them with 'view' alone"
            )
        if self.learned_elevation and not (self.turned_weight > 0 and self.adversarial_weight > 0):
            raise PosekitError(
                f"lifter's settings: learned_elevation: found turned_weight {self.turned_weight:g}, adversarial_weight "
                f"{self.adversarial_weight:g}, expected both above 0: nothing else teaches it"
            )


#: Wandt and Rosenhahn, CVPR 2019, as their training script has it (`papers`: 1000 wide, batches of 32, weights 1 : 1 : 1).
PUBLISHED = RepNetSettings(
    generator="published",
    width=1000,
    blocks=2,
    critic_width=1000,
    slope=0.3,
    mask=False,
    perspective=False,
    lost_joints=0.0,
    lost_head=0.0,
    part_kcs=False,
    one_size=False,
    adversarial_weight=1.0,
    prior_weight=0.0,
    reprojection_weight=(1.0, 1.0),
    camera_weight=1.0,
    penalty_every=1,
    consistency_weight=0.0,
    turned_weight=0.0,
    batch_size=32,
    learning_rate=1e-4,
    critic_rate=1e-4,
    schedule="steps",
    average_decay=0.0,
)
