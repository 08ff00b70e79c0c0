"""Skeletons that users define in a TOML file: an animal, a tool.

::

    name = "mouse"
    joints = ["nose", "left_ear", "right_ear", "tail_base"]
    bones = [["nose", "left_ear"], ["nose", "right_ear"], ["nose", "tail_base"]]
    left_right = [["left_ear", "right_ear"]]     # pairs that are each other's mirror image; may be left out
    groups = [["left_ear", "right_ear"]]         # joints that are triangulated together; may be left out
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posekit.errors import PosekitError
from posekit.io.files import require_file
from posekit.skeleton import Skeleton

_KEYS = ("name", "joints", "bones", "left_right", "groups")

#: The part that all joints of a defined skeleton are in.
PART = "subject"


@dataclass(frozen=True)
class SubjectDefinition:
    """A skeleton, and which of its joints (places) are triangulated together; every joint is in one group."""

    skeleton: Skeleton
    groups: tuple[tuple[int, ...], ...]


def body_definition(skeleton: Skeleton) -> SubjectDefinition:
    """The body of a skeleton, without the hands and the face, every joint by itself."""
    if set(skeleton.parts) == {"body"}:
        return SubjectDefinition(skeleton, tuple((joint,) for joint in range(skeleton.joint_count)))
    places = [int(place) for place in skeleton.body_joints]
    row_of = {place: row for row, place in enumerate(places)}

    def within(pairs: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple((row_of[a], row_of[b]) for a, b in pairs if a in row_of and b in row_of)

    body = Skeleton(
        f"{skeleton.name} body",
        tuple(skeleton.joints[place] for place in places),
        within(skeleton.bones),
        within(skeleton.left_right),
        {"body": tuple(range(len(places)))},
    )
    return SubjectDefinition(body, tuple((joint,) for joint in range(len(places))))


def read_subject(path: str | Path) -> SubjectDefinition:
    """Read a user's skeleton; raises PosekitError naming the field where something is missing or cannot be."""
    path = require_file(path, "--learn hands, --learn body, or a skeleton as TOML")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PosekitError(f"{path}: is no TOML file ({error})") from None
    for key in content:
        if key not in _KEYS:
            raise PosekitError(f"{path}: {key}: is not known; a skeleton has {', '.join(_KEYS)}")
    name, joints = content.get("name", path.stem), content.get("joints")
    if not isinstance(name, str) or not name:
        raise PosekitError(f"{path}: name: found {name!r}, expected a text")
    if not isinstance(joints, list) or len(joints) < 2 or not all(isinstance(j, str) and j for j in joints):
        raise PosekitError(f"{path}: joints: found {_short(joints)}, expected a list of two names or more")
    if len(set(joints)) != len(joints):
        twice = next(joint for joint in joints if joints.count(joint) > 1)
        raise PosekitError(f"{path}: joints: '{twice}' is named twice")
    bones = tuple((a, b) for a, b in _lists(path, "bones", content, joints, 2))
    pairs = tuple((a, b) for a, b in _lists(path, "left_right", content, joints, 2))
    groups = _lists(path, "groups", content, joints, None)
    grouped = [joint for group in groups for joint in group]
    if len(set(grouped)) != len(grouped):
        raise PosekitError(f"{path}: groups: a joint is in two of them")
    alone = tuple((joint,) for joint in range(len(joints)) if joint not in grouped)
    skeleton = Skeleton(name, tuple(joints), bones, pairs, {PART: tuple(range(len(joints)))})
    return SubjectDefinition(skeleton, (*groups, *alone))


def _lists(
    path: Path, key: str, content: dict[str, Any], joints: list[str], length: int | None
) -> tuple[tuple[int, ...], ...]:
    """Lists of joints' names as places; of two different ones where `length` is 2."""
    found = content.get(key, [])
    what = "pairs of joints" if length == 2 else "lists of joints"
    if not isinstance(found, list):
        raise PosekitError(f"{path}: {key}: found {_short(found)}, expected {what}")
    places = []
    for number, names in enumerate(found):
        where = f"{path}: {key}[{number}]"
        if not isinstance(names, list) or (length is not None and len(names) != length) or not names:
            raise PosekitError(f"{where}: found {_short(names)}, expected {what}")
        for name in names:
            if name not in joints:
                raise PosekitError(f"{where}: '{name}' is none of the joints: {', '.join(joints)}")
        if len(set(names)) != len(names):
            raise PosekitError(f"{where}: names a joint twice")
        places.append(tuple(joints.index(name) for name in names))
    return tuple(places)


def _short(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:60]
