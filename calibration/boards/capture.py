"""A recording of a board by several cameras: which picture of which camera belongs to which moment."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray

from posekit.calibration.boards.folders import BoardFolder, Still, find_board_folder
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import natural_order
from posekit.io.timestamps import find_timestamps, read_timestamps
from posekit.io.video import VideoReader

#: Videos of one recording may differ in length by so many frames, or this share, whichever is more: cameras stop one by one.
_LENGTH_FRAMES, _LENGTH_SHARE = 3, 0.01


@dataclass(frozen=True, eq=False)
class BoardCapture:
    """Videos or stills of C cameras, and the F moments that they show.

    sizes: (width, height) px by camera. pictures: the frame of a camera's video, or the place among its stills, that shows a
    moment; -1 where there is none. times_s: when it was taken, as in BoardViews. simultaneous: False where every picture is a
    moment of its own. fps: of the videos, None for stills. notes: how the folder was understood, where that is not plain;
    sentences for a person.
    """

    folder: Path
    cameras: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    pictures: Int[np.ndarray, "F C"]
    videos: tuple[VideoReader, ...] = ()
    stills: tuple[tuple[Still, ...], ...] = ()
    times_s: Float[np.ndarray, "F C"] | None = None
    simultaneous: bool = True
    fps: float | None = None
    notes: tuple[str, ...] = ()

    def read(self, camera: int, moments: Sequence[int]) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
        """Yield (moment, RGB picture) of one camera, of those of the ascending moments that it has a picture of.

        A still that cannot be read is left out, with a PosekitWarning. Raises PosekitError where a video is damaged, and where
        a still has another size than the camera's first one.
        """
        shown = {
            int(self.pictures[moment, camera]): int(moment) for moment in moments if self.pictures[moment, camera] >= 0
        }
        if self.videos:
            for picture, image in self.videos[camera].select(shown):
                yield shown[picture], image
            return
        for picture, moment in shown.items():
            path = self.stills[camera][picture].path
            still = _read_still(path)
            if still is None:
                warnings.warn(PosekitWarning(f"{path}: cannot be read as a picture; left out"), stacklevel=2)
                continue
            if (still.shape[1], still.shape[0]) != self.sizes[camera]:
                width, height = self.sizes[camera]
                raise PosekitError(
                    f"{path}: is {still.shape[1]} x {still.shape[0]} px where {self.stills[camera][0].path.name} of the same "
                    f"camera '{self.cameras[camera]}' is {width} x {height}; a lens is calibrated with pictures of one size"
                )
            yield moment, still

    def label(self, moment: int) -> str:
        """What a person calls a moment: the file of a still, the number that stills share, or the frame's number."""
        camera = int(np.argmax(self.pictures[moment] >= 0))
        picture = int(self.pictures[moment, camera])
        if self.stills:
            still = self.stills[camera][picture]
            return still.moment if self.simultaneous and still.moment else still.path.name
        return str(moment) if self.simultaneous else f"{self.cameras[camera]} {picture}"


def find_board_capture(folder: str | Path) -> BoardCapture:
    """Find the videos or stills of a board in a folder, and which of them belong together; `find_board_folder` says where.

    Videos belong together frame by frame, or as a ``timestamps.csv`` beside them says; stills by the number in their names.
    Cameras may differ in their pictures' size. Warns where videos differ a little in length (the common length is used).

    Raises PosekitError where there is nothing, where a file cannot be read, and where videos differ in length or frame rate.
    """
    found = find_board_folder(folder)
    return _open_videos(found) if found.videos else _open_stills(found)


def _open_videos(found: BoardFolder) -> BoardCapture:
    cameras = tuple(found.videos)
    readers = tuple(VideoReader(path) for path in found.videos.values())
    sizes = tuple(reader.size for reader in readers)
    if not found.simultaneous:
        pictures = _one_by_one([reader.frame_count for reader in readers])
        notes: tuple[str, ...] = (_not_simultaneous(found),)
        return BoardCapture(
            found.folder, cameras, sizes, pictures, readers, simultaneous=False, fps=readers[0].fps, notes=notes
        )
    file = find_timestamps(found.folder)
    if file is None:
        count = _common_length(readers)
        pictures = np.repeat(np.arange(count)[:, None], len(readers), axis=1)
        return BoardCapture(found.folder, cameras, sizes, pictures, readers, fps=readers[0].fps)
    everyone = read_timestamps(file)
    times = everyone.of(cameras)
    for camera, reader in zip(cameras, readers, strict=True):
        times.check_frame_count(camera, reader.frame_count, str(reader.path))
    note = f"{file.name} says which frames belong together and when each was taken"
    if len(everyone.cameras) > len(cameras):
        note += f"; it names {len(everyone.cameras)} cameras, of which {len(cameras)} have a video here: {', '.join(cameras)}"
    return BoardCapture(
        found.folder, cameras, sizes, times.frames, readers, times_s=times.times_s, fps=readers[0].fps, notes=(note,)
    )


