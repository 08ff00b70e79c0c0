"""``posekit bench hand-captures``: how well a hand detector does on real hands: recordings with detections, labelled sets."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    from posekit.apps.hand_capture_sheets import WorstHands
    from posekit.datasets.labelled_hands import LabelledHandCrops
    from posekit.datasets.recorded_hands import RecordedHands
    from posekit.detection.hand_box import HandBox
    from posekit.detection.hand_detector import HandDetector

#: Where three published recordings have their videos and their 21-point detections, in the folder as it is published.
_KNOWN = {
    "temugeb": ("media", "openpose_hands"),
    "desk": ("calibration/extrinsic", "openpose_hands"),
    "balancing": ("videos", "openpose_hands"),
}
#: Pictures, and labelled hands, that are looked at together.
_PICTURES_AT_ONCE, _HANDS_AT_ONCE = 16, 64
_LABELS = "box of the labels, upright by wrist and middle knuckle; joints that can be seen"


@dataclass(frozen=True)
class HandCapturesBench:
    """Measure a hand detector on real hands: by the detections given with recordings, by the labels of a data set."""

    capture: tuple[Path, ...] = ()
    """Folders with videos."""
    keypoints: tuple[Path, ...] = ()
    """For each --capture, 2D keypoints with hands (of a body with hands, or HAND_21), any kind that posekit reads."""
    temugeb: Path | None = None
    """Folder of handpose3d's recording (2 cameras, one hand), with openpose_hands/ in it."""
    desk: Path | None = None
    """Folder of Caliscope's recording of a board (4 cameras, hands that hold it), with openpose_hands/ in it."""
    balancing: Path | None = None
    """Folder of Pose2Sim's demonstration (4 cameras, small hands), with openpose_hands/ in it."""
    skeleton: str | None = None
    """Order of the joints of --keypoints, where the files do not say it."""
    left: bool = False
    """--keypoints of the skeleton HAND_21 are of a left hand."""
    data: tuple[str, ...] = ()
    """Labelled hand sets, each as KIND:FOLDER (see posekit.datasets.labelled_hands): the joints of their test split that can be
    seen, in crops of the labels, upright."""
    hands: int = 1000
    """Of each labelled set, at most so many hands, drawn by chance, but always the same."""
    weights: Path | None = None
    """Weights of the detector (.safetensors or .onnx); posekit's own if not given."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the detector works."""
    every: int = 4
    """Look at every so many-th frame."""
    crops: tuple[str, ...] = ()
    """Kinds of crops to measure, by the names that the table has for them: hand, hand-turned, ...; all if not given."""
    png: Path | None = None
    """Folder for sheets of the worst hands of recordings: the reference on the left, what was found on the right."""
    json: Path | None = None
    """Write the figures here, too."""


@dataclass(frozen=True)
class CropKind:
    """How a detector gets its crops: `boxes` of the hands, whether it is told their direction, and how many passes."""

    what: str
    boxes: "Callable[[RecordedHands], HandBox]"
    direction: bool = True
    passes: int = 1


def crop_kinds() -> dict[str, CropKind]:
    """Return the kinds of crops that are measured, by name."""
    from posekit.detection.hand_box import box_from_arm, box_from_hand, direction_angle

    def tight(hands: "RecordedHands") -> "HandBox":
        return box_from_hand(hands.reference, hands.left)

    def along_forearm(hands: "RecordedHands") -> "HandBox":
        return box_from_hand(hands.reference, hands.left, direction_angle(hands.arm[:, 0] - hands.arm[:, 1]))

    def arm(hands: "RecordedHands") -> "HandBox":
        return box_from_arm(hands.arm[:, 0], hands.arm[:, 1], hands.arm[:, 2], hands.left)

    return {
        "hand": CropKind("box of the reference, upright by wrist and middle knuckle", tight),
        "hand-turned": CropKind("box of the reference, direction not given", tight, direction=False),
        "hand-forearm": CropKind("box of the reference, upright by the forearm", along_forearm),
        "arm": CropKind("box from wrist, elbow and shoulder (rule forearm), upright by the forearm", arm),
        "arm-twice": CropKind("the same box, with a second pass", arm, passes=2),
        "arm-turned": CropKind("the same box, direction not given, with a second pass", arm, direction=False, passes=2),
    }


