"""OpenPose's JSON folders: one folder per camera, one file per frame.

A file holds ``people``, each with flat lists ``x y confidence`` for the body and, where it was asked for, both hands; a point
that was not found is ``0 0 0``. It does not say which body model made it: BODY_25 and BODY_25B both have 25 points.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import natural_order, require_folder
from posekit.keypoints import Keypoints2D
from posekit.skeleton import BODY_25, BODY_25B, Skeleton, with_hands

_HAND_FIELDS = (("left_hand", "hand_left_keypoints_2d"), ("right_hand", "hand_right_keypoints_2d"))

#: The frame number is the last run of digits before the ending: cam01.0000.json, cam01_000000000000_keypoints.json.
_FRAME_NUMBER = re.compile(r"([0-9]+)(?:_keypoints)?\.json$")


def read_openpose_folder(
    folder: str | Path,
    skeleton: Skeleton,
    fps: float | None = None,
    on_file: Callable[[int, int], None] | None = None,
) -> Keypoints2D:
    """Read ``folder/<camera>_json/*.json`` (or ``folder/<camera>/*.json``), every camera over the same frames.

    skeleton: of the body, without hands; hands are added where any file has them. A valid file without people is a frame
    without people. on_file: called with (files read, files in all).

    Raises PosekitError for a damaged file, for a list of the wrong length, where the joints lie as those of another
    skeleton, and where a camera lacks frames that others have.
    """
    if set(skeleton.parts) != {"body"}:
        raise PosekitError(
            f"skeleton {skeleton.name}: one of a body without hands was expected to read OpenPose JSON by"
        )
    folder = require_folder(folder, "OpenPose JSON, one folder per camera")
    files = {camera: _frame_files(place) for camera, place in _camera_folders(folder).items()}
    frames = _common_frames(folder, files)
    total = len(frames) * len(files)
    people: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for c, camera in enumerate(files):
        for f, frame in enumerate(frames):
            people[f, c] = _read_people(files[camera][frame])
            if on_file:
                on_file(c * len(frames) + f + 1, total)
    hands = any(person.get(name) for group in people.values() for person in group for _, name in _HAND_FIELDS)
    full = with_hands(skeleton) if hands else skeleton
    P = max((len(group) for group in people.values()), default=0)
    values = np.zeros((len(frames), len(files), P, full.joint_count, 3), dtype=np.float32)
    for (f, c), group in people.items():
        for p, person in enumerate(group):
            where = f"{list(files.values())[c][frames[f]]}: people[{p}]"
            values[f, c, p, full.part("body")] = _points(where, person, "pose_keypoints_2d", skeleton.joint_count)
            for part, name in _HAND_FIELDS if hands else ():
                values[f, c, p, full.part(part)] = _points(where, person, name, 21)
    # (0, 0) with a confidence would be a detection in the very corner; OpenPose never gives one.
    confidence = np.where((values[..., :2] == 0).all(axis=-1), 0, values[..., 2])
    _check_order(folder, np.where(confidence > 0, values[..., 0] + 1j * values[..., 1], np.nan), skeleton)
    return Keypoints2D(values[..., :2], confidence, tuple(files), np.array(frames), full, fps, str(folder))


def _check_order(folder: Path, places: NDArray[np.complexfloating], skeleton: Skeleton) -> None:
    """Raise PosekitError where the joints lie as those of another skeleton; places: (..., J) px as complex numbers.

    Two skeletons of 25 joints are in use, and the files do not say theirs. Read in the wrong order, people are tangles whose
    rays meet all the same: bones were 2.6 and 2.8 times as long as in the right order, in two recordings.
    """

    def bone_length(order: Skeleton) -> float:
        start, end = np.array(order.bones).T
        lengths = np.abs(places[..., start] - places[..., end])
        return float(np.median(lengths[np.isfinite(lengths)])) if np.isfinite(lengths).any() else np.nan

    others = [order for order in (BODY_25, BODY_25B) if order.name != skeleton.name]
    for other in others if skeleton.joint_count == BODY_25.joint_count else ():
        if bone_length(skeleton) > 1.7 * bone_length(other):
            raise PosekitError(
                f"{folder}: the joints lie as those of {other.name}, not of {skeleton.name}: read with --skeleton {other.name}"
            )


def _camera_folders(folder: Path) -> dict[str, Path]:
    """Camera name -> its folder, in the order of the names' numbers."""
    places: dict[str, Path] = {}
    for place in folder.iterdir():
        if place.is_dir() and not place.name.startswith(".") and _json_files(place):
            name = place.name.removesuffix("_json")
            if name in places:
                raise PosekitError(f"{folder}: {place.name} and {places[name].name} are both of camera '{name}'")
            places[name] = place
    if not places:
        raise PosekitError(f"{folder}: holds no folder with JSON files (<camera>_json/*.json was expected)")
    return {name: places[name] for name in sorted(places, key=natural_order)}


def _json_files(place: Path) -> list[Path]:
    return sorted(path for path in place.glob("*.json") if not path.name.startswith("."))


def _frame_files(place: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in _json_files(place):
        found = _FRAME_NUMBER.search(path.name)
        if not found or int(found[1]) >= 2**63:
            raise PosekitError(f"{path}: has no frame number in its name (such as cam01_000000000012_keypoints.json)")
        frame = int(found[1])
        if frame in files:
            raise PosekitError(f"{path}: frame {frame} is there twice (also {files[frame].name})")
        files[frame] = path
    return files


def _common_frames(folder: Path, files: dict[str, dict[int, Path]]) -> list[int]:
    union = sorted(set().union(*files.values()))
    for camera, numbered in files.items():
        missing = [frame for frame in union if frame not in numbered]
        if missing:
            raise PosekitError(
                f"{folder}: camera '{camera}' has {len(numbered)} of the {len(union)} frames that the cameras have together; "
                f"the first it lacks is frame {missing[0]}"
            )
    return union


def _read_people(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        size = path.stat().st_size
        raise PosekitError(f"{path}: is damaged ({size} bytes; {error})") from None
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise PosekitError(f"{path}: people: a list of people was expected; this is no OpenPose file")
    return people


def _points(where: str, person: dict[str, Any], field: str, count: int) -> np.ndarray:
    flat = person.get(field) or []
    if not isinstance(flat, list) or len(flat) not in (0, 3 * count):
        found = len(flat) if isinstance(flat, list) else type(flat).__name__
        raise PosekitError(f"{where}: {field}: {3 * count} numbers were expected for {count} points, found {found}")
    try:
        with np.errstate(over="ignore"):  # larger than float32: infinite, and so missing
            return np.array(flat or [0] * (3 * count), dtype=np.float32).reshape(count, 3)
    except (TypeError, ValueError, OverflowError):
        raise PosekitError(f"{where}: {field}: holds something that is not a number") from None
