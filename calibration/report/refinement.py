"""What a report says of a rig that was refined on people: before and after, in frames that the refinement did not use."""

from html import escape

import numpy as np

from posekit.calibration.people.refinement import Refinement
from posekit.calibration.report.page import Section, number, table
from posekit.calibration.report.scene import draw_scene
from posekit.calibration.world.frame import WorldFrame, transform_rig
from posekit.camera import Rig


def refinement_summary(refinement: Refinement) -> str:
    """What became of the rig, in a sentence or two."""
    before, after = refinement.before, refinement.after
    held_out = f"{refinement.held_out.sum()} held-out frames of {len(refinement.held_out)}"
    if not refinement.improved:
        return (
            f"The rig was left as it is: adjusted to the people, its median error in {held_out} would be "
            f"{after.median_px:.2f} px, "
            f"where it is {before.median_px:.2f} px."
        )
    share = 100 * (1 - after.median_px / before.median_px)
    return (
        f"The rig fits the people better by {share:.0f} %: in {held_out} the median error went from {before.median_px:.2f} to "
        f"{after.median_px:.2f} px, every detection counted that has the confidence, kept or not."
    )


def refinement_sections(refinement: Refinement, given: Rig, world: WorldFrame | None = None) -> tuple[Section, ...]:
    """Errors before and after, how far the cameras went, and the rig.

    given: the rig that was refined. world: the world that it was moved to after that, if it was; it is drawn there.
    """
    return (
        Section("Errors", _errors(refinement)),
        Section("How far the cameras went", _moves(refinement, given)),
        Section("The rig", _scene(refinement, world)),
    )


def _scene(refinement: Refinement, world: WorldFrame | None) -> str:
    rig, told = refinement.rig, "In the world of the rig that was refined, in metres."
    if world is not None:
        rig, told = transform_rig(rig, world.world_from_old), " ".join(world.words)
    rows = [(camera.name, *(number(value, 3) for value in camera.centre_world.tolist())) for camera in rig.cameras]
    return (
        draw_scene(rig, np.zeros((0, 4, 3)), z_up=world is not None and world.z_up)
        + f"<p>{escape(told)}</p>"
        + table(("camera", "x m", "y m", "z m"), rows)
    )


def _errors(refinement: Refinement) -> str:
    columns = (refinement.before, refinement.after, refinement.used_before, refinement.used_after)
    rows = [
        [name, *(number(figures.camera_median_px.get(name, np.nan)) for figures in columns)]
        for name in refinement.before.camera_median_px
    ]
    rows.append(["all, median", *(number(figures.median_px) for figures in columns)])
    rows.append(["all, mean", *(number(figures.mean_px) for figures in columns)])
    rows.append(["points found", *(f"{figures.points_found} of {figures.points}" for figures in columns)])
    heads = ("px", "held out, before", "held out, after", "used, before", "used, after")
    return table(heads, rows) + (
        "<p>Median distances between joints as detected and as triangulated from all cameras; held-out frames had no "
        "part in the "
        "refinement.</p>"
    )


def _moves(refinement: Refinement, given: Rig) -> str:
    rows = []
    for before, after in zip(given.cameras, refinement.rig.cameras, strict=True):
        turn = np.degrees(np.arccos(np.clip((np.trace(before.rotation @ after.rotation.T) - 1) / 2, -1, 1)))
        moved = np.linalg.norm(before.centre_world - after.centre_world)
        focal = after.matrix[0, 0] / before.matrix[0, 0]
        rows.append((before.name, f"{1000 * moved:.0f}", f"{turn:.2f}", f"{focal:.4f}"))
    told = (
        f"Beside {given.source}, by where the people are in both."
        if given.source
        else "By where the people are in both."
    )
    return table(("camera", "mm", "degrees", "focal length, times"), rows) + f"<p>{escape(told)}</p>"
