"""``posekit export``: people in 3D to the files of other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from posekit.keypoints import Keypoints3D


@dataclass(frozen=True)
class _Format:
    """What is known of a format before anything is read: for the messages, and what an option means if it is not given.

    up, unit: None where the format keeps the world's own axes and metres. one_file: it holds several people.
    """

    readers: str
    up: str | None = None
    unit: str | None = None
    needs_rate: bool = False
    one_file: bool = False


#: By the name's end.
FORMATS = {
    ".trc": _Format("OpenSim, Pose2Sim", up="y", unit="m", needs_rate=True),
    ".c3d": _Format("motion capture laboratories", up="z", unit="mm", needs_rate=True, one_file=True),
    ".csv": _Format("Anipose's pose-3d"),
    ".bvh": _Format("Blender, MotionBuilder", up="y", unit="cm", needs_rate=True),
    ".json": _Format("OpenPose's 3D JSON", one_file=True),
}


@dataclass(frozen=True)
class ExportConfig:
    """Write people in 3D as .trc (OpenSim, Pose2Sim), .c3d, .csv (Anipose), .bvh (Blender) or .json (OpenPose)."""

    keypoints: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """The keypoints3d.h5 to read."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The file to write; its ending says the format. Several people make out_p0.trc, out_p1.trc, ... (.c3d and .json hold
    them all). people.json makes a folder people_json with a file for each frame."""
    person: int | None = None
    """Write this person only, under the name as it is given."""
    span: tuple[int, int] | None = None
    """First and last frame number to write; all if not given."""
    fps: float | None = None
    """Frames per second, where the keypoints do not say it."""
    world_up: Literal["z", "y", "x", "-z", "-y", "-x"] = "z"
    """Axis of the keypoints' world that points up."""
    up: Literal["z", "y", "x", "-z", "-y", "-x"] | None = None
    """Axis that points up in the file; if not given, y in .trc and .bvh and z in .c3d. .csv and .json keep the world's axes."""
    unit: Literal["m", "cm", "mm"] | None = None
    """Unit of the file; if not given, m in .trc, cm in .bvh, mm in .c3d. .csv and .json are in metres."""
    json: Path | None = None
    """Write the figures of a .bvh file's fit here, too."""


def main(config: ExportConfig) -> None:
    """Run the command."""
    from dataclasses import asdict

    from rich.console import Console

    from posekit.apps.checks import load_people, require_places
    from posekit.apps.provenance import record_path, write_record
    from posekit.errors import PosekitError
    from posekit.io.files import write_json

    _check(config)
    keypoints = _select(config, load_people(config.keypoints))
    if keypoints.fps is None and _format(config).needs_rate:
        name = config.out.suffix[1:].upper()
        raise PosekitError(f"{config.keypoints}: names no frame rate, which {name} needs; give it with --fps")
    files = _files(config, keypoints)
    if config.out.suffix.lower() != ".json":  # that makes a folder, which replaces none but its own kind
        require_places((*files, record_path(config.out), config.json), (config.keypoints,))
    figures = _write_all(config, files, keypoints)
    fits = {str(path): asdict(fit) for path, fit in figures.items()}
    write_record(config.out, "export", config, [config.keypoints], files=[str(path) for path in files], fit=fits)
    if config.json:
        write_json(config.json, {"files": fits})
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    for path, people in files.items():
        who = f"person {people[0]}" if len(people) == 1 else f"{len(people)} people"
        console.print(f"{path}: {who}, {len(keypoints.frames)} frames")
        if fit := figures.get(path):
            console.print(
                f"  fitted bones: joints within {fit.mean_mm:.1f} mm on average (median {fit.median_mm:.1f}, 95% "
                f"{fit.p95_mm:.1f}); {fit.missing} of {fit.points + fit.missing} were missing and are carried over"
            )
            if fit.left_out:
                console.print(f"  never measured and left out: {', '.join(fit.left_out)}")


def _format(config: ExportConfig) -> _Format:
    return FORMATS[config.out.suffix.lower()]


def _check(config: ExportConfig) -> None:
    """Say before the work what could not be done."""
    from posekit.apps.checks import require_places, require_positive
    from posekit.errors import PosekitError

    if config.out.suffix.lower() not in FORMATS:
        known = ", ".join(f"{suffix} ({kind.readers})" for suffix, kind in FORMATS.items())
        raise PosekitError(f"{config.out}: '{config.out.suffix}' is no format that can be written; known are: {known}")
    kind = _format(config)
    require_places((config.out, config.json), (config.keypoints,))
    for option, value, known_of in (("--up", config.up, kind.up), ("--unit", config.unit, kind.unit)):
        if value is not None and known_of is None:
            raise PosekitError(f"{option} {value}: {config.out.suffix} files have the world's own axes and metres")
    if config.world_up != "z" and kind.up is None:
        raise PosekitError(
            f"--world-up {config.world_up}: {config.out.suffix} files have the world's own axes and metres"
        )
    require_positive("--fps", config.fps)
    if config.json and config.out.suffix.lower() != ".bvh":
        raise PosekitError(f"--json {config.json}: only a .bvh file's fit has figures")


