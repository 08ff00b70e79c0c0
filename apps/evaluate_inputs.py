"""What ``posekit evaluate`` reads: files of any kind, brought to common joints and frames."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from posekit.apps.evaluate import EvaluateConfig
    from posekit.camera import Rig
    from posekit.io.points3d import Points3D
    from posekit.keypoints import Keypoints2D
    from posekit.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Inputs:
    """Everything that is compared; frame numbers are those of the detections, or of the result where there are none.

    skeleton: whose bones are measured. joints: those that the figures count, which result, references and detections all have.
    bone_joints: the same and, where all have them, the hands'. detections: slot p is person p of the cameras, which need not be
    person p of the result. offsets: file -> what was added to its frame numbers. without_counterpart: file -> its joints that
    another file lacks. actions: what is done -> (F,), the frames of the result in which it is.
    """

    result: "Points3D"
    references: tuple["Points3D", ...]
    rig: "Rig | None"
    detections: "Keypoints2D | None"
    skeleton: "Skeleton"
    joints: tuple[str, ...]
    bone_joints: tuple[str, ...]
    offsets: dict[str, int]
    without_counterpart: dict[str, tuple[str, ...]]
    actions: dict[str, NDArray[np.bool_]]

    @property
    def of_one_view(self) -> bool:
        """Whether the result is of one camera: it may stand in a world of its own."""
        return self.result.keypoints is not None and len(self.result.keypoints.cameras) == 1


def read_inputs(config: "EvaluateConfig") -> Inputs:
    """Read the files and find what they have in common; raises PosekitError where that is nothing."""
    from posekit.io.points3d import read_points3d

    result = read_points3d(config.result, up=config.up, world_up=config.world_up)
    references = [read_points3d(path, up=config.up, world_up=config.world_up) for path in config.reference]
    rig, detections = None, None
    if config.rig is not None and config.keypoints is not None:
        rig, detections = _read_views(config.rig, config.keypoints, config.skeleton, result.fps)
    skeleton = _choose_skeleton(config.skeleton, result, detections)
    joints_of = {one.source: one.joints for one in (result, *references)}
    if detections is not None:
        joints_of[detections.source] = detections.skeleton.joints
    joints, bone_joints = _common_joints(config.joints, skeleton, joints_of)
    offsets: dict[str, int] = {}
    if detections is not None and rig is not None:
        score = _pixel_score(result, detections, rig, joints)
        result, offsets[result.source] = _align_frames(result, detections.frames, config.frame_offset, score)
    aligned = []
    for one in references:
        score = _distance_score(one, result, joints)
        moved, offsets[one.source] = _align_frames(one, result.frames, config.frame_offset, score)
        aligned.append(moved)
    lacking = {
        name: tuple(joint for joint in own if not all(joint in others for others in joints_of.values()))
        for name, own in joints_of.items()
    }
    actions = {} if config.actions is None else read_actions(config.actions, result.frames)
    return Inputs(result, tuple(aligned), rig, detections, skeleton, joints, bone_joints, offsets, lacking, actions)


def read_actions(path: Path, frames: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Read a CSV of first,last,action (frame numbers, a name): action -> (F,), the frames in which it is done.

    One action may have several rows. Raises PosekitError for a row of another kind, and where no frame is of any action.
    """
    import csv

    from posekit.errors import PosekitError
    from posekit.io.files import require_file

    require_file(path, "a CSV file of first,last,action")
    found: dict[str, NDArray[np.bool_]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise PosekitError(f"{path}: cannot be read as CSV ({error})") from None
    for number, row in enumerate(rows, start=1):
        if not row or (number == 1 and [cell.strip() for cell in row] == ["first", "last", "action"]):
            continue
        try:
            first, last, action = int(row[0]), int(row[1]), row[2].strip()
        except (ValueError, IndexError):
            raise PosekitError(f"{path}: line {number}: found {','.join(row)!r}, expected first,last,action") from None
        if first > last or not action:
            raise PosekitError(f"{path}: line {number}: found {','.join(row)!r}, expected first to last and a name")
        rows_of = (frames >= first) & (frames <= last)
        found[action] = found.get(action, np.zeros(len(frames), dtype=np.bool_)) | rows_of
    found = {action: rows_of for action, rows_of in found.items() if rows_of.any()}
    if not found:
        raise PosekitError(f"{path}: names no action in the frames {_span(frames)} of the result")
    return found


def _read_views(
    rig_path: Path, keypoints_path: Path, skeleton: str | None, fps: float | None
) -> tuple["Rig", "Keypoints2D"]:
    """Read rig and detections, the same cameras in the same order, and tell the people of the views apart."""
    from posekit.apps.in_step import in_step
    from posekit.calibration.formats import read_rig
    from posekit.io.keypoint_files import open_keypoints
    from posekit.people.reconstruction import identify_people

    rig = read_rig(rig_path)
    source = in_step(keypoints_path, open_keypoints(keypoints_path, skeleton, fps), rig)
    detections = identify_people(source.read(0, len(source.frames)), rig)
    return rig.select(detections.cameras), detections


def _choose_skeleton(name: str | None, result: "Points3D", detections: "Keypoints2D | None") -> "Skeleton":
    """Take the skeleton that is named, the file's own, the detections', or the known one that has most of the joints."""
    from posekit.skeleton import SKELETONS, get_skeleton, takes_hands, with_hands

    if result.keypoints is not None:
        return result.keypoints.skeleton
    if detections is not None:
        return detections.skeleton
    if name is not None:
        return get_skeleton(name)
    known = [*SKELETONS.values(), *(with_hands(one) for one in SKELETONS.values() if takes_hands(one))]
    # The smallest that has as many, so that nobody gets hands who has none.
    return max(known, key=lambda one: (sum(joint in one for joint in result.joints), -one.joint_count))


def _common_joints(
    asked: tuple[str, ...], skeleton: "Skeleton", joints_of: dict[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the joints that all files have and that count, and those between which bones are measured."""
    from posekit.errors import PosekitError

    if asked:
        for name, joints in joints_of.items():
            for joint in asked:
                if joint not in joints:
                    raise PosekitError(f"{name}: has no joint '{joint}'; it has: {', '.join(joints)}")
        return asked, asked
    common = [joint for joint in skeleton.joints if all(joint in joints for joints in joints_of.values())]
    bone_joints = tuple(joint for joint in common if not joint.endswith(("_eye", "_ear")))
    body = {skeleton.joints[joint] for joint in skeleton.parts["body"]} if "body" in skeleton.parts else set(common)
    counted = tuple(joint for joint in bone_joints if joint in body) or bone_joints
    if not counted:
        raise PosekitError(f"{' and '.join(joints_of)}: have no joint of {skeleton.name} in common")
    return counted, bone_joints


def _align_frames(
    points: "Points3D", frames: NDArray[np.int64], offset: int | None, score: Callable[[int], float]
) -> tuple["Points3D", int]:
    """Shift a marker file's row numbers so that they are the frames of what it is held against; returns the shift, too.

    Writers number rows from 0 or 1 and begin their time at 0 or one frame later, so the file does not tell. score: how far off
    people are with an offset; of the few that the writers' habits make possible, the best is taken. One frame too many or few
    doubles the error of a person who moves. Raises PosekitError where no frame is in common.
    """
    from posekit.errors import PosekitError

    if not points.numbers_rows:
        candidates = [0]
    elif offset is not None:
        candidates = [offset]
    else:
        first = int(points.frames[0])
        # In this order, which decides between equals: somebody who stands still.
        habits = (0, -1, points.start - first, int(frames[0]) - first if len(frames) else 0)
        candidates = list(dict.fromkeys(habits))
    candidates = [one for one in candidates if np.isin(points.frames + one, frames).any()]
    if not candidates:
        raise PosekitError(
            f"{points.source}: none of its frames {_span(points.frames + (offset or 0))} is among the frames {_span(frames)} "
            "that it is held against"
        )
    scores = [score(one) for one in candidates] if len(candidates) > 1 else [0.0]
    best = candidates[int(np.argmin(np.nan_to_num(scores, nan=np.inf)))]
    return replace(points, frames=points.frames + best), best


def _span(frames: NDArray[np.int64]) -> str:
    return f"{frames.min()} to {frames.max()}" if len(frames) else "(none)"


def _distance_score(points: "Points3D", result: "Points3D", joints: tuple[str, ...]) -> Callable[[int], float]:
    """Median distance in metres of the people of a file from the nearest people of the result, by offset."""
    from posekit.people.matching import common_frames, mean_distances

    def score(offset: int) -> float:
        own, others = common_frames(points.frames + offset, result.frames)
        between = mean_distances(result.select(joints)[others], points.select(joints)[own])
        return _nearest(between)

    return score


def _pixel_score(
    points: "Points3D", detections: "Keypoints2D", rig: "Rig", joints: tuple[str, ...]
) -> Callable[[int], float]:
    """Median distance in pixels of the people of a file from the nearest detected people, by offset."""
    from posekit.people.matching import common_frames, pixel_distances, project_people

    projected = project_people(points.select(joints), rig)
    xy = detections.xy[:, :, :, detections.skeleton.indices(joints)]

    def score(offset: int) -> float:
        own, others = common_frames(points.frames + offset, detections.frames)
        return _nearest(pixel_distances(projected[own], xy[others]).swapaxes(1, 2))

    return score


def _nearest(between: NDArray[np.float64]) -> float:
    """Median over frames and people R of how far the nearest other P is; between: (F, P, R), NaN where either is missing."""
    nearest = np.where(np.isfinite(between), between, np.inf).min(axis=1, initial=np.inf)
    met = nearest[np.isfinite(nearest)]
    return float(np.median(met)) if met.size else float("inf")
