"""Real captures as tests of a lifter: every view lifted by itself, against what all views triangulate."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from posekit.camera import Rig
    from posekit.keypoints import Keypoints2D, Keypoints3D, KeypointSource
    from posekit.lifting.lifter import Lifter

#: A person is measured in a view in which so many frames can be, of joints that so many frames have.
_LEAST_FRAMES = 10
_LEAST_SHARE = 0.5
#: The joints that count: named by detectors and by the lifter alike. mid_hip is the middle of two others.
_NOT_COUNTED = ("mid_hip",)


def measure_capture(lifter: "Lifter", source: "KeypointSource", rig: "Rig") -> list[dict[str, Any]]:
    """Triangulate everyone, lift everyone in every view, and compare, frame by frame.

    Returns for each person and view: frames and joints compared, PA-MPJPE without and with reflection, symmetry error (mm) and
    the mean coefficient of variation of the lifted bones' lengths (percent).
    """
    from posekit.people.reconstruction import identify_people, reconstruct_people

    reference = reconstruct_people(source, rig).people
    # As detected: a view by itself cannot know where other views would exchange its left and right.
    seen = identify_people(source, rig)
    rows = []
    for person in range(reference.xyz.shape[1]):
        for view, camera in enumerate(seen.cameras):
            row = _measure(lifter, reference, seen, rig, person, view)
            if row is not None:
                rows.append({"person": person, "view": camera, **row})
    return rows


def _measure(
    lifter: "Lifter", reference: "Keypoints3D", seen: "Keypoints2D", rig: "Rig", person: int, view: int
) -> dict[str, Any] | None:
    import numpy as np

    from posekit.lifting.skeletons import map_to_lifter
    from posekit.metrics.bones import bone_lengths, bone_spread, symmetry_errors
    from posekit.metrics.poses import mpjpe, pa_mpjpe_errors, pa_mpjpe_reflected_errors
    from posekit.skeleton import apply_joint_map, joint_map

    skeleton = lifter.skeleton
    truth, _ = apply_joint_map(
        joint_map(reference.skeleton, skeleton, derive=True), reference.skeleton, skeleton, reference.xyz[:, person]
    )
    xy = rig[seen.cameras[view]].undistort(seen.xy[:, view, person].astype(np.float64))
    mapping = map_to_lifter(seen.skeleton, skeleton)
    given, confidence = apply_joint_map(mapping, seen.skeleton, skeleton, xy, seen.confidence[:, view, person])
    lifted = lifter.lift(given, confidence).xyz.astype(np.float64)
    counted = _counted(lifter, truth)
    frames = np.isfinite(truth[:, counted]).all(axis=(1, 2)) & np.isfinite(lifted).all(axis=(1, 2))
    if len(counted) < 4 or frames.sum() < _LEAST_FRAMES:
        return None
    own, other = lifted[frames][:, counted], truth[frames][:, counted]
    return {
        "frames": int(frames.sum()),
        "joints": len(counted),
        "pa_mpjpe_mm": 1000 * mpjpe(pa_mpjpe_errors(own, other)),
        "pa_mpjpe_reflected_mm": 1000 * mpjpe(pa_mpjpe_reflected_errors(own, other)),
        "symmetry_mm": 1000 * float(symmetry_errors(lifted[frames], skeleton).mean()),
        "bone_spread_percent": 100
        * float(bone_spread(bone_lengths(lifted[frames], skeleton.bones)).coefficient.mean()),
    }


def _counted(lifter: "Lifter", truth: "NDArray[np.floating]") -> "NDArray[np.int64]":
    """Places of the joints that are triangulated in enough frames to be compared in."""
    import numpy as np

    share = np.isfinite(truth).all(axis=-1).mean(axis=0)
    kept = [
        n for n, joint in enumerate(lifter.skeleton.joints) if joint not in _NOT_COUNTED and share[n] >= _LEAST_SHARE
    ]
    return np.array(kept, dtype=np.int64)
