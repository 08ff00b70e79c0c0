"""``posekit train``: labels to weights."""

import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from posekit.apps.train_data import CROP, drawn_hands, held_out_hands, mixed_source, other_sources

if TYPE_CHECKING:
    from posekit.detection.hand_detector import HandDetector
    from posekit.training.hand_training import HandTrainSettings
    from posekit.training.loop import TrainProgress
    from posekit.training.processes import Processes
    from posekit.training.size_schedule import SizeSchedule


#: What is trained where nothing says which.
_USUAL_NETWORK = "light_hand_cpm"


@dataclass(frozen=True)
class TrainConfig:
    """Train a hand detector on drawn hands.

    No picture of a person is used unless --data, --crops or --unlabelled name some, or weights to begin with have seen some.

    On several GPUs: torchrun --nproc-per-node 2 -m -- posekit.apps.main train OUT --device cuda ... (without the two dashes
    torchrun takes --start and --log for its own).
    """

    out: Annotated[Path, tyro.conf.Positional]
    """The weights to write (.safetensors); beside them a model card (.md), the losses (.losses.jsonl) and the record of the
    run."""
    network: str | None = None
    """Which network: one of posekit.models.hand_networks. If not given, that of --start, or light_hand_cpm. A larger one than
    that of --start begins with its weights."""
    hands: int = 20_000
    """Different hands to draw first; every batch lays them over other backgrounds."""
    backgrounds: int = 1_500
    """Different backgrounds to draw."""
    held_out: int = 768
    """Hands to fit the confidence on, and as many again to measure on; the training sees none of them."""
    data: tuple[str, ...] = ()
    """Labelled hand sets on your disk to mix in, each as KIND:FOLDER (see posekit.datasets.labelled_hands)."""
    data_share: float = 0.5
    """Their share of every batch, all sets together."""
    crops: tuple[Path, ...] = ()
    """Labels that `posekit bootstrap` made (crops.h5) to mix in."""
    crops_share: float = 0.3
    """Their share of every batch, all files together."""
    steps: int = 2_000
    """Batches to train on."""
    minutes: float | None = None
    """End the training after this long, if that comes before the last step."""
    batch_size: int = 24
    """Full-size crops in a batch of each process; of smaller ones, as many more as cost the same."""
    sizes: tuple[str, ...] = ("0.4:64", "0.3:96", "0.3:128")
    """Progressive resizing: parts of the training, each with the side in px of its crops, a multiple of 32. The last is 128."""
    learning_rate: float = 1e-2
    """Highest learning rate of the one-cycle schedule; networks without batch norm take a tenth of it."""
    seed: int = 0
    """Of hands, backgrounds, augmentation and first weights."""
    teacher: Path | None = None
    """Weights of a heavier detector whose answers the network learns beside the labels (distillation)."""
    teacher_weight: float = 1.0
    """Weight of the teacher's maps beside the labels' 1."""
    temperature: float = 2.0
    """By which the logits of teacher and student are divided."""
    feature_weight: float = 0.1
    """Weight of the teacher's features; it falls to 0 at the end."""
    teacher_size: int | None = None
    """Side in px of the crops that the teacher is shown, a multiple of 32; its own if not given, smaller ones cost less."""
    unlabelled: Path | None = None
    """Folder of pictures without labels, one upright right hand in the middle of each; only the teacher speaks of them."""
    unlabelled_share: float = 0.25
    """Their share of every batch."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to train."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What convolutions compute with; auto is bfloat16 where the device has it in hardware."""
    threads: int | None = None
    """Processor threads; all if not given. As many processes draw the hands."""
    loaders: int | None = None
    """Threads that make batches ahead; 0 on a processor and 4 beside a GPU if not given."""
    cache: Path | None = None
    """Folder to keep the drawn hands in for the next run; 147 kB each. A temporary one if not given."""
    start: Path | None = None
    """Weights to go on from, instead of random ones."""
    average: tuple[Path, ...] = ()
    """Weights of the same network whose even mean with the trained ones is written, such as those of --start (grown as there),
    or of other runs from them: it often does better on other pictures."""
    backbone_weights: Path | None = None
    """Weights of the network's backbone to begin with, as torchvision, timm or its authors publish them
    (see posekit.models.pretrained)."""
    checkpoint: Path | None = None
    """File to resume an interrupted training from, and to keep it in."""
    checkpoint_every: int = 500
    """Steps between two checkpoints."""
    save_every: float = 10.0
    """Minutes after which the weights so far are written to `out`."""
    log: Path | None = None
    """Folder to write TensorBoard's event files to."""


