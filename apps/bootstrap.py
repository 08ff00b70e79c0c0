"""``posekit bootstrap``: the cameras' geometry teaches the hand detector on its own capture."""

import contextlib
import json as json_module
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from posekit.apps.bootstrap_subject import BODY, HANDS, prepare_subject, read_labels

if TYPE_CHECKING:
    from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
    from posekit.detection.hand_detector import HandDetector


#: Seconds of work that a run which fails does not throw away.
_LONG_S = 60.0

_SETTINGS, _LOCK, _VERSION = "settings.json", "lock", "posekit"

#: What the same run may be taken up again with, as well as with other places of its inputs.
_NOT_OF_THE_RUN = (
    "out",
    "json",
    "rounds",
    "capture",
    "review",
    "decisions",
    "report",
    "engine",
    "workers",
    "ray_address",
    "training_device",
)


@dataclass(frozen=True)
class BootstrapConfig:
    """Teach the hand detector on a capture: triangulate, reproject as labels, train, detect again.

    How many cameras that takes: posekit bootstrap --plan (with --help for its options).
    """

    capture: Annotated[Path, tyro.conf.Positional]
    """Folder with videos/<camera>.mp4 (or the videos themselves)."""
    out: Path
    """The run folder to write. The same command on it again goes on after the last finished step."""
    rig: Path | None = None
    """Any camera file that posekit knows; <capture>/calibration.toml if not given."""
    keypoints: Path = Path("keypoints2d.h5")
    """The body's (and, for round 0, the hands') 2D keypoints: keypoints2d.h5 or a folder of OpenPose JSON, in the capture."""
    skeleton: str | None = None
    """Order of the joints, where the files (labels, too) do not say it; told by the joints' number and places if not given."""
    detector: Path | None = None
    """Weights to start from (*.safetensors); posekit's own, trained on synthetic hands, if not given."""
    learn: str = "hands"
    """What to learn: hands; body (of the keypoints' skeleton); or a TOML file that defines the skeleton of an animal or a tool:
    name, joints = [...], bones = [[a, b], ...] and, if wanted, left_right and groups (joints triangulated together)."""
    labels: Path | None = None
    """A few frames that a person labelled, as 2D keypoints of any kind: they are mixed into every training, and where they are
    eight frames or more, the last quarter measures the rounds instead. A TOML skeleton may start from them alone."""
    refine: Literal["auto", "on", "off"] = "auto"
    """Refine the rig on the people's keypoints first; auto does where hardly any views could agree on it, and it helps."""
    rounds: int = 5
    """How many rounds at most; they end when held-out evidence gains nothing more."""
    steps: int = 160
    """Training steps of a round. A longer training is one of its own: posekit train better.safetensors
    --crops RUN/round_2/crops.h5 (see posekit train --help)."""
    training_device: Literal["cpu", "cuda"] = "cpu"
    """Where a round trains."""
    training_processes: int = 1
    """Processes that train a round together, each on batches of its own; with --training-device cuda, each on its own GPU."""
    synthetic_hands: int = 1000
    """Drawn hands that every round's training is mixed with, so that the detector does not forget other hands; 16 or more."""
    seed: int = 0
    """Seed of everything drawn by chance."""
    review: bool = False
    """Write review.html into the run folder: the last round's frames, the most doubtful first, to be rejected by a key."""
    decisions: Path | None = None
    """The review.json that the page saves; the next round learns nothing from what it rejects. Put into the run folder."""
    report: bool = True
    """Write report.html into the run folder, after every round."""
    engine: Literal["auto", "here", "processes", "ray"] = "auto"
    """Where detection and label making run: in threads of this process, in processes of this machine, or on a Ray cluster (the
    extra 'ray'); auto takes processes where there are more than four cores. The results do not depend on it."""
    workers: int | None = None
    """Tasks at a time; one for every core if not given."""
    ray_address: str | None = None
    """Of the Ray cluster ("auto": that of this machine); one is started here if not given."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: BootstrapConfig) -> None:
    """Run the command."""
    from posekit.apps.bootstrap_outputs import print_figures, run_figures, write_outputs, write_round_report
    from posekit.apps.checks import require_places
    from posekit.apps.progress import progress_bars
    from posekit.apps.provenance import write_record
    from posekit.apps.tables import figures_console
    from posekit.bootstrap.engine import make_engine
    from posekit.bootstrap.review import decisions_of, keep_decisions, read_decisions
    from posekit.bootstrap.rounds import bootstrap
    from posekit.errors import NoSpaceError, PosekitError
    from posekit.io.files import remove_unfinished, write_json

    engine = make_engine(config.engine, config.workers, config.ray_address)
    if config.decisions:
        read_decisions(config.decisions)
    start, settings = prepare(config)
    require_places([config.json], _inputs(config).values())
    if config.decisions:
        read_decisions(config.decisions, frames=start.keypoints.frames)
    open_run_folder(config.out)
    with locked(config.out):
        # Only now: without the lock they may be what another process is writing.
        remove_unfinished(config.out)
        begun_here = not (config.out / _SETTINGS).exists()
        keep_settings(config, start.capture.videos)
        _require_no_more_rounds(config)
        if config.decisions:
            keep_decisions(config.decisions, config.out)
        decisions_of(config.out)  # a mistake in it is told now, not hours later

        def on_round(number: int) -> None:
            if config.report:
                write_round_report(config.out, start, number)

        try:
            with progress_bars() as on_progress:
                history = bootstrap(start, config.out, settings, on_progress, on_round, engine)
        except PosekitError as error:
            if not begun_here or isinstance(error, NoSpaceError):
                raise
            if _holds_work(config.out):
                raise PosekitError(f"{error}; what was done is in {config.out}") from error
            # The capture cannot be bootstrapped as it is; a folder with nothing to go on from would only be in the way.
            shutil.rmtree(config.out, ignore_errors=True)
            raise
        figures = run_figures(history, config.out)
        inputs = [*_inputs(config).values(), *start.capture.videos.values()]
        write_record(config.out, "bootstrap", config, inputs, figures=figures)
        if config.json:
            write_json(config.json, figures)
        with progress_bars() as on_progress:
            write_outputs(config.out, start, on_progress, report=config.report, review=config.review)
    print_figures(figures_console(), figures, config.out)


def _holds_work(folder: Path) -> bool:
    """Tell a run folder that holds what took long: a training, or more than a minute's detection of the whole capture."""
    from posekit.bootstrap.steps import seconds_of

    trained = any(folder.glob("round_0/*.safetensors")) or any(folder.glob("round_1/*"))
    return trained or seconds_of(folder / "round_0").get("detection", 0) > _LONG_S


