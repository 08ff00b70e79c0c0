"""OpenPose's 3D JSON: a folder with one file per frame, ``pose_keypoints_3d`` and its kin as flat lists x y z confidence.

As in OpenPose's own, a missing point is ``0 0 0 0``. The confidence is the share of the views that agree among those with a
detection; a point that was filled in has 0.1. The files also say the skeleton, the unit and the frame rate, which OpenPose's
readers pass over.
"""

import json
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import require_folder
from posekit.io.json_values import number_list
from posekit.io.openpose_json import read_openpose_file
from posekit.keypoints import Keypoints3D
from posekit.skeleton import Skeleton, get_skeleton

_FIELDS = {
    "body": "pose_keypoints_3d",
    "face": "face_keypoints_3d",
    "left_hand": "hand_left_keypoints_3d",
    "right_hand": "hand_right_keypoints_3d",
}
_FILLED_CONFIDENCE = 0.1
_FRAME_FILE = re.compile(r"([0-9]+)_keypoints\.json$")


@dataclass(frozen=True, eq=False)
class OpenPosePeople:
    """What a folder holds: xyz (F, P, J, 3) in the files' unit, NaN where missing; confidence (F, P, J); frames (F,).

    people: P ``person_id``s. fps: where the files say it.
    """

    xyz: NDArray[np.float64]
    confidence: NDArray[np.float64]
    frames: NDArray[np.int64]
    people: tuple[int, ...]
    skeleton: Skeleton
    fps: float | None


def write_openpose_3d(folder: str | Path, keypoints: Keypoints3D, people: tuple[int, ...] | None = None) -> None:
    """Write ``<folder>/<name>_000000000012_keypoints.json`` for every frame; the folder appears whole or not at all.

    people: all if not given; who has no point in a frame is not in its file. A folder of such files of an earlier run is
    replaced; any other that is there is refused. Raises PosekitError, also for a skeleton with other parts than a body,
    a face and two hands.
    """
    folder = Path(folder)
    parts = keypoints.skeleton.parts
    if unknown := [part for part in parts if part not in _FIELDS]:
        raise PosekitError(
            f"{folder}: OpenPose's JSON has no place for the part '{unknown[0]}' of {keypoints.skeleton.name}"
        )
    if not folder.absolute().parent.is_dir():
        raise PosekitError(f"{folder}: cannot be written: the folder {folder.parent} does not exist")
    if folder.exists() and not (folder.is_dir() and all(_FRAME_FILE.search(path.name) for path in folder.iterdir())):
        raise PosekitError(
            f"{folder}: is there already, and holds something else than {folder.stem}_..._keypoints.json"
        )
    chosen = tuple(range(keypoints.xyz.shape[1])) if people is None else people
    mark = secrets.token_hex(4)
    draft, old = (folder.with_name(f".{folder.name}.{mark}.{word}") for word in ("part", "old"))
    try:
        draft.mkdir()
        for row, frame in enumerate(keypoints.frames.tolist()):
            text = json.dumps(_frame(keypoints, row, chosen), allow_nan=False)
            (draft / f"{folder.stem}_{frame:012d}_keypoints.json").write_text(text, encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    finally:
        for path in (draft, old):
            shutil.rmtree(path, ignore_errors=True)


def _frame(keypoints: Keypoints3D, row: int, people: tuple[int, ...]) -> dict[str, Any]:
    content: dict[str, Any] = {"version": 1.3, "skeleton": keypoints.skeleton.name, "units": "m"}
    if keypoints.fps is not None:
        content["fps"] = keypoints.fps
    content["people"] = [
        _person(keypoints, row, person) for person in people if np.isfinite(keypoints.xyz[row, person]).any()
    ]
    return content


def _person(keypoints: Keypoints3D, row: int, person: int) -> dict[str, Any]:
    xyz = keypoints.xyz[row, person]
    agreeing = keypoints.inliers[row, person].sum(axis=-1)
    detected = np.isfinite(keypoints.reprojection_px[row, person]).sum(axis=-1)
    share = np.where(detected > 0, agreeing / np.maximum(detected, 1), 1.0)
    # At least a little, since a confidence of 0 says that there is no point.
    confidence = np.where(keypoints.made_up(row)[person], _FILLED_CONFIDENCE, np.maximum(share, 0.01))
    values = np.concatenate((xyz, confidence[:, None]), axis=1)
    values[~np.isfinite(xyz).all(axis=1)] = 0
    lists: dict[str, list[float]] = {
        field: [] for name in _FIELDS.values() for field in (name.replace("_3d", "_2d"), name)
    }
    for part in keypoints.skeleton.parts:
        lists[_FIELDS[part]] = values[keypoints.skeleton.part(part)].ravel().tolist()
    return {"person_id": [person], **lists}


def read_openpose_3d(folder: str | Path, skeleton: Skeleton | None = None) -> OpenPosePeople:
    """Read a folder of 3D JSON. skeleton: the one that the files name if not given; OpenPose's own name none.

    People are told apart by their ``person_id``, or by their place in the file where that is -1. Raises PosekitError where a
    file is damaged, has lists of another length, or names no skeleton.
    """
    folder = require_folder(folder, "OpenPose's 3D JSON, one file per frame")
    files = {int(found[1]): path for path in folder.iterdir() if (found := _FRAME_FILE.search(path.name))}
    if not files:
        raise PosekitError(f"{folder}: holds no file called <name>_000000000000_keypoints.json")
    contents = {frame: read_openpose_file(str(files[frame])) for frame in sorted(files)}
    rates = {content["fps"] for content in contents.values() if isinstance(content.get("fps"), int | float)}
    if skeleton is None:
        names = {str(content["skeleton"]) for content in contents.values() if "skeleton" in content}
        if len(names) != 1:
            raise PosekitError(f"{folder}: the files name {len(names)} skeletons, one was expected")
        skeleton = get_skeleton(names.pop())
    numbered = {
        frame: {_identity(person, place): person for place, person in enumerate(content["people"])}
        for frame, content in contents.items()
    }
    people = sorted({identity for group in numbered.values() for identity in group})
    values = np.zeros((len(contents), len(people), skeleton.joint_count, 4))
    for row, (frame, group) in enumerate(numbered.items()):
        for identity, person in group.items():
            for part in skeleton.parts:
                points = _points(files[frame], person, _FIELDS.get(part, part), len(skeleton.parts[part]))
                values[row, people.index(identity), skeleton.part(part)] = points
    missing = ~(values[..., 3] > 0) | ~np.isfinite(values).all(axis=-1)
    values[missing] = 0
    xyz = np.where(missing[..., None], np.nan, values[..., :3])
    fps = float(rates.pop()) if len(rates) == 1 else None
    return OpenPosePeople(xyz, values[..., 3], np.array(list(contents)), tuple(people), skeleton, fps)


def _identity(person: dict[str, Any], place: int) -> int:
    found = person.get("person_id")
    number = found[0] if isinstance(found, list) and found else found
    return number if isinstance(number, int) and number >= 0 else place


def _points(path: Path, person: dict[str, Any], field: str, count: int) -> NDArray[np.float64]:
    flat = person.get(field) or [0.0] * (4 * count)
    if not isinstance(flat, list) or len(flat) != 4 * count:
        found = len(flat) if isinstance(flat, list) else type(flat).__name__
        raise PosekitError(f"{path}: {field}: {4 * count} numbers were expected for {count} points, found {found}")
    numbers = number_list(flat)
    if numbers is None:
        raise PosekitError(f"{path}: {field}: holds something that is not a number")
    return numbers.astype(np.float64).reshape(count, 4)
