"""``posekit train``: labels to weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from posekit.detection.hand_detector import HandDetector
    from posekit.training.composites import CompositedCrops
    from posekit.training.hand_training import HandScores
    from posekit.training.loop import TrainProgress
    from posekit.training.samples import LabelledCrops

# Rendered hands are kept at 192 px with 58 px of hand, the scale of the 128 px crops, so that a crop can be turned and shrunk
# before it meets the picture's edge.
_PICTURE = 192
_HAND_IN_PICTURE = 3.3
_CROP = 128
_BACKGROUND_SIZE = 256


@dataclass(frozen=True)
class TrainConfig:
    """Train the light hand detector on drawn hands; no picture of a person is used."""

    out: Annotated[Path, tyro.conf.Positional]
    """The weights to write (.safetensors); beside them a model card (.md) and the record of the run."""
    hands: int = 20_000
    """Different hands to draw first; every batch lays them over other backgrounds."""
    backgrounds: int = 1_500
    """Different backgrounds to draw."""
    held_out: int = 768
    """Hands to fit the confidence on, and as many again to measure on; the training sees none of them."""
    steps: int = 2_000
    """Batches to train on."""
    minutes: float | None = None
    """End the training after this long, if that comes before the last step."""
    batch_size: int = 24
    """Crops in a batch."""
    small_size: int = 112
    """Side in px of the crops of the first part of the training; smaller ones cost less. A multiple of 16."""
    small_share: float = 0.9
    """How much of the training that part is."""
    learning_rate: float = 2e-3
    """Highest learning rate of the one-cycle schedule."""
    seed: int = 0
    """Of hands, backgrounds, augmentation and first weights."""
    threads: int | None = None
    """Processor threads; all if not given."""
    cache: Path | None = None
    """Folder to keep the drawn hands in for the next run; 147 kB each. A temporary one if not given."""
    start: Path | None = None
    """Weights to go on from, instead of random ones."""
    checkpoint: Path | None = None
    """File to resume an interrupted training from, and to keep it in."""
    save_every: float = 10.0
    """Minutes after which the weights so far are written to `out`."""


def main(config: TrainConfig) -> None:
    """Run the command."""
    import contextlib
    import tempfile

    import torch
    from rich.console import Console

    from posekit.apps.progress import progress_bars
    from posekit.detection.detector_file import load_detector
    from posekit.errors import PosekitError
    from posekit.training.hand_training import HandTrainSettings, fit_detector, measure_detector, train_hand_detector
    from posekit.training.loop import TrainSettings

    _check(config)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    start = load_detector(config.start) if config.start else None
    if start is not None and start.crop_size != _CROP:
        raise PosekitError(f"{config.start}: crop_size: found {start.crop_size}, expected {_CROP}")
    with contextlib.ExitStack() as stack:
        folder = config.cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posekit-hands-")))
        show = stack.enter_context(progress_bars())
        source = drawn_hands(folder, config.hands, config.backgrounds, config.seed, show)
        fit_on = held_out_hands(config.seed, config.held_out, 0, show)
        saved_at = 0.0

        def on_progress(progress: "TrainProgress") -> None:
            nonlocal saved_at
            steps = round(progress.step / progress.fraction)
            show(f"train, loss {progress.loss:.5f}, {progress.samples_per_second:.0f} crops/s", progress.step, steps)
            if progress.seconds - saved_at > 60 * config.save_every and progress.fraction < 1:
                saved_at = progress.seconds
                unfinished = fit_detector(progress.model, fit_on, _CROP)
                _save(config, unfinished, {"seen": progress.step * config.batch_size, "finished": False})

        settings = HandTrainSettings(
            loop=TrainSettings(
                steps=config.steps,
                seconds=None if config.minutes is None else 60 * config.minutes,
                learning_rate=config.learning_rate,
                checkpoint=config.checkpoint,
            ),
            batch_size=config.batch_size,
            crop_size=_CROP,
            small_size=config.small_size,
            small_share=config.small_share,
            # A run that goes on from another's weights should not see the very same crops again.
            seed=config.seed if start is None else config.seed + 1,
        )
        detector, history = train_hand_detector(source, fit_on, settings, start, on_progress)
        scores = measure_detector(detector, held_out_hands(config.seed, config.held_out, 1, show))
    last = history[-1]
    _save(
        config,
        detector,
        {
            "seen": int(last["step"]) * config.batch_size,
            "finished": True,
            "seconds": round(last["seconds"]),
            "loss": last["loss"],
            "held_out_pck_0.2": scores.pck02,
            "held_out_pck_0.1": scores.pck01,
        },
    )
    _write_card(config, last, scores)
    Console(markup=False, highlight=False).print(
        f"{config.out}: PCK@0.2B {scores.pck02:.3f}, @0.1B {scores.pck01:.3f} on {scores.joints} joints of drawn hands never "
        f"seen (a constant mean hand: {scores.mean_hand_pck02:.3f}), confidence off by {scores.calibration_error:.3f}"
    )


def _check(config: TrainConfig) -> None:
    from posekit.errors import PosekitError
    from posekit.io.files import require_folder

    require_folder(config.out.parent, "the folder to write into")
    if config.minutes is not None and not config.minutes > 0:
        raise PosekitError(f"--minutes: {config.minutes:g} is not a positive number")
    if config.out.suffix != ".safetensors":
        raise PosekitError(f"{config.out}: weights are a safetensors file, a name ending in .safetensors was expected")
    for name, least in (
        ("hands", 1),
        ("backgrounds", 1),
        ("held_out", 2),
        ("steps", 1),
        ("batch_size", 2),
        ("learning_rate", 0),
        ("save_every", 0),
        ("threads", 1),
        ("seed", 0),
    ):
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise PosekitError(f"--{name.replace('_', '-')}: found {value}, expected {least} or more")
    if config.small_size <= 0 or config.small_size % 16:
        raise PosekitError(f"--small-size: found {config.small_size}, expected a positive multiple of 16")


def drawn_hands(folder: Path, count: int, backgrounds: int, seed: int, show: Any) -> "CompositedCrops":
    """Return `count` drawn hands over `backgrounds` drawn backgrounds; those in `folder` are not drawn again.

    show: function (what, done, total) that is told of the progress.
    """
    import json

    import numpy as np
    import torch

    from posekit.datasets.backgrounds import procedural_backgrounds
    from posekit.datasets.synthetic_hands import HandFraming, SyntheticHands
    from posekit.errors import PosekitError
    from posekit.io.files import write_json
    from posekit.training.composites import CompositedCrops

    folder.mkdir(parents=True, exist_ok=True)
    state_path = folder / "state.json"
    wanted = {"hands": count, "seed": seed, "picture": _PICTURE, "hand_in_picture": _HAND_IN_PICTURE}
    state: dict[str, Any] = json.loads(state_path.read_text()) if state_path.exists() else {**wanted, "done": 0}
    if {key: state.get(key) for key in wanted} != wanted:
        raise PosekitError(f"{state_path}: found hands drawn with {state}, expected {wanted}; name another --cache")
    mode = "r+" if state["done"] else "w+"
    rgba = np.lib.format.open_memmap(folder / "rgba.npy", mode, np.uint8, (count, _PICTURE, _PICTURE, 4))
    joints = np.lib.format.open_memmap(folder / "joints.npy", mode, np.float32, (count, 21, 2))
    framing = HandFraming(box_multiple=_HAND_IN_PICTURE, scale=(1.0, 1.0), rotation=0.0, jitter=0.0)
    hands = SyntheticHands(seed, _PICTURE, framing=framing, oversample=1.25)
    while state["done"] < count:
        first = int(state["done"])
        stop = min(first + 64, count)
        # 0x7E: no other stream of chance starts with it, those of the held-out hands least of all.
        drawn = hands.draw(np.random.default_rng((0x7E, seed, first // 64)), stop - first)
        rgba[first:stop] = (drawn.rgba.permute(0, 2, 3, 1) * 255 + 0.5).to(torch.uint8).numpy()
        joints[first:stop] = drawn.joints_px.numpy()
        state["done"] = stop
        write_json(state_path, state)
        show("draw hands", stop, count)
    drawn_behind = procedural_backgrounds(np.random.default_rng((0x7E, seed, 1, 1)), backgrounds, _BACKGROUND_SIZE)
    behind = (drawn_behind.permute(0, 2, 3, 1) * 255).to(torch.uint8).numpy()
    return CompositedCrops(rgba, joints, np.ones(joints.shape[:2], np.float32), behind)


def held_out_hands(seed: int, count: int, part: int, show: Any) -> "LabelledCrops":
    """Return finished crops of hands that no training sees, with the camera's faults; other ones for another `part`."""
    import numpy as np

    from posekit.datasets.synthetic_hands import SyntheticHands
    from posekit.training.samples import LabelledCrops

    hands = SyntheticHands(seed, _CROP, split="validation")
    images, joints = [], []
    for first in range(0, count, 64):
        batch = hands.batch(1000 * part + first // 64, min(64, count - first))
        images.append(batch.images.permute(0, 2, 3, 1).numpy())
        joints.append(batch.joints_px.numpy())
        show("draw held-out hands", min(first + 64, count), count)
    labels = np.concatenate(joints)
    return LabelledCrops(np.concatenate(images), labels, np.ones(labels.shape[:2], np.float32))


def _save(config: TrainConfig, detector: "HandDetector", run: dict[str, Any]) -> None:
    from posekit.apps.provenance import write_record
    from posekit.detection.detector_file import save_detector

    data = f"{config.hands} drawn hands (posekit.datasets.synthetic_hands, seed {config.seed}) over drawn backgrounds"
    training = {
        "data": data,
        "seed": config.seed,
        "batch_size": config.batch_size,
        "start": config.start.name if config.start else "",
        **run,
    }
    save_detector(config.out, detector, training)
    if run["finished"]:
        write_record(config.out, "train", config, [config.start] if config.start else [], figures=run)


def _write_card(config: TrainConfig, last: dict[str, float], scores: "HandScores") -> None:
    from posekit.io.files import write_whole

    lines = [
        f"# {config.out.stem}",
        "",
        "21 keypoints of a hand (wrist, then thumb to little finger, base to tip) in an upright 128 px crop of a right hand;",
        "left hands are mirrored first. A convolutional pose machine of 2 stages on a plain residual trunk, 1.64 M parameters,",
        "359 M multiplications a crop.",
        "",
        "| | |",
        "|---|---|",
        f"| data | {config.hands} drawn hands over drawn backgrounds, no picture of a person |",
        f"| command | posekit train OUT --hands {config.hands} --steps {config.steps} --batch-size {config.batch_size} "
        f"--learning-rate {config.learning_rate:g}"
        + (f" --minutes {config.minutes:g}" if config.minutes else "")
        + f" --seed {config.seed} |",
        f"| crops seen | {int(last['step']) * config.batch_size} in {last['seconds'] / 60:.0f} minutes |",
        f"| PCK@0.2B, held-out drawn hands | {scores.pck02:.3f} (a constant mean hand: {scores.mean_hand_pck02:.3f}) |",
        f"| PCK@0.1B, held-out drawn hands | {scores.pck01:.3f} |",
        f"| confidence | off by {scores.calibration_error:.3f} on average (as a probability of lying within 0.2 B) |",
        "",
        "B is the longer side of the tight box around the reference keypoints.",
        "",
    ]
    with write_whole(config.out.with_suffix(".md")) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
