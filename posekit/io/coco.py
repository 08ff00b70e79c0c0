"""COCO's JSON of keypoints: results of a detector, or annotations; one file per camera.

A result is ``{image_id, category_id, keypoints: [x, y, score] * K, score}``, the file a list of them. A file of annotations is
``{images, annotations, categories}``, with flags in the place of the scores: 0 not labelled, 1 labelled but hidden, 2 visible.
COCO-WholeBody keeps feet, face and hands in lists of their own.
"""

import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.camera_files import files_of_cameras
from posekit.io.json_values import number_list, read_json_file
from posekit.keypoints import Keypoints2D
from posekit.skeleton import (
    COCO_17,
    HAND_21,
    SKELETONS,
    Skeleton,
    matching_joints,
    skeleton_of_names,
    skeletons_of,
)

#: The lists of COCO-WholeBody and how many points each has; together they are COCO_WHOLEBODY_133.
_WHOLE_BODY = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}

#: What an annotation's flag says as a confidence: a hidden joint was labelled by guess.
_CONFIDENCE_OF_FLAG = np.array([0.0, 0.5, 1.0])


@dataclass(frozen=True, eq=False)
class _View:
    """One camera's file. values: (detections, K, 3); frame: of each detection; frames: all that the file speaks of."""

    values: NDArray[np.float32]
    frame: NDArray[np.int64]
    frames: NDArray[np.int64]
    joints: tuple[str, ...]  # their names, where the file says them


def read_coco(source: str | Path, skeleton: Skeleton | None = None, fps: float | None = None) -> Keypoints2D:
    """Read a folder with one file per camera, ``<camera>.json`` or ``<camera>_....json``, or the file of one camera.

    skeleton: whose joints they are, matched by the names in the categories where the file has any, and otherwise in this order;
    or None to have it told by those names or by the number of joints. The frame is the image_id where that is a number, and
    otherwise, as in files with ``images``, the last number in the file name of the picture. A frame without detections is a
    frame without people.

    Warns where no frame is seen by two cameras: what is to be triangulated is then numbered wrongly, a person's labels need not
    be. Raises PosekitError for damaged files, for other numbers of joints than the skeleton's, and for names that are not its.
    """
    source = Path(source)
    files = files_of_cameras(source, (".json",))
    if not files:
        raise PosekitError(f"{source}: holds no JSON file (<camera>.json was expected)")
    views = {camera: _read_view(path) for camera, path in files.items()}
    order = _order(source, list(views.values()), skeleton)
    views = {camera: _in_order(files[camera], view, order) for camera, view in views.items()}
    for camera, view in views.items():
        count = view.values.shape[1]
        if len(view.values) and count != order.joint_count:
            fitting = ", ".join(known.name for known in skeletons_of(count))
            raise PosekitError(
                f"{files[camera]}: keypoints: {order.joint_count} points of {order.name} were expected, found {count}"
                + (f" (as many as {fitting} has: --skeleton)" if fitting else "")
            )
    return _joined(source, views, order, fps)


def _joined(source: Path, views: dict[str, _View], order: Skeleton, fps: float | None) -> Keypoints2D:
    frames = np.unique(np.concatenate([view.frames for view in views.values()]))
    seen = np.concatenate([np.unique(view.frame) for view in views.values()])
    if len(views) > 1 and len(seen) and np.unique(seen, return_counts=True)[1].max() < 2:
        warnings.warn(
            PosekitWarning(
                f"{source}: no frame is in the files of two cameras; image_id must number the frames of every camera alike"
            ),
            stacklevel=3,
        )
    slots = [_slots(view.frame) for view in views.values()]
    P = max((int(slot.max()) + 1 for slot in slots if len(slot)), default=0)
    values = np.zeros((len(frames), len(views), P, order.joint_count, 3), dtype=np.float32)
    for c, (view, slot) in enumerate(zip(views.values(), slots, strict=True)):
        values[np.searchsorted(frames, view.frame), c, slot] = view.values.reshape(len(slot), order.joint_count, 3)
    # (0, 0) is how both kinds of files write a joint that is not there, whatever its score.
    values[..., 2][(values[..., :2] == 0).all(axis=-1)] = 0
    return Keypoints2D(values[..., :2], values[..., 2], tuple(views), frames, order, fps, str(source))


