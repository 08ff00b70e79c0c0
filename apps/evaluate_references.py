"""The figures of ``posekit evaluate`` that need a reference: whose identity holds, and how far off the poses are."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from posekit.apps.evaluate_inputs import Inputs


def against_references(inputs: "Inputs", match_distance: float) -> dict[str, Any]:
    """Figures of each reference person under ``references``, of all of them together at the top."""
    from posekit.apps.evaluate_figures import bones

    result, joints, skeleton = inputs.result, inputs.joints, inputs.skeleton
    reference, sources = _in_frames_of_result(inputs, joints)
    estimate = result.select(joints)
    matches = _match(estimate, reference, match_distance)
    own_bones = [
        figures
        for one in inputs.references
        for figures in bones(one.select(skeleton.joints), skeleton, inputs.bone_joints)
    ]
    matched = np.full_like(reference, np.nan)
    references = []
    for r, (source, person, frames) in enumerate(sources):
        p = int(matches.person_of[r])
        if p >= 0:
            matched[:, r] = estimate[:, p]
        references.append(
            {
                "source": source,
                "person_of_source": person,
                "frames": frames,
                "frames_common": int(np.isfinite(reference[:, r]).all(axis=-1).any(axis=-1).sum()),
                "person": p if p >= 0 else None,
                "frames_same_identity": int(matches.same[:, r].sum()),
                "frames_matched": int((matches.nearest_of[:, r] >= 0).sum()),
                "identities": int(matches.identities[r]),
                **pose_figures(matched[:, r], reference[:, r], inputs),
                "parts": own_bones[r]["parts"],
            }
        )
    return {
        **pose_figures(matched, reference, inputs),
        "people_matched": int((matches.person_of >= 0).sum()),
        "match_distance_m": match_distance,
        "references": references,
    }


def _in_frames_of_result(
    inputs: "Inputs", joints: tuple[str, ...]
) -> tuple[NDArray[np.float64], list[tuple[str, int, int]]]:
    """All reference people in the frames of the result, (F, R, J, 3), and of each the file, its place there and its frames."""
    from posekit.people.matching import common_frames

    frames = inputs.result.frames
    people, sources = [], []
    for one in inputs.references:
        xyz = one.select(joints)
        own, others = common_frames(one.frames, frames)
        placed = np.full((len(frames), *xyz.shape[1:]), np.nan)
        placed[others] = xyz[own]
        people.append(placed)
        there = np.isfinite(xyz).all(axis=-1).any(axis=-1).sum(axis=0)
        sources += [(one.source, person, int(count)) for person, count in enumerate(there)]
    return np.concatenate(people, axis=1), sources


def _match(estimate: NDArray[np.float64], reference: NDArray[np.float64], match_distance: float) -> Any:
    from posekit.people.matching import match_people, mean_distances

    there = np.asarray(np.isfinite(reference).all(axis=-1).any(axis=-1))
    return match_people(mean_distances(estimate, reference), there, match_distance)


def pose_figures(estimate: NDArray[np.float64], reference: NDArray[np.float64], inputs: "Inputs") -> dict[str, Any]:
    """Measures of poses (..., J, 3) that are each other's, joints as counted; None where nothing can be measured.

    MPJPE and 3DPCK in the world, as the poses stand; the rest as their functions say. A joint that only the reference has is
    wrong for 3DPCK and PCP, and no part of the mean errors: ``share_found`` says how many there are.
    """
    from posekit import metrics

    bones = _bones_between(inputs)
    errors = metrics.keypoint_errors(estimate, reference)
    counted = np.asarray(np.isfinite(reference).all(axis=-1))
    length_errors = metrics.bone_length_errors(estimate, reference, bones)
    parts = metrics.pcp(estimate, reference, bones)
    root = _root(inputs.joints)
    rooted = (metrics.relative_to(estimate, root), metrics.relative_to(reference, root)) if root else None
    figures = {
        "mpjpe_mm": 1e3 * metrics.mpjpe(errors),
        "median_error_mm": 1e3 * metrics.end_point_error(errors)[1],
        "mpjpe_root_mm": 1e3 * metrics.mpjpe(metrics.keypoint_errors(*rooted)) if rooted else None,
        "pa_mpjpe_mm": 1e3 * metrics.mpjpe(metrics.pa_mpjpe_errors(estimate, reference)),
        "n_mpjpe_mm": 1e3 * metrics.mpjpe(metrics.n_mpjpe_errors(*rooted)) if rooted else None,
        "pck150": metrics.pck_3d(errors, counted),
        "auc150": metrics.pck_3d_auc(errors, counted),
        "pcp": float(parts[np.isfinite(parts)].mean()) if np.isfinite(parts).any() else None,
        "bone_length_error_mm": 1e3 * metrics.mpjpe(np.abs(length_errors)),
        "share_found": float(np.isfinite(errors).sum() / counted.sum()) if counted.any() else None,
    }
    return {name: value if value is None or np.isfinite(value) else None for name, value in figures.items()}


def _bones_between(inputs: "Inputs") -> tuple[tuple[int, int], ...]:
    """Bones of the skeleton between counted joints, as places among those."""
    place = {joint: number for number, joint in enumerate(inputs.joints)}
    names = inputs.skeleton.joints
    return tuple(
        (place[names[a]], place[names[b]]) for a, b in inputs.skeleton.bones if names[a] in place and names[b] in place
    )


def _root(joints: tuple[str, ...]) -> tuple[int, ...]:
    """Places of the joints whose middle is the root: the mid-hip, both hips, or a hand's wrist; none where there is none."""
    for root in (("mid_hip",), ("left_hip", "right_hip"), ("wrist",)):
        if all(joint in joints for joint in root):
            return tuple(joints.index(joint) for joint in root)
    return ()