def _inputs(config: BootstrapConfig) -> dict[str, Path]:
    """Return what a run is made from besides the videos, by the option that names it."""
    from posekit.apps.checks import in_capture
    from posekit.detection.detector_file import LIGHT_HAND_WEIGHTS
    from posekit.io.timestamps import find_timestamps

    timestamps = find_timestamps(config.capture)
    return {
        "rig": config.rig or config.capture / "calibration.toml",
        **({} if _from_labels_alone(config) else {"keypoints": in_capture(config.capture, config.keypoints)}),
        "detector": config.detector or LIGHT_HAND_WEIGHTS,
        **({"labels": config.labels} if config.labels else {}),
        **({"learn": Path(config.learn)} if config.learn not in (HANDS, BODY) else {}),
        **({"timestamps": timestamps} if timestamps else {}),
    }


def _from_labels_alone(config: BootstrapConfig) -> bool:
    """Whether labels are all there is to start from: keypoints that nobody named are not there."""
    nobody_named_any = config.keypoints == Path("keypoints2d.h5") and not (config.capture / config.keypoints).exists()
    return config.labels is not None and config.learn not in (HANDS, BODY) and nobody_named_any


def prepare(config: BootstrapConfig) -> "tuple[BootstrapInput, BootstrapSettings]":
    """Read and check every input, before anything is written."""
    from posekit.apps.checks import require_seed
    from posekit.bootstrap.settings import BootstrapSettings
    from posekit.detection.detector_file import load_detector
    from posekit.errors import PosekitError
    from posekit.io.files import require_folder
    from posekit.training.hand_training import pose_machine_of
    from posekit.training.processes import require_devices

    for name, least in (("rounds", 1), ("steps", 1), ("training_processes", 1), ("synthetic_hands", 16)):
        if getattr(config, name) < least:
            option = name.replace("_", "-")
            raise PosekitError(f"bootstrap: --{option} {getattr(config, name)}: {least} or more was expected")
    require_seed(config.seed)
    require_devices(config.training_device, config.training_processes, "--training-device")
    require_folder(config.capture, "a capture: videos, and what goes with them")
    inputs = _inputs(config)
    if "keypoints" in inputs and not inputs["keypoints"].exists():
        raise PosekitError(
            f"{config.capture / config.keypoints}: no such file or folder; --keypoints names the 2D keypoints"
        )
    settings = BootstrapSettings(
        rounds=config.rounds,
        steps=config.steps,
        seed=config.seed,
        initial_samples=config.synthetic_hands,
        refine=config.refine,
        training_device=config.training_device,
        training_processes=config.training_processes,
    )
    if config.learn != HANDS:
        rig, keypoints = inputs["rig"], inputs.get("keypoints")
        subject = prepare_subject(
            config.capture, rig, keypoints, config.learn, config.skeleton, config.labels, config.detector, config.seed
        )
        return subject, settings
    detector = load_detector(inputs["detector"])
    pose_machine_of(detector, str(inputs["detector"]))  # an ONNX file's could not be trained, rounds later
    start = prepare_capture(config.capture, inputs["rig"], inputs["keypoints"], config.skeleton, detector)
    if config.labels:
        # --skeleton may be the order of --keypoints alone.
        labelled = read_labels(config.labels, start.capture, start.rig, [config.skeleton, None])
        start.target.take_labels(labelled)  # labels of another skeleton are told of now
        start = replace(start, labelled=labelled)
    return start, settings