def main(config: TrainConfig) -> None:
    """Run the command."""
    import torch

    from posekit.apps.train_checks import check
    from posekit.training.processes import joined_processes

    sizes = check(config)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    with joined_processes(config.device) as (processes, device):
        _train(config, sizes, processes, device)


def _train(config: TrainConfig, sizes: "SizeSchedule", processes: "Processes", device: Any) -> None:
    import tempfile

    from posekit.apps.progress import progress_bars
    from posekit.apps.tables import figures_console
    from posekit.apps.train_card import write_card
    from posekit.training.hand_training import measure_detector, train_hand_detector
    from posekit.training.run import read_checkpoint

    start = _first_weights(config)
    teacher = _trainable(config.teacher) if config.teacher else None
    network = (config.network or _USUAL_NETWORK) if start is None else start.architecture
    # The start may have grown, and is read once.
    average = [start if start and path == config.start else _trainable(path, network) for path in config.average]
    others = other_sources(
        config.data,
        config.data_share,
        config.crops,
        config.crops_share,
        config.unlabelled,
        config.unlabelled_share,
    )
    if config.checkpoint is not None and config.checkpoint.exists():
        # A mistake in it is told now, not after the drawing.
        read_checkpoint(config.checkpoint, _identity(config, network))
    with contextlib.ExitStack() as stack:
        folder = config.cache
        if folder is None:
            # The first process's folder is the last to go.
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="posekit-hands-"))
            folder = Path(processes.share_text(temporary))
        show = stack.enter_context(progress_bars()) if processes.first else _show_nothing
        workers = config.threads or os.cpu_count() or 1
        if processes.first:
            drawn_hands(folder, config.hands, config.backgrounds, config.seed, show, workers)
            held_out_hands(config.seed, config.held_out, 0, show, folder, workers)
        processes.wait()
        drawn = drawn_hands(folder, config.hands, config.backgrounds, config.seed, show)
        source = mixed_source(drawn, others)
        fit_on = held_out_hands(config.seed, config.held_out, 0, show, folder)
        report = _reporter(config, network, fit_on, show) if processes.first else None
        settings = _settings(config, network, sizes, str(device))
        detector, history = train_hand_detector(
            source, fit_on, settings, start, report, teacher=teacher, average=average, processes=processes
        )
        if not processes.first:
            processes.wait()
            return
        scores = measure_detector(detector, held_out_hands(config.seed, config.held_out, 1, show, folder, workers))
        processes.wait()
    last = history[-1]
    figures = {
        "seen": int(last["samples"]),
        "finished": True,
        "seconds": round(last["seconds"]),
        "loss": last["loss"],
        "held_out_pck_0.2": scores.pck02,
        "held_out_pck_0.1": scores.pck01,
        "held_out_mean_hand_pck_0.2": scores.mean_hand_pck02,
        "held_out_auc": scores.auc,
        "held_out_epe_b": scores.epe,
    }
    _save(config, detector, figures)
    write_card(config, detector, last, scores)
    figures_console().print(
        f"{config.out}: PCK@0.2B {scores.pck02:.3f}, @0.1B {scores.pck01:.3f}, error {scores.epe_px:.1f} px, "
        f"AUC {scores.auc:.3f} on {scores.joints} visible joints of drawn hands never seen (a constant mean hand: "
        f"{scores.mean_hand_pck02:.3f}); with hidden joints {scores.all_pck02:.3f}; confidence off by "
        f"{scores.calibration_error:.3f}"
    )


def _first_weights(config: TrainConfig) -> "HandDetector | None":
    """Return what the training goes on from; None for random weights."""
    import torch

    from posekit.detection.hand_detector import HandDetector
    from posekit.errors import PosekitError
    from posekit.models.pretrained import load_pretrained
    from posekit.training.hand_training import new_network

    if config.start is not None:
        start = _trainable(config.start)
        if start.crop_size != CROP:
            raise PosekitError(f"{config.start}: crop_size: found {start.crop_size}, expected {CROP}")
        return start if config.network in (None, start.architecture) else _grown(start, config.network, config)
    if config.backbone_weights is None:
        return None
    name = config.network or _USUAL_NETWORK
    torch.manual_seed(config.seed)
    network = new_network(name)
    load_pretrained(network, config.backbone_weights)
    return HandDetector(network, CROP, architecture=name)


