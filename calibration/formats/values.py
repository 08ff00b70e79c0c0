"""What the readers of camera files share: numbers checked field by field, and odd values that are repaired or refused."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.units import METRES_PER_UNIT

Array = NDArray[np.float64]

#: A camera further than this from the origin, read as metres, is taken for millimetres that nobody declared.
_FAR_METRES = 200.0

#: Entries of a camera matrix' third row that are not 0, 0, 1 by this move a point by a thousandth of a pixel at most.
_ROW_NOISE = 1e-6

#: A rotation that is no better than this is a hundredth of a pixel off, a thousand pixels from the middle.
_ROTATION_NOISE = 1e-5

#: Pictures that cameras make, width x height, lying; standing ones count, too.
_COMMON_SIZES = (
    "640x360 640x480 720x720 800x600 960x540 1024x768 1080x1080 1280x720 1280x960 1280x1024 1440x1080 1600x1200 1920x1080 "
    "1920x1200 2048x1088 2048x1536 2048x2048 2448x2048 2560x1440 2704x1520 3840x2160 4096x2160 4096x3000"
)


@dataclass(frozen=True)
class Unsaid:
    """What a person knows of a camera file that the file does not say itself.

    units: the unit of its positions, "m", "cm" or "mm". size: (width, height) of every camera's picture, px.
    """

    units: str | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.units is not None and self.units not in METRES_PER_UNIT:
            raise PosekitError(f"units: '{self.units}' is not known; known are: {', '.join(METRES_PER_UNIT)}")


NOTHING = Unsaid()


class CameraTable:
    """The values of one camera in a file, asked for one by one."""

    def __init__(self, file: "CameraFile", label: str, values: Mapping[str, Any]) -> None:
        self.where = f"{file.path}: {label}"
        self._file = file
        self._label = label
        self._values = values
        self._copied: dict[str, int] = {}

    def key(self, *keys: str) -> str | None:
        """Return the first of these keys that the camera has."""
        return next((key for key in keys if self._values.get(key) is not None), None)

    def require(self, *keys: str) -> None:
        """Refuse a camera without one of these keys."""
        missing = [key for key in keys if self.key(key) is None]
        if missing:
            raise PosekitError(f"{self.where}: lacks {', '.join(missing)}")

    def _array(self, key: str) -> Array:
        value = self._values.get(key)
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise PosekitError(f"{self.where}: {key}: {value!r} are not numbers") from None
        if value is None or isinstance(value, bool):
            raise PosekitError(f"{self.where}: {key}: {value!r} are not numbers")
        return array

    def _one_copy(self, key: str, array: Array, fits: Callable[[tuple[int, ...]], bool]) -> Array:
        """Take one of several equal copies of a value; an older Pose2Sim wrote moving cameras like that."""
        if array.ndim > 1 and len(array) > 1 and not fits(array.shape) and fits(array.shape[1:]):
            if (array != array[0]).any():
                raise PosekitError(f"{self.where}: {key}: holds {len(array)} different values, one was expected")
            self._copied[key] = len(array)
            return np.asarray(array[0])
        return array

    def numbers(self, key: str, *shapes: tuple[int, ...]) -> Array:
        """Return finite numbers of the first of these shapes; the others are reshaped to it."""
        array = self._one_copy(key, self._array(key), lambda shape: shape in shapes)
        if array.shape not in shapes:
            raise PosekitError(
                f"{self.where}: {key}: finite numbers of shape {shapes[0]} were expected, found shape {array.shape}"
            )
        if not np.isfinite(array).all():
            raise PosekitError(
                f"{self.where}: {key}: finite numbers were expected, found {array[~np.isfinite(array)][0]}"
            )
        return array.reshape(shapes[0])

    def coefficients(self, key: str) -> Array:
        """Return distortion coefficients, one row or one column of them; zeros that OpenCV adds after the eighth are cut."""

        def in_a_row(shape: tuple[int, ...]) -> bool:
            return sum(length != 1 for length in shape) <= 1

        array = self._one_copy(key, self._array(key), in_a_row)
        if not in_a_row(array.shape):
            raise PosekitError(f"{self.where}: {key}: has shape {array.shape}, a list of numbers was expected")
        found = array.ravel()
        if len(found) in (12, 14):
            if found[8:].any():
                raise PosekitError(
                    f"{self.where}: {key}: thin prisms and tilted sensors are not supported (12, 14 values)"
                )
            found = found[:8]
        return found

    def rotation(self, key: str) -> Array:
        """Return a rotation (3, 3) that is stored as such or as a rotation vector."""
        found = self._array(key)
        if found.shape == (3, 3) and (found == found[0]).all():
            # Rows of a rotation are never equal: these are three copies of a vector.
            self._copied[key] = 3
            found = found[0]
            return np.asarray(Rotation.from_rotvec(self._with(key, found).numbers(key, (3,))).as_matrix())
        if found.shape[-2:] == (3, 3):
            return self.numbers(key, (3, 3))
        return np.asarray(Rotation.from_rotvec(self.numbers(key, (3,), (3, 1), (1, 3))).as_matrix())

    def matrix(self, key: str) -> Array:
        """Return a camera matrix (3, 3), with a third row that is 0 0 1 where it clearly means that."""
        matrix = self.numbers(key, (3, 3))
        last = matrix[2, 2]
        if matrix[2, :2].all() and not matrix[:2, 2].any():
            raise PosekitError(
                f"{self.where}: {key}: is stored transposed, as MATLAB does; its rotation may be so, too, and its pixels "
                "count from 1: export it in OpenCV's convention"
            )
        if (np.abs(matrix[2, :2]) > 1).all() and last == 1:
            # In the documentation of Lightning Pose, too; OpenCV looks at the third column only.
            raise PosekitError(
                f"{self.where}: {key}: its third row has a second principal point, {matrix[2, 0]:g} {matrix[2, 1]:g}, beside "
                f"{matrix[0, 2]:g} {matrix[1, 2]:g} in its third column; make that row 0 0 1 if the column's is right"
            )
        if not matrix[2, :2].any() and last > 0 and last != 1:
            self.odd(f"{key}: its third row is 0 0 {last:g}; all of it was divided by that")
            matrix = matrix / last
        elif (matrix[2] != (0, 0, 1)).any() and np.abs(matrix[2] - (0, 0, 1)).max() <= _ROW_NOISE:
            self.odd(f"{key}: its third row is {matrix[2].tolist()}; taken as 0 0 1")
            matrix = np.vstack((matrix[:2], (0, 0, 1)))
        return matrix

    def _with(self, key: str, value: Any) -> "CameraTable":
        return CameraTable(self._file, self._label, {key: value})

    def odd(self, oddity: str) -> None:
        """Have something told about this camera, when the rig is made."""
        self._file.odd(self._label, oddity)

    def camera(
        self,
        name: str,
        size: ArrayLike | None,
        matrix: Array,
        distortion: Array,
        rotation: Array,
        translation: Array,
        fisheye: bool = False,
    ) -> Camera:
        """Return the camera, in the file's own unit.

        size: None where the file does not say it: the person's word is taken, and else what the principal point suggests.
        """
        if not name:
            raise PosekitError(f"{self.where}: its name is empty")
        if size is None:
            size = self._file.unsaid.size
        if size is None:
            size = _likely_size(matrix)
            self.odd(f"does not say how large its picture is; {size[0]} x {size[1]} px is assumed")
        off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
        if _ROTATION_NOISE < off < 1e-3:  # what is further off is refused by the camera
            self.odd(f"its rotation is rounded, by {off:.1g}; the nearest that is one is taken")
            left, _, right = np.linalg.svd(rotation)
            rotation = left @ right
        width, height = np.asarray(size).tolist()
        try:
            camera = Camera(name, (width, height), matrix, distortion, rotation, translation, fisheye=fisheye)
        except PosekitError as error:
            raise PosekitError(f"{self.where}: {str(error).removeprefix(f'camera {name}: ')}") from None
        if self._copied:
            copies = ", ".join(self._copied)
            self.odd(f"holds {max(self._copied.values())} equal copies of {copies}; one of them is taken")
        return camera


class CameraFile:
    """A file or folder of cameras that is being read: what a person knows of it, and what was odd, for one warning each."""

    def __init__(self, path: Path, unsaid: Unsaid) -> None:
        self.path = path
        self.unsaid = unsaid
        self._odd: dict[str, list[str]] = {}

    def odd(self, label: str, oddity: str) -> None:
        """Have something told about one camera; what is odd about several of them is told once."""
        self._odd.setdefault(oddity, []).append(label)

    def table(self, label: str, values: Mapping[str, Any]) -> CameraTable:
        """Return what one camera's values are asked of."""
        return CameraTable(self, label, values)

    def rig(self, cameras: Sequence[Camera], *, said: str | None = None, usual: str | None = None) -> Rig:
        """Return the rig in metres, of cameras whose translations are in the file's unit, and warn of all that was odd.

        said: the unit that the file names. usual: the unit of this format, where a file does not name one; None warns, and
        takes metres. Refuses what is too long to be metres, and a person's word where the file has another.
        """
        path, unsaid = self.path, self.unsaid
        if said is not None and said not in METRES_PER_UNIT:
            raise PosekitError(f"{path}: units: '{said}' is not known; known are: {', '.join(METRES_PER_UNIT)}")
        if said is not None and unsaid.units not in (None, said):
            raise PosekitError(
                f"{path}: says itself that its units are {said}, it cannot be read as {unsaid.units}; correct the file"
            )
        metres = METRES_PER_UNIT[said or unsaid.units or usual or "m"]
        rig = Rig(tuple(replace(camera, translation=camera.translation * metres) for camera in cameras), str(path))
        for camera in rig.cameras:
            if unsaid.size is not None and camera.size != tuple(unsaid.size):
                (width, height), (other_width, other_height) = camera.size, unsaid.size
                raise PosekitError(
                    f"{path}: says itself that the picture of camera '{camera.name}' is {width} x {height} px, it cannot be "
                    f"read as {other_width} x {other_height}"
                )
        if said is None and unsaid.units is None:
            farthest = max(float(np.linalg.norm(camera.translation)) for camera in rig.cameras)
            if farthest > _FAR_METRES:
                raise PosekitError(
                    f"{path}: translations up to {farthest / metres:.0f} are too long to be {_WORDS[usual or 'm']}; say the "
                    "unit: posekit convert --units mm (or cm, m)"
                )
        oddities = [f"{path}: {', '.join(labels)}: {oddity}" for oddity, labels in self._odd.items()]
        if said is None and unsaid.units is None and usual is None:
            oddities.append(f"{path}: does not say its units; read as metres")
        for oddity in oddities:
            warnings.warn(PosekitWarning(oddity), stacklevel=3)
        return rig