def _slots(frame: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the detections of every frame 0, 1, 2 ... in the order of the file."""
    order = np.argsort(frame, kind="stable")
    _, first, count = np.unique(frame[order], return_index=True, return_counts=True)
    slot = np.empty(len(frame), dtype=np.int64)
    slot[order] = np.arange(len(frame)) - np.repeat(first, count)
    return slot


def _order(source: Path, views: list[_View], skeleton: Skeleton | None) -> Skeleton:
    if skeleton is not None:
        return skeleton
    counts = [view.values.shape[1] for view in views if len(view.values)]
    known = skeletons_of(counts[0]) if counts else ()
    names = next((view.joints for view in views if view.joints), ())
    for order in known if names else ():
        if tuple(matching_joints(names, order).values()) == order.joints:
            return order
    if names:
        return skeleton_of_names("custom", names)
    for usual in (COCO_17, HAND_21):
        if usual in known:
            return usual
    if len(known) == 1:
        return known[0]
    reason = (
        f"{counts[0]} points: {' or '.join(one.name for one in known) or 'no known one'}" if counts else "nobody in it"
    )
    raise PosekitError(
        f"{source}: the order of the joints is not told by the files ({reason}): name it with --skeleton"
    )


def _in_order(path: Path, view: _View, order: Skeleton) -> _View:
    """Bring a file's joints into the order by their names, where it has names: every file may have an order of its own.

    Of the field's skeletons, names that are none of its joints' are other people's words for them, if the rest stand where the
    skeleton has them. Of somebody's own, the names must be its names.
    """
    if view.joints in ((), order.joints):
        return view
    try:
        spelled = matching_joints(view.joints, order)
    except PosekitError as error:
        raise PosekitError(f"{path}: categories: {error}") from None
    strange = [name for name in view.joints if name not in spelled]
    missing = [joint for joint in order.joints if joint not in spelled.values()]
    if not strange and not missing:
        of_joint = {joint: view.joints.index(name) for name, joint in spelled.items()}
        return replace(view, values=view.values[:, [of_joint[joint] for joint in order.joints]], joints=order.joints)
    if order in SKELETONS.values() and all(
        view.joints.index(name) == order.index(joint) for name, joint in spelled.items()
    ):
        return view
    raise PosekitError(
        f"{path}: categories: keypoints: the joints of {order.name} were expected"
        + (f", found {', '.join(strange[:10])}" if strange else "")
        + (f", missing {', '.join(missing[:10])}" if missing else "")
    )


def _read_view(path: Path) -> _View:
    content = read_json_file(str(path))
    if isinstance(content, list):
        return _detections(path, content, None, "", ())
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise PosekitError(f"{path}: a list of results, or images and annotations, were expected; this is no COCO file")
    images = _frames_of_images(path, content.get("images"))
    return _detections(path, content["annotations"], images, "annotations", _names_of_joints(path, content))


def _names_of_joints(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    """The names in the first category that has any."""
    categories = content.get("categories")
    for category in categories if isinstance(categories, list) else ():
        names = category.get("keypoints") if isinstance(category, dict) else None
        if names:
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise PosekitError(f"{path}: categories: keypoints: a list of names was expected")
            return tuple(names)
    return ()


def _detections(
    path: Path, entries: list[Any], images: dict[Any, int] | None, field: str, joints: tuple[str, ...]
) -> _View:
    """images: frame of every image_id, in a file of annotations."""
    rows: list[NDArray[np.float32]] = []
    frame: list[int] = []
    for number, entry in enumerate(entries):
        where = f"{path}: {field}[{number}]"
        if not isinstance(entry, dict) or "image_id" not in entry:
            raise PosekitError(f"{where}: a detection with an image_id was expected")
        found = _frame_of_image(where, entry["image_id"], images)
        if entry.get("keypoints", []) != []:  # a box without joints is nobody's
            rows.append(_joints_of(where, entry))
            frame.append(found)
            if rows[-1].shape != rows[0].shape:
                raise PosekitError(f"{where}: {len(rows[-1])} keypoints, those before have {len(rows[0])}")
    values = np.stack(rows) if rows else np.zeros((0, 0, 3), dtype=np.float32)
    if images is not None and len(rows):
        flags = values[..., 2]
        if not np.isin(flags, (0, 1, 2)).all():
            raise PosekitError(f"{path}: annotations: the flag of a keypoint is 0, 1 or 2, found {flags.max():g}")
        values[..., 2] = _CONFIDENCE_OF_FLAG[flags.astype(int)]
    frames = np.array(frame, dtype=np.int64)
    every = frames if images is None else np.array(sorted(images.values()), dtype=np.int64)
    return _View(values, frames, np.unique(every), joints if len(joints) == values.shape[1] else ())


def _joints_of(where: str, entry: dict[str, Any]) -> NDArray[np.float32]:
    """The joints of one detection, (K, 3)."""
    whole_body = any(entry.get(part) for part in list(_WHOLE_BODY)[1:])
    flat: list[Any] = []
    for part, count in _WHOLE_BODY.items() if whole_body else (("keypoints", None),):
        values = entry.get(part) or ([] if count is None else [0.0] * (3 * count))
        expected = "3 numbers for every keypoint" if count is None else f"{3 * count} numbers"
        if not isinstance(values, list) or (len(values) % 3 if count is None else len(values) != 3 * count):
            found = len(values) if isinstance(values, list) else type(values).__name__
            raise PosekitError(f"{where}: {part}: {expected} were expected, found {found}")
        flat += values
    numbers = number_list(flat) if flat else np.zeros(0)
    if numbers is None:
        raise PosekitError(f"{where}: keypoints: holds something that is not a number")
    return numbers.astype(np.float32).reshape(-1, 3)


def _frames_of_images(path: Path, images: Any) -> dict[Any, int]:
    if not isinstance(images, list) or not all(isinstance(image, dict) and "id" in image for image in images):
        raise PosekitError(f"{path}: images: a list of pictures with an id was expected")
    found: dict[Any, int] = {}
    taken: set[int] = set()
    for number, image in enumerate(images):
        where = f"{path}: images[{number}]"
        frame = _frame_of_image(where, image.get("file_name", image["id"]), None)
        if frame in taken:
            raise PosekitError(f"{where}: a second picture of frame {frame}; one file per camera was expected")
        if not isinstance(image["id"], int | str):
            raise PosekitError(f"{where}: id: a number or a text was expected")
        taken.add(frame)
        found[image["id"]] = frame
    return found


def _frame_of_image(where: str, image: Any, images: dict[Any, int] | None) -> int:
    """The frame of an image_id, or of a picture's file name."""
    if images is not None:
        if not isinstance(image, int | str) or image not in images:
            raise PosekitError(f"{where}: image_id: {str(image)[:40]} is not among the images")
        return images[image]
    digits = (
        re.findall(r"[0-9]+", image.rpartition("/")[2].rpartition(".")[0] or image) if isinstance(image, str) else []
    )
    frame = int(digits[-1]) if digits else image
    if not isinstance(frame, int) or not 0 <= frame < 2**63:
        raise PosekitError(f"{where}: image_id: {str(image)[:40]!r} is no number of a frame, and holds none")
    return frame
