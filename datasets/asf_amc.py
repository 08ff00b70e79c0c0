"""Acclaim's ASF and AMC: a skeleton of fixed bones, and how its joints turn in every frame. CMU's database is in it.

How to get data: the ``.asf`` and ``.amc`` files of mocap.cs.cmu.edu (licence: see `posekit.datasets.cmu_mocap`); put a
subject's ``.asf`` and its ``.amc`` files into one folder.

Format (Acclaim's, after J. Lander, "Working with Motion Capture File Formats", 1998): every bone has a direction and a
length in the global frame of the rest pose, an ``axis`` of three angles C that turns that frame into the bone's own, and
degrees of freedom whose turn M is told in the bone's own frame. A bone turns what hangs on it by L = C M C^-1 after its
parent: its end is at the parent's end + R_parent L (direction x length). Angles are turned in the order they are written: XYZ
is Rz Ry Rx.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.datasets.cmu_mocap import CMU_BONE_ENDS
from posekit.datasets.mocap import MocapClip
from posekit.errors import PosekitError
from posekit.io.axes import UpAxis, turn_up
from posekit.io.files import natural_order, require_file
from posekit.io.json_values import read_bytes

Array = NDArray[np.float64]

#: CMU's captures run at this rate; AMC files do not say theirs.
CMU_FPS = 120.0
_INCH = 0.0254
_ANGLES = ("rx", "ry", "rz")


@dataclass(frozen=True, eq=False)
class AsfBone:
    """A bone as the file has it. direction: (3,) of length 1. length: metres. axis: (3, 3), C. dof: such as ("rx", "rz")."""

    name: str
    parent: str
    direction: Array
    length: float
    axis: Array
    dof: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AsfSkeleton:
    """bones: parents first, without the root. metres: of one unit of length. radians: of one unit of angle."""

    path: Path
    bones: tuple[AsfBone, ...]
    root_order: tuple[str, ...]
    root_axis: Array
    metres: float
    radians: float


def read_asf(path: str | Path, metres_per_unit: float | None = None) -> AsfSkeleton:
    """Read a skeleton.

    metres_per_unit: what a length of 1 means. CMU's files, and those made like them, are in inches divided by their
    ``length`` (:units), which is what is taken if not given.

    Raises PosekitError for a file that is damaged or none.
    """
    path = require_file(path, "an .asf skeleton")
    sections = _sections(path)
    units = {words[0].casefold(): words[1] for words in sections.get("units", []) if len(words) > 1}
    scale = _number(path, ":units length", units.get("length", "1"))
    if not scale > 0:
        raise PosekitError(f"{path}: :units length: found {scale:g}, expected more than 0")
    metres = _INCH / scale if metres_per_unit is None else metres_per_unit
    radians = 1.0 if units.get("angle", "deg").casefold().startswith("rad") else np.pi / 180
    root = {words[0].casefold(): words[1:] for words in sections.get("root", [])}
    order = tuple(word.casefold() for word in root.get("order", ("TX", "TY", "TZ", "RX", "RY", "RZ")))
    known = {"tx", "ty", "tz", *_ANGLES}
    if any(word not in known for word in order):
        raise PosekitError(f"{path}: :root order: found {' '.join(order)}, expected TX TY TZ RX RY RZ in any order")
    angles = _numbers(path, ":root orientation", root.get("orientation", ["0"] * 3), 3)
    root_axis = _turn("".join(root.get("axis", ["XYZ"])), radians * angles, path)
    parents = _parents(path, sections.get("hierarchy", []))
    bones = [_bone(path, lines, parents, metres, radians) for lines in _bone_blocks(path, sections.get("bonedata", []))]
    return AsfSkeleton(path, _parents_first(path, bones), order, root_axis, metres, radians)


def read_amc(
    path: str | Path,
    skeleton: AsfSkeleton,
    *,
    fps: float = CMU_FPS,
    up: UpAxis = "y",
    subject: str = "",
    action: str = "",
) -> MocapClip:
    """Read a motion: where the root is and every bone ends, Z up, metres.

    Joints of CMU's bones have posekit's names (lradius ends in left_wrist); others keep the bone's.

    Raises PosekitError where the file is damaged or not of this skeleton.
    """
    path = require_file(path, "an .amc motion")
    channels = _channels(path, skeleton)
    places = bone_ends(skeleton, channels)
    names = ["root", *(bone.name for bone in skeleton.bones)]
    xyz = np.stack([places[name] for name in names], axis=1) @ turn_up(up, "z").T
    joints = tuple(CMU_BONE_ENDS.get(name, name) for name in names)
    return MocapClip(path.stem, subject or path.stem.partition("_")[0], action, fps, joints, xyz.astype(np.float32))


def read_asf_amc(path: str | Path, fps: float = CMU_FPS) -> list[MocapClip]:
    """Read an ``.amc`` beside its ``.asf``, or all motions in a folder and the folders below it.

    The skeleton is ``<subject>.asf`` for ``<subject>_<clip>.amc``, or the only one in the folder.

    Raises PosekitError where there is no motion, or none or several skeletons that it may be of.
    """
    path = Path(path)
    motions = sorted(path.rglob("*.amc"), key=lambda file: natural_order(str(file))) if path.is_dir() else [path]
    if not motions:
        raise PosekitError(f"{path}: has no .amc file, expected motions beside their .asf skeleton")
    skeletons: dict[Path, AsfSkeleton] = {}
    clips = []
    for motion in motions:
        require_file(motion, "an .amc motion")
        file = _skeleton_beside(motion)
        if file not in skeletons:
            skeletons[file] = read_asf(file)
        clips.append(read_amc(motion, skeletons[file], fps=fps, subject=file.stem))
    return clips


def bone_ends(skeleton: AsfSkeleton, channels: dict[str, Array]) -> dict[str, Array]:
    """Where the root is and every bone ends, (F, 3) metres in the file's axes, by the bones' names.

    channels: bone -> (F, D) as the file has them; bones without are not turned.
    """
    root = channels["root"]
    column = {word: root[:, number] for number, word in enumerate(skeleton.root_order)}
    zero = np.zeros(len(root))
    place = np.stack([column.get(word, zero) for word in ("tx", "ty", "tz")], axis=-1) * skeleton.metres
    order = [word for word in skeleton.root_order if word in _ANGLES]
    turn = _product([(word[1], skeleton.radians * column[word]) for word in order], len(root))
    turns = {"root": skeleton.root_axis @ turn @ skeleton.root_axis.T}
    places = {"root": place}
    for bone in skeleton.bones:
        values = channels.get(bone.name, np.zeros((len(root), len(bone.dof))))
        own = {word: skeleton.radians * values[:, number] for number, word in enumerate(bone.dof) if word in _ANGLES}
        moved = _product([(word[1], own[word]) for word in bone.dof if word in own], len(root))
        turns[bone.name] = turns[bone.parent] @ bone.axis @ moved @ bone.axis.T
        places[bone.name] = places[bone.parent] + turns[bone.name] @ (bone.direction * bone.length)
    return places


def _product(turns: Sequence[tuple[str, Array]], frames: int) -> Array:
    """Rotations (F, 3, 3) of one turn after the other about fixed axes: the last stands leftmost."""
    product = np.broadcast_to(np.eye(3), (frames, 3, 3))
    for axis, angle in turns:
        product = axis_turn(axis, angle) @ product
    return product


def axis_turn(axis: str, angle: Array) -> Array:
    """Rotations (..., 3, 3) about x, y or z by an angle (...) in radians."""
    cosine, sine, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = {
        "x": (one, zero, zero, zero, cosine, -sine, zero, sine, cosine),
        "y": (cosine, zero, sine, zero, one, zero, -sine, zero, cosine),
        "z": (cosine, -sine, zero, sine, cosine, zero, zero, zero, one),
    }[axis]
    turn: Array = np.stack(rows, axis=-1).reshape(*np.shape(angle), 3, 3)
    return turn


def _turn(order: str, angles: Array, path: Path) -> Array:
    if sorted(order.casefold()) != ["x", "y", "z"]:
        raise PosekitError(f"{path}: found an axis order '{order}', expected XYZ in any order")
    # The angles stand in the order of their letters.
    return _product([(axis, np.array([angle])) for axis, angle in zip(order.casefold(), angles, strict=True)], 1)[0]


def _sections(path: Path) -> dict[str, list[list[str]]]:
    sections: dict[str, list[list[str]]] = {}
    lines: list[list[str]] = []
    for line in _lines(path):
        if line.startswith(":"):
            words = line[1:].split()
            lines = sections.setdefault(words[0].casefold() if words else "", [])
        elif line:
            lines.append(line.split())
    if "bonedata" not in sections or "hierarchy" not in sections:
        raise PosekitError(f"{path}: has no :bonedata or no :hierarchy, expected an .asf skeleton")
    return sections


def _lines(path: Path) -> list[str]:
    text = read_bytes(str(path)).decode("latin1")
    return [line.partition("#")[0].strip() for line in text.splitlines()]


def _bone_blocks(path: Path, lines: list[list[str]]) -> list[list[list[str]]]:
    blocks: list[list[list[str]]] = []
    inside = False
    for words in lines:
        if words[0].casefold() == "begin":
            blocks.append([])
            inside = True
        elif words[0].casefold() == "end":
            inside = False
        elif inside:
            blocks[-1].append(words)
    if not blocks or inside:
        raise PosekitError(
            f"{path}: :bonedata: found {len(blocks)} bones, the last one without an end, expected whole ones"
        )
    return blocks


def _bone(path: Path, lines: list[list[str]], parents: dict[str, str], metres: float, radians: float) -> AsfBone:
    # The limits of the second and third degree of freedom stand on lines of their own.
    fields = {words[0].casefold(): words[1:] for words in lines if words[0][0].isalpha()}
    name = (fields.get("name") or [""])[0]
    if name not in parents:
        raise PosekitError(f"{path}: bone '{name}': is not below the root in :hierarchy")
    direction = _numbers(path, f"bone '{name}': direction", fields.get("direction", []), 3)
    size = float(np.linalg.norm(direction))
    axis = fields.get("axis", ["0", "0", "0", "XYZ"])
    turn = _turn("".join(axis[3:]) or "XYZ", radians * _numbers(path, f"bone '{name}': axis", axis[:3], 3), path)
    length = float(_numbers(path, f"bone '{name}': length", fields.get("length", []), 1)[0])
    dof = tuple(word.casefold() for word in fields.get("dof", ()))
    return AsfBone(name, parents[name], direction / size if size > 0 else direction, length * metres, turn, dof)


def _parents(path: Path, lines: list[list[str]]) -> dict[str, str]:
    parents: dict[str, str] = {}
    for words in lines:
        if words[0].casefold() not in ("begin", "end"):
            for child in words[1:]:
                if child in parents:
                    raise PosekitError(
                        f"{path}: :hierarchy: bone '{child}' hangs on {parents[child]} and on {words[0]}"
                    )
                parents[child] = words[0]
    return parents


def _parents_first(path: Path, bones: list[AsfBone]) -> tuple[AsfBone, ...]:
    placed, ordered, left = {"root"}, list[AsfBone](), list(bones)
    while left:
        ready = [bone for bone in left if bone.parent in placed]
        if not ready:
            raise PosekitError(f"{path}: :hierarchy: bone '{left[0].name}' does not hang on the root")
        ordered += ready
        placed |= {bone.name for bone in ready}
        left = [bone for bone in left if bone.name not in placed]
    return tuple(ordered)


def _channels(path: Path, skeleton: AsfSkeleton) -> dict[str, Array]:
    """Bone -> (F, D) numbers of every frame."""
    widths = {"root": len(skeleton.root_order)} | {bone.name: len(bone.dof) for bone in skeleton.bones}
    rows: dict[str, list[list[float]]] = {}
    frames = 0
    for number, line in enumerate(_lines(path), start=1):
        words = line.split()
        if not words or words[0].startswith(":"):
            continue
        if len(words) == 1 and words[0].isdigit():
            frames += 1
            continue
        if frames == 0 or widths.get(words[0]) != len(words) - 1:
            wanted = widths.get(words[0])
            raise PosekitError(
                f"{path}: line {number}: found '{words[0]}' with {len(words) - 1} numbers, expected "
                + (
                    f"{wanted}"
                    if wanted is not None and frames
                    else f"a frame's number, or a bone of {skeleton.path.name}"
                )
            )
        try:
            rows.setdefault(words[0], []).append([float(word) for word in words[1:]])
        except ValueError:
            raise PosekitError(f"{path}: line {number}: '{line}' are not numbers") from None
    if "root" not in rows:
        raise PosekitError(f"{path}: found {frames} frames with a root, expected one or more")
    for name, values in rows.items():
        if len(values) != frames:
            raise PosekitError(
                f"{path}: found '{name}' in {len(values)} of {frames} frames, expected it in all (cut off?)"
            )
    return {name: np.array(values) for name, values in rows.items()}


def _skeleton_beside(motion: Path) -> Path:
    named = motion.with_name(f"{motion.stem.partition('_')[0]}.asf")
    if named.is_file():
        return named
    found = sorted(motion.parent.glob("*.asf"))
    if len(found) != 1:
        raise PosekitError(
            f"{motion}: found {len(found)} .asf skeletons beside it, expected {named.name} or a single one"
        )
    return found[0]


def _numbers(path: Path, what: str, words: Sequence[str], count: int) -> Array:
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        raise PosekitError(f"{path}: {what}: found '{' '.join(words)}', expected {count} numbers")
    return values


def _number(path: Path, what: str, word: str) -> float:
    return float(_numbers(path, what, [word], 1)[0])
