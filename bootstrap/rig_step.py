"""The rig that a run uses: the given one, or where that is too bad for views to agree, refined on the people in it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from posekit.bootstrap.instances import PAPER_AGREEMENT
from posekit.bootstrap.pages.run_files import read_json_of_run
from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
from posekit.bootstrap.targets import Scene
from posekit.calibration.formats.aniposelib import read_aniposelib, write_aniposelib
from posekit.calibration.people.refinement import Refinement, refine_rig
from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.files import write_json
from posekit.people.reconstruction import ReconstructionSettings

#: A rig is refined on people where its residual is more than so many times the paper's agreement, 4 px of a 368 px crop: on one
#: that is worse, hardly a finger has three views that agree (of the hands of one rig calibrated by hand, at 10 times, none).
WORST_RESIDUAL = 4.0

#: The rig, and what was decided about it.
RIG_FILE, DECISION_FILE = "rig.toml", "rig.json"


def prepared_scene(
    start: BootstrapInput, rig: Rig, settings: BootstrapSettings, reconstruction: ReconstructionSettings, folder: Path
) -> Scene:
    """Return the scene on the rig of ``rig.toml``; first decide which rig that is, where ``rig.json`` does not say so yet."""
    min_views = reconstruction.hand_min_views or reconstruction.min_views
    decision = folder / DECISION_FILE
    if not decision.exists():
        scene = start.target.scene(start.keypoints, _kept(rig, folder, "as given"), reconstruction, min_views)
        chosen, said = _decide(start, scene, settings)
        if chosen is scene.rig:
            write_json(decision, said)
            return scene
        _kept(chosen, folder, "refined")
        write_json(decision, said)
    refined = read_json_of_run(decision).get("rig") == "refined"
    rig = _read(folder, rig, refined)
    return start.target.scene(start.keypoints, rig, reconstruction, min_views)


def _kept(rig: Rig, folder: Path, what: str) -> Rig:
    """Write the rig and read it back: a run that is taken up again then has the very same numbers."""
    write_aniposelib(folder / RIG_FILE, rig, f"posekit bootstrap: the rig {what}")
    return _read(folder, rig, what == "refined")


def _read(folder: Path, given: Rig, refined: bool) -> Rig:
    source = f"{given.source}, refined on people" if refined else given.source
    return replace(read_aniposelib(folder / RIG_FILE).select(given.names), source=source)


def _decide(start: BootstrapInput, scene: Scene, settings: BootstrapSettings) -> tuple[Rig, dict[str, object]]:
    """Refine or not, and what to say of it."""
    boxes = start.target.boxes(scene, scene.people, scene.detections)
    usual = float(np.median(boxes.side[boxes.found])) / start.target.box_factor if boxes.found.any() else float("nan")
    residual, within = float(np.median(scene.residual_px)), WORST_RESIDUAL * PAPER_AGREEMENT * usual
    figures: dict[str, object] = {"residual_px": residual, "refined_above_px": within}
    if settings.refine == "off" or (settings.refine == "auto" and not residual > within):
        return scene.rig, {"rig": "as given", **figures}
    try:
        refinement = refine_rig(scene.detections, scene.rig)
    except PosekitError as error:
        if settings.refine == "on":
            raise
        return scene.rig, {"rig": "as given", "why": f"it could not be refined: {error}", **figures}
    if not refinement.improved:
        return scene.rig, {"rig": "as given", "why": "refined, it is no better in held-out frames", **figures}
    return refinement.rig, {"rig": "refined", **figures, **_told(refinement)}


def _told(refinement: Refinement) -> dict[str, object]:
    return {
        "heldout_median_px_before": refinement.before.median_px,
        "heldout_median_px_after": refinement.after.median_px,
    }
