"""``positions_3d`` files: the .npz in which VideoPose3D and those after it keep a data set's joints, by subject and action.

They hold one pickled table, {subject: {action: (F, J, 3)}}, metres, Z up. It is followed command by command
(`posekit.datasets.array_pickle`), so that nothing in the file runs.
"""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.datasets.array_pickle import parse_array_pickle
from posekit.datasets.mocap import MocapClip
from posekit.errors import PosekitError
from posekit.io.files import require_file

_MEMBER = "positions_3d.npy"


def read_positions(path: str | Path, layouts: dict[int, dict[int, str]], fps: float, what: str) -> list[MocapClip]:
    """Read the clips.

    layouts: for each number of joints that a file may have, which of its joints is which of posekit's. what: for messages.

    Raises PosekitError where the file is damaged, runs anything, or holds other joints.
    """
    path = require_file(path, what)
    table = _table(path, what)
    clips = []
    for subject, actions in table.items():
        if not isinstance(actions, dict):
            raise PosekitError(
                f"{path}: subject '{subject}': found {type(actions).__name__}, expected a table of actions"
            )
        for action, xyz in actions.items():
            clips.append(_clip(path, str(subject), str(action), xyz, layouts, fps))
    if not clips:
        raise PosekitError(f"{path}: positions_3d: found no action, expected {what}")
    return clips


def action_of(name: str) -> str:
    """The action without the number of the take: ``Walking 1`` is walking, ``Box 1 chunk0`` is box."""
    words = [word for word in name.replace("_", " ").split() if not word.isdigit() and not word.startswith("chunk")]
    return "_".join(words).casefold()


def _clip(
    path: Path, subject: str, action: str, xyz: object, layouts: dict[int, dict[int, str]], fps: float
) -> MocapClip:
    counts = " or ".join(str(count) for count in layouts)
    if (
        not isinstance(xyz, np.ndarray)
        or xyz.dtype.kind != "f"
        or xyz.ndim != 3
        or xyz.shape[2] != 3
        or xyz.shape[1] not in layouts
    ):
        found = f"{xyz.dtype} {xyz.shape}" if isinstance(xyz, np.ndarray) else type(xyz).__name__
        raise PosekitError(f"{path}: {subject}, {action}: found {found}, expected joints (frames, {counts}, 3)")
    places = layouts[xyz.shape[1]]
    points: NDArray[np.float32] = xyz[:, list(places)].astype(np.float32)
    return MocapClip(f"{subject}/{action}", subject, action_of(action), fps, tuple(places.values()), points)


def _table(path: Path, what: str) -> dict[object, object]:
    try:
        with zipfile.ZipFile(path) as archive:
            if _MEMBER not in archive.namelist():
                raise PosekitError(
                    f"{path}: holds {', '.join(archive.namelist()) or 'nothing'}, expected positions_3d: {what}"
                )
            raw = archive.read(_MEMBER)
        file = io.BytesIO(raw)
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        header(file)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise PosekitError(f"{path}: is no whole .npz ({type(error).__name__}), expected {what}") from None
    table = parse_array_pickle(raw[file.tell() :], str(path))
    if not isinstance(table, dict):
        raise PosekitError(f"{path}: positions_3d: found {type(table).__name__}, expected a table of subjects")
    return table
