"""``posekit lift --complete``: a multi-view result, with what too few cameras saw filled by the lifter."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.apps.lift import LiftConfig
    from posekit.keypoints import Keypoints3D, KeypointSource


def complete(
    config: "LiftConfig", source: "KeypointSource", lifter: Any, show: Any
) -> tuple["Keypoints3D", dict[str, Any]]:
    """Return the completed people and the figures."""
    import numpy as np

    from posekit.apps.checks import load_people
    from posekit.apps.in_step import in_step
    from posekit.apps.lift import follow_settings, lift_settings
    from posekit.calibration.formats import read_rig
    from posekit.camera import match_camera_names
    from posekit.lifting.completion import complete_people
    from posekit.point_status import PRESENT, PointStatus

    assert config.complete is not None
    assert config.rig is not None
    known = load_people(config.complete)
    rig = match_camera_names(read_rig(config.rig), source.cameras)
    views = in_step(config.keypoints, source, rig)
    done = complete_people(known, views, rig, lifter, lift_settings(config), follow_settings(config), on_views=show)
    status = done.people.status
    persons = [
        {
            "points_known": int(np.isin(known.status[:, p], PRESENT).sum()) if p < known.status.shape[1] else 0,
            "points_added": int(done.added[:, p].sum()),
            "frames_added": int(done.added[:, p].any(axis=-1).sum()),
        }
        for p in range(status.shape[1])
    ]
    figures = {
        "completed": str(config.complete),
        "frames": len(known.frames),
        "points_added": int(done.added.sum()),
        "points_seen": int((done.added & (status == PointStatus.LIFTED)).sum()),
        "people_added": done.people_added,
        "refined": config.refine,
        "persons": persons,
    }
    return done.people, figures
