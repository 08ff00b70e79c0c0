"""MediaPipe's landmarks as NumPy arrays, (F, J, 2..4) per camera; other detectors' arrays of a known skeleton, too.

MediaPipe itself writes no files; these are what people and FreeMoCap save. The last axis is x, y, then a depth, a confidence,
or both in this order. 33 joints are the body, 21 a hand, 75 the body and both hands, 543 all of Holistic, 553 FreeMoCap's.
"""

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.camera_files import common_frames, files_of_cameras
from posekit.keypoints import Keypoints2D
from posekit.skeleton import BLAZEPOSE_33, HAND_21, Skeleton, skeletons_of, with_hands

#: Where body, left and right hand begin. People join them in several orders: the one that puts the hands at the wrists counts.
_HOLISTIC: Mapping[int, tuple[tuple[int, int, int], ...]] = {
    75: ((0, 33, 54), (0, 54, 33)),
    543: ((0, 501, 522), (0, 522, 501), (489, 468, 522)),
    553: ((0, 54, 33),),
}

#: Beyond this, in widths and heights of the picture, hardly anything is found: larger values are px.
_LARGEST_FRACTION = 3.0

#: What NumPy and zipfile raise for a damaged file depends on where the damage is; RuntimeError is an archive with a password.
_DAMAGED = (
    *(OSError, ValueError, EOFError, OverflowError, SyntaxError, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
)


def read_landmark_arrays(
    source: str | Path,
    skeleton: Skeleton | None = None,
    fps: float | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> Keypoints2D:
    """Read a folder with one ``<camera>.npy`` or ``.npz`` per camera, or one file.

    An array is (F, J, D) or, with several people, (F, P, J, D), D = 2 to 4. One ``.npz`` may hold all cameras, each an array of
    the camera's name; FreeMoCap's ``.npy`` of (C, F, J, D), told by "numCams" in its name, has the cameras cam_0, cam_1 ...
    The third of three numbers is a confidence where it is always within 0 and 1, and a depth otherwise. NaN and (0, 0) are
    missing. Frames are numbered from 0.

    skeleton: whose joints they are, or None to have it told by their number. sizes: camera -> (width, height) px of its
    pictures, for coordinates in parts of the picture, as MediaPipe gives them.

    Raises PosekitError for damaged files, numbers of joints that are no skeleton's, cameras with different numbers of frames,
    and coordinates in parts of the picture without `sizes`.
    """
    source = Path(source)
    views = _arrays(source)
    first = next(iter(views.values()))
    for camera, view in views.items():
        if view.shape[-2] != first.shape[-2]:
            raise PosekitError(
                f"{source}: camera '{camera}' has {view.shape[-2]} joints, camera '{next(iter(views))}' {first.shape[-2]}"
            )
    frames = common_frames(source, {camera: np.arange(len(view)) for camera, view in views.items()})
    order, joints = _order(source, list(views.values()), skeleton)
    P = max(view.shape[1] for view in views.values())
    xy = np.full((len(frames), len(views), P, order.joint_count, 2), np.nan, dtype=np.float32)
    confidence = np.zeros(xy.shape[:-1], dtype=np.float32)
    for c, (camera, view) in enumerate(views.items()):
        points = view[:, :, joints].astype(np.float64)
        points[np.abs(points) > np.finfo(np.float32).max] = np.nan
        places = _in_px(source, camera, points[..., :2], sizes)
        found = np.isfinite(places).all(axis=-1) & (points[..., :2] != 0).any(axis=-1)
        xy[:, c, : view.shape[1]] = np.where(found[..., None], places, np.nan)
        confidence[:, c, : view.shape[1]] = np.where(found, _confidence(points), 0)
    return Keypoints2D(xy, confidence, tuple(views), frames, order, fps, str(source))


def _confidence(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of (..., D): the last column, where it is one."""
    if points.shape[-1] == 2:
        return np.ones(points.shape[:-1])
    last = points[..., -1]
    known = last[np.isfinite(last)]
    if points.shape[-1] == 3 and known.size and (known.min() < 0 or known.max() > 1):
        return np.ones(points.shape[:-1])  # a depth
    return np.nan_to_num(last, nan=0.0)


def _in_px(
    source: Path, camera: str, places: NDArray[np.float64], sizes: Mapping[str, tuple[int, int]] | None
) -> NDArray[np.float64]:
    known = np.abs(places[np.isfinite(places)])
    if not known.any() or known.max() > _LARGEST_FRACTION:
        return places
    if sizes is None or camera not in sizes:
        raise PosekitError(
            f"{source}: camera '{camera}': coordinates are parts of the picture (at most {known.max():.2f}), not px; "
            "multiply them by its width and height"
        )
    # 0 is the picture's edge, half a pixel before the centre of the first.
    return places * np.array(sizes[camera], dtype=np.float64) - 0.5


def _order(source: Path, views: list[NDArray[Any]], skeleton: Skeleton | None) -> tuple[Skeleton, NDArray[np.int64]]:
    """The skeleton, and where its joints are in the arrays."""
    count = views[0].shape[-2]
    if skeleton is not None and skeleton.joint_count == count:
        return skeleton, np.arange(count)
    holistic = with_hands(BLAZEPOSE_33)
    if count in _HOLISTIC and skeleton in (None, BLAZEPOSE_33, holistic):
        return holistic, min((_layout(starts) for starts in _HOLISTIC[count]), key=lambda joints: _apart(views, joints))
    known = skeletons_of(count)
    if skeleton is not None:
        fitting = f" (as many as {', '.join(one.name for one in known)} has: --skeleton)" if known else ""
        raise PosekitError(
            f"{source}: {skeleton.joint_count} joints of {skeleton.name} were expected, found {count}{fitting}"
        )
    if len(known) == 1 or HAND_21 in known:
        return (HAND_21 if HAND_21 in known else known[0]), np.arange(count)
    names = " or ".join(one.name for one in known) or "no known one"
    raise PosekitError(f"{source}: the order of the {count} joints is not told ({names}): name it with --skeleton")


def _layout(starts: tuple[int, int, int]) -> NDArray[np.int64]:
    return np.concatenate([np.arange(first, first + n) for first, n in zip(starts, (33, 21, 21), strict=True)])


def _apart(views: list[NDArray[Any]], joints: NDArray[np.int64]) -> float:
    """How far the hands' wrists are from the body's, of all that were found; infinite where none was."""
    holistic = with_hands(BLAZEPOSE_33)
    total, count = 0.0, 0
    for side in ("left", "right"):
        pair = joints[holistic.indices((f"{side}_wrist", f"{side}_hand_wrist"))]
        for view in views:
            points = view[..., pair, :2].astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):  # of numbers that are no places
                distance = np.linalg.norm(points[..., 0, :] - points[..., 1, :], axis=-1)
            found = np.isfinite(distance) & (points != 0).any(axis=-1).all(axis=-1)
            total, count = total + float(distance[found].sum()), count + int(found.sum())
    return total / count if count else np.inf


def _arrays(source: Path) -> dict[str, NDArray[Any]]:
    """Camera -> (F, P, J, D)."""
    files = files_of_cameras(source, (".npy", ".npz"))
    if not files:
        raise PosekitError(f"{source}: holds neither .npy nor .npz (one per camera was expected)")
    found: dict[str, NDArray[Any]] = {}
    for camera, path in files.items():
        members = _read_npz(path) if path.suffix.casefold() == ".npz" else {"": _read_npy(path)}
        if len(members) == 1:
            found[camera] = next(iter(members.values()))
        elif len(files) == 1:
            found = members
        else:
            raise PosekitError(f"{path}: holds {len(members)} arrays, one was expected")
    if len(files) == 1 and len(found) == 1 and "numcams" in next(iter(files.values())).name.casefold():
        array = next(iter(found.values()))
        found = {f"cam_{c}": view for c, view in enumerate(array)} if array.ndim == 4 else found
    return {camera: _checked(source, camera, array) for camera, array in found.items()}


def _checked(source: Path, camera: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim not in (3, 4) or not 2 <= array.shape[-1] <= 4 or array.dtype.kind not in "fiu" or not array.size:
        raise PosekitError(
            f"{source}: camera '{camera}': numbers of shape (F, J, 2..4) or (F, P, J, 2..4) were expected, found "
            f"{array.dtype} of {array.shape}"
        )
    return array if array.ndim == 4 else array[:, None]


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        # Mapped, a header cannot claim more than the file holds.
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED as error:
        raise PosekitError(f"{path}: is no array that can be read ({_one_line(error)})") from None
    return array


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                with archive.open(info) as member:
                    version = np.lib.format.read_magic(member)
                    read_header = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read_header(member)
                # A header can claim any size without holding it.
                if int(np.prod(shape, dtype=object)) * dtype.itemsize > info.file_size:
                    raise ValueError(f"{info.filename} claims {shape}, more than it holds")
                with archive.open(info) as member:
                    arrays[info.filename.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
    except _DAMAGED as error:
        raise PosekitError(f"{path}: is no archive of arrays that can be read ({_one_line(error)})") from None
    if not arrays:
        raise PosekitError(f"{path}: holds no array")
    return arrays


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
