"""What ``posekit bootstrap --learn`` reads where it is not hands that are learnt, and the labels of a person."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from posekit.bootstrap.settings import BootstrapInput
    from posekit.bootstrap.subject_files import SubjectDefinition
    from posekit.bootstrap.subject_target import SubjectTarget
    from posekit.camera import Rig
    from posekit.capture import Capture
    from posekit.detection.hand_detector import HandDetector
    from posekit.keypoints import Keypoints2D
    from posekit.skeleton import Skeleton

#: What `--learn` says for the hands of people, and for their bodies; anything else is a file.
HANDS, BODY = "hands", "body"


def read_labels(path: Path, capture: "Capture", rig: "Rig", orders: "Sequence[str | Skeleton | None]") -> "Keypoints2D":
    """Read a person's labels of some frames and cameras: any 2D keypoint file that posekit knows.

    As of all 2D keypoints, frames count every camera's own pictures; returned are labels of the capture's moments. orders: of
    the joints, as `open_in_some_order` tries them.
    """
    from dataclasses import replace

    from posekit.apps.bootstrap_inputs import open_in_some_order
    from posekit.errors import PosekitError
    from posekit.io.timestamps import counts_moments
    from posekit.people.camera_names import match_keypoint_cameras

    if not path.exists():
        raise PosekitError(f"{path}: no such file or folder; --labels names 2D keypoints that a person placed")
    source = open_in_some_order(path, orders, capture, rig)
    labels = match_keypoint_cameras(source, tuple(capture.videos)).read(0, len(source.frames))
    labels = replace(labels, source=str(path))
    for camera in labels.cameras:
        if camera not in capture.videos:
            raise PosekitError(
                f"{path}: has labels of camera '{camera}', for which there is no video; there are: "
                f"{', '.join(capture.videos)}"
            )
    most = max(capture.frame_count, *(capture.frame_counts[camera] for camera in labels.cameras))
    if len(labels.frames) == 0 or int(labels.frames.min()) < 0 or int(labels.frames.max()) >= most:
        said = f"{labels.frames.min()} to {labels.frames.max()}" if len(labels.frames) else "none"
        raise PosekitError(f"{path}: has labels of frames {said}, the videos have 0 to {most - 1}")
    return labels if capture.synchrony is None or counts_moments(source.source) else _at_moments(labels, capture)


def _at_moments(labels: "Keypoints2D", capture: "Capture") -> "Keypoints2D":
    """Take labels of cameras' own pictures for labels of the moments whose nearest pictures these are.

    Those of pictures that are of no moment at which all cameras took one are left out, which is told. Raises PosekitError where
    that are all.
    """
    import warnings
    from dataclasses import replace

    import numpy as np

    from posekit.errors import PosekitError, PosekitWarning

    filmed = filmed_moments(capture)
    own = np.stack([capture.video_frames(camera, filmed) for camera in labels.cameras], axis=1)  # (M, C)
    shape = (len(filmed), *labels.xy.shape[1:])
    xy, confidence = np.full(shape, np.nan, dtype=labels.xy.dtype), np.zeros(shape[:-1], dtype=labels.confidence.dtype)
    lost = 0
    labelled = np.asarray(np.isfinite(labels.xy).all(axis=-1))  # (F, C, P, J)
    for row, c in np.argwhere(labelled.any(axis=(2, 3))).tolist():
        places = np.flatnonzero(own[:, c] == labels.frames[row])
        lost += len(places) == 0
        # Where a camera is slower than the moments, the first of those that share a picture.
        xy[places[:1], c], confidence[places[:1], c] = labels.xy[row, c], labels.confidence[row, c]
    kept = np.asarray(np.isfinite(xy).all(axis=-1)).any(axis=(1, 2, 3))
    what = f"{labels.source}: {lost} labelled pictures are of no moment at which all cameras took one"
    if not kept.any():
        raise PosekitError(what)
    if lost:
        warnings.warn(PosekitWarning(f"{what}; they are left out"), stacklevel=3)
    return replace(labels, xy=xy[kept], confidence=confidence[kept], frames=filmed[kept])


def filmed_moments(capture: "Capture") -> "NDArray[np.int64]":
    """Return the moments of a capture at which every camera took a picture; raises PosekitError where there is none."""
    import numpy as np

    from posekit.apps.in_step import filmed_by_all

    moments = np.arange(capture.frame_count)
    return moments[filmed_by_all(capture, moments)]


def prepare_subject(
    folder: Path,
    rig_path: Path,
    keypoints_path: Path | None,
    learn: str,
    skeleton: str | None,
    labels_path: Path | None,
    weights: Path | None,
    seed: int,
) -> "BootstrapInput":
    """Open a capture whose bodies or subjects are to be learnt; keypoints_path: None where labels alone say what is where."""
    import numpy as np

    from posekit.apps.bootstrap_inputs import open_capture, read_keypoints
    from posekit.apps.in_step import tell
    from posekit.bootstrap.settings import BootstrapInput
    from posekit.bootstrap.subject_target import SubjectTarget
    from posekit.errors import PosekitError
    from posekit.keypoints import Keypoints2D
    from posekit.skeleton import get_skeleton

    if keypoints_path is None and labels_path is None:
        raise PosekitError(
            f"{folder}: holds no 2D keypoints to start from; --keypoints names some, or --labels a few labelled frames"
        )
    if keypoints_path is None and learn == BODY:
        raise PosekitError("bootstrap: --learn body starts from 2D keypoints of bodies: --keypoints names them")
    capture, rig = open_capture(folder, rig_path)
    own = None if learn == BODY else subject_definition(learn, None).skeleton
    # The name that a TOML file gives its skeleton is known here alone.
    named = None if skeleton is None else own if own is not None and own.name == skeleton else get_skeleton(skeleton)
    # Files without names of joints have the order of what is learnt, if they have as many.
    told: list[Skeleton | None] = [None] if own is None else [own, None]
    if keypoints_path is not None:
        keypoints = read_keypoints(keypoints_path, told if named is None else [named], capture, rig)
        target = SubjectTarget(subject_definition(learn, keypoints))
    else:
        target = SubjectTarget(subject_definition(learn, None))
        frames, names = filmed_moments(capture), tuple(capture.videos)
        blank = np.zeros((len(frames), len(names), 1, target.skeleton.joint_count), dtype=np.float32)
        if capture.synchrony is not None:
            off = capture.synchrony.off_by().max()
            tell(capture.synchrony, f"pictures are taken as they are, up to {off:.2g} frames off")
        nothing = np.full((*blank.shape, 2), np.nan, dtype=np.float32)
        keypoints = Keypoints2D(nothing, blank, names, frames, target.skeleton, capture.fps, str(labels_path))
    # Beside keypoints, --skeleton may be their order alone.
    orders = told if named is None else [named] if keypoints_path is None else [named, *told]
    labelled = None if labels_path is None else read_labels(labels_path, capture, rig, orders)
    if labelled is not None:
        target.take_labels(labelled)  # labels of another skeleton are told of now
    return BootstrapInput(capture, rig, keypoints, subject_detector(weights, target, seed), target, labelled)


def subject_definition(learn: str, keypoints: "Keypoints2D | None") -> "SubjectDefinition":
    """The body of the keypoints' skeleton, each joint alone; or what a TOML file defines."""
    from posekit.bootstrap.subject_files import SubjectDefinition, body_definition, read_subject

    definition: SubjectDefinition = (
        body_definition(keypoints.skeleton) if learn == BODY and keypoints is not None else read_subject(Path(learn))
    )
    return definition


def subject_detector(weights: Path | None, target: "SubjectTarget", seed: int) -> "HandDetector":
    """The detector of a weight file, which must be of the target's joints; without a file a fresh one on posekit's trunk."""
    from posekit.bootstrap.subject_target import fresh_detector
    from posekit.detection.detector_file import load_detector

    if weights is not None:
        return load_detector(weights, target.skeleton)
    return fresh_detector(target.skeleton, load_detector(), seed)
