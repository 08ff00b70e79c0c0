"""Lifted people as keypoints in a world: joints with their status, covariance and agreement, as all of posekit has them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Camera
from posekit.keypoints import Keypoints3D
from posekit.lifting.inputs import ViewPeople
from posekit.lifting.people import LiftedPerson
from posekit.point_status import PointStatus

#: A level camera's axes (x right, y down, z away from it) as a world in which Z is up, X right and Y away.
LEVEL_WORLD_FROM_CAM = np.array(((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)))

#: Where the six numbers of a stored covariance stand in its matrix.
_ROWS, _COLUMNS = np.array((0, 0, 0, 1, 1, 2)), np.array((0, 1, 2, 1, 2, 2))


def world_of(camera: Camera | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rotation and translation from a camera's axes to its world; of None to that of a level camera at the origin."""
    if camera is None:
        return LEVEL_WORLD_FROM_CAM, np.zeros(3)
    return camera.rotation.T, camera.centre_world


def as_keypoints3d(
    people: Sequence[LiftedPerson],
    view: ViewPeople,
    world: tuple[NDArray[np.float64], NDArray[np.float64]],
    source: str,
) -> Keypoints3D:
    """Put lifted people into a world. world: see `world_of`.

    A joint that was seen is LIFTED; one that was not, FILLED by the lifter's idea of a body; TOO_FEW_VIEWS where the person
    is not in the picture.
    """
    F, P, J = len(view.frames), len(people), view.skeleton.joint_count
    rotation, translation = world
    # Of C the stored six of R C R^T, as a matrix that takes C's nine: no other array of their size is needed.
    turn = (rotation[_ROWS][:, :, None] * rotation[_COLUMNS][:, None, :]).reshape(6, 9).T
    xyz = np.full((F, P, J, 3), np.nan)
    covariance = np.full((F, P, J, 6), np.nan)
    inliers = np.zeros((F, P, J, 1), dtype=np.bool_)
    reprojection = np.full((F, P, J, 1), np.nan, dtype=np.float32)
    status = np.full((F, P, J), PointStatus.TOO_FEW_VIEWS, dtype=np.uint8)
    for p, person in enumerate(people):
        points = person.xyz @ rotation.T + translation
        there = np.asarray(np.isfinite(points).all(axis=-1))
        xyz[person.rows, p] = points
        covariance[person.rows, p] = person.covariance.reshape(*person.covariance.shape[:2], 9) @ turn
        inliers[person.rows, p, :, 0] = person.agrees & there
        reprojection[person.rows, p, :, 0] = person.reprojection_px
        marked = np.where(person.seen, PointStatus.LIFTED, PointStatus.FILLED)
        status[person.rows, p] = np.where(there, marked, PointStatus.TOO_FEW_VIEWS)
    covariance[~np.isfinite(xyz).all(axis=-1)] = np.nan
    return Keypoints3D(
        xyz,
        covariance,
        inliers,
        reprojection,
        status,
        (view.camera,),
        view.frames,
        view.skeleton,
        view.fps,
        source,
    )
