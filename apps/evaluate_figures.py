"""The figures of ``posekit evaluate``, as they are written to its JSON file."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posekit.keypoints import CONFIDENT

if TYPE_CHECKING:
    from posekit.apps.evaluate_inputs import Inputs
    from posekit.io.points3d import Points3D
    from posekit.skeleton import Skeleton


def measure(inputs: "Inputs", match_distance: float, *, with_held_out: bool) -> dict[str, Any]:
    """All the figures. Those of person 0 stand at the top, those of everyone in ``persons``."""
    result = inputs.result
    persons = presence(result, inputs.joints)
    parts = [reprojection(inputs), bones(result.select(inputs.skeleton.joints), inputs.skeleton, inputs.bone_joints)]
    for part in parts:
        for person, more in zip(persons, part, strict=bool(part)):
            person.update(more)
    figures: dict[str, Any] = {
        "result": result.source,
        **persons[0],
        "people": len(persons),
        "people_per_frame": people_per_frame(result, inputs.joints),
        "skeleton": inputs.skeleton.name,
        "joints": list(inputs.joints),
        "joints_without_counterpart": inputs.without_counterpart,
        "frame_offsets": inputs.offsets,
        "persons": persons,
    }
    if inputs.references:
        from posekit.apps.evaluate_references import against_references

        figures.update(against_references(inputs, match_distance))
    if with_held_out:
        figures["held_out"] = held_out(inputs)
    return figures


def presence(points: "Points3D", joints: tuple[str, ...]) -> list[dict[str, Any]]:
    """In how many frames each person is, with how many points."""
    found = np.asarray(np.isfinite(points.select(joints)).all(axis=-1))
    return [
        {
            "frames": int(one.any(axis=-1).sum()),
            "points": int(one.sum()),
            "points_missing": int((~one).sum()),
        }
        for one in found.swapaxes(0, 1)
    ]


def people_per_frame(points: "Points3D", joints: tuple[str, ...]) -> dict[str, int]:
    """How many frames have how many people (of one counted joint or more)."""
    there = np.isfinite(points.select(joints)).all(axis=-1).any(axis=-1).sum(axis=1)
    counts, frames = np.unique(there, return_counts=True)
    return {str(count): int(number) for count, number in zip(counts, frames, strict=True)}


def reprojection(inputs: "Inputs") -> list[dict[str, Any]]:
    """How far each person's points lie from the detections of that person: one dict per person, none without detections.

    Which detected person it is, is decided once for the whole sequence, by the least distance; a point is then measured in
    every view with a detection of confidence 0.3 or more, whether it is made of it or not.
    """
    from posekit.people.matching import common_frames, match_people, pixel_distances, project_people

    result, detections, rig = inputs.result, inputs.detections, inputs.rig
    if detections is None or rig is None:
        return []
    own, seen = common_frames(result.frames, detections.frames)
    projected = project_people(result.select(inputs.joints)[own], rig)
    places = detections.skeleton.indices(inputs.joints)
    xy, confidence = detections.xy[seen][:, :, :, places], detections.confidence[seen][:, :, :, places]
    between = pixel_distances(projected, xy).swapaxes(1, 2)
    there = np.asarray(np.asarray(np.isfinite(projected).all(axis=-1)).any(axis=(1, 3)))
    # Two people in one picture are less than its longer side apart, or hardly more.
    track_of = match_people(between, there, max(max(camera.size) for camera in rig.cameras)).person_of
    kept_by = _kept_views(inputs, own)
    persons = []
    for p, track in enumerate(track_of.tolist()):
        error = np.linalg.norm(projected[:, :, p] - xy[:, :, track], axis=-1) if track >= 0 else np.full((0,), np.nan)
        confident = confidence[:, :, track] >= CONFIDENT if track >= 0 else np.zeros(0, dtype=np.bool_)
        every = error[confident & np.isfinite(error)]
        kept = error[kept_by[:, :, p] & np.isfinite(error)] if kept_by is not None and track >= 0 else np.zeros(0)
        persons.append(
            {
                "mean_reprojection_px": _mean(kept),
                "median_reprojection_px": _median(kept),
                "mean_all_views_px": _mean(every),
                "median_all_views_px": _median(every),
                "detections": int(every.size),
            }
        )
    return persons


def _kept_views(inputs: "Inputs", rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Views that the points are made of, (F, C, P, J), where the result says so and its cameras are the detections'."""
    keypoints, detections = inputs.result.keypoints, inputs.detections
    if keypoints is None or detections is None or not set(detections.cameras) <= set(keypoints.cameras):
        return None
    cameras = [keypoints.cameras.index(name) for name in detections.cameras]
    places = keypoints.skeleton.indices(inputs.joints)
    kept: NDArray[np.bool_] = keypoints.inliers[rows][:, :, places][..., cameras].transpose(0, 3, 1, 2)
    return kept


