"""``posekit evaluate``: how good people in 3D are, against a reference, against the pictures, and by themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure people in 3D: against others in 3D, against the cameras' 2D keypoints, and by their bones; or 2D against 2D."""

    result: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RESULT")]
    """What is measured: keypoints3d.h5, or a TRC or C3D file of any writer; or keypoints2d.h5."""
    reference: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[REFERENCE ...]")] = ()
    """What it is held against: of the same kinds, several files are several people; for keypoints2d.h5 any 2D keypoints."""
    rig: Path | None = None
    """The cameras, for --keypoints."""
    keypoints: Path | None = None
    """2D keypoints of the cameras, as `posekit triangulate` takes them: reprojection errors are measured against them."""
    skeleton: str | None = None
    """Order of the body's joints in OpenPose JSON, and the bones of a TRC or C3D file."""
    joints: tuple[str, ...] = ()
    """Joints that the figures count; the body's without eyes and ears if not given."""
    frame_offset: int | None = None
    """What to add to the row numbers of TRC and C3D files to have the frames of the rest; found if not given."""
    match_distance: float = 0.25
    """Metres, mean over the joints, within which a person of a reference counts as found in a frame."""
    actions: Path | None = None
    """CSV of first,last,action (frame numbers and a name): figures of each action by itself, too."""
    held_out: bool = False
    """Also leave out each camera in turn, triangulate the keypoints from the others, and measure in it."""
    up: Literal["z", "y", "x", "-z", "-y", "-x"] | None = None
    """Axis that points up in TRC and C3D files; y in TRC and what it says in C3D, if not given."""
    world_up: Literal["z", "y", "x", "-z", "-y", "-x"] = "z"
    """Axis that points up in the cameras' world."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: EvaluateConfig) -> None:
    """Run the command."""
    from posekit.apps.evaluate_figures import measure
    from posekit.apps.evaluate_inputs import read_inputs
    from posekit.apps.evaluate_keypoints import holds_keypoints2d, measure_keypoints, print_keypoint_figures
    from posekit.apps.evaluate_tables import print_figures
    from posekit.apps.tables import figures_console
    from posekit.io.files import write_json

    _check(config)
    two_dimensional = holds_keypoints2d(config.result)
    if two_dimensional:
        figures = measure_keypoints(config)
    else:
        figures = measure(read_inputs(config), config.match_distance, with_held_out=config.held_out)
    if config.json:
        write_json(config.json, figures)
    show = print_keypoint_figures if two_dimensional else print_figures
    show(figures_console(), figures)


def _check(config: EvaluateConfig) -> None:
    """Say before the work, not after it, what cannot be."""
    from posekit.apps.checks import require_places, require_positive
    from posekit.errors import PosekitError

    if (config.rig is None) != (config.keypoints is None):
        given, lacking = ("--keypoints", "--rig") if config.rig is None else ("--rig", "--keypoints")
        raise PosekitError(f"{given}: is of use with {lacking} only, which is missing")
    if config.held_out and config.keypoints is None:
        raise PosekitError("--held-out: needs the cameras' detections, --rig and --keypoints")
    if config.actions is not None and not config.reference:
        raise PosekitError(f"--actions {config.actions}: needs a REFERENCE to measure each action against")
    require_positive("--match-distance", config.match_distance)
    require_places((config.json,), (config.result, *config.reference, config.rig, config.keypoints, config.actions))
