"""BVH of any skeleton as motion capture, by a table of which of its joints is which of posekit's.

How to get data: nearly every mocap database has BVH files (CMU's conversions, LAFAN1, Bandai-Namco, 100STYLE, each with a
licence of its own), and so does every animation program.

Format (Biovision's; J. Lander, "Working with Motion Capture File Formats", 1998): a joint stands at its OFFSET in its parent's
frame and turns by its rotations in the order of its CHANNELS: ``Zrotation Xrotation Yrotation`` is Rz Rx Ry. Degrees. The
file says neither its unit of length nor which axis points up.

The table is a TOML file, ``joints.toml`` beside the motions (or ``<name>.joints.toml`` for one)::

    unit = "cm"              # or m, mm; or metres_per_unit = 0.056444
    up = "y"
    subject = "somebody"
    [joints]
    left_wrist = "LeftHand"
    head_top = "Head:end"    # the End Site below Head

Without one, joints that are spelled as one of posekit's have that name (`posekit.skeleton.matching_joints`); posekit's own
files need none.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from posekit.datasets.asf_amc import axis_turn
from posekit.datasets.mocap import MocapClip
from posekit.errors import PosekitError
from posekit.io.axes import UpAxis, turn_up
from posekit.io.files import natural_order, require_file
from posekit.io.json_values import read_bytes
from posekit.skeleton import BODY_25B, Skeleton, matching_joints, skeleton_of_names
from posekit.units import METRES_PER_UNIT

Array = NDArray[np.float64]

_POSITIONS = ("xposition", "yposition", "zposition")
_ROTATIONS = ("xrotation", "yrotation", "zrotation")
#: Joints that a person may have beyond BODY_25B's, by the same names in every skeleton here.
_MORE = ("mid_hip", "thorax", "spine", "upper_neck")


@dataclass(frozen=True)
class BvhJoints:
    """What a BVH file does not say. joints: posekit's name -> the file's; empty to go by the names."""

    joints: dict[str, str] = field(default_factory=dict)
    metres_per_unit: float = METRES_PER_UNIT["cm"]
    up: UpAxis = "y"
    subject: str = ""
    action: str = ""


@dataclass(eq=False)
class _Node:
    name: str
    parent: int
    offset: Array
    channels: tuple[str, ...] = ()


def read_bvh(path: str | Path, table: BvhJoints | None = None) -> MocapClip:
    """Read one motion: metres, Z up, the joints of the table only.

    Raises PosekitError where the file is damaged, lacks a joint of the table, or has no joint that is known.
    """
    path = require_file(path, "a BVH motion")
    table = table or BvhJoints()
    words = read_bytes(str(path)).decode("latin1").split()
    nodes, start = _hierarchy(path, words)
    motion, frame_time = _motion(path, words, start, sum(len(node.channels) for node in nodes))
    places = _places(nodes, motion)
    chosen = _chosen(path, nodes, table)
    xyz = places[:, list(chosen.values())] * table.metres_per_unit @ turn_up(table.up, "z").T
    return MocapClip(path.stem, table.subject, table.action, 1 / frame_time, tuple(chosen), xyz.astype(np.float32))


def read_bvh_folder(path: str | Path) -> list[MocapClip]:
    """Read a motion, or all in a folder and below it, with the tables beside them; the subject is the folder if not told.

    Raises PosekitError where there is none.
    """
    path = Path(path)
    files = sorted(path.rglob("*.bvh"), key=lambda file: natural_order(str(file))) if path.is_dir() else [path]
    if not files:
        raise PosekitError(f"{path}: has no .bvh file, expected one or more")
    clips = []
    for file in files:
        own, shared = file.with_name(f"{file.stem}.joints.toml"), file.with_name("joints.toml")
        beside = next((name for name in (own, shared) if name.is_file()), None)
        table = read_bvh_joints(beside) if beside else BvhJoints()
        clip = read_bvh(file, table)
        subject = clip.subject or file.resolve().parent.name
        clips.append(MocapClip(clip.name, subject, clip.action, clip.fps, clip.joints, clip.xyz))
    return clips


def read_bvh_joints(path: str | Path) -> BvhJoints:
    """Read the table of joints; raises PosekitError, naming the field, where one cannot be."""
    path = require_file(path, "a TOML table of a BVH file's joints")
    try:
        content: dict[str, Any] = tomllib.loads(read_bytes(str(path)).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PosekitError(f"{path}: is no TOML file: {error}") from None
    unknown = sorted(set(content) - {"unit", "metres_per_unit", "up", "subject", "action", "joints"})
    if unknown:
        raise PosekitError(f"{path}: found '{unknown[0]}', expected unit, metres_per_unit, up, subject, action, joints")
    joints = content.get("joints", {})
    if not isinstance(joints, dict) or not all(isinstance(name, str) and name for name in joints.values()):
        raise PosekitError(f'{path}: joints: expected a table such as left_wrist = "LeftHand"')
    unit, up = content.get("unit", "cm"), content.get("up", "y")
    if unit not in METRES_PER_UNIT:
        raise PosekitError(f"{path}: unit: found {unit!r}, expected one of {', '.join(METRES_PER_UNIT)}")
    if up not in get_args(UpAxis):
        raise PosekitError(f"{path}: up: found {up!r}, expected one of {', '.join(get_args(UpAxis))}")
    metres = content.get("metres_per_unit", METRES_PER_UNIT[unit])
    if not isinstance(metres, int | float) or isinstance(metres, bool) or not metres > 0:
        raise PosekitError(f"{path}: metres_per_unit: found {metres!r}, expected a number above 0")
    return BvhJoints(joints, float(metres), up, str(content.get("subject", "")), str(content.get("action", "")))


def _chosen(path: Path, nodes: list[_Node], table: BvhJoints) -> dict[str, int]:
    """Posekit's name -> number of the node."""
    names = [node.name for node in nodes]
    if table.joints:
        for joint, name in table.joints.items():
            if name not in names:
                raise PosekitError(f"{path}: has no joint '{name}' ({joint}); it has: {', '.join(names)}")
        return {joint: names.index(name) for joint, name in table.joints.items()}
    known = _known_joints()
    plain = tuple(dict.fromkeys(name for name in names if not name.endswith(":end")))
    found = matching_joints(plain, known)
    if not found:
        raise PosekitError(
            f"{path}: has no joint of a name that is known: put a joints.toml beside it; it has: {', '.join(names)}"
        )
    return {joint: names.index(name) for name, joint in found.items()}


