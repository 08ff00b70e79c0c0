"""People who move among cameras in a room, hands included: what is true, and what a detector reports of it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Camera, Rig
from posekit.datasets.human_motion import ACTIVITIES, Body, pose_body, sample_body, sample_motion_of
from posekit.datasets.people_detector import Detections, DetectorHabits, simulate_detections
from posekit.datasets.synthetic_capture import look_at
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import Skeleton, get_skeleton

_SEED = 20417


@dataclass(frozen=True)
class PeopleSettings:
    """What is filmed.

    cameras: on a ring around the room. people: the first does one thing after another in the middle, the others walk past.
    skeleton: by its name; every joint of it must be one that the people have.
    """

    seed: int = 0
    frames: int = 150
    fps: float = 30.0
    cameras: int = 8
    people: int = 2
    skeleton: str = "BODY_25B+hands"
    size: tuple[int, int] = (1920, 1080)
    habits: DetectorHabits = field(default_factory=DetectorHabits)


@dataclass(frozen=True, eq=False)
class SyntheticPeople:
    """A scene with a known answer.

    xyz: (F, P, J, 3) metres, the truth. keypoints: as a detector gives them, people in any order in every view and frame, now
    and then a false one among them. slots: (F, C, P), where person p is in them, -1 where not detected. visible: (F, C, P, J),
    in the picture and not hidden by anybody's body. swapped: (F, C, P, J), detections that left and right were exchanged of.
    """

    xyz: NDArray[np.float64]
    keypoints: Keypoints2D
    rig: Rig
    slots: NDArray[np.int64]
    visible: NDArray[np.bool_]
    swapped: NDArray[np.bool_]

    def truth(self) -> Keypoints3D:
        """Return the truth as people in 3D: no covariance, no views."""
        F, P, J, _ = self.xyz.shape
        C = len(self.rig)
        return Keypoints3D(
            xyz=self.xyz,
            covariance=np.zeros((F, P, J, 6)),
            inliers=np.zeros((F, P, J, C), dtype=np.bool_),
            reprojection_px=np.full((F, P, J, C), np.nan, dtype=np.float32),
            status=np.full((F, P, J), PointStatus.OK, dtype=np.uint8),
            cameras=self.rig.names,
            frames=self.keypoints.frames,
            skeleton=self.keypoints.skeleton,
            fps=self.keypoints.fps,
            source="the truth of synthetic people",
        )


def film_people(settings: PeopleSettings | None = None) -> SyntheticPeople:
    """Let people move, and detect them in every view. The same settings make the same scene.

    Raises PosekitError where there is nobody to film or nothing to film with, and for a skeleton with a joint that the people
    lack.
    """
    settings = settings or PeopleSettings()
    for name in ("frames", "cameras", "people"):
        if getattr(settings, name) < 1:
            raise PosekitError(f"synthetic people: {name} {getattr(settings, name)}: 1 or more was expected")
    rng = np.random.default_rng([_SEED, settings.seed])
    skeleton = get_skeleton(settings.skeleton)
    rig = sample_room_rig(rng, settings)
    bodies = [sample_body(rng) for _ in range(settings.people)]
    people = [_perform(rng, body, number, settings) for number, body in enumerate(bodies)]
    lacking = [joint for joint in skeleton.joints if joint not in people[0]]
    if lacking:
        raise PosekitError(f"synthetic people: have no {', '.join(lacking)}, which {skeleton.name} asks for")
    detected = simulate_detections(rng, rig, people, [body.stature for body in bodies], skeleton, settings.habits)
    xyz = np.stack([np.stack([person[joint] for joint in skeleton.joints], axis=1) for person in people], axis=1)
    return SyntheticPeople(
        xyz, _keypoints(detected, rig, skeleton, settings), rig, detected.slots, detected.visible, detected.swapped
    )


def _keypoints(detected: Detections, rig: Rig, skeleton: Skeleton, settings: PeopleSettings) -> Keypoints2D:
    return Keypoints2D(
        detected.xy.astype(np.float32),
        detected.confidence.astype(np.float32),
        rig.names,
        np.arange(settings.frames),
        skeleton,
        settings.fps,
        "synthetic people",
    )


def sample_room_rig(rng: np.random.Generator, settings: PeopleSettings) -> Rig:
    """Cameras ``cam_1`` ... around a room of 8 m, at the height of tripods and of the ceiling, looking at its middle."""
    width, height = settings.size
    cameras = []
    for number in range(settings.cameras):
        bearing = 2 * np.pi * (number + rng.uniform(-0.2, 0.2)) / settings.cameras
        radius = rng.uniform(3.7, 4.4)
        position = np.array(
            (radius * np.cos(bearing), radius * np.sin(bearing), rng.uniform(*((1.1, 1.7), (2.1, 2.7))[number % 2]))
        )
        rotation, translation = look_at(position, np.array((0, 0, 0.95)) + rng.normal(0, 0.05, 3))
        # 2.4 m of the room fill the height of the picture at the ring's radius.
        focal = height / 2.4 * 4.0 * rng.uniform(0.95, 1.05)
        centre = (np.array((width, height)) - 1) / 2 + rng.normal(0, 0.008 * width, 2)
        lens = (rng.uniform(-0.14, -0.04), rng.uniform(0.01, 0.05), *rng.normal(0, 5e-4, 2), rng.normal(0, 0.004))
        matrix = np.array([[focal, 0, centre[0]], [0, focal * rng.uniform(0.998, 1.002), centre[1]], [0, 0, 1]])
        cameras.append(Camera(f"cam_{number + 1}", settings.size, matrix, np.array(lens), rotation, translation))
    return Rig(tuple(cameras), "the room of synthetic people")


def _perform(
    rng: np.random.Generator, body: Body, number: int, settings: PeopleSettings
) -> dict[str, NDArray[np.float64]]:
    """All named joints, (F, 3) each, of one person."""
    turn = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    if number == 0:
        first, turn = rng.uniform(0, 2 * np.pi), turn * rng.choice((-1, 1))
        path = np.stack((0.55 * np.cos(first + turn), 0.4 * np.sin(first + turn)), axis=1)
        activities = ("walk", *(str(kind) for kind in rng.permutation(ACTIVITIES[1:])), "walk")
    else:
        # Round the first one, one after the other: before that one for some cameras, and behind for others.
        first = 2 * np.pi * (number - 1) / (settings.people - 1) + rng.uniform(0, 2 * np.pi / settings.people)
        path = np.stack((1.7 * np.cos(first + turn), 1.05 * np.sin(first + turn)), axis=1)
        activities = ("walk",)
    return pose_body(body, sample_motion_of(rng, body, path, activities, settings.frames, settings.fps))
