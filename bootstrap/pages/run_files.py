"""What a run left in its folder, as the review and the report read it: figures, alarms, choices and labels of every round."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.skeleton import HAND_21, Skeleton


@dataclass(frozen=True, eq=False)
class RoundLabels:
    """The N labels of one round, of ``crops.h5``.

    frame, person, camera: (N,), the frame's number and the camera's place in `cameras`. part: N names. joints_px: (N, K, 2) in
    the picture; joints_crop_px: the same in the crop; NaN without a label. residual_px: (N, K), distance from the view's own
    detection, NaN where it had none. inliers: (N, K, C). jpegs: the N crops, encoded, `crop_size` px high and wide.
    """

    frame: NDArray[np.int64]
    person: NDArray[np.int64]
    part: tuple[str, ...]
    camera: NDArray[np.int64]
    cameras: tuple[str, ...]
    joints_px: NDArray[np.float64]
    joints_crop_px: NDArray[np.float64]
    residual_px: NDArray[np.float64]
    inliers: NDArray[np.bool_]
    threshold_px: NDArray[np.float64]
    jpegs: tuple[bytes, ...]
    crop_size: int

    def __len__(self) -> int:
        return len(self.frame)

    def instance(self, number: int) -> str:
        """Return in words what one label is of: the part, and whose, where the labels are of several people."""
        part = self.part[number].replace("_", " ")
        return f"{part} of person {self.person[number]}" if len(np.unique(self.person)) > 1 else part

    def crop(self, number: int) -> NDArray[np.uint8]:
        """Decode one crop to RGB."""
        image = cv2.imdecode(np.frombuffer(self.jpegs[number], np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise PosekitError(f"label {number} of the crops is no JPEG")
        return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


@dataclass(frozen=True)
class RoundFiles:
    """One round's folder; what an older or an unfinished run has not written is None."""

    folder: Path
    number: int

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        """The figures; None where the round was not finished."""
        return read_json_of_run(self.folder / "metrics.json")

    @cached_property
    def gates(self) -> dict[str, Any] | None:
        """Alarms of the gates, and what they left out."""
        return read_json_of_run(self.folder / "gates.json")

    @cached_property
    def seconds(self) -> dict[str, float] | None:
        """How long each step took."""
        return read_json_of_run(self.folder / "seconds.json")

    @cached_property
    def selection(self) -> list[dict[str, Any]] | None:
        """Every frame that had a 3D instance: its score, whether it was chosen, and why not."""
        content = read_json_of_run(self.folder / "selection.json")
        if content is not None and "instances" not in content:
            raise PosekitError(f"{self.folder / 'selection.json'}: is damaged ('instances' is missing)")
        return None if content is None else list(content["instances"])

    @cached_property
    def labels(self) -> RoundLabels | None:
        """The labels that the round made and was trained on."""
        path = self.folder / "crops.h5"
        return _read_labels(path) if path.exists() else None

    def detections(self) -> Keypoints2D:
        """What the round's detector found."""
        return Keypoints2D.load(self.folder / "keypoints2d.h5")

    def points(self) -> Keypoints3D:
        """What was triangulated of it."""
        return Keypoints3D.load(self.folder / "keypoints3d.h5")

    @property
    def kept(self) -> bool:
        """Whether the round was kept; one that says nothing of it was."""
        return self.metrics is not None and bool(self.metrics.get("kept", True))


@dataclass(frozen=True)
class RunFiles:
    """A run folder."""

    folder: Path

    @cached_property
    def rounds(self) -> tuple[RoundFiles, ...]:
        """The rounds that were begun, round 0 first."""
        found = {}
        for place in self.folder.glob("round_*"):
            number = place.name.removeprefix("round_")
            if number.isdecimal() and place.is_dir():
                found[int(number)] = RoundFiles(place, int(number))
        return tuple(found[number] for number in sorted(found))

    @property
    def finished(self) -> tuple[RoundFiles, ...]:
        """The rounds that have figures."""
        return tuple(each for each in self.rounds if each.metrics is not None)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the run was begun with."""
        return read_json_of_run(self.folder / "settings.json") or {}

    def last_labelled(self) -> RoundFiles:
        """Return the last finished round that has labels; PosekitError where there is none."""
        for each in reversed(self.finished):
            if each.labels is not None:
                return each
        raise PosekitError(f"{self.folder}: has no finished round with labels yet; run one first")

    def made_from(self, number: int) -> RoundFiles:
        """Return the round whose detections the labels of round `number` are made from: the last one kept before it."""
        before = [each for each in self.finished if each.number < number and each.kept]
        if not before:
            raise PosekitError(f"{self.folder}: has no round before round {number}; is something missing?")
        return before[-1]


def part_joints(skeleton: Skeleton, part: str) -> NDArray[np.int64]:
    """Places of a part's joints in whole people; all of them where the skeleton has no such part."""
    return skeleton.part(part) if part in skeleton.parts else np.arange(skeleton.joint_count)


def part_skeleton(skeleton: Skeleton, part: str) -> Skeleton:
    """The part as a skeleton of its own; a hand is the 21-joint hand, whose fingers have colours."""
    places = part_joints(skeleton, part)
    if part.endswith("hand") and len(places) == HAND_21.joint_count:
        return HAND_21
    own = {int(joint): n for n, joint in enumerate(places)}
    within = [(own[a], own[b]) for a, b in skeleton.bones if a in own and b in own]
    pairs = [(own[a], own[b]) for a, b in skeleton.left_right if a in own and b in own]
    names = tuple(skeleton.joints[joint] for joint in places)
    return Skeleton(part, names, tuple(within), tuple(pairs), {"body": tuple(range(len(names)))})


def read_json_of_run(path: Path) -> Any:
    """Read a file of a run; None where there is none. Raises PosekitError where it is damaged."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PosekitError(f"{path}: is damaged ({error})") from None
    if not isinstance(content, dict):
        raise PosekitError(f"{path}: is damaged (found {str(content)[:40]}, a JSON object was expected)")
    return content


def _read_labels(path: Path) -> RoundLabels:
    try:
        with h5py.File(path, "r") as file:
            names = [name.decode() for name in file["part" if "part" in file else "side"][()]]
            parts = tuple(name if "part" in file else f"{name}_hand" for name in names)
            return RoundLabels(
                frame=file["frame"][()],
                person=file["person"][()],
                part=parts,
                camera=file["camera"][()],
                cameras=tuple(name.decode() for name in file["cameras"][()]),
                joints_px=file["joints_px"][()],
                joints_crop_px=file["joints_crop_px"][()],
                residual_px=file["residual_px"][()],
                inliers=file["inliers"][()],
                threshold_px=file["threshold_px"][()],
                jpegs=tuple(jpeg.tobytes() for jpeg in file["jpeg"][()]),
                crop_size=int(file.attrs["size"]),
            )
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise PosekitError(f"{path}: is no crop file that can be read ({error})") from None
