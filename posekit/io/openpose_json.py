"""OpenPose's JSON folders: one folder per camera, one file per frame.

A file holds ``people``, each with flat lists ``x y confidence`` for the body and, where it was asked for, both hands; a point
that was not found is ``0 0 0``. It does not say which body model made it: BODY_25 and BODY_25B both have 25 points. Pose2Sim
writes the same files for any model of RTMPose, all joints in the list of the body.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.camera_files import common_frames, is_frame_file, list_frame_files
from posekit.io.files import natural_order, require_folder
from posekit.io.json_values import number_list, read_bytes, read_json_file
from posekit.keypoints import Keypoints2D
from posekit.skeleton import COCO_17, HAND_21, SKELETONS, Skeleton, skeletons_of, takes_hands, with_hands

_BODY_FIELD = "pose_keypoints_2d"
_HAND_FIELDS = ("hand_left_keypoints_2d", "hand_right_keypoints_2d")
_HAND_NUMBERS = re.compile(rb'"hand_(?:left|right)_keypoints_2d"\s*:\s*\[\s*[^\]\s]')

#: Frames that are read, evenly over the capture, to tell the order of the joints; more of them where they show nobody.
_SAMPLED_FRAMES = (64, 4096)

#: Read in another order than their own, the bones of people are so many times as long: 2.6 and 2.8 in two recordings.
_TANGLED = 1.7

#: One person of one file: where it is, for messages, and the lists.
_Person = tuple[str, dict[str, Any]]


class OpenPoseFolder:
    """A capture in ``folder/<camera>_json/*.json`` or ``folder/<camera>/*.json``, or of one camera in ``folder/*.json``.

    skeleton: the order of the joints in the list of the body, or None to have it told by their number, and, where two orders
    have as many, by which of them makes the shorter bones. Hands are added to a body where any file has them; that is found
    out by looking into the files until one has, or at once where the skeleton says so (``BODY_25+hands``). HAND_21 reads
    folders of one hand. The list of the face is left out. fps: frames per second; the files do not say.

    Raises PosekitError for a damaged file, for a list of the wrong length, where the joints lie as those of another
    skeleton, and where a camera lacks frames that others have. Listing 1.7 million files keeps their names, 70 MB.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton | None = None, fps: float | None = None) -> None:
        folder = require_folder(folder, "OpenPose JSON, one folder per camera")
        self._folder = folder
        self._files = {camera: list_frame_files(place) for camera, place in _camera_folders(folder).items()}
        self.frames = common_frames(folder, {camera: files.frames for camera, files in self._files.items()})
        self.cameras = tuple(self._files)
        self.fps = fps
        self.source = str(folder)
        people = self._sample()
        self.skeleton, self._fields = self._order(people, skeleton)
        _check_order(folder, people, self.skeleton)

    def read(self, start: int, stop: int, on_file: Callable[[int, int], None] | None = None) -> Keypoints2D:
        """Return the frames ``frames[start:stop]``; only their files are read.

        on_file: called with (files read, files in all).
        """
        places = range(len(self.frames))[start:stop]
        people: list[list[NDArray[np.float32]]] = []
        total = len(places) * len(self.cameras)
        for f, place in enumerate(places):
            people.append([])
            for c, files in enumerate(self._files.values()):
                people[f].append(self._read_file(files.path(place)))
                if on_file:
                    on_file(f * len(self.cameras) + c + 1, total)
        P = max((len(group) for views in people for group in views), default=0)
        values = np.zeros((len(places), len(self.cameras), P, self.skeleton.joint_count, 3), dtype=np.float32)
        for f, views in enumerate(people):
            for c, group in enumerate(views):
                values[f, c, : len(group)] = group
        # (0, 0) with a confidence would be a detection in the very corner; OpenPose never gives one.
        values[..., 2][(values[..., :2] == 0).all(axis=-1)] = 0
        numbers = self.frames[places.start : places.stop]
        return Keypoints2D(values[..., :2], values[..., 2], self.cameras, numbers, self.skeleton, self.fps, self.source)

    def _read_file(self, path: str) -> NDArray[np.float32]:
        """Everyone of one file, (people, J, 3)."""
        people = read_openpose_file(path)["people"]
        rows = np.empty((len(people), self.skeleton.joint_count * 3), dtype=np.float32)
        for p, person in enumerate(people):
            rows[p] = _numbers(f"{path}: people[{p}]", person, self._fields)
        return rows.reshape(len(people), self.skeleton.joint_count, 3)

    def _sample(self) -> list[_Person]:
        """Everyone in frames spread over the capture."""
        people: list[_Person] = []
        for count in _SAMPLED_FRAMES:
            if not people:
                places = np.linspace(0, len(self.frames) - 1, min(count, len(self.frames))).astype(int)
                paths = (files.path(place) for files in self._files.values() for place in places)
                people = [
                    (f"{path}: people[{p}]", person)
                    for path in paths
                    for p, person in enumerate(read_openpose_file(path)["people"])
                    if any(person.get(field) for field in (_BODY_FIELD, *_HAND_FIELDS))
                ]
        return people

    def _order(self, people: list[_Person], skeleton: Skeleton | None) -> tuple[Skeleton, dict[str, Skeleton]]:
        """The skeleton of the result, and the lists of a file that fill it up in order, each with its skeleton."""
        body = skeleton or _told_by_content(self._folder, people)
        if "hand" in body.parts:
            return body, {_field_of_the_hand(self._folder, people): body}
        if body.name.endswith("+hands"):
            alone = SKELETONS[body.name.removesuffix("+hands")]
            return body, {_BODY_FIELD: alone, **dict.fromkeys(_HAND_FIELDS, HAND_21)}
        if takes_hands(body) and self._has_hands():
            return with_hands(body), {_BODY_FIELD: body, **dict.fromkeys(_HAND_FIELDS, HAND_21)}
        return body, {_BODY_FIELD: body}

    def _has_hands(self) -> bool:
        """Look into the files for the numbers of a hand: in some spread over the capture first, then in every one."""
        count = len(self.frames)
        sampled = np.linspace(0, count - 1, min(_SAMPLED_FRAMES[0], count)).astype(int).tolist()
        for place in (*sampled, *range(count)):
            for files in self._files.values():
                if _HAND_NUMBERS.search(read_bytes(files.path(place))):
                    return True
        return False


def read_openpose_folder(
    folder: str | Path,
    skeleton: Skeleton | None,
    fps: float | None = None,
    on_file: Callable[[int, int], None] | None = None,
) -> Keypoints2D:
    """Read a whole folder; see `OpenPoseFolder`. on_file: called with (files read, files in all)."""
    source = OpenPoseFolder(folder, skeleton, fps)
    return source.read(0, len(source.frames), on_file)


def _told_by_content(folder: Path, people: list[_Person]) -> Skeleton:
    counts = [len(person[_BODY_FIELD]) for _, person in people if isinstance(person.get(_BODY_FIELD) or None, list)]
    if people and not counts:
        return HAND_21  # every person in the files has hands and nothing else
    candidates = [order for order in skeletons_of(counts[0] // 3) if "hand" not in order.parts] if counts else []
    if COCO_17 in candidates:
        return COCO_17  # Human3.6M's order has as many, but no detector that writes these files gives it
    lengths = sorted((_bone_length(people, order), order.name) for order in candidates)
    if len(lengths) == 1 or (len(lengths) > 1 and lengths[1][0] > _TANGLED * lengths[0][0]):
        return SKELETONS[lengths[0][1]]
    if not counts:
        reason = "nobody is in the frames looked at"
    elif not candidates:
        reason = f"none known has the {counts[0] // 3} points of a person here"
    else:
        reason = " and ".join(order.name for order in candidates) + f" both have {counts[0] // 3} points"
    raise PosekitError(
        f"{folder}: the order of the joints is not told by the files ({reason}): name it with --skeleton"
    )


def _field_of_the_hand(folder: Path, people: list[_Person]) -> str:
    # A hand that was looked for and not found is a list of zeros.
    filled = [
        field
        for field in _HAND_FIELDS
        if any(_numbers(where, person, {field: HAND_21}).any() for where, person in people)
    ]
    if len(filled) == 2:
        raise PosekitError(
            f"{folder}: holds left and right hands, {HAND_21.name} is one; for both, name the body's skeleton (BODY_25)"
        )
    return filled[0] if filled else _HAND_FIELDS[1]


def _bone_length(people: list[_Person], order: Skeleton) -> float:
    """The median length of the bones, px, of everyone who has as many joints; NaN where there is nobody."""
    lists = [
        _numbers(where, person, {_BODY_FIELD: order})
        for where, person in people
        if isinstance(person.get(_BODY_FIELD), list) and len(person[_BODY_FIELD]) == 3 * order.joint_count
    ]
    x, y, confidence = np.array(lists, dtype=np.float32).reshape(-1, order.joint_count, 3).transpose(2, 0, 1)
    found = (confidence > 0) & ((x != 0) | (y != 0))
    start, end = np.array(order.bones).T
    lengths = np.hypot(x[:, start] - x[:, end], y[:, start] - y[:, end])[found[:, start] & found[:, end]]
    return float(np.median(lengths[np.isfinite(lengths)])) if np.isfinite(lengths).any() else np.nan


def _check_order(folder: Path, people: list[_Person], skeleton: Skeleton) -> None:
    """Raise PosekitError where the joints lie as those of another skeleton.

    Two skeletons of 25 joints are in use, and the files do not say theirs. Read in the wrong order, people are tangles whose
    rays meet all the same.
    """
    body = SKELETONS.get(skeleton.name.removesuffix("+hands"), skeleton)
    others = [order for order in skeletons_of(body.joint_count) if order.name != body.name and "body" in order.parts]
    for other in others if "body" in body.parts else ():
        if _bone_length(people, body) > _TANGLED * _bone_length(people, other):
            raise PosekitError(
                f"{folder}: the joints lie as those of {other.name}, not of {body.name}: read with --skeleton {other.name}"
            )


def _camera_folders(folder: Path) -> dict[str, Path]:
    """Camera name -> its folder, in the order of the names' numbers."""
    places: dict[str, Path] = {}
    for place in folder.iterdir():
        if place.is_dir() and not place.name.startswith(".") and holds_frame_files(place):
            name = place.name.removesuffix("_json")
            if name in places:
                raise PosekitError(f"{folder}: {place.name} and {places[name].name} are both of camera '{name}'")
            places[name] = place
    if not places and holds_frame_files(folder):
        places[folder.resolve().name.removesuffix("_json")] = folder
    if not places:
        raise PosekitError(f"{folder}: holds no folder with JSON files (<camera>_json/*.json was expected)")
    return {name: places[name] for name in sorted(places, key=natural_order)}


def holds_frame_files(place: Path) -> bool:
    """Tell whether there are JSON files in a folder itself."""
    with os.scandir(place) as entries:
        return any(is_frame_file(entry.name) for entry in entries)


def read_openpose_file(path: str) -> dict[str, Any]:
    """Return the content of a file in 2D or 3D, of which `people` is a list of dicts; raises PosekitError where it is none."""
    content = read_json_file(path)
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise PosekitError(f"{path}: people: a list of people was expected; this is no OpenPose file")
    return dict(content)


def _numbers(where: str, person: dict[str, Any], fields: dict[str, Skeleton]) -> NDArray[np.float64]:
    """The numbers of some lists of a person, one after the other."""
    flat: list[Any] = []
    for field, skeleton in fields.items():
        values = person.get(field) or []
        if not isinstance(values, list) or len(values) not in (0, 3 * skeleton.joint_count):
            raise PosekitError(f"{where}: {field}: {_wrong_length(values, skeleton)}")
        flat += values or [0.0] * (3 * skeleton.joint_count)
    numbers = number_list(flat)
    if numbers is None:
        raise PosekitError(f"{where}: {' or '.join(fields)}: holds something that is not a number")
    return numbers


def _wrong_length(values: Any, skeleton: Skeleton) -> str:
    count = skeleton.joint_count
    expected = f"{3 * count} numbers were expected for the {count} points of {skeleton.name}, found "
    if not isinstance(values, list):
        return expected + type(values).__name__
    fitting = ", ".join(order.name for order in skeletons_of(len(values) // 3)) if len(values) % 3 == 0 else ""
    return f"{expected}{len(values)}" + (f" (as many as {fitting} has: --skeleton)" if fitting else "")