def run(config: HandCapturesBench) -> dict[str, Any]:
    """Measure every kind of crop on every recording, and every labelled set; draw the sheets."""
    from posekit.apps.progress import progress_bars
    from posekit.datasets.labelled_hands import labelled_hands
    from posekit.datasets.recorded_hands import find_recorded_hands, find_videos
    from posekit.detection.detector_file import LIGHT_HAND_WEIGHTS, load_detector
    from posekit.io.keypoint_files import open_keypoints

    kinds = _check(config)
    weights = config.weights or LIGHT_HAND_WEIGHTS
    detector = load_detector(weights).fused()
    detector = detector if config.device == "cpu" else detector.to(config.device)
    captures: dict[str, Any] = {}
    with progress_bars() as show:
        for name, videos, keypoints in _recordings(config):
            given = name not in _KNOWN
            source = open_keypoints(keypoints, config.skeleton if given else None)
            hands = find_recorded_hands(
                find_videos(videos, source.cameras),
                source,
                every=config.every,
                single_hand_left=given and config.left,
            )
            captures[name] = {
                kind: figures
                for kind, crops in kinds.items()
                if (figures := _measure(detector, hands, crops, config.png, f"{Path(name).name}-{kind}", show))
            }
        for entry in config.data:
            kind, _, folder = entry.partition(":")
            labelled = labelled_hands(kind, folder, detector.crop_size, split="test")
            captures[entry] = {"labels": _measure_labelled(detector, labelled, config.hands, entry, show)}
    return {"weights": str(weights), "every": config.every, "captures": captures}


def _measure_labelled(
    detector: "HandDetector", labelled: "LabelledHandCrops", count: int, name: str, show: Any
) -> dict[str, Any]:
    """Figures of a labelled set, over the joints that can be seen."""
    import numpy as np

    from posekit.metrics.hand_agreement import hand_agreement

    chosen = np.arange(len(labelled))
    if len(chosen) > count:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, count, replace=False))
    found, confidence, reference, visible = [], [], [], []
    for first in range(0, len(chosen), _HANDS_AT_ONCE):
        crops = labelled.crops(chosen[first : first + _HANDS_AT_ONCE])
        xy, sure = detector.detect(crops.images)
        found.append(xy)
        confidence.append(sure)
        reference.append(crops.joints.astype(np.float64))
        visible.append(crops.visible)
        show(f"measure {name}", min(first + _HANDS_AT_ONCE, len(chosen)), len(chosen))
    truth = np.concatenate(reference)
    figures = hand_agreement(np.concatenate(found), np.concatenate(confidence), truth, truth, np.concatenate(visible))
    return {"crops": _LABELS, **asdict(figures)}


def _check(config: HandCapturesBench) -> dict[str, CropKind]:
    """Say before the work what cannot be; return the kinds of crops asked for."""
    from posekit.datasets.labelled_hands import KINDS
    from posekit.errors import PosekitError
    from posekit.io.files import require_folder

    kinds = crop_kinds()
    for name in config.crops:
        if name not in kinds:
            raise PosekitError(f"--crops: found '{name}', expected some of: {', '.join(kinds)}")
    if len(config.capture) != len(config.keypoints):
        raise PosekitError(
            f"--keypoints: found {len(config.keypoints)} for {len(config.capture)} of --capture, expected one for each"
        )
    if not _recordings(config) and not config.data:
        raise PosekitError(
            "bench hand-captures: found nothing to measure on, expected --capture VIDEOS --keypoints FILE, --data KIND:FOLDER, "
            f"or one of {', '.join(f'--{name}' for name in _KNOWN)}"
        )
    for entry in config.data:
        kind, _, folder = entry.partition(":")
        if kind not in KINDS or not folder:
            raise PosekitError(f"--data: found '{entry}', expected KIND:FOLDER with a kind of: {', '.join(KINDS)}")
    for option, value in (("every", config.every), ("hands", config.hands)):
        if value < 1:
            raise PosekitError(f"--{option}: found {value}, expected 1 or more")
    if config.png is not None:
        require_folder(config.png.parent, "the folder of the sheets")
    return {name: kind for name, kind in kinds.items() if not config.crops or name in config.crops}


def _recordings(config: HandCapturesBench) -> list[tuple[str, Path, Path]]:
    """Name, videos and keypoints of every recording asked for."""
    given = [
        (str(videos), videos, keypoints) for videos, keypoints in zip(config.capture, config.keypoints, strict=True)
    ]
    folders = [(name, getattr(config, name)) for name in _KNOWN]
    return [
        *given,
        *((name, folder / _KNOWN[name][0], folder / _KNOWN[name][1]) for name, folder in folders if folder is not None),
    ]


def _measure(
    detector: "HandDetector", hands: "RecordedHands", crops: CropKind, png: Path | None, name: str, show: Any
) -> dict[str, Any] | None:
    """Figures of one kind of crops on one recording; None where it has no such box (arms, where there is no body)."""
    import numpy as np

    from posekit.apps.hand_capture_sheets import WorstHands
    from posekit.detection.hand_box import HandBox, crop_from_image, transform_points
    from posekit.metrics.hand_agreement import hand_agreement

    boxes = crops.boxes(hands)
    chosen = boxes.found
    if not chosen.any():
        return None
    # Without a direction the detector tries several; the mean hand, which cannot, is of hands as they stand in the picture.
    upright = boxes if crops.direction else HandBox(boxes.centre, boxes.side, 0.0, boxes.left)
    in_crop = transform_points(crop_from_image(upright[chosen], detector.crop_size), hands.reference[chosen])
    given = boxes if crops.direction else HandBox(boxes.centre, boxes.side, np.nan, boxes.left)
    worst = None if png is None else WorstHands(hands)
    xy, confidence = detect_recorded_hands(detector, hands, given, chosen, crops.passes, worst, name, show)
    figures = hand_agreement(xy[chosen], confidence[chosen], hands.reference[chosen], in_crop)
    if png is not None and worst is not None:
        worst.write(png / f"{name}.png")
    return {"crops": crops.what, **asdict(figures), **_of_one_arm(hands, chosen, xy)}


