"""``posekit triangulate``: 2D keypoints and a rig to people in 3D."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from posekit.keypoints import Keypoints2D
    from posekit.people.reconstruction import Reconstruction


#: "All views" of the figures are those in which the detection has this confidence or more, kept or not.
CONFIDENT = 0.3


@dataclass(frozen=True)
class TriangulateConfig:
    """Triangulate everyone seen by two cameras or more. Person 0 is the one whom the cameras saw best."""

    keypoints: Annotated[Path, tyro.conf.Positional]
    """keypoints2d.h5, or a folder of OpenPose JSON, one folder per camera (<camera>_json/*.json)."""
    rig: Path
    """calibration.toml (aniposelib's format, metres unless it says its units) or Qualisys *.qca.txt."""
    out: Path
    """The keypoints3d.h5 to write."""
    skeleton: str = "BODY_25"
    """Order of the body's joints in OpenPose JSON, which does not say it itself: BODY_25 or BODY_25B."""
    fps: float | None = None
    """Frames per second. JSON does not say it: the videos beside the folder (<folder>/../videos) do, if there are any."""
    threshold_px: float | None = None
    """How far a body detection may lie from its reprojection and still agree; measured on the capture if not given."""
    min_views: int = 2
    """Views that must agree on a point."""
    joints: tuple[str, ...] = ()
    """Joints that the figures count; the body's without eyes and ears if not given."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: TriangulateConfig) -> None:
    """Run the command."""
    import time

    from rich.console import Console

    from posekit.apps.provenance import write_record
    from posekit.calibration.formats import read_rig
    from posekit.errors import PosekitError
    from posekit.io.files import write_json
    from posekit.people.reconstruction import ReconstructionSettings, reconstruct_people

    _check(config)
    rig = read_rig(config.rig)
    keypoints = read_keypoints(config.keypoints, config.skeleton, config.fps or _rate_of_videos(config.keypoints))
    if config.min_views > len(keypoints.cameras):
        raise PosekitError(
            f"--min-views: {config.min_views} views are asked for, there are {len(keypoints.cameras)} cameras"
        )
    counted = _counted_joints(keypoints, config.joints)
    start = time.perf_counter()
    result = reconstruct_people(keypoints, rig, ReconstructionSettings(config.threshold_px, config.min_views))
    seconds = time.perf_counter() - start
    figures = measure(result, counted, seconds)
    result.people.save(config.out)
    write_record(config.out, "triangulate", config, [config.keypoints, config.rig], figures=figures)
    if config.json:
        write_json(config.json, figures)
    print_figures(Console(markup=False, highlight=False), figures)


def _check(config: TriangulateConfig) -> None:
    """Say before the work, not after it, that a number cannot be or that the result could not be written."""
    import math

    from posekit.apps.provenance import record_path
    from posekit.errors import PosekitError
    from posekit.io.files import require_folder

    for path in (config.out, config.json):
        if path is not None:
            require_folder(path.parent, "the folder to write into")
            if path.is_dir():
                raise PosekitError(f"{path}: cannot be written: it is a folder, a file was expected")
    if config.out.suffix.lower() not in (".h5", ".hdf5"):
        raise PosekitError(f"{config.out}: the result is an HDF5 file, a name ending in .h5 was expected")
    inputs = [path.resolve() for path in (config.keypoints, config.rig)]
    outputs = [path.resolve() for path in (config.out, record_path(config.out), config.json) if path is not None]
    for number, path in enumerate(outputs):
        if path in inputs or path in outputs[:number]:
            raise PosekitError(f"{path}: would be written over; every output needs a name of its own")
    if config.min_views < 2:
        raise PosekitError(f"--min-views: {config.min_views} views cannot place a point, 2 or more were expected")
    for name, value in (("--threshold-px", config.threshold_px), ("--fps", config.fps)):
        if value is not None and not 0 < value < math.inf:
            raise PosekitError(f"{name}: {value:g} is not a positive number")


def read_keypoints(path: Path, skeleton: str, fps: float | None) -> "Keypoints2D":
    """Read 2D keypoints from a file of posekit's or from a folder of OpenPose JSON."""
    from dataclasses import replace

    from posekit.errors import PosekitError
    from posekit.io.openpose_json import read_openpose_folder
    from posekit.keypoints import Keypoints2D
    from posekit.skeleton import get_skeleton

    if not path.exists():
        raise PosekitError(f"{path}: no such file or folder (2D keypoints were expected)")
    if path.is_dir():
        return read_openpose_folder(path, get_skeleton(skeleton), fps)
    keypoints = Keypoints2D.load(path)
    return replace(keypoints, fps=fps) if fps else keypoints


def _rate_of_videos(keypoints: Path) -> float | None:
    """Frames per second of the first video of the capture that a folder of JSON is part of; None where there is none."""
    from contextlib import suppress

    from posekit.errors import PosekitError
    from posekit.io.video import VideoReader

    if keypoints.is_dir():
        for video in sorted((keypoints.resolve().parent / "videos").glob("*.*")):
            with suppress(PosekitError):
                return VideoReader(video).fps
    return None


def _counted_joints(keypoints: "Keypoints2D", names: tuple[str, ...]) -> tuple[str, ...]:
    skeleton = keypoints.skeleton
    if names:
        skeleton.indices(names)  # raises for a name that is not there
        return names
    body = skeleton.part("body") if "body" in skeleton.parts else range(skeleton.joint_count)
    joints = [skeleton.joints[joint] for joint in body]
    return tuple(joint for joint in joints if not joint.endswith(("_eye", "_ear")))


def measure(result: "Reconstruction", joints: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """Figures of person 0 over `joints`, the same of everyone under ``persons``; hands' bones where there are hands."""
    import numpy as np

    people, detections = result.people, result.detections
    places = people.skeleton.indices(joints)
    persons = []
    for p in range(people.xyz.shape[1]):
        error = people.reprojection_px[:, p, places]
        kept = people.inliers[:, p, places]
        confident = detections.confidence[:, :, p, places].transpose(0, 2, 1) >= CONFIDENT
        found = np.isfinite(people.xyz[:, p, places]).all(axis=-1)
        every = error[confident & np.isfinite(error)]
        persons.append(
            {
                "mean_reprojection_px": float(error[kept].mean()) if kept.any() else None,
                "mean_all_views_px": float(every.mean()) if every.size else None,
                "median_reprojection_px": float(np.median(error[kept])) if kept.any() else None,
                "points": int(found.sum()),
                "points_failed": int((~found).sum()),
                "views_per_point": float(kept.sum(axis=-1)[found].mean()) if found.any() else 0.0,
                "frames": int(found.any(axis=-1).sum()),
            }
        )
    return {
        **persons[0],
        "points_per_second": float(np.isfinite(people.xyz[..., 0]).sum() / seconds),
        "people": len(persons),
        "threshold_px": result.threshold_px,
        "rig_residual_px": result.rig_residual_px,
        "joints": list(joints),
        "persons": persons,
    }


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print one row per person."""
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        f"{len(figures['joints'])} joints; views agree within {figures['threshold_px']:.1f} px",
        ("person", "frames", "points", "failed", "views/point", "mean px", "median px", "all views px"),
    )
    for p, person in enumerate(figures["persons"]):
        table.add_row(
            str(p),
            str(person["frames"]),
            str(person["points"]),
            str(person["points_failed"]),
            f"{person['views_per_point']:.2f}",
            number(person["mean_reprojection_px"], 2),
            number(person["median_reprojection_px"], 2),
            number(person["mean_all_views_px"], 2),
        )
    console.print(table)
    console.print(f"mean and median: over the views kept; all views: with confidence {CONFIDENT} or more, kept or not")
