"""``posekit calibrate``: a rig, refined on the people who move in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from posekit.calibration.refinement import Refinement


@dataclass(frozen=True)
class CalibrateConfig:
    """Refine a rig on the keypoints of people who move in it; left alone where held-out frames do not get better."""

    refine: Path
    """The rig to refine: any camera file that posekit knows (see `posekit convert --help`)."""
    keypoints: Path
    """2D keypoints of the people, as `posekit triangulate` takes them."""
    out: Path
    """The calibration.toml to write."""
    free: Literal["pose", "focal", "all"] = "pose"
    """What may move: where the cameras stand; their focal lengths, too; or also the middle of the picture, k1 and k2."""
    skeleton: str | None = None
    """Order of the joints, where the files do not say it; told by the joints' number and places if not given."""
    fps: float | None = None
    """Frames per second, where neither the keypoints nor videos beside them say it."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: CalibrateConfig) -> None:
    """Run the command."""
    import time

    from rich.console import Console

    from posekit.apps.checks import require_places, require_positive
    from posekit.apps.provenance import record_path, write_record
    from posekit.apps.triangulate import open_detections
    from posekit.calibration.formats import read_rig, write_aniposelib
    from posekit.calibration.refinement import refine_rig
    from posekit.camera import match_camera_names
    from posekit.errors import PosekitError
    from posekit.io.files import write_json
    from posekit.people.reconstruction import identify_people

    require_places((config.out, record_path(config.out), config.json), (config.refine, config.keypoints))
    require_positive("--fps", config.fps)
    if config.out.suffix.lower() != ".toml":
        raise PosekitError(f"{config.out}: the refined rig is a .toml file (`posekit convert` makes others of it)")
    rig = read_rig(config.refine)
    source = open_detections(config.keypoints, rig, config.skeleton, config.fps)
    whole = match_camera_names(rig, source.cameras)
    rig = whole.select(source.cameras)
    start = time.perf_counter()
    refinement = refine_rig(identify_people(source.read(0, len(source.frames)), rig), rig, config.free)
    figures = _figures(refinement, rig, time.perf_counter() - start)
    write_aniposelib(config.out, refinement.rig, f"posekit calibrate --refine {config.refine} --free {config.free}")
    write_record(config.out, "calibrate", config, [config.refine, config.keypoints], figures=figures)
    if config.json:
        write_json(config.json, figures)
    console = Console(markup=False, highlight=False)
    _print(console, figures)
    left = [name for name in whole.names if name not in rig.names]
    if left:
        console.print(f"not in {config.out}, for nothing was seen by them: {', '.join(left)}")


def _figures(refinement: "Refinement", rig: Any, seconds: float) -> dict[str, Any]:
    """Figures of the held-out frames before and after, of the used ones, and how far each camera went."""
    from dataclasses import asdict

    import numpy as np

    moved = {}
    for before, after in zip(rig.cameras, refinement.rig.cameras, strict=True):
        turn = np.clip((np.trace(before.rotation @ after.rotation.T) - 1) / 2, -1, 1)
        moved[before.name] = {
            "moved_m": float(np.linalg.norm(before.centre_world - after.centre_world)),
            "turned_deg": float(np.degrees(np.arccos(turn))),
            "focal_ratio": float(after.matrix[0, 0] / before.matrix[0, 0]),
        }
    return {
        "improved": refinement.improved,
        "heldout_before": asdict(refinement.before),
        "heldout_after": asdict(refinement.after),
        "used_before": asdict(refinement.used_before),
        "used_after": asdict(refinement.used_after),
        "heldout_frames": int(refinement.held_out.sum()),
        "frames": len(refinement.held_out),
        "cameras": moved,
        "seconds": seconds,
    }


def _print(console: Any, figures: dict[str, Any]) -> None:
    import math

    from posekit.apps.tables import figures_table, number

    before, after = figures["heldout_before"], figures["heldout_after"]
    table = figures_table(
        f"median px in {figures['heldout_frames']} held-out frames of {figures['frames']}",
        ("camera", "before", "after", "moved m", "turned deg", "focal x"),
    )
    for name, camera in figures["cameras"].items():
        table.add_row(
            name,
            f"{before['camera_median_px'][name]:.2f}",
            f"{after['camera_median_px'][name]:.2f}",
            f"{camera['moved_m']:.3f}",
            f"{camera['turned_deg']:.2f}",
            f"{camera['focal_ratio']:.3f}",
        )
    for p, medians in enumerate(zip(before["person_median_px"], after["person_median_px"], strict=True)):
        if len(before["person_median_px"]) > 1:
            table.add_row(f"person {p}", *(number(None if math.isnan(px) else px, 2) for px in medians), "", "", "")
    table.add_row("all", f"{before['median_px']:.2f}", f"{after['median_px']:.2f}", "", "", "")
    console.print(table)
    console.print(
        f"means {before['mean_px']:.2f} and {after['mean_px']:.2f} px; points found: {before['points_found']} and "
        f"{after['points_found']} of {before['points']}"
    )
    if not figures["improved"]:
        console.print("no better in the frames that were not used: the rig was left as it is")