def _known_joints() -> Skeleton:
    return skeleton_of_names("BVH", (*BODY_25B.joints, *_MORE))


def _hierarchy(path: Path, words: list[str]) -> tuple[list[_Node], int]:
    """The joints as they stand, End Sites as ``<parent>:end``, and where MOTION is."""
    if not words or words[0].upper() != "HIERARCHY":
        raise PosekitError(f"{path}: begins with '{words[0] if words else ''}', expected HIERARCHY: is it a BVH file?")
    nodes: list[_Node] = []
    open_nodes: list[int] = []
    place = 1
    try:
        while words[place].upper() != "MOTION":
            word = words[place].upper()
            if word in ("ROOT", "JOINT", "END"):
                parent = open_nodes[-1] if open_nodes else -1
                name = f"{nodes[parent].name}:end" if word == "END" else words[place + 1]
                nodes.append(_Node(name, parent, np.zeros(3)))
                place += 2
                if words[place] != "{":
                    raise PosekitError(f"{path}: joint '{name}': found '{words[place]}', expected {{")
                open_nodes.append(len(nodes) - 1)
                place += 1
            elif word == "OFFSET":
                nodes[open_nodes[-1]].offset = np.array([float(value) for value in words[place + 1 : place + 4]])
                place += 4
            elif word == "CHANNELS":
                count = int(words[place + 1])
                channels = tuple(value.casefold() for value in words[place + 2 : place + 2 + count])
                wrong = [value for value in channels if value not in (*_POSITIONS, *_ROTATIONS)]
                if wrong:
                    raise PosekitError(f"{path}: joint '{nodes[open_nodes[-1]].name}': found the channel '{wrong[0]}'")
                nodes[open_nodes[-1]].channels = channels
                place += 2 + count
            elif word == "}":
                open_nodes.pop()
                place += 1
            else:
                raise PosekitError(
                    f"{path}: found '{words[place]}' in the hierarchy, expected JOINT, OFFSET or CHANNELS"
                )
    except (IndexError, ValueError):
        raise PosekitError(f"{path}: the hierarchy is damaged or cut off near word {place} of {len(words)}") from None
    if not nodes or open_nodes or any(node.offset.shape != (3,) for node in nodes):
        raise PosekitError(f"{path}: the hierarchy is not whole")
    return nodes, place + 1


def _motion(path: Path, words: list[str], start: int, columns: int) -> tuple[Array, float]:
    header = words[start : start + 5]
    try:
        if [header[0].casefold(), header[2].casefold(), header[3].casefold()] != ["frames:", "frame", "time:"]:
            raise ValueError
        frames, frame_time = int(header[1]), float(header[4])
    except (IndexError, ValueError):
        raise PosekitError(f"{path}: MOTION: found '{' '.join(header)}', expected Frames: and Frame Time:") from None
    if not (frames > 0 and frame_time > 0):
        raise PosekitError(f"{path}: MOTION: found {frames} frames of {frame_time:g} s, expected more than 0 of both")
    numbers = words[start + 5 :]
    if len(numbers) != frames * columns:
        raise PosekitError(
            f"{path}: MOTION: found {len(numbers)} numbers, expected {frames} frames of {columns} (cut off?)"
        )
    try:
        return np.array(numbers, dtype=np.float64).reshape(frames, columns), frame_time
    except ValueError:
        raise PosekitError(f"{path}: MOTION: has words that are not numbers") from None


def _places(nodes: list[_Node], motion: Array) -> Array:
    """Where every joint is, (F, N, 3), in the file's unit and axes."""
    frames = len(motion)
    turns = np.empty((frames, len(nodes), 3, 3))
    places = np.empty((frames, len(nodes), 3))
    column = 0
    for number, node in enumerate(nodes):
        offset, turn = np.broadcast_to(node.offset, (frames, 3)).copy(), np.broadcast_to(np.eye(3), (frames, 3, 3))
        for channel in node.channels:
            values, column = motion[:, column], column + 1
            if channel in _POSITIONS:
                # A position stands for the offset, it is not added to it.
                offset[:, _POSITIONS.index(channel)] = values
            else:
                turn = turn @ axis_turn(channel[0], np.radians(values))
        if node.parent == -1:
            turns[:, number], places[:, number] = turn, offset
        else:
            before = turns[:, node.parent]
            turns[:, number] = before @ turn
            places[:, number] = places[:, node.parent] + (before @ offset[..., None])[..., 0]
    return places
