"""What keeps self-training honest: cameras and joints that are wrong are named and kept out, and drift is noticed.

Cameras are judged once, before the first round, on the people that the run starts from; joints after every detection, and the
rounds against each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.evidence import AgreementChange
from posekit.bootstrap.gate_cameras import judge_cameras
from posekit.bootstrap.gate_records import Alarm, Gates, GateSettings, with_sides_exchanged, without
from posekit.bootstrap.targets import RoundState, Target
from posekit.camera import Rig
from posekit.detection.hand_box import HandBox
from posekit.keypoints import Keypoints2D
from posekit.people.reconstruction import ReconstructionSettings, identify_people

#: A camera with a detection in fewer of the frames is not asked whom it sees.
_FEWEST_FRAMES = 20

#: A spread that grows by less than this share of the length is noise, whatever the factor.
_LEAST_SPREAD = 0.02


def judge_start(
    keypoints: Keypoints2D,
    rig: Rig,
    reconstruction: ReconstructionSettings,
    settings: GateSettings | None = None,
    people: Keypoints2D | None = None,
) -> Gates:
    """Judge the cameras by what a run starts from: people in any slots, (F, C, P, J); the rig has the same cameras.

    people: the same with person p in slot p, told apart here if not given. Raises PosekitError as `identify_people`.
    """
    settings = settings or GateSettings()
    people = identify_people(keypoints, rig, reconstruction.association) if people is None else people
    gates = Gates()
    for name, share, limit in _unmatched(keypoints, people, settings):
        mended = with_sides_exchanged(keypoints, (*gates.mended_cameras, name))
        exchanged = identify_people(mended, rig, reconstruction.association)
        now = float(_matched_share(mended, exchanged)[rig.names.index(name)])
        if now >= limit and now > share:
            gates, people = gates + _exchanged(name, share, now, limit), exchanged
        else:
            gates += _moved_away(name, keypoints, people, rig, reconstruction, settings) or _stranger(
                name, share, limit
            )
    kept = [name for name in rig.names if name not in gates.excluded_cameras]
    return gates + judge_cameras(people.select_cameras(tuple(kept)), rig.select(kept), reconstruction, settings)


def _matched_share(keypoints: Keypoints2D, people: Keypoints2D) -> NDArray[np.float64]:
    """In which share of the frames with a detection each camera sees somebody whom others see, (C,); NaN for too few."""
    detected, somebody = ((one.confidence > 0).any(axis=(2, 3)) for one in (keypoints, people))
    count = detected.sum(axis=0)
    share: NDArray[np.float64] = np.where(
        count >= _FEWEST_FRAMES, (detected & somebody).sum(axis=0) / np.maximum(count, 1), np.nan
    )
    return share


def _unmatched(keypoints: Keypoints2D, people: Keypoints2D, settings: GateSettings) -> list[tuple[str, float, float]]:
    """Cameras whose people are nobody whom the other cameras see: name, share of the frames and its limit."""
    share = _matched_share(keypoints, people)
    if len(share) < 3 or not np.isfinite(share).any():
        return []
    limit = settings.min_matched * float(np.nanmedian(share))
    return [(keypoints.cameras[c], float(share[c]), limit) for c in np.flatnonzero(share < limit).tolist()]


def _moved_away(
    name: str,
    keypoints: Keypoints2D,
    people: Keypoints2D,
    rig: Rig,
    reconstruction: ReconstructionSettings,
    settings: GateSettings,
) -> Gates | None:
    """Whether a camera that sees nobody whom others see would do so if it were turned; told where there is one person only."""
    if not keypoints.xy.shape[2] == people.xy.shape[2] == 1 or keypoints.skeleton != people.skeleton:
        return None
    c = rig.names.index(name)
    xy, confidence = people.xy.copy(), people.confidence.copy()
    xy[:, c], confidence[:, c] = keypoints.xy[:, c], keypoints.confidence[:, c]
    found = judge_cameras(replace(people, xy=xy, confidence=confidence), rig, reconstruction, settings)
    alarms = tuple(alarm for alarm in found.alarms if alarm.kind == "camera" and alarm.camera == name)
    return Gates(alarms, excluded_cameras=(name,)) if alarms else None


def _exchanged(name: str, share: float, now: float, limit: float) -> Gates:
    message = (
        f"camera '{name}' has left and right exchanged: it sees people whom the other cameras see in {100 * share:.0f} % of "
        f"its frames (limit {100 * limit:.0f} %), and in {100 * now:.0f} % once they are exchanged back, as they are"
    )
    return Gates((Alarm("side", name, None, message, share, limit),), mended_cameras=(name,))


def _stranger(name: str, share: float, limit: float) -> Gates:
    message = (
        f"camera '{name}' sees nobody whom the other cameras see: in {100 * share:.0f} % of the frames in which it detects "
        f"somebody it is one of them (limit {100 * limit:.0f} %); it is left out: is it where its calibration says, and of "
        "this capture?"
    )
    return Gates((Alarm("camera", name, None, message, share, limit),), excluded_cameras=(name,))


def gated_start(keypoints: Keypoints2D, gates: Gates) -> Keypoints2D:
    """Return what a run starts from without the excluded cameras' detections, and with exchanged sides exchanged back."""
    return without_cameras(with_sides_exchanged(keypoints, gates.mended_cameras), gates.excluded_cameras)


