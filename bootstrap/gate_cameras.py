"""Whether a camera is where its calibration says, in step, and has left and right right: by what the other cameras say of it.

Needs no label and no truth: every camera is held out in turn, people are triangulated from the others, thresholds measured on
these alone, and the camera's own detections are compared with where they should be.
"""

from posekit.bootstrap.gate_moved import moved_cameras
from posekit.bootstrap.gate_records import Gates, GateSettings, with_sides_exchanged
from posekit.bootstrap.gate_steps import late_cameras, swapped_cameras
from posekit.bootstrap.gate_views import held_out_views, sampled_blocks
from posekit.camera import Rig
from posekit.keypoints import Keypoints2D
from posekit.people.reconstruction import ReconstructionSettings


def judge_cameras(
    detections: Keypoints2D, rig: Rig, reconstruction: ReconstructionSettings, settings: GateSettings | None = None
) -> Gates:
    """Look for cameras that moved, that are out of step, and that confuse left and right.

    detections: slot p is person p in every view and frame. rig: the same cameras in the same order. A camera that moved or is
    out of step is left out of all that follows, not corrected: its labels would rest on the correction, and the others do
    without it. Exchanged sides are exchanged back, since nothing is lost by that. One camera after the other is taken out, the
    one that explains most first, as it spoils what is said of the others. Two cameras cannot be judged: each may be right.
    """
    settings = settings or GateSettings()
    gates = Gates()
    detections = sampled_blocks(detections)
    while True:
        kept = tuple(name for name in rig.names if name not in gates.excluded_cameras)
        if len(kept) < 3:
            return gates + Gates(remarks=(_two_views(kept, bool(gates.excluded_cameras)),))
        some, of_kept = detections.select_cameras(kept), rig.select(kept)
        some = with_sides_exchanged(some, gates.mended_cameras)
        views = held_out_views(some, of_kept, reconstruction)
        found = moved_cameras(views, settings) + late_cameras(some, views, settings)
        found += [one for one in swapped_cameras(some, views, settings) if one.alarm.camera not in gates.mended_cameras]
        if not found:
            return gates
        alarm = max(found, key=lambda one: one.explained).alarm
        name = (alarm.camera,) if alarm.camera else ()
        gates = gates + (
            Gates((alarm,), mended_cameras=name) if alarm.kind == "side" else Gates((alarm,), excluded_cameras=name)
        )


def _two_views(kept: tuple[str, ...], after_others: bool) -> str:
    names = " and ".join(f"'{name}'" for name in kept)
    if len(kept) != 2:
        return f"only {names or 'no camera'} is left"
    return (
        f"{'without the others ' if after_others else ''}2 cameras are left ({names}): that one of two has moved, or is out of "
        "step, shows only across the lines between them, and not which of them it is; a third camera would tell"
    )
