"""The model card that ``posekit train`` writes beside the weights."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posekit.apps.train import TrainConfig
    from posekit.detection.hand_detector import HandDetector
    from posekit.training.hand_training import HandScores, SizeScores


def write_card(config: "TrainConfig", detector: "HandDetector", last: dict[str, float], scores: "HandScores") -> None:
    """Write what the weights are, how they were made and how well they do. last: the last report of the training."""
    from posekit.io.files import write_whole

    lines = [
        f"# {config.out.stem}",
        "",
        *_what_it_is(detector),
        "",
        "## How it was made",
        "",
        "| | |",
        "|---|---|",
        f"| data | {data_of(config)} |",
        f"| command | `{command_of(config)}` |",
        f"| seed | {config.seed} |",
        f"| crops seen | {int(last['samples'])} in {int(last['step'])} steps, {last['seconds'] / 60:.0f} minutes |",
        "",
        "## How well it does",
        "",
        "On drawn hands that it never saw. B is the longer side of the tight box around the reference keypoints; PCK@0.2B is",
        "the share of joints within 0.2 B; AUC is the area under PCK from 0 to 0.5 B. A constant mean hand sees no picture.",
        "",
        *_figures(scores),
        "",
        "### Is its confidence right?",
        "",
        f"Confidence is the probability that a joint lies within 0.2 B; off by {scores.calibration_error:.3f} on average.",
        "",
        *_reliability(scores),
        "",
        "### Joint by joint (visible)",
        "",
        "| joint | PCK@0.2B | PCK@0.1B | error, B |",
        "|---|---|---|---|",
        *(f"| {one.name} | {one.pck02:.3f} | {one.pck01:.3f} | {one.epe:.3f} |" for one in scores.per_joint),
        "",
        *_sizes(scores),
        "## What it is bad at",
        "",
        "<!-- To be written by hand, by whoever has looked at its failures: poses, light, things in the hand. -->",
        "",
        "## On pictures of people",
        "",
        "<!-- To be added by hand: figures on real pictures, with where they come from and that none was trained on. -->",
        "",
    ]
    with write_whole(config.out.with_suffix(".md")) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def _what_it_is(detector: "HandDetector") -> list[str]:
    from posekit.training.hand_training import pose_machine_of

    parameters = sum(parameter.numel() for parameter in pose_machine_of(detector, "card").parameters())
    return [
        "21 keypoints of a hand (wrist, then thumb to little finger, base to tip) in an upright crop of a right hand,",
        f"{detector.crop_size} px; left hands are mirrored first. The crop's side is 2.2 times B.",
        f"Network: {detector.architecture}, {parameters / 1e6:.2f} M parameters.",
    ]


def _figures(scores: "HandScores") -> list[str]:
    return [
        "| | visible joints | with hidden ones |",
        "|---|---|---|",
        f"| joints | {scores.joints} | {scores.all_joints} |",
        f"| PCK@0.2B | {scores.pck02:.3f} | {scores.all_pck02:.3f} |",
        f"| PCK@0.2B of a constant mean hand | {scores.mean_hand_pck02:.3f} | {scores.all_mean_hand_pck02:.3f} |",
        f"| PCK@0.1B | {scores.pck01:.3f} | {scores.all_pck01:.3f} |",
        f"| PCK@0.1B of a constant mean hand | {scores.mean_hand_pck01:.3f} | |",
        f"| mean error | {scores.epe:.3f} B, {scores.epe_px:.2f} px of 128 | |",
        f"| AUC to 0.5 B | {scores.auc:.3f} | |",
    ]


def _sizes(scores: "HandScores") -> list[str]:
    rows = [
        f"| {_span(one)} | {one.hands} | {one.pck02:.3f} | {one.pck01:.3f} |"
        for one in scores.by_size
        if not math.isnan(one.pck02)
    ]
    if not rows:
        return []
    return [
        "### By the size of the hand (visible joints)",
        "",
        "B in pixels of the film; smaller hands are enlarged to the crop, and none is longer than about 83.",
        "",
        "| B, px | hands | PCK@0.2B | PCK@0.1B |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _span(size: "SizeScores") -> str:
    if math.isinf(size.highest_px):
        return f"{size.lowest_px:.0f} and more"
    return f"{size.lowest_px:.0f} to {size.highest_px:.0f}"


def _reliability(scores: "HandScores") -> list[str]:
    rows = ["| confidence | joints | mean confidence | right |", "|---|---|---|---|"]
    for tenth, one in enumerate(scores.calibration):
        span = f"| {tenth / 10:.1f} to {(tenth + 1) / 10:.1f} "
        rows.append(
            f"{span}| 0 | | |"
            if one is None
            else f"{span}| {one.joints} | {one.mean_confidence:.3f} | {one.right:.3f} |"
        )
    return rows


def data_of(config: "TrainConfig") -> str:
    """Say in a line what the weights were trained on."""
    parts = [
        f"{config.hands} drawn hands (posekit.datasets.synthetic_hands, seed {config.seed}) over drawn backgrounds"
    ]
    parts += [
        f"{entry.partition(':')[0]} (a share of {config.data_share / len(config.data):.2g})" for entry in config.data
    ]
    parts += [
        f"{path.name} of a bootstrap (a share of {config.crops_share / len(config.crops):.2g})" for path in config.crops
    ]
    if config.unlabelled is not None:
        parts.append(f"pictures without labels (a share of {config.unlabelled_share:.2g})")
    for path, what in (
        (config.start, "all weights of"),
        (config.backbone_weights, "the backbone's weights of"),
        (config.teacher, "the answers of"),
        *((path, "a mean with all weights of") for path in config.average),
    ):
        if path is not None:
            parts.append(f"{what} {path.name} and what that was trained on")
    if len(parts) == 1:
        parts.append("no picture of a person")
    return ", ".join(parts)


#: Options that leave the weights as they are.
_NOT_SHOWN = ("out", "cache", "checkpoint", "checkpoint_every", "save_every", "log", "threads", "loaders")


def command_of(config: "TrainConfig") -> str:
    """Return the command with the options that differ from their defaults and bear on the weights; of paths, the last part."""
    words = ["posekit train", config.out.name]
    for name, value in vars(config).items():
        if name in _NOT_SHOWN or value == getattr(type(config)(config.out), name):
            continue
        several = value if isinstance(value, tuple) else (value,)
        words.append(f"--{name.replace('_', '-')} {' '.join(_shown(name, item) for item in several)}")
    return " ".join(words)


def _shown(name: str, value: object) -> str:
    if name == "data":
        kind, _, folder = str(value).partition(":")
        return f"{kind}:{Path(folder).name}"
    return value.name if isinstance(value, Path) else str(value)
