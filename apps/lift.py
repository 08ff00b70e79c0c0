"""``posekit lift``: people in 3D from the 2D of one camera."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from posekit.lifting.inputs import ViewPeople
    from posekit.lifting.people import LiftedPerson, LiftSettings


@dataclass(frozen=True)
class LiftConfig:
    """Lift people to 3D from the 2D keypoints of one camera, or from its video; or fill what several cameras missed.

    A joint that was seen is marked as lifted, one that was not as filled. With --rig the people stand in the rig's world.
    Otherwise the world is that of a level camera at the origin: X right, Y away from it, Z up; without its focal length the
    camera is taken for one whose focal length is the longer side of its picture, and where not even the picture's size is
    known, for the smallest usual one that holds every keypoint. The size of people is theirs if --height says it.
    """

    keypoints: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO_OR_KEYPOINTS")]
    """A video (with --detector), keypoints2d.h5, a folder of OpenPose JSON, or any 2D keypoints that posekit reads."""
    out: Path
    """The keypoints3d.h5 to write."""
    camera: str | None = None
    """Whose view is lifted, where the keypoints have several."""
    skeleton: str | None = None
    """Order of the joints, such as BODY_25, where files do not say it; told by the joints' number and places if not given."""
    detector: str | None = None
    """Who finds the people in a video: rtmpose (with feet), rtmpose:body, rtmpose:wholebody."""
    rig: Path | None = None
    """The cameras, of any kind that posekit reads: lens and place of the one that is lifted."""
    focal: float | None = None
    """Without --rig: focal length in pixels, for a picture of --size (a video, and keypoints beside one, have theirs)."""
    size: tuple[int, int] | None = None
    """Without --rig: width and height of the picture in pixels."""
    height: float | None = None
    """Height of the people in metres; 1.70, about the mean of adults, if not given."""
    lifter: Path | None = None
    """Weights of a lifter, as `posekit train-lifter` writes them; posekit's own if not given."""
    person: int | None = None
    """Lift this one only, counted from 0 in the order of how much and how surely they were seen."""
    complete: Path | None = None
    """A keypoints3d.h5 of several cameras (with --rig): the joints and people that it lacks are lifted from the view that saw
    them best, and fitted to what it has."""
    refine: bool = True
    """Use the whole video: one length for each bone, no jumps, true to the 2D. Without it every frame is lifted by itself."""
    keep_swaps: bool = False
    """Leave left and right as the detector has them, also where the motion tells that it exchanged them for a while."""
    max_gap: float = 2.0
    """Seconds after which somebody who left the picture and comes back is a new person."""
    fps: float | None = None
    """Frames per second, where the keypoints do not say it."""
    device: str = "cpu"
    """Where the detector works: cpu, or cuda."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: LiftConfig) -> None:
    """Run the command."""
    import time

    from posekit.apps.lift_inputs import choose_lifter, open_people
    from posekit.apps.progress import progress_bars
    from posekit.apps.provenance import write_record
    from posekit.apps.tables import figures_console
    from posekit.io.files import write_json

    _check(config)
    lifter = choose_lifter(config.lifter)
    with progress_bars() as show:
        source = open_people(config, show)
        start = time.perf_counter()
        if config.complete is not None:
            from posekit.apps.lift_complete import complete

            people, figures = complete(config, source, lifter, show)
        else:
            people, figures = _lift(config, source, lifter, show)
    figures["seconds"] = time.perf_counter() - start
    people.save(config.out)
    inputs = [path for path in (config.keypoints, config.rig, config.lifter, config.complete) if path is not None]
    write_record(config.out, "lift", config, inputs, figures=figures)
    if config.json:
        write_json(config.json, figures)
    _print_figures(figures_console(), figures, config.out)


def _check(config: LiftConfig) -> None:
    """Say before the work what cannot be."""
    from posekit.apps.checks import require_places, require_positive
    from posekit.apps.provenance import record_path
    from posekit.errors import PosekitError

    inputs = (config.keypoints, config.rig, config.lifter, config.complete)
    require_places((config.out, record_path(config.out), config.json), inputs)
    if config.out.suffix.lower() not in (".h5", ".hdf5"):
        raise PosekitError(f"{config.out}: the result is an HDF5 file, a name ending in .h5 was expected")
    if not config.keypoints.exists():
        raise PosekitError(f"{config.keypoints}: no such file or folder (a video or 2D keypoints were expected)")
    for option, value in (("--height", config.height), ("--focal", config.focal), ("--fps", config.fps)):
        require_positive(option, value)
    require_positive("--max-gap", config.max_gap)
    if config.height is not None and not 0.3 <= config.height <= 3:
        raise PosekitError(f"--height: found {config.height:g}, expected a person's height in metres, 0.3 to 3")
    if config.size is not None and min(config.size) < 1:
        raise PosekitError(f"--size: found {config.size[0]} {config.size[1]}, expected width and height in pixels")
    for option, given in (("--focal", config.focal is not None), ("--size", config.size is not None)):
        if config.rig is not None and given:
            raise PosekitError(f"{option}: is what --rig says already; give one of them")
    if config.complete is not None and config.rig is None:
        raise PosekitError(f"--complete {config.complete}: needs --rig, the cameras that its people stand among")
    for option, given in (("--camera", config.camera is not None), ("--person", config.person is not None)):
        if config.complete is not None and given:
            raise PosekitError(f"{option}: --complete takes the view that saw each person best, and everybody")


def _lift(config: LiftConfig, source: Any, lifter: Any, show: Any) -> tuple[Any, dict[str, Any]]:
    import warnings
    from dataclasses import replace

    from posekit.apps.lift_inputs import lens_of
    from posekit.errors import PosekitError, PosekitWarning
    from posekit.lifting.inputs import choose_camera, follow_people
    from posekit.lifting.people import lift_people
    from posekit.lifting.result import as_keypoints3d, world_of

    try:
        camera_name = choose_camera(source, config.camera)
        camera, placed = lens_of(config, camera_name, source)
        view = follow_people(source, camera_name, lifter.skeleton, follow_settings(config))
    except PosekitError as error:
        if str(config.keypoints) in str(error):
            raise
        # A keypoints2d.h5 goes by what it was made of, which nobody finds the file by.
        raise PosekitError(f"{config.keypoints}: {error}") from None
    if view.missing:
        told = f"{view.source}: {source.skeleton.name} has no {', '.join(view.missing)}; the lifter guesses them"
        warnings.warn(PosekitWarning(told), stacklevel=2)
    if config.person is not None:
        if not 0 <= config.person < len(view.people):
            raise PosekitError(
                f"--person {config.person}: {view.source} has {len(view.people)} people in camera '{camera_name}', counted "
                "from 0"
            )
        view = replace(view, people=(view.people[config.person],))
    lifted = lift_people(view, lifter, camera, lift_settings(config), show)
    world = world_of(camera)
    people = as_keypoints3d(lifted, view, world, f"{view.source}, camera {camera_name}, lifted")
    figures = {
        "camera": camera_name,
        "lens": "rig" if placed else "focal" if config.focal else "guessed" if camera else "unknown",
        "in_world_of_rig": placed,
        "height_m": config.height or _mean_height(),
        "height_given": config.height is not None,
        "refined": config.refine,
        "frames": len(view.frames),
        "skeleton": lifter.skeleton.name,
        "missing_joints": list(view.missing),
        "persons": _figures(lifted, view),
    }
    return people, figures


def _mean_height() -> float:
    from posekit.lifting.body_tree import MEAN_HEIGHT

    return MEAN_HEIGHT


def follow_settings(config: LiftConfig) -> Any:
    """Return how people are followed."""
    from posekit.lifting.inputs import FollowSettings
    from posekit.people.tracks import AssociationSettings

    return FollowSettings(association=AssociationSettings(max_gap=config.max_gap))


def lift_settings(config: LiftConfig) -> "LiftSettings":
    """Return how people are lifted."""
    from posekit.lifting.people import LiftSettings

    return LiftSettings(height=config.height, refine=config.refine, mend_swaps=not config.keep_swaps)


def _figures(people: "list[LiftedPerson]", view: "ViewPeople") -> list[dict[str, Any]]:
    import numpy as np

    rows = []
    for person in people:
        error = person.reprojection_px[np.isfinite(person.reprojection_px)]
        rows.append(
            {
                "frames": len(person.rows),
                "first_frame": int(view.frames[person.rows[0]]),
                "last_frame": int(view.frames[person.rows[-1]]),
                "points": int(np.isfinite(person.xyz[..., 0]).sum()),
                "points_seen": int(person.seen.sum()),
                "swapped_frames": int(person.swapped.any(axis=1).sum()),
                "mean_reprojection_px": float(error.mean()) if error.size else None,
                "mean_confidence": float(np.nanmean(person.confidence)) if len(person.rows) else None,
            }
        )
    return rows


_COUNTS = ("frames", "first_frame", "last_frame", "points", "points_seen", "swapped_frames")

_LENSES = {
    "rig": "lens and place from the rig",
    "focal": "the focal length as given, the world that of a level camera",
    "guessed": "the focal length is not known: taken for the picture's longer side, so distances are a guess",
    "unknown": "nothing is known of the lens: nobody's distance is told",
}


def _print_figures(console: Any, figures: dict[str, Any], out: Path) -> None:
    from posekit.apps.tables import figures_table, number

    if "completed" in figures:
        console.print(
            f"{figures['points_added']} joints added, {figures['points_seen']} of them seen by a camera; "
            f"{figures['people_added']} people added; written to {out}",
            soft_wrap=True,
        )
        return
    columns = ("person", "frames", "from", "to", "points", "seen", "swapped", "mean px", "confidence")
    table = figures_table(f"{figures['camera']}: {figures['frames']} frames", columns)
    for p, row in enumerate(figures["persons"]):
        counts = (str(row[key]) for key in _COUNTS)
        table.add_row(str(p), *counts, number(row["mean_reprojection_px"], 1), number(row["mean_confidence"], 2))
    console.print(table)
    if any(row["swapped_frames"] for row in figures["persons"]):
        told = "swapped: frames in which left and right of a limb were exchanged back; --keep-swaps leaves them"
        console.print(told, soft_wrap=True)
    size = f"{figures['height_m']:g} m tall" + ("" if figures["height_given"] else ", the mean: --height is not given")
    console.print(f"{_LENSES[figures['lens']]}; people are {size}; written to {out}", soft_wrap=True)