def prepare_capture(
    folder: Path, rig_path: Path, keypoints_path: Path, skeleton: str | None, detector: "HandDetector"
) -> "BootstrapInput":
    """Open a capture with its rig and keypoints, and check that they belong together."""
    from posekit.apps.bootstrap_inputs import open_capture, read_keypoints
    from posekit.bootstrap.lone_hands import hands_to_learn
    from posekit.bootstrap.settings import BootstrapInput

    capture, rig = open_capture(folder, rig_path)
    keypoints = read_keypoints(keypoints_path, [skeleton], capture, rig)
    return BootstrapInput(capture, rig, keypoints, detector, hands_to_learn(keypoints))


def open_run_folder(folder: Path) -> None:
    """Make the run folder; one that is there must hold a run, or nothing of anybody else's."""
    from posekit.errors import PosekitError
    from posekit.io.files import is_unfinished, require_folder

    if not folder.exists():
        require_folder(folder.parent, "the folder to write into")
        folder.mkdir()
    require_folder(folder, "a run")
    held = {path.name for path in folder.iterdir() if not is_unfinished(path)} - {_LOCK}
    if held and _SETTINGS not in held:
        raise PosekitError(f"{folder}: is not empty and holds no run; name another folder with --out")


def keep_settings(config: BootstrapConfig, videos: dict[str, Path]) -> None:
    """Note what the run is made with and from; raise PosekitError where it was begun with something else."""
    import warnings

    from posekit import __version__
    from posekit.apps.provenance import content_hash
    from posekit.errors import PosekitError, PosekitWarning
    from posekit.io.files import write_json

    inputs = _inputs(config)
    # Of the inputs their content is compared, not where they lie; of the videos, which may be large, their sizes. Times may be
    # taken away again, and are no option: without a value of their own, nobody would miss them.
    asked: dict[str, Any] = {"timestamps": None} | {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(config).items()
        if name not in (*_NOT_OF_THE_RUN, *inputs)
    }
    asked |= {name: content_hash(path) for name, path in inputs.items()}
    asked["videos"] = {camera: path.stat().st_size for camera, path in videos.items()}
    kept = config.out / _SETTINGS
    if not kept.exists():
        write_json(kept, {_VERSION: __version__, **asked})
        return
    try:
        found = json_module.loads(kept.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"found {str(found)[:40]}, a JSON object was expected")
    except ValueError as error:
        raise PosekitError(f"{kept}: is damaged ({error}); name another folder with --out") from None
    if (begun := found.pop(_VERSION, __version__)) != __version__:
        what = f"{config.out}: was begun with posekit {begun}, this is {__version__}"
        warnings.warn(
            PosekitWarning(f"{what}: what it detects differently is compared as if it had been learnt"), stacklevel=2
        )
    # An option that the run does not name is younger than the run, which was made as by the option's default.
    found = {item.name: item.default for item in fields(config)} | found
    for name, value in asked.items():
        if found.get(name) == value:
            continue
        if name in inputs or name in ("videos", "timestamps"):
            what = f"from other {name} than {inputs.get(name, config.capture)} holds now"
        else:
            what = f"with --{name.replace('_', '-')} {found.get(name)}, not {value}"
        raise PosekitError(f"{config.out}: holds a run {what}; name another folder with --out")


def _require_no_more_rounds(config: BootstrapConfig) -> None:
    """Raise PosekitError where the run has had more rounds than are asked for: its result would be one from before them."""
    from posekit.bootstrap.pages.run_files import RunFiles
    from posekit.errors import PosekitError

    done = [each.number for each in RunFiles(config.out).rounds if (each.folder / "metrics.json").exists()]
    last = max(done, default=0)
    if last > config.rounds:
        raise PosekitError(
            f"{config.out}: holds a run of {last} rounds; --rounds {config.rounds}: {last} or more was expected"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run folder; the lock ends with the process, however that ends."""
    from posekit.errors import PosekitError

    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PosekitError(f"{folder}: another process is at work on this run") from None
        yield