def _of_one_arm(hands: "RecordedHands", chosen: "np.ndarray", xy: "np.ndarray") -> dict[str, Any]:
    """How many of the hands are surely those of the body's arms, by wrists within 0.5 B, and PCK of these; {} without arms.

    Of the others the reference is somebody else's hand, or the arm is: a box from the arm cannot show it.
    """
    import numpy as np

    from posekit.metrics import box_scale, keypoint_errors, pck
    from posekit.metrics.hand_agreement import RIGHT_WITHIN

    rows = np.flatnonzero(chosen & np.isfinite(hands.arm[:, 0]).all(axis=-1))
    if not len(rows):
        return {}
    reference = hands.reference[rows]
    scale = box_scale(reference)
    with np.errstate(invalid="ignore"):
        one = np.linalg.norm(hands.arm[rows, 0] - reference[:, 0], axis=-1) < 0.5 * scale
    errors = keypoint_errors(xy[rows], reference)
    counted = np.isfinite(reference).all(axis=-1) & one[:, None]
    return {"hands_of_the_arm": int(one.sum()), "pck02_of_the_arm": pck(errors, scale, RIGHT_WITHIN, counted)}


def detect_recorded_hands(
    detector: "HandDetector",
    hands: "RecordedHands",
    boxes: "HandBox",
    chosen: "np.ndarray",
    passes: int,
    worst: "WorstHands | None",
    name: str,
    show: Callable[[str, int, int], None],
) -> "tuple[np.ndarray, np.ndarray]":
    """Detect the chosen hands, a few pictures in memory at a time; (N, 21, 2) px and (N, 21)."""
    import numpy as np

    xy, confidence = np.full((len(hands), 21, 2), np.nan), np.zeros((len(hands), 21))
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    done = 0

    def flush() -> None:
        nonlocal done
        rows = np.concatenate([places for places, _ in waiting])
        pictures = [picture for places, picture in waiting for _ in places]
        xy[rows], confidence[rows] = detector.detect_in_image(pictures, boxes[rows], passes=passes)
        if worst is not None:
            worst.add(rows, pictures, xy[rows])
        waiting.clear()
        done += len(rows)
        show(f"measure {name}", done, int(chosen.sum()))

    for places, picture in hands.pictures():
        if chosen[places].any():
            waiting.append((places[chosen[places]], picture))
        if len(waiting) == _PICTURES_AT_ONCE:
            flush()
    if waiting:
        flush()
    return xy, confidence


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print one row per recording and kind of crop, and the calibration below."""
    from posekit.apps.tables import figures_table, number

    console.print(
        f"{figures['weights']}: agreement with the given hands (of recordings, every {figures['every']}. frame)"
    )
    table = figures_table(
        "", ("crops", "hands", "PCK.2", "PCK.1", "mean", "surest", "arm's", "EPE", "conf", "off by", "swap")
    )
    tenths = figures_table("share right in every tenth of confidence", ("crops", *(f".{k}" for k in range(10))))
    keys = {"pck02": 3, "pck01": 3, "mean_hand_pck02": 3, "surest_pck02": 3, "pck02_of_the_arm": 3, "epe": 2}
    keys |= {"mean_confidence": 2, "calibration_error": 2, "on_another_joint": 2}
    for name, rows in figures["captures"].items():
        for listed in (table, tenths):
            listed.add_row(Path(name).name)
        for kind, row in rows.items():
            table.add_row(kind, str(row["hands"]), *(number(row.get(key), digits) for key, digits in keys.items()))
            tenths.add_row(kind, *(f"{one['right']:.2f}" if one else "-" for one in row["calibration"]))
    console.print(table)
    console.print(tenths)
    console.print(
        "PCK.2, PCK.1, EPE: within 0.2 and 0.1 B, in B: the longer side of the tight box round the given hand"
    )
    console.print("mean: PCK.2 of a constant mean hand in these crops. surest: PCK.2 of the surest 70 % of the joints")
    console.print(
        "arm's: PCK.2 of the hands whose wrist is within 0.5 B of the body's: of the others one is not this hand"
    )
    console.print("conf: mean confidence. off by: its calibration error. swap: wrong joints that lie on another joint")
    told = {kind: row["crops"] for rows in figures["captures"].values() for kind, row in rows.items()}
    for kind, what in told.items():
        console.print(f"{kind}: {what}")
