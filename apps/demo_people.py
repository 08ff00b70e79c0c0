"""The people of ``posekit demo``: detected badly in eight views, reconstructed, and measured against the truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.apps.demo import DemoConfig
    from posekit.apps.demo_pictures import Show
    from posekit.datasets.synthetic_people import SyntheticPeople
    from posekit.keypoints import Keypoints3D
    from posekit.people.reconstruction import Reconstruction

#: What it leaves in the demo's folder.
PEOPLE_FILES = ("people", "people.png")

#: Of honest covariances so many points lie within three sigma, by the chi-square distribution of three degrees of freedom.
WITHIN_3_SIGMA = 0.9707

_PARTS = {"body": "body", "left_hand": "left hand", "right_hand": "right hand"}


def reconstruct_synthetic_people(config: "DemoConfig", folder: Path, show: "Show") -> tuple[dict[str, Any], list[str]]:
    """Film people, reconstruct them into folder/people, and draw folder/people.png.

    Returns the figures, and a line for every picture that could not be drawn.
    """
    import time

    from posekit.apps.demo_pictures import write_scene
    from posekit.calibration.formats import write_aniposelib
    from posekit.datasets.synthetic_people import PeopleSettings, film_people
    from posekit.people.reconstruction import reconstruct_people

    began = time.monotonic()
    show("filming synthetic people", 0, 1)
    scene = film_people(
        PeopleSettings(
            seed=config.seed, frames=config.people_frames, cameras=config.people_cameras, people=config.people
        )
    )
    show("filming synthetic people", 1, 1)
    place = folder / "people"
    place.mkdir()
    scene.keypoints.save(place / "keypoints2d.h5")
    write_aniposelib(place / "calibration.toml", scene.rig, made_by="posekit demo")
    scene.truth().save(place / "truth3d.h5")
    start = time.perf_counter()
    found = reconstruct_people(scene.keypoints, scene.rig)
    seconds = time.perf_counter() - start
    found.people.save(place / "keypoints3d.h5")
    figures = {**measure_people(scene, found), "reconstruction_seconds": seconds}
    missing = write_scene(folder / "people.png", found.people, scene.rig, _fullest_row(found.people), "all")
    return {**figures, "seconds": time.monotonic() - began}, missing


def _fullest_row(people: "Keypoints3D") -> int:
    """Row of the middlemost frame with as many points as any."""
    import numpy as np

    points = np.isfinite(people.xyz[..., 0]).sum(axis=(1, 2))
    fullest = np.flatnonzero(points == points.max())
    return int(fullest[len(fullest) // 2])


def measure_people(scene: "SyntheticPeople", found: "Reconstruction") -> dict[str, Any]:
    """Errors of the people that were found against the truth, part by part; who they are; how many; and swaps."""
    import numpy as np

    people = found.people
    truth, skeleton = scene.xyz, people.skeleton
    who, nearest = match_identities(people.xyz, truth)
    there = nearest >= 0
    # Of two found people who are one true person, the one who is seen first counts.
    matched = {int(true): p for p, true in reversed(list(enumerate(who))) if true >= 0}
    xyz = np.full_like(truth, np.nan)
    covariance = np.full((*truth.shape[:-1], 6), np.nan)
    for true, p in matched.items():
        xyz[:, true], covariance[:, true] = people.xyz[:, p], people.covariance[:, p]
    offset = xyz - truth
    error = 1000 * np.linalg.norm(offset, axis=-1)
    inside = mahalanobis(offset, covariance) <= 3
    parts = {}
    for part in skeleton.parts:
        joints = skeleton.part(part)
        known = np.isfinite(error[..., joints])
        parts[part] = {
            "median_mm": float(np.median(error[..., joints][known])) if known.any() else None,
            "p95_mm": float(np.percentile(error[..., joints][known], 95)) if known.any() else None,
            "found": float(known.mean()),
            "within_3_sigma": float(inside[..., joints][known].mean()) if known.any() else None,
        }
    return {
        "parts": parts,
        "within_3_sigma_expected": WITHIN_3_SIGMA,
        "people": truth.shape[1],
        "people_found": people.xyz.shape[1],
        "frames": len(truth),
        "frames_with_all_people": int((there.sum(axis=1) == truth.shape[1]).sum()),
        "identities_kept": float((nearest == who)[there].mean()) if there.any() else 0.0,
        "swaps": count_swaps(scene, found, matched),
        "threshold_px": found.threshold_px,
        "rig_residual_px": found.rig_residual_px,
    }


def match_identities(found: Any, truth: Any) -> tuple[Any, Any]:
    """Who a found person is: (P,) over the sequence and (F, P) in every frame, -1 where half of the joints are missing.

    found: (F, P, J, 3), truth: (F, T, J, 3). Who it is in a frame is the true person nearest by the median over the joints;
    over the sequence, who it is most often.
    """
    import numpy as np

    known = np.isfinite(found).all(axis=-1)
    distance = np.linalg.norm(found[:, :, None] - truth[:, None], axis=-1)  # (F, P, T, J)
    ranked = np.where(known[:, :, None], distance, np.inf)
    middle = (np.maximum(known.sum(axis=-1), 1) - 1) // 2
    median = np.take_along_axis(np.sort(ranked, axis=-1), middle[:, :, None, None], axis=-1)[..., 0]
    nearest = np.where(known.mean(axis=-1) >= 0.5, median.argmin(axis=-1), -1)
    votes = (nearest[..., None] == np.arange(truth.shape[1])).sum(axis=0)
    return np.where(votes.any(axis=-1), votes.argmax(axis=-1), -1), nearest


def mahalanobis(offset: Any, covariance: Any) -> Any:
    """Length of offsets (..., 3) in units of their covariance (..., 6: xx, xy, xz, yy, yz, zz); NaN where there is none."""
    import numpy as np

    known = np.isfinite(offset).all(axis=-1) & np.isfinite(covariance).all(axis=-1)
    full = np.asarray(covariance, dtype=np.float64)[..., [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(*offset.shape, 3)
    length = np.full(known.shape, np.nan)
    whitened = np.linalg.solve(full[known], offset[known][..., None])[..., 0]
    length[known] = np.sqrt((whitened * offset[known]).sum(axis=-1))
    return length


def count_swaps(scene: "SyntheticPeople", found: "Reconstruction", matched: dict[int, int]) -> dict[str, int]:
    """How many people in views had left and right exchanged, how many of them were mended, how many others were exchanged.

    A person in a view is mended where most of the exchanged joints were given back. matched: true person -> found person.
    """
    import numpy as np

    counts = {"swapped": 0, "mended": 0, "wrongly_exchanged": 0}
    mirror = found.people.skeleton.mirror
    for true, p in matched.items():
        slot = scene.slots[..., true]
        frames, cameras = np.nonzero(slot >= 0)
        given = scene.keypoints.xy[frames, cameras, slot[frames, cameras]]
        kept = found.detections.xy[frames, cameras, p]
        # A detection was exchanged that is its partner's now; of a pair, one may be missing. Whoever was taken for somebody
        # else in that view has other detections than either order of the given ones.
        exchanged = (kept[:, mirror] == given).all(axis=-1) & (kept != given).any(axis=-1)
        swapped = scene.swapped[frames, cameras, true]
        event = swapped.any(axis=-1)
        counts["swapped"] += int(event.sum())
        counts["mended"] += int((event & (2 * (exchanged & swapped).sum(axis=-1) > swapped.sum(axis=-1))).sum())
        counts["wrongly_exchanged"] += int((~event & exchanged.any(axis=-1)).sum())
    return counts


def print_people(console: Any, figures: dict[str, Any]) -> None:
    """Print the table of errors, and a few lines about who was found."""
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        f"{figures['people']} people, against the truth", ("", "median mm", "p95 mm", "found %", "in 3 sigma %")
    )
    for part, row in figures["parts"].items():
        sure = row["within_3_sigma"]
        table.add_row(
            _PARTS.get(part, part),
            number(row["median_mm"], 1),
            number(row["p95_mm"], 1),
            f"{100 * row['found']:.1f}",
            number(None if sure is None else 100 * sure, 1),
        )
    console.print(table)
    swaps = figures["swaps"]
    console.print(f"of points as sure as they say, {100 * figures['within_3_sigma_expected']:.1f} % are within 3 sigma")
    console.print(
        f"{figures['people']} people in {figures['frames_with_all_people']} of {figures['frames']} frames; who is who "
        f"right in {100 * figures['identities_kept']:.1f} %"
    )
    console.print(
        f"left and right exchanged by the detector {swaps['swapped']} times, mended {swaps['mended']} times; "
        f"exchanged without need {swaps['wrongly_exchanged']} times"
    )