def without_cameras(keypoints: Keypoints2D, cameras: Sequence[str]) -> Keypoints2D:
    """Return the keypoints with nothing detected in some cameras."""
    out = np.isin(keypoints.cameras, list(cameras))[None, :, None, None]
    xy, confidence = without(keypoints.xy, keypoints.confidence, np.broadcast_to(out, keypoints.confidence.shape))
    return replace(keypoints, xy=xy, confidence=confidence)


def without_joints(keypoints: Keypoints2D, target: Target, joints: Sequence[str]) -> Keypoints2D:
    """Return the keypoints with nothing detected of some joints of every instance."""
    out = np.zeros(keypoints.skeleton.joint_count, dtype=np.bool_)
    out[target.joints(keypoints.skeleton)[:, target.skeleton.indices(tuple(joints))].ravel()] = True
    xy, confidence = without(keypoints.xy, keypoints.confidence, np.broadcast_to(out, keypoints.confidence.shape))
    return replace(keypoints, xy=xy, confidence=confidence)


def boxes_without_cameras(boxes: HandBox, rig: Rig, cameras: Sequence[str]) -> HandBox:
    """Return boxes (F, C, H) with none in some cameras: there nothing is detected, and no label made."""
    out = np.isin(rig.names, list(cameras))[None, :, None]
    return HandBox(boxes.centre, np.where(out, np.nan, boxes.side), boxes.angle, boxes.left)


def label_movement(before: RoundState, after: RoundState, rig: Rig) -> tuple[float | None, float | None]:
    """How far the points' places in the pictures have moved from one round to the next: median, px and as a share of B."""
    was, now = (
        np.stack([camera.project(state.points.xyz) for camera in rig.cameras], axis=1) for state in (before, after)
    )
    moved = np.linalg.norm(now - was, axis=-1)  # (F, C, H, K)
    known = np.isfinite(moved)
    if not known.any():
        return None, None
    share = moved / after.evidence.box_px[..., None]
    share = share[np.isfinite(share)]
    return float(np.median(moved[known])), float(np.median(share)) if len(share) else None


def judge_drift(
    figures: Mapping[str, Any],
    best: Mapping[str, Any],
    change: AgreementChange,
    settings: GateSettings | None = None,
    frames: str = "the held-out frames",
) -> Gates:
    """Compare a round's figures (of ``metrics.json``) with the best round's before it.

    change: of the joints that agree with the other cameras, since the best round. frames: in which, in words.
    """
    settings = settings or GateSettings()
    alarms = []
    number = figures["round"]
    if change.is_loss:
        message = (
            f"round {number} drifts and is not kept: {change.now} joints of {frames} agree with the other cameras, "
            f"{change.before} did in the best round before it (standard error of the difference: {change.chance:.1f})"
        )
        alarms.append(Alarm("drift", None, None, message, float(change.now), change.before - change.chance))
    spread, spread_best = figures["bone_spread"], best["bone_spread"]
    if spread is not None and spread_best is not None:
        limit = max(settings.max_spread_growth * spread_best, spread_best + _LEAST_SPREAD)
        if spread > limit:
            message = (
                f"round {number} drifts: bones vary by {100 * spread:.1f} % of their length (limit {100 * limit:.1f} %), and "
                f"by {100 * spread_best:.1f} % in the best round before it, round {best['round']}"
            )
            alarms.append(Alarm("drift", None, None, message, spread, limit))
    moved = figures["label_movement_b"]
    # The first detector may be wrong by anything; from the second round on the labels are its own.
    if number >= 2 and moved is not None and moved > settings.max_movement:
        message = (
            f"round {number} drifts: its labels have moved by {moved:.2f} B (limit {settings.max_movement:g} B), median, since "
            "the round before it"
        )
        alarms.append(Alarm("drift", None, None, message, moved, settings.max_movement))
    return Gates(tuple(alarms))
