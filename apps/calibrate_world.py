"""The world of a calibrated rig, and its scale."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posekit.apps.calibrate import CalibrateConfig
    from posekit.calibration.rigs.calibration import RigCalibration
    from posekit.calibration.world.frame import WorldFrame
    from posekit.camera import Rig
    from posekit.keypoints import Keypoints2D, Keypoints3D


def place_in_world(
    config: "CalibrateConfig",
    rig: "Rig",
    calibration: "RigCalibration | None",
    people: "Keypoints2D | None",
) -> "tuple[Rig, list[WorldFrame]]":
    """Give a rig its scale, then its world; returns what was done, too. people: identified, slot p is person p."""
    from posekit.calibration.world.frame import scale_by_bone, scale_by_points, world_from_board, world_from_points
    from posekit.calibration.world.from_people import world_from_people
    from posekit.calibration.world.marked_points import read_marked_points

    steps: list[WorldFrame] = []
    points = None if config.points is None else read_marked_points(config.points)
    if points is not None and points.distance is not None:
        steps.append(scale_by_points(rig, points))
        rig = steps[-1].rig
    if config.bone is not None and people is not None:
        first, second, metres = config.bone
        steps.append(scale_by_bone(rig, _placed(people, rig), (first, second), metres))
        rig = steps[-1].rig
    if config.world == "board" and calibration is not None:
        boards, views = calibration.boards, calibration.views
        labels = views.labels or tuple(str(frame) for frame in views.frames)
        scale = float(steps[-1].world_from_old.scale) if steps else 1.0
        steps.append(
            world_from_board(rig, views.board, boards.rotation, scale * boards.translation, labels, config.world_frame)
        )
    elif config.world == "points" and points is not None:
        steps.append(world_from_points(rig, points))
    elif config.world == "people" and people is not None:
        steps.append(world_from_people(rig, _placed(people, rig)))
    return (steps[-1].rig if steps else rig), steps


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
    from posekit.people.reconstruction import ReconstructionSettings, triangulate_people

    return triangulate_people(people, rig.select(people.cameras), ReconstructionSettings()).people
