"""The figures of ``posekit evaluate`` that need a reference: whose identity holds, and how far off the poses are."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from posekit.apps.evaluate_inputs import Inputs
    from posekit.keypoints import Keypoints3D

#: Metres: a person whom two cameras saw from nearly one side may be that far off, which is more than a lifted pose is.
UNSURE = 0.1


def against_references(inputs: "Inputs", match_distance: float) -> dict[str, Any]:
    """Figures of each reference person under ``references``, of all of them together at the top."""
    from posekit.apps.evaluate_figures import bones

    result, joints, skeleton = inputs.result, inputs.joints, inputs.skeleton
    reference, sources, unsure = _in_frames_of_result(inputs, joints)
    estimate, root = result.select(joints), _root(joints, reference)
    matches = _match(estimate, reference, match_distance, by_pose=inputs.of_one_view)
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
                **pose_figures(matched[:, r], reference[:, r], inputs, root),
                "parts": own_bones[r]["parts"],
            }
        )
    actions = {
        action: {"frames": int(rows.sum()), **pose_figures(matched[rows], reference[rows], inputs, root)}
        for action, rows in inputs.actions.items()
    }
    return {
        **pose_figures(matched, reference, inputs, root),
        **({"actions": actions, "actions_mean": _mean_of(actions)} if actions else {}),
        "relative_to_root": inputs.of_one_view and bool(root),
        "root": [joints[place] for place in root],
        "reference_points_unsure": unsure,
        "people_matched": int((matches.person_of >= 0).sum()),
        "match_distance_m": match_distance,
        "references": references,
    }


def _mean_of(actions: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """Mean of each figure over the actions that have it, an action like another: what papers on Human3.6M call the average."""
    means: dict[str, float | None] = {}
    for name in next(iter(actions.values())):
        values = [one[name] for one in actions.values() if one[name] is not None]
        if name != "frames":
            means[name] = sum(values) / len(values) if values else None
    return means


def _in_frames_of_result(
    inputs: "Inputs", joints: tuple[str, ...]
) -> tuple[NDArray[np.float64], list[tuple[str, int, int]], int]:
    """All reference people in the frames of the result, (F, R, J, 3), and of each the file, its place there and its frames.

    What was lifted from one view is held only against points of which its reference is sure; the third value counts the others.
    """
    from posekit.people.matching import common_frames

    frames = inputs.result.frames
    people, sources, left_out = [], [], 0
    for one in inputs.references:
        xyz = one.select(joints)
        if inputs.of_one_view and one.keypoints is not None:
            unsure = _unsure(one.keypoints, joints) & np.isfinite(xyz).all(axis=-1)
            xyz, left_out = np.where(unsure[..., None], np.nan, xyz), left_out + int(unsure.sum())
        own, others = common_frames(one.frames, frames)
        placed = np.full((len(frames), *xyz.shape[1:]), np.nan)
        placed[others] = xyz[own]
        people.append(placed)
        there = np.isfinite(xyz).all(axis=-1).any(axis=-1).sum(axis=0)
        sources += [(one.source, person, int(count)) for person, count in enumerate(there)]
    return np.concatenate(people, axis=1), sources, left_out


def _unsure(keypoints: "Keypoints3D", joints: tuple[str, ...]) -> NDArray[np.bool_]:
    """Joints (F, P, J) whose standard deviation along some axis is more than `UNSURE`, by what the file says of itself."""
    variance = keypoints.covariance[:, :, keypoints.skeleton.indices(joints)][..., [0, 3, 5]].max(axis=-1)
    return np.asarray(variance > UNSURE**2)


def _match(
    estimate: NDArray[np.float64], reference: NDArray[np.float64], match_distance: float, *, by_pose: bool
) -> Any:
    from posekit.people.matching import match_people, mean_distances, pose_distances

    there = np.asarray(np.isfinite(reference).all(axis=-1).any(axis=-1))
    between = pose_distances if by_pose else mean_distances
    return match_people(between(estimate, reference), there, match_distance)


def pose_figures(
    estimate: NDArray[np.float64], reference: NDArray[np.float64], inputs: "Inputs", root: tuple[int, ...]
) -> dict[str, Any]:
    """Measures of poses (..., J, 3) that are each other's, joints as counted; None where nothing can be measured.

    root: places of the joints whose middle it is. MPJPE and 3DPCK in the world, as the poses stand; of what was lifted from
    one view, relative to the root, as papers on single views have them, and ``mpjpe_turned_mm`` the same after one rotation for
    all frames. The rest as their functions say.
    A joint that is the root itself has the error 0: it is counted by MPJPE, as papers on Human3.6M do, and not by 3DPCK and its
    area, as MPI-INF-3DHP's own evaluation leaves the pelvis out. A joint that only the reference has is wrong for 3DPCK and
    PCP, and no part of the mean errors: ``share_found`` says how many there are.
    """
    from posekit import metrics

    bones = _bones_between(inputs)
    rooted = (metrics.relative_to(estimate, root), metrics.relative_to(reference, root)) if root else None
    compared = rooted if inputs.of_one_view and rooted else (estimate, reference)
    errors = metrics.keypoint_errors(*compared)
    # Where the reference lacks the root, nothing can be said of a pose relative to it.
    counted = np.asarray(np.isfinite(compared[1]).all(axis=-1))
    tested = counted.copy()
    if compared is rooted and len(root) == 1:
        tested[..., root[0]] = False
    length_errors = metrics.bone_length_errors(estimate, reference, bones)
    parts = metrics.pcp(compared[0], compared[1], bones)
    figures = {
        "mpjpe_mm": 1e3 * metrics.mpjpe(errors),
        "median_error_mm": 1e3 * metrics.end_point_error(errors)[1],
        "mpjpe_root_mm": 1e3 * metrics.mpjpe(metrics.keypoint_errors(*rooted)) if rooted else None,
        "pa_mpjpe_mm": 1e3 * metrics.mpjpe(metrics.pa_mpjpe_errors(estimate, reference)),
        "pa_mpjpe_reflected_mm": 1e3 * metrics.mpjpe(metrics.pa_mpjpe_reflected_errors(estimate, reference)),
        "n_mpjpe_mm": 1e3 * metrics.mpjpe(metrics.n_mpjpe_errors(*rooted)) if rooted else None,
        "pck150": metrics.pck_3d(errors, tested),
        "auc150": metrics.pck_3d_auc(errors, tested),
        "pcp": float(parts[np.isfinite(parts)].mean()) if np.isfinite(parts).any() else None,
        "bone_length_error_mm": 1e3 * metrics.mpjpe(np.abs(length_errors)),
        "share_found": float(np.isfinite(errors).sum() / counted.sum()) if counted.any() else None,
    }
    if rooted is not None and inputs.of_one_view:
        turned = metrics.turned_as_one(*rooted)
        figures["mpjpe_turned_mm"] = 1e3 * metrics.mpjpe(metrics.keypoint_errors(turned, rooted[1]))
    return {name: value if value is None or np.isfinite(value) else None for name, value in figures.items()}


def _bones_between(inputs: "Inputs") -> tuple[tuple[int, int], ...]:
    """Bones of the skeleton between counted joints, as places among those."""
    place = {joint: number for number, joint in enumerate(inputs.joints)}
    names = inputs.skeleton.joints
    return tuple(
        (place[names[a]], place[names[b]]) for a, b in inputs.skeleton.bones if names[a] in place and names[b] in place
    )


def _root(joints: tuple[str, ...], reference: NDArray[np.float64]) -> tuple[int, ...]:
    """Places of the joints whose middle is the root: the mid-hip, both hips, both shoulders, or a hand's wrist.

    The first of these that the reference (..., J, 3) has in half of the poses that it has anything of: who sits at a desk has
    no hips, and must not go unmeasured for that. None where there is none.
    """
    found = np.asarray(np.isfinite(reference).all(axis=-1))
    poses = found.any(axis=-1).sum()
    for root in (("mid_hip",), ("left_hip", "right_hip"), ("left_shoulder", "right_shoulder"), ("wrist",)):
        if all(joint in joints for joint in root):
            places = tuple(joints.index(joint) for joint in root)
            if 2 * found[..., places].all(axis=-1).sum() >= poses:
                return places
    return ()