def _grown(start: "HandDetector", name: str, config: TrainConfig) -> "HandDetector":
    """Return the weights of --start in a larger network."""
    import torch

    from posekit.detection.hand_detector import HandDetector
    from posekit.errors import PosekitError
    from posekit.models.growing import grow
    from posekit.training.hand_training import new_network, pose_machine_of

    torch.manual_seed(config.seed)
    network = new_network(name)
    try:
        grow(network, pose_machine_of(start, str(config.start)))
    except PosekitError as error:
        raise PosekitError(f"{config.start}: {start.architecture} is no part of {name}: {error}") from error
    return HandDetector(network, CROP, architecture=name)


def _trainable(path: Path, network: str | None = None) -> "HandDetector":
    """Read a detector whose network is torch's; network: which it must be."""
    from posekit.detection.detector_file import load_detector
    from posekit.errors import PosekitError
    from posekit.training.hand_training import pose_machine_of

    detector = load_detector(path)
    pose_machine_of(detector, str(path))
    if network is not None and detector.architecture != network:
        raise PosekitError(f"{path}: found weights of {detector.architecture}, expected those of {network}")
    return detector


def _show_nothing(what: str, done: int, total: int) -> None:
    """Stand in for the progress bars in all processes but the first."""


def _settings(config: TrainConfig, network: str, sizes: "SizeSchedule", device: str) -> "HandTrainSettings":
    from posekit.training.distillation import DistillationSettings
    from posekit.training.hand_training import HandTrainSettings
    from posekit.training.settings import TrainSettings

    loaders = config.loaders
    if loaders is None:
        loaders = 0 if config.device == "cpu" else 4
    return HandTrainSettings(
        loop=TrainSettings(
            steps=config.steps,
            seconds=None if config.minutes is None else 60 * config.minutes,
            learning_rate=config.learning_rate,
            device=device,
            precision=config.precision,
            loaders=loaders,
            checkpoint=config.checkpoint,
            checkpoint_every=config.checkpoint_every,
            identity=_identity(config, network),
            losses=config.out.with_suffix(".losses.jsonl"),
            tensorboard=config.log,
        ),
        network=network,
        batch_size=config.batch_size,
        crop_size=CROP,
        sizes=sizes,
        # A run that goes on from another's weights should not see the very same crops again.
        seed=config.seed if config.start is None else config.seed + 1,
        distillation=DistillationSettings(
            config.teacher_weight, config.temperature, config.feature_weight, config.teacher_size
        ),
    )


#: What a run may be taken up with although it was begun with another.
_NOT_IDENTITY = (
    "out", "held_out", "minutes", "device", "precision", "threads", "loaders", "cache", "checkpoint", "checkpoint_every",
    "save_every", "log", "average",
)  # fmt: skip


def _identity(config: TrainConfig, network: str) -> dict[str, str | int | float | None]:
    """What two runs must have in common for one to go on with the other's checkpoint; network: the one that is trained."""
    plain: dict[str, str | int | float | None] = {}
    for name, value in vars(config).items():
        if name not in _NOT_IDENTITY:
            plain[name] = value if isinstance(value, str | int | float | None) else str(value)
    plain["network"] = network
    return plain


def _reporter(config: TrainConfig, network: str, fit_on: Any, show: Any) -> "Callable[[TrainProgress], None]":
    """Return what shows a training's progress, and keeps the weights so far now and then."""
    from posekit.training.hand_training import fit_detector

    saved_at: float | None = None

    def report(progress: "TrainProgress") -> None:
        nonlocal saved_at
        saved_at = progress.seconds if saved_at is None else saved_at
        steps = max(progress.step, round(progress.step / max(progress.fraction, 1e-9)))
        to_go = math.ceil(progress.seconds_to_go / 60)
        show(
            f"train, loss {progress.loss:.4f}, {progress.samples_per_second:.0f} crops/s, {to_go} min to go",
            progress.step,
            steps,
        )
        if progress.seconds - saved_at > 60 * config.save_every and progress.fraction < 1:
            saved_at = progress.seconds
            unfinished = fit_detector(progress.model, fit_on, CROP, network)
            _save(config, unfinished, {"seen": progress.samples, "finished": False})

    return report


def _save(config: TrainConfig, detector: "HandDetector", run: dict[str, Any]) -> None:
    from posekit.apps.provenance import write_record
    from posekit.apps.train_card import data_of
    from posekit.apps.train_checks import files_read
    from posekit.detection.detector_file import save_detector

    training = {
        "data": data_of(config),
        "seed": config.seed,
        "batch_size": config.batch_size,
        "start": config.start.name if config.start else "",
        "teacher": config.teacher.name if config.teacher else "",
        **run,
    }
    save_detector(config.out, detector, training)
    if run["finished"]:
        write_record(config.out, "train", config, files_read(config), figures=run)
