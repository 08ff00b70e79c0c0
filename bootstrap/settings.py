"""What a run starts from, and how it is run."""

from dataclasses import dataclass, field
from typing import Literal

from posekit.bootstrap.hand_target import HandTarget
from posekit.bootstrap.scoring import SelectionSettings
from posekit.bootstrap.targets import Target
from posekit.camera import Rig
from posekit.capture import Capture
from posekit.detection.hand_detector import HandDetector
from posekit.keypoints import Keypoints2D
from posekit.people.reconstruction import ReconstructionSettings

RefineRig = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class BootstrapSettings:
    """How to run the rounds.

    rounds: how many at most. min_gain, patience: the rounds end once `patience` of them in a row have each raised the number
    of joints of held-out frames that agree with the other cameras by less than `min_gain` of it. min_confidence: lambda, below
    which a detection of the detector's is no detection (those that the run starts from are taken as they are); the paper's
    0.2, of which here a calibrated probability is asked, and there the height of a peak. heldout_share: share of the frames,
    in blocks of time, by which the rounds are judged; no label is made of them, nor of a quarter as many before and after
    them. initial_samples: pictures of T0, the synthetic hands that are mixed in; initial_share: T0's share of every batch.
    steps, batch_size, learning_rate: of the training. first_share: of a round's weights, what is left of those that the rounds
    began with; the rest is the training's (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). It keeps much of
    what labels that err alike in all views would undo, round after round; where there is no T0, the first detector knows
    nothing else, and takes no part. refine: whether the rig is first refined on the people who move in it;
    "auto" does so where its residual is so large that hardly any joints of an instance could agree. seed: of all chance.
    training_device: "cpu" or "cuda". training_processes: of this machine, that train a round together, each on batches of its
    own and, with "cuda", on its own device. checkpoint_steps: training steps between two checkpoints, of which a killed run
    loses no more; writing one takes as long as a step or less.
    """

    rounds: int = 5
    min_gain: float = 0.01
    patience: int = 1
    min_confidence: float = 0.2
    heldout_share: float = 0.2
    initial_samples: int = 1000
    initial_share: float = 0.4
    steps: int = 160
    batch_size: int = 24
    learning_rate: float = 3e-3
    first_share: float = 0.3
    refine: RefineRig = "auto"
    seed: int = 0
    training_device: str = "cpu"
    training_processes: int = 1
    checkpoint_steps: int = 20
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    reconstruction: ReconstructionSettings = field(default_factory=ReconstructionSettings)


@dataclass(frozen=True)
class BootstrapInput:
    """What a run starts from.

    keypoints: people's bodies in every view and, if they are to be round 0, the instances of the target. detector: that which
    is trained; it also makes round 0 where keypoints have no instances. target: what is learnt. labelled: a person's own labels
    of some frames and cameras, which become part of T0.
    """

    capture: Capture
    rig: Rig
    keypoints: Keypoints2D
    detector: HandDetector
    target: Target = field(default_factory=HandTarget)
    labelled: Keypoints2D | None = None
