"""The model card that ``posekit train-lifter`` writes beside the weights."""

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.apps.train_lifter import TrainLifterConfig
    from posekit.lifting.lifter import Lifter
    from posekit.lifting.training import LifterTraining


def write_card(
    config: "TrainLifterConfig", lifter: "Lifter", training: "LifterTraining", figures: dict[str, Any]
) -> None:
    """Write what the weights are, how they were made and how well they do."""
    from dataclasses import asdict

    from posekit.io.files import write_whole

    parameters = sum(value.numel() for value in lifter.generator.parameters())
    poses = training.step * training.settings.batch_size
    lines = [
        f"# {config.out.stem}",
        "",
        f"From {lifter.skeleton.joint_count} 2D joints ({lifter.skeleton.name}) of one view to 3D in the camera's axes,",
        f"a frame at a time. {parameters / 1e6:.2f} M parameters.",
        "",
        "## How it was made",
        "",
        "On motion capture alone, and never on a 2D pose beside its own 3D: the generator was shown views by virtual cameras,",
        "its critic and its prior were shown other poses, and its own outputs were turned, projected and lifted again.",
        "",
        "| | |",
        "|---|---|",
        f"| data | {', '.join(config.data)} |",
        f"| held out | {', '.join(config.hold_out) or 'nobody'} |",
        f"| command | `{_command(config)}` |",
        f"| steps | {training.step}, {poses} views in all, {training.seconds / 60:.0f} minutes |",
        *(f"| {name} | {value} |" for name, value in asdict(lifter.settings).items()),
        "",
        "## How well it does",
        "",
    ]
    if config.hold_out:
        lines += [
            "Held-out people as recorded, virtual cameras all round. P-I: mean error relative to the mid-hip, each pose at the",
            "scale of least squares (N-MPJPE); P-II: after rotation, translation and scale, without reflection.",
            "",
            "| 2D | P-I, mm | P-II, mm |",
            "|---|---|---|",
            f"| with a detector's noise | {figures['p1_mm']:.1f} | {figures['p2_mm']:.1f} |",
            f"| true projections | {figures['clean_p1_mm']:.1f} | {figures['clean_p2_mm']:.1f} |",
        ]
    else:
        lines += [
            "Nobody was held out: `posekit bench lifting` measures a training that holds people out, and real captures."
        ]
    with write_whole(config.out.with_suffix(".md")) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _command(config: "TrainLifterConfig") -> str:
    from dataclasses import fields

    words = ["posekit", "train-lifter", "OUT"]
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in ("out", "checkpoint") or value == field.default:
            continue
        words += [
            f"--{field.name.replace('_', '-')}",
            *(str(one) for one in (value if isinstance(value, tuple) else (value,))),
        ]
    return shlex.join(words)
