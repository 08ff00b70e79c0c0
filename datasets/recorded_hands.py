"""Hands of a recording that somebody's detector has found: the pictures, the reference keypoints and the arms.

For measuring a detector on real pictures; the references are detections, not labels by hand.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from posekit.camera import pair_camera_names
from posekit.capture import VIDEO_SUFFIXES
from posekit.errors import PosekitError
from posekit.io.files import natural_order, require_folder
from posekit.io.video import VideoReader
from posekit.keypoints import Keypoints2D, KeypointSource
from posekit.metrics import box_scale
from posekit.skeleton import Skeleton

#: Fewer joints than this do not make a reference hand.
_MIN_JOINTS = 11
_ARM = ("wrist", "elbow", "shoulder")
#: A joint that is less sure is taken as missing, as when hands are detected: OpenPose places all 21 of a hand that it has not
#: seen, each with a few hundredths.
_LEAST_CONFIDENCE = 0.1


@dataclass(frozen=True, eq=False)
class RecordedHands:
    """N reference hands in the videos of a recording, in the order of cameras and frames.

    videos: camera -> file. camera: (N,) name. frame: (N,) number of the picture in its video. left: (N,).
    reference: (N, 21, 2) px in hand-21 order, NaN where missing. confidence: (N, 21). arm: (N, 3, 2) px, the body's wrist,
    elbow and shoulder of the same side, each NaN where it is missing.
    """

    videos: Mapping[str, Path]
    camera: NDArray[np.str_]
    frame: NDArray[np.int64]
    left: NDArray[np.bool_]
    reference: NDArray[np.float64]
    confidence: NDArray[np.float64]
    arm: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame)

    def pictures(self) -> Iterator[tuple[NDArray[np.int64], UInt8[np.ndarray, "H W 3"]]]:
        """Yield (places of its hands, RGB picture) for every picture with a hand, one video after another."""
        for camera, path in self.videos.items():
            rows = np.flatnonzero(self.camera == camera)
            for number, picture in VideoReader(path).select(self.frame[rows].tolist()):
                yield rows[self.frame[rows] == number], picture


def find_recorded_hands(
    videos: Mapping[str, Path],
    keypoints: KeypointSource,
    *,
    every: int = 1,
    single_hand_left: bool = False,
) -> RecordedHands:
    """Take the hands out of a recording's 2D keypoints: those of every `every`-th frame that have a reference.

    keypoints: of the skeleton HAND_21, one hand (a left one where `single_hand_left` says so), or of a body with hands. A hand
    is taken where at least 11 of its joints were found, unless it lies where a person's other hand was found as well: then
    nobody knows which of the two it is, and neither is taken. Found are, of hand and arm, joints at 0.1 or surer.

    Raises PosekitError where the keypoints have no hands, or not one is found.
    """
    rows: list[tuple[str, int, bool, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = []
    hands = _hand_parts(keypoints, single_hand_left)
    for place in range(0, len(keypoints.frames), every):
        found = _sure_joints(keypoints.read(place, place + 1))
        for camera in (name for name in keypoints.cameras if name in videos):
            c = found.cameras.index(camera)
            one_hand_twice = _same_place(found, c, [joints for _, joints in hands])
            for left, joints in hands:
                arms = _arms(found, c, "left" if left else "right")
                for person in np.flatnonzero(~one_hand_twice):
                    xy = found.xy[0, c, person, joints].astype(np.float64)
                    if np.isfinite(xy).all(axis=-1).sum() < _MIN_JOINTS or not box_scale(xy) > 0:
                        continue
                    confidence = found.confidence[0, c, person, joints].astype(np.float64)
                    rows.append((camera, int(found.frames[0]), left, xy, confidence, arms[person]))
    if not rows:
        raise PosekitError(
            f"{keypoints.source}: holds no hand of at least {_MIN_JOINTS} joints in the frames looked at"
        )
    order = {camera: number for number, camera in enumerate(videos)}
    rows.sort(key=lambda row: (order[row[0]], row[1]))
    columns = list(zip(*rows, strict=True))
    return RecordedHands(dict(videos), *(np.array(column) for column in columns))


def find_videos(folder: str | Path, cameras: Sequence[str]) -> dict[str, Path]:
    """Return camera -> video for the cameras of 2D keypoints: files in `folder`, or in videos/ within it.

    A video belongs to the camera that its name spells, perhaps with other punctuation or zeros, or that it begins with:
    ``cam0_test.mp4`` is of cam0. Cameras without a video are left out.

    Raises PosekitError where no camera has one, or a camera has two.
    """
    folder = require_folder(folder, "videos")
    place = folder / "videos" if (folder / "videos").is_dir() else folder
    paths = sorted(place.iterdir(), key=lambda path: natural_order(path.name))
    stems = {path.stem: path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()}
    alike = pair_camera_names(list(stems), list(cameras))
    found: dict[str, Path] = {}
    for stem, path in stems.items():
        longer = [name for name in cameras if stem.startswith(name) and not stem[len(name) :][:1].isalnum()]
        camera = stem if stem in cameras else alike.get(stem) or max(longer, key=len, default=None)
        if camera is None:
            continue
        if camera in found:
            raise PosekitError(f"{place}: {path.name} and {found[camera].name} are both of camera '{camera}'")
        found[camera] = path
    if not found:
        has = ", ".join(stems) if stems else f"no video ({', '.join(VIDEO_SUFFIXES)})"
        raise PosekitError(f"{place}: holds {has}; the keypoints are of cameras: {', '.join(cameras)}")
    return {camera: found[camera] for camera in cameras if camera in found}


def _hand_parts(keypoints: KeypointSource, single_hand_left: bool) -> list[tuple[bool, list[int]]]:
    parts = keypoints.skeleton.parts
    if tuple(parts) == ("hand",):
        return [(single_hand_left, list(parts["hand"]))]
    if "left_hand" not in parts:
        raise PosekitError(f"{keypoints.source}: has no hands, only the joints of {keypoints.skeleton.name}")
    return [(side == "left", list(parts[f"{side}_hand"])) for side in ("left", "right")]


def _sure_joints(found: Keypoints2D) -> Keypoints2D:
    """The same keypoints, those that are not sure taken as missing."""
    return replace(found, confidence=np.where(found.confidence >= _LEAST_CONFIDENCE, found.confidence, 0))


def _same_place(found: Keypoints2D, camera: int, hands: list[list[int]]) -> NDArray[np.bool_]:
    """People, (P,), whose left and right hand in the only frame lie on one another, to 0.2 B on average."""
    if len(hands) < 2:
        return np.zeros(found.confidence.shape[2], dtype=np.bool_)
    first, second = (found.xy[0, camera][:, joints].astype(np.float64) for joints in hands)
    distance = np.linalg.norm(first - second, axis=-1)
    there = np.isfinite(distance)
    mean = np.where(there, distance, 0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
    with np.errstate(invalid="ignore"):
        close: NDArray[np.bool_] = mean < 0.2 * np.fmax(box_scale(first), box_scale(second))
    return close & there.any(axis=-1)


def _arms(found: Keypoints2D, camera: int, side: str) -> NDArray[np.float64]:
    """The body's arms of one side in the only frame, (P, 3, 2); NaN for joints that are missing."""
    joints = _arm_joints(found.skeleton, side)
    if joints is None:
        return np.full((found.confidence.shape[2], 3, 2), np.nan)
    return found.xy[0, camera][:, joints].astype(np.float64)


def _arm_joints(skeleton: Skeleton, side: str) -> list[int] | None:
    names = [f"{side}_{joint}" for joint in _ARM]
    return [skeleton.index(name) for name in names] if all(name in skeleton for name in names) else None
