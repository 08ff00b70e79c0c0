"""``posekit export``: people in 3D to the files of other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from posekit.keypoints import Keypoints3D

#: What the name's end chooses, for the messages.
FORMATS = {".trc": "OpenSim, Pose2Sim", ".csv": "Anipose's pose-3d"}


@dataclass(frozen=True)
class ExportConfig:
    """Write people in 3D as .trc (OpenSim, Pose2Sim) or .csv (Anipose); several people make a file each."""

    keypoints: Annotated[Path, tyro.conf.Positional]
    """The keypoints3d.h5 to read."""
    out: Annotated[Path, tyro.conf.Positional]
    """The file to write: .trc (metres, Y up) or .csv (metres). Several people make out_p0.trc, out_p1.trc, ..."""
    person: int | None = None
    """Write this person only, under the name as it is given."""
    fps: float | None = None
    """Frames per second, where the keypoints do not say it."""
    up: Literal["y", "z"] = "y"
    """Axis that points up in a .trc file: y for OpenSim and Pose2Sim; z leaves the world as it is."""


def main(config: ExportConfig) -> None:
    """Run the command."""
    import math
    from dataclasses import replace

    from rich.console import Console

    from posekit.errors import PosekitError
    from posekit.io.files import require_folder
    from posekit.keypoints import Keypoints3D

    if config.out.suffix.lower() not in FORMATS:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in FORMATS.items())
        raise PosekitError(f"{config.out}: '{config.out.suffix}' is no format that can be written; known are: {known}")
    require_folder(config.out.parent, "the folder to write into")
    keypoints = Keypoints3D.load(config.keypoints)
    if config.fps is not None:
        if not 0 < config.fps < math.inf:
            raise PosekitError(f"--fps: {config.fps:g} is not a positive number")
        keypoints = replace(keypoints, fps=config.fps)
    if keypoints.fps is None and config.out.suffix.lower() == ".trc":
        raise PosekitError(f"{config.keypoints}: names no frame rate, which TRC needs; give it with --fps")
    files = _files(config, keypoints)
    _write_all(files, keypoints, config.up)
    console = Console(stderr=True, markup=False, highlight=False)
    for person, path in files.items():
        console.print(f"{path}: person {person}, {len(keypoints.frames)} frames")


def _files(config: ExportConfig, keypoints: "Keypoints3D") -> dict[int, Path]:
    """Return person -> file; people of whom there is not one point get none, unless asked for."""
    import numpy as np

    from posekit.errors import PosekitError

    people = keypoints.xyz.shape[1]
    if config.person is not None:
        if not 0 <= config.person < people:
            raise PosekitError(f"{config.keypoints}: has no person {config.person}; it has {people}, counted from 0")
        return {config.person: config.out}
    present = [person for person in range(people) if np.isfinite(keypoints.xyz[:, person]).any()]
    if not present:
        raise PosekitError(f"{config.keypoints}: holds not one 3D point")
    if len(present) == 1:
        return {present[0]: config.out}
    return {person: config.out.with_name(f"{config.out.stem}_p{person}{config.out.suffix}") for person in present}


def _write_all(files: dict[int, Path], keypoints: "Keypoints3D", up: Literal["y", "z"]) -> None:
    """Write all the files; where one of them cannot be made of the keypoints, none."""
    import shutil
    import tempfile

    from posekit.io.anipose_csv import write_anipose_csv
    from posekit.io.files import write_whole
    from posekit.io.trc import write_trc

    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for person, path in files.items():
            made[path] = Path(folder) / path.name
            if path.suffix.lower() == ".trc":
                write_trc(made[path], keypoints, person, up=up)
            else:
                write_anipose_csv(made[path], keypoints, person)
        for path, draft in made.items():
            with write_whole(path) as temporary:
                shutil.copyfile(draft, temporary)