def _likely_size(matrix: Array) -> tuple[int, int]:
    """Return the size of picture in whose middle the principal point lies, a common one where one is within 5 %."""
    suggested = 2 * matrix[:2, 2] + 1
    lying = np.array([size.split("x") for size in _COMMON_SIZES.split()], dtype=np.int64)
    sizes = np.concatenate((lying, lying[:, ::-1]))
    difference = np.abs(sizes / np.maximum(suggested, 1) - 1).max(axis=1)
    best = sizes[difference.argmin()] if difference.min() < 0.05 else np.round(suggested)
    return int(best[0]), int(best[1])


_WORDS = {"m": "metres", "cm": "centimetres", "mm": "millimetres"}


def text_of(path: Path, what: str) -> str:
    """Return a file's text; refuse one that is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PosekitError(f"{path}: is no {what} ({error})") from None


def refuse_what_cannot_be_written(path: Path, rig: Rig, what: str) -> None:
    """Refuse lenses that a format of five coefficients cannot hold."""
    for camera in rig.cameras:
        if camera.fisheye:
            raise PosekitError(
                f"{path}: camera '{camera.name}' is a fisheye, which {what} cannot hold; write .toml or .yml"
            )
        if camera.distortion[5:].any():
            raise PosekitError(
                f"{path}: camera '{camera.name}' has 8 distortion coefficients, {what} holds 5; write .toml or .yml"
            )


def warn_of_skew(path: Path, rig: Rig) -> None:
    """Warn of pixels that are not square boxes, in formats whose programs project by OpenCV, which does not know them."""
    for camera in rig.cameras:
        # A thousandth of a pixel at the picture's edge, one focal length from the middle.
        if abs(camera.matrix[0, 1]) > 1e-3:
            warnings.warn(
                PosekitWarning(
                    f"{path}: camera '{camera.name}' has a skew of {camera.matrix[0, 1]:.3g} px; it is written, but programs "
                    "that project by OpenCV take it for 0"
                ),
                stacklevel=3,
            )