def bones(xyz: NDArray[np.float64], skeleton: "Skeleton", joints: tuple[str, ...]) -> list[dict[str, Any]]:
    """Lengths of each person's bones over time, and how alike left and right are; xyz: (F, P, J, 3) of the whole skeleton.

    Bones count whose two ends are among the joints. ``bone_std_mm`` is the mean over the body's bones of their standard
    deviation over time, ``bone_variation`` the mean of their coefficients of variation, ``symmetry_mm`` the mean absolute
    difference of left and right; the same per part under ``parts``, every bone by itself under ``bones``.
    """
    from posekit.metrics import bone_lengths, bone_spread, mirrored_bones, symmetry_errors

    names = skeleton.joints
    counted = np.array([names[a] in joints and names[b] in joints for a, b in skeleton.bones], dtype=np.bool_)
    part_of = {joint: part for part, members in skeleton.parts.items() for joint in members}
    # A bone from the body to a hand joins two detectors' wrists: it is none of either.
    parts = np.array([part_of[a] if part_of[a] == part_of[b] else "" for a, b in skeleton.bones])
    pairs = np.array(mirrored_bones(skeleton), dtype=np.int64).reshape(-1, 2)
    symmetric = counted[pairs].all(axis=1)
    persons = []
    for person in xyz.swapaxes(0, 1):
        spread = bone_spread(bone_lengths(person, skeleton.bones))
        difference = symmetry_errors(person, skeleton)
        figures = {}
        for part in skeleton.parts:
            chosen = counted & (parts == part) & (spread.frames >= 2)
            # A pair of hands' bones belongs to both hands.
            sides = difference[:, symmetric & (parts[pairs] == part).any(axis=1)]
            figures[part] = {
                "bones": int(chosen.sum()),
                "mean_mm": _mean(1e3 * spread.mean[chosen]),
                "std_mm": _mean(1e3 * spread.std[chosen]),
                "variation": _mean(spread.coefficient[chosen]),
                "symmetry_mm": _mean(1e3 * sides[np.isfinite(sides)]),
            }
        first = figures["body"] if "body" in figures else next(iter(figures.values()))
        persons.append(
            {
                "bone_std_mm": first["std_mm"],
                "bone_variation": first["variation"],
                "symmetry_mm": first["symmetry_mm"],
                "parts": figures,
                "bones": [
                    {
                        "bone": f"{names[skeleton.bones[b][0]]} {names[skeleton.bones[b][1]]}",
                        "frames": int(spread.frames[b]),
                        "median_mm": float(1e3 * spread.median[b]),
                        "std_mm": float(1e3 * spread.std[b]),
                        "variation": float(spread.coefficient[b]),
                    }
                    for b in np.flatnonzero(counted)
                ],
            }
        )
    return persons


def held_out(inputs: "Inputs") -> dict[str, Any]:
    """Every camera's detections against what the other cameras triangulate, over everyone and the counted joints."""
    from posekit.people.held_out import held_out_cameras
    from posekit.people.reconstruction import ReconstructionSettings, triangulate_people

    detections, rig = inputs.detections, inputs.rig
    assert detections is not None
    assert rig is not None
    threshold = triangulate_people(detections, rig, ReconstructionSettings()).threshold_px
    found = held_out_cameras(detections, rig, ReconstructionSettings(threshold_px=threshold))
    places = detections.skeleton.indices(inputs.joints)
    error = found.error_px[..., places]
    counted = np.isfinite(error) & (detections.confidence[..., places] >= CONFIDENT)

    def summarise(chosen: NDArray[np.float64]) -> dict[str, Any]:
        return {"mean_px": _mean(chosen), "median_px": _median(chosen), "detections": int(chosen.size)}

    return {
        **summarise(error[counted]),
        "threshold_px": threshold,
        "cameras": {name: summarise(error[:, c][counted[:, c]]) for c, name in enumerate(detections.cameras)},
    }


def _mean(values: NDArray[np.floating]) -> float | None:
    return float(values.mean()) if values.size else None


def _median(values: NDArray[np.floating]) -> float | None:
    return float(np.median(values)) if values.size else None
