"""Which file or folder is of which camera, and which of its files is of which frame."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import natural_order

# The frame number is the last run of digits before the ending: cam01.0000.json, cam01_000000000000_keypoints.json.
_FRAME_FILE = re.compile(r"(.*?)([0-9]+)(?:_keypoints)?\.json")

# What tools append to the name of a video or of a camera.
_TOOLS_ENDING = re.compile(
    r"(DLC_.*|DeepCut_.*|_(keypoints|kpts|results?|predictions?|detections|landmarks|wholebody|coco|2d|json))+$", re.I
)


@dataclass(frozen=True, eq=False)
class FrameFiles:
    """The files of one camera, one per frame: names (F,) as bytes, in the order of the frame numbers (F,) int64.

    An hour at 60 Hz is 216,000 names: as an array they take a tenth of what a list of paths takes.
    """

    folder: Path
    names: NDArray[np.bytes_]
    frames: NDArray[np.int64]

    def path(self, place: int) -> str:
        """Return the path of the file of ``frames[place]``."""
        return os.path.join(self.folder, os.fsdecode(self.names[place]))  # noqa: PTH118 -- called once per frame


def is_frame_file(name: str) -> bool:
    """Tell a JSON file from what file systems and people leave beside it."""
    return name.endswith(".json") and not name.startswith(".")


def list_frame_files(folder: Path) -> FrameFiles:
    """List the JSON files of one camera.

    Raises PosekitError for a file without a frame number, for two files of one frame, and for files of two namings: whoever
    puts two recordings into one folder gets neither.
    """
    names: list[str] = []
    numbers: list[int] = []
    first_prefix: str | None = None
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_frame_file(entry.name):
                continue
            found = _FRAME_FILE.fullmatch(entry.name)
            if not found or int(found[2]) >= 2**63:
                path = folder / entry.name
                raise PosekitError(
                    f"{path}: has no frame number in its name (such as cam01_000000000012_keypoints.json)"
                )
            prefix = found[1]
            first_prefix = prefix if first_prefix is None else first_prefix
            if prefix != first_prefix:
                one, other = sorted((prefix, first_prefix))
                raise PosekitError(
                    f"{folder}: holds files named '{one}<frame>' and '{other}<frame>'; those of one camera and one "
                    "recording were expected (several cameras: one folder each, <camera>_json)"
                )
            names.append(entry.name)
            numbers.append(int(found[2]))
    frames = np.array(numbers, dtype=np.int64)
    order = np.argsort(frames, kind="stable")
    frames = frames[order]
    twice = np.flatnonzero(np.diff(frames) == 0)
    if len(twice):
        same = sorted(names[place] for place in order[twice[0] : twice[0] + 2])
        raise PosekitError(f"{folder / same[1]}: frame {frames[twice[0]]} is there twice (also {same[0]})")
    return FrameFiles(folder, np.array([os.fsencode(names[place]) for place in order], dtype=np.bytes_), frames)


def common_frames(source: Path, frames: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the frame numbers that every camera has; raises PosekitError, naming camera and frame, where one lacks some."""
    numbers = list(frames.values())
    if all(np.array_equal(numbers[0], other) for other in numbers[1:]):
        return numbers[0]
    union = np.unique(np.concatenate(numbers))
    camera, missing = next(
        (camera, lacking) for camera, have in frames.items() if len(lacking := np.setdiff1d(union, have))
    )
    raise PosekitError(
        f"{source}: camera '{camera}' has {len(frames[camera])} of the {len(union)} frames that the cameras have together; "
        f"the first it lacks is frame {missing[0]}"
    )


def files_of_cameras(source: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Return camera name -> file, in the order of the names' numbers, of a folder with one file per camera, or of one file.

    The camera is the file's name up to what tools append: ``cam1`` of cam1_keypoints.json and of cam1DLC_resnet50_....h5; with
    several files also without the words in which all of them end.
    """
    paths = [source] if source.is_file() else sorted(source.iterdir())
    paths = [
        path
        for path in paths
        if path.is_file() and not path.name.startswith(".") and path.name.casefold().endswith(tuple(endings))
    ]
    stems = [_TOOLS_ENDING.sub("", _without_ending(path.name, endings)) for path in paths]
    words = [re.split(r"(?=[_.])", stem) for stem in stems]
    while len(words) > 1 and all(len(parts) > 1 for parts in words) and len({parts[-1] for parts in words}) == 1:
        words = [parts[:-1] for parts in words]
    found: dict[str, Path] = {}
    for path, parts in zip(paths, words, strict=True):
        name = "".join(parts) or _without_ending(path.name, endings)
        if name in found:
            raise PosekitError(f"{source}: {path.name} and {found[name].name} are both of camera '{name}'")
        found[name] = path
    return {name: found[name] for name in sorted(found, key=natural_order)}


def _without_ending(name: str, endings: Sequence[str]) -> str:
    ending = max((ending for ending in endings if name.casefold().endswith(ending)), key=len)
    return name[: -len(ending)]
