"""Labelled hands of a data set, whatever layout it came in: where the pictures are, and what is known of every hand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import require_file
from posekit.io.json_values import read_json_file

#: A hand of which fewer joints have a label is left out: its box would not be a hand's.
MIN_JOINTS = 11


@dataclass(frozen=True, eq=False)
class HandLabels:
    """N hands. Pictures are only named here; they are read when crops are cut.

    folder: what `pictures`, the M file names, are relative to. picture: (N,) which of them. joints: (N, 21, 2) px, hand-21
    order, NaN without a label. visible: (N, 21), False where a joint is known to be hidden or has no label. left: (N,).
    xyz: (N, 21, 3) metres in the camera's axes (x right, y down, z forward), NaN where there is none; None for a set without.
    camera_matrix: (N, 3, 3), px; None for a set without. source: for messages.
    """

    folder: Path
    pictures: Sequence[str]
    picture: Int[np.ndarray, " N"]
    joints: Float[np.ndarray, "N 21 2"]
    visible: Bool[np.ndarray, "N 21"]
    left: Bool[np.ndarray, " N"]
    source: str
    xyz: Float[np.ndarray, "N 21 3"] | None = None
    camera_matrix: Float[np.ndarray, "N 3 3"] | None = None

    def __post_init__(self) -> None:
        count = len(self.picture)
        shapes = {
            "joints": (self.joints, (count, 21, 2)),
            "visible": (self.visible, (count, 21)),
            "left": (self.left, (count,)),
            "xyz": (self.xyz, (count, 21, 3)),
            "camera_matrix": (self.camera_matrix, (count, 3, 3)),
        }
        for name, (values, shape) in shapes.items():
            if values is not None and values.shape != shape:
                raise PosekitError(f"{self.source}: {name}: found {values.shape}, expected {shape}")
        labelled = np.isfinite(self.joints).all(axis=-1)
        object.__setattr__(self, "visible", self.visible & labelled)

    def __len__(self) -> int:
        return len(self.picture)

    def __getitem__(self, chosen: Any) -> "HandLabels":
        """Pick hands as from an array; the pictures stay as they are."""
        return replace(
            self,
            picture=self.picture[chosen],
            joints=self.joints[chosen],
            visible=self.visible[chosen],
            left=self.left[chosen],
            xyz=None if self.xyz is None else self.xyz[chosen],
            camera_matrix=None if self.camera_matrix is None else self.camera_matrix[chosen],
        )

    def path(self, hand: int) -> Path:
        """Return the file of a hand's picture."""
        return self.folder / self.pictures[int(self.picture[hand])]

    def complete_enough(self) -> "HandLabels":
        """Return the hands of at least `MIN_JOINTS` labels; raise PosekitError where there is none."""
        enough = np.isfinite(self.joints).all(axis=-1).sum(axis=1) >= MIN_JOINTS
        if not enough.any():
            raise PosekitError(
                f"{self.source}: found {len(self)} hands, none of at least {MIN_JOINTS} joints, expected one"
            )
        return self if enough.all() else self[enough]


def read_list(path: Path, what: str, length: int | None = None) -> list[Any]:
    """Read a JSON file that holds a list; raises PosekitError where it is missing, damaged, or not of this length."""
    content = read_json_file(str(require_file(path, what)))
    if not isinstance(content, list) or not content:
        raise PosekitError(f"{path}: found {_kind(content)}, expected a list with an entry for every hand")
    if length is not None and len(content) != length:
        raise PosekitError(f"{path}: found {len(content)} entries, expected {length}")
    return content


def read_table(path: Path, what: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read a JSON file that holds an object with these keys; raises PosekitError where it does not."""
    content = read_json_file(str(require_file(path, what)))
    if not isinstance(content, dict):
        raise PosekitError(f"{path}: found {_kind(content)}, expected an object with {', '.join(keys)}")
    for key in keys:
        if key not in content:
            raise PosekitError(f"{path}: found no '{key}', expected one")
    return content


def number_array(values: Any, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    """Return nested lists as an array of `shape` (-1 for any length), float64; raises PosekitError naming `where`."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise PosekitError(f"{where}: found something that is no array of numbers, expected shape {shape}") from None
    if array.ndim != len(shape) or any(
        wanted not in (-1, length) for wanted, length in zip(shape, array.shape, strict=True)
    ):
        raise PosekitError(f"{where}: found shape {array.shape}, expected {shape}")
    return array


def project(
    xyz: Float[np.ndarray, "*batch 21 3"], camera_matrix: Float[np.ndarray, "*batch 3 3"]
) -> Float[np.ndarray, "*batch 21 2"]:
    """Project points before an undistorted camera, metres to px; NaN for points that are not before it."""
    homogeneous = xyz @ np.swapaxes(camera_matrix, -1, -2)
    depth = np.where(homogeneous[..., 2:] > 0, homogeneous[..., 2:], np.nan)
    pixels: NDArray[np.float64] = homogeneous[..., :2] / depth
    return pixels


def _kind(content: Any) -> str:
    names = {dict: "an object", list: "an empty list", str: "a text", type(None): "null"}
    return names.get(type(content), "a number")
