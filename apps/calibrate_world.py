"""The world of a calibrated rig, and its scale."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posekit.errors import PosekitError

if TYPE_CHECKING:
    from posekit.apps.calibrate import CalibrateConfig
    from posekit.calibration.boards.capture import BoardCapture
    from posekit.calibration.rigs.calibration import RigCalibration
    from posekit.calibration.world.frame import WorldFrame
    from posekit.calibration.world.marked_points import MarkedPoints
    from posekit.camera import Rig
    from posekit.keypoints import Keypoints2D, Keypoints3D, KeypointSource


@dataclass(frozen=True)
class WorldInputs:
    """What a world is made of, read before the work."""

    points: "MarkedPoints | None"
    people: "KeypointSource | None"


def read_world_inputs(config: "CalibrateConfig") -> WorldInputs:
    """Read --points and open --keypoints; raises PosekitError where they cannot be read."""
    from posekit.calibration.world.marked_points import read_marked_points
    from posekit.io.keypoint_files import open_keypoints

    points = None if config.points is None else read_marked_points(config.points)
    people = None if config.keypoints is None else open_keypoints(config.keypoints, config.skeleton, config.fps)
    return WorldInputs(points, people)


def check_world(
    config: "CalibrateConfig", points: "MarkedPoints | None", cameras: Sequence[str], capture: "BoardCapture | None"
) -> None:
    """Raise PosekitError where what is wanted of the world names what is not there, before the work is done."""
    if points is not None:
        for name, pixels in points.pixels.items():
            for camera in pixels:
                if camera not in cameras:
                    raise PosekitError(
                        f"{points.source}: [points.{name}]: there is no camera '{camera}'; there are: {', '.join(cameras)}"
                    )
        for name in ("origin", "x", "plane") if config.world == "points" else ():
            if name not in points.pixels:
                raise PosekitError(
                    f"{points.source}: [points.{name}]: is missing; --world points takes origin, x and plane"
                )
        for end in points.distance[0] if points.distance else ():
            if end not in points.pixels and end not in cameras:
                raise PosekitError(
                    f"{points.source}: [distance] between: '{end}' is neither a marked point nor a camera"
                )
    if config.world_frame is not None and capture is not None:
        labels = [capture.label(moment) for moment in range(len(capture.pictures))]
        if config.world_frame not in labels:
            raise PosekitError(
                f"--world-frame: there is no frame {config.world_frame} in {capture.folder}; they go from {labels[0]} to "
                f"{labels[-1]}"
            )


def place_in_world(
    config: "CalibrateConfig",
    rig: "Rig",
    calibration: "RigCalibration | None",
    points: "MarkedPoints | None",
    people: "Keypoints2D | None",
) -> "tuple[Rig, list[WorldFrame], list[str]]":
    """Give a rig its scale, then its world; returns what was done, and what could not be done, too.

    people: identified, slot p is person p. What cannot be had is left out: a rig is not lost for its world.
    """
    steps: list[WorldFrame] = []
    missed: list[str] = []
    for step in _wanted_steps(config, calibration, points, people):
        try:
            steps.append(step(rig, float(steps[-1].world_from_old.scale) if steps else 1.0))
        except PosekitError as error:
            missed.append(f"{error}; the world and its scale stay as they are")
            continue
        rig = steps[-1].rig
    return rig, steps, missed


def _wanted_steps(
    config: "CalibrateConfig",
    calibration: "RigCalibration | None",
    points: "MarkedPoints | None",
    people: "Keypoints2D | None",
) -> "Iterator[Callable[[Rig, float], WorldFrame]]":
    """The steps in their order; each takes the rig, and by what it was scaled before."""
    from posekit.calibration.rigs.placed_boards import mean_times
    from posekit.calibration.world.frame import scale_by_bone, scale_by_points, world_from_board, world_from_points
    from posekit.calibration.world.from_people import world_from_people

    if points is not None and points.distance is not None:
        yield lambda rig, _: scale_by_points(rig, points)
    if config.bone is not None and people is not None:
        first, second, metres = config.bone
        yield lambda rig, _: scale_by_bone(rig, _placed(people, rig), (first, second), metres)
    if config.world == "board" and calibration is not None:
        boards, views = calibration.boards, calibration.views
        labels = views.labels or tuple(str(frame) for frame in views.frames)
        yield lambda rig, scale: world_from_board(
            rig,
            views.board,
            boards.rotation,
            scale * boards.translation,
            labels,
            config.world_frame,
            times_s=mean_times(views),
        )
    elif config.world == "points" and points is not None:
        yield lambda rig, _: world_from_points(rig, points)
    elif config.world == "people" and people is not None:
        yield lambda rig, _: world_from_people(rig, _placed(people, rig))


def identified_people(config: "CalibrateConfig", rig: "Rig") -> "tuple[Keypoints2D, Rig]":
    """Read --keypoints and tell who is who; the rig's cameras by the keypoints' names and in their order."""
    from posekit.apps.in_step import in_step
    from posekit.apps.triangulate import open_detections
    from posekit.camera import match_camera_names
    from posekit.people.reconstruction import identify_people

    assert config.keypoints is not None
    source = open_detections(config.keypoints, rig, config.skeleton, config.fps)
    rig = match_camera_names(rig, source.cameras).select(source.cameras)
    stepped = in_step(config.keypoints, source, rig)
    return identify_people(stepped.read(0, len(stepped.frames)), rig), rig


def _placed(people: "Keypoints2D", rig: "Rig") -> "Keypoints3D":
    from posekit.camera import match_camera_names
    from posekit.people.reconstruction import ReconstructionSettings, triangulate_people

    rig = match_camera_names(rig, people.cameras).select(people.cameras)
    return triangulate_people(people, rig, ReconstructionSettings()).people


def whole_way(worlds: "Sequence[WorldFrame]") -> "WorldFrame | None":
    """Where the old world's points went in all."""
    whole: WorldFrame | None = None
    for world in worlds:
        whole = world if whole is None else whole.followed_by(world)
    return whole