def _common_length(readers: Sequence[VideoReader]) -> int:
    """The frames that all videos have."""
    first = readers[0]
    for reader in readers:
        # 1 %: containers round the rate; 59.94 beside 60 is no mistake, 30 beside 60 is.
        if abs(reader.fps - first.fps) > 0.01 * first.fps:
            raise PosekitError(
                f"{reader.path}: runs at {reader.fps:g} frames/s where {first.path.name} has {first.fps:g}"
            )
    shortest, longest = (pick(readers, key=lambda reader: reader.frame_count) for pick in (min, max))
    missing = longest.frame_count - shortest.frame_count
    if missing > max(_LENGTH_FRAMES, _LENGTH_SHARE * longest.frame_count):
        raise PosekitError(
            f"{shortest.path}: has {shortest.frame_count} frames that can be read where {longest.path.name} has "
            f"{longest.frame_count}: it stops early (cut short or damaged), or the videos are not synchronized; film again, or "
            "cut all to the same moments, or lay a timestamps.csv beside them"
        )
    if missing:
        counts = ", ".join(f"{reader.path.name} {reader.frame_count}" for reader in readers)
        warnings.warn(
            PosekitWarning(
                f"{shortest.path.parent}: the videos differ in length ({counts} frames); "
                f"their first {shortest.frame_count} are used"
            ),
            stacklevel=4,
        )
    return shortest.frame_count


def _open_stills(found: BoardFolder) -> BoardCapture:
    cameras, stills = tuple(found.stills), tuple(found.stills.values())
    sizes = tuple(_size_of_first(camera, found.stills[camera]) for camera in cameras)
    moments = sorted({still.moment for own in stills for still in own}, key=natural_order)
    pictures = np.full((len(moments), len(cameras)), -1)
    for c, own in enumerate(stills):
        pictures[[moments.index(still.moment) for still in own], c] = np.arange(len(own))
    matched = (pictures >= 0).sum(axis=1) > 1
    if len(cameras) > 1 and (not found.simultaneous or not matched.any()):
        note = _not_simultaneous(found)
        pictures = _one_by_one([len(own) for own in stills])
        return BoardCapture(found.folder, cameras, sizes, pictures, (), stills, simultaneous=False, notes=(note,))
    notes: tuple[str, ...] = ()
    if len(cameras) > 1 and not matched.all():
        alone = int((~matched).sum())
        notes = (f"{alone} of {len(moments)} stills' numbers were found with one camera only",)
    return BoardCapture(found.folder, cameras, sizes, pictures, (), stills, notes=notes)


def _not_simultaneous(found: BoardFolder) -> str:
    why = "their numbers do not match" if found.simultaneous else "the folder's names say so"
    return f"the cameras' pictures are not taken as simultaneous ({why}): they serve the lenses, not where the cameras stand"


def _one_by_one(counts: Sequence[int]) -> NDArray[np.int64]:
    """Every picture of every camera a moment of its own, (sum of counts, C)."""
    pictures = np.full((sum(counts), len(counts)), -1)
    start = 0
    for c, count in enumerate(counts):
        pictures[start : start + count, c] = np.arange(count)
        start += count
    return pictures


def _size_of_first(camera: str, stills: Sequence[Still]) -> tuple[int, int]:
    for still in stills:
        image = _read_still(still.path)
        if image is not None:
            return image.shape[1], image.shape[0]
    raise PosekitError(f"{stills[0].path}: cannot be read as a picture, and no other still of camera '{camera}' can")


def _read_still(path: Path) -> UInt8[np.ndarray, "H W 3"] | None:
    """Return an RGB picture, upright by its EXIF; None where it cannot be read."""
    # Not imread: on Windows that cannot open names outside the system's code page.
    content = np.fromfile(path, dtype=np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