def _select(config: ExportConfig, keypoints: "Keypoints3D") -> "Keypoints3D":
    """Take the frames asked for, at the rate asked for."""
    from dataclasses import replace

    from posekit.errors import PosekitError

    if config.fps is not None:
        keypoints = replace(keypoints, fps=config.fps)
    if config.span is None:
        return keypoints
    first, last = config.span
    frames = keypoints.frames
    rows = (frames >= first) & (frames <= last)
    if first < frames.min() or last > frames.max() or not rows.any():
        raise PosekitError(f"--span {first} {last}: {config.keypoints} has frames {frames.min()} to {frames.max()}")
    names = ("xyz", "covariance", "inliers", "reprojection_px", "status", "frames")
    return replace(keypoints, **{name: getattr(keypoints, name)[rows] for name in names})


def _files(config: ExportConfig, keypoints: "Keypoints3D") -> dict[Path, tuple[int, ...]]:
    """Return file -> its people; who has not one point is in none, unless asked for."""
    import numpy as np

    from posekit.errors import PosekitError

    people = keypoints.xyz.shape[1]
    out = config.out
    if out.suffix.lower() == ".json":
        out = out.with_name(f"{out.stem}_json")
    if config.person is not None:
        if not 0 <= config.person < people:
            raise PosekitError(f"{config.keypoints}: has no person {config.person}; it has {people}, counted from 0")
        return {out: (config.person,)}
    present = tuple(person for person in range(people) if np.isfinite(keypoints.xyz[:, person]).any())
    if not present:
        raise PosekitError(f"{config.keypoints}: holds not one 3D point")
    if len(present) == 1 or _format(config).one_file:
        return {out: present}
    return {out.with_name(f"{out.stem}_p{person}{out.suffix}"): (person,) for person in present}


def _write_all(config: ExportConfig, files: dict[Path, tuple[int, ...]], keypoints: "Keypoints3D") -> dict[Path, Any]:
    """Write all the files; where one of them cannot be made of the keypoints, none. Returns the fits' figures."""
    import tempfile

    from posekit.errors import PosekitError
    from posekit.io.openpose_json_3d import write_openpose_3d

    if config.out.suffix.lower() == ".json":
        for path, people in files.items():
            write_openpose_3d(path, keypoints, people)
        return {}
    figures = {}
    # Beside the files, under their own names, which TRC has in its header; from there they only need to be renamed.
    try:
        drafts_folder = tempfile.TemporaryDirectory(prefix=f".{config.out.stem}.", dir=config.out.parent)
    except OSError as error:
        raise PosekitError(f"{config.out}: cannot be written: {error.strerror}") from error
    with drafts_folder as folder:
        drafts = {path: Path(folder) / path.name for path in files}
        try:
            for path, draft in drafts.items():
                fit = _write(config, draft, keypoints, files[path])
                if fit is not None:
                    figures[path] = fit
        except PosekitError as error:
            raise PosekitError(str(error).replace(folder, str(config.out.parent))) from None
        for path, draft in drafts.items():
            draft.replace(path)
    return figures


def _write(config: ExportConfig, path: Path, keypoints: "Keypoints3D", people: tuple[int, ...]) -> Any:
    from functools import partial

    from posekit.apps.progress import progress_bars
    from posekit.io.anipose_csv import write_anipose_csv
    from posekit.io.bvh import write_bvh
    from posekit.io.c3d import write_c3d
    from posekit.io.trc import write_trc

    kind, suffix = _format(config), path.suffix.lower()
    if suffix == ".csv":
        return write_anipose_csv(path, keypoints, people[0])
    options: dict[str, Any] = {
        "up": config.up or kind.up,
        "unit": config.unit or kind.unit,
        "world_up": config.world_up,
    }
    if suffix == ".c3d":
        return write_c3d(path, keypoints, people, **options)
    if suffix == ".trc":
        return write_trc(path, keypoints, people[0], **options)
    with progress_bars() as show:
        return write_bvh(path, keypoints, people[0], **options, on_frames=partial(show, "fitting"))
