"""Worlds that mean something: where the origin of a rig is, which way is up, and how long a metre is.

A rig that was calibrated on a board stands in the frame of its first camera. Here it is moved into a world in metres with Z up,
by a board that lay on the floor, by points that a person marked, or (`posekit.calibration.world.from_people`) by people who
stood; its scale, where the board does not give it, comes from a known distance or a known bone.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posekit.calibration.boards.board import Board
from posekit.calibration.report.free_points import reprojection_errors, triangulate_freely
from posekit.calibration.world.marked_points import MarkedPoints
from posekit.calibration.world.rest import longest_rest, rest_around
from posekit.camera import Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.geometry.alignment import Similarity
from posekit.keypoints import Keypoints3D

Array = NDArray[np.float64]

#: Rays to a point that a person marked, that miss each other by more than this (px), are a mistake or a bad rig.
_MARKED_WELL_PX = 10.0

#: Points are on one line where the third is nearer to it than this share of their distance: 1.1 degrees.
_ON_A_LINE = 0.02

#: A bone's median length takes this many measurements.
_FEWEST_BONES = 10


@dataclass(frozen=True, eq=False)
class WorldFrame:
    """A rig in its new world, how it came there, and words on what was done.

    world_from_old: the similarity that took the old world's points to the new one's. z_up: whether the new world has z up and
    its floor at 0; else only its scale was changed.
    """

    rig: Rig
    world_from_old: Similarity
    words: tuple[str, ...]
    z_up: bool = True

    def followed_by(self, further: "WorldFrame") -> "WorldFrame":
        """One step for two: `further` was made of this one's rig, such as a world after a scale."""
        first, second = self.world_from_old, further.world_from_old
        shift = second.scale * (second.rotation @ first.translation) + second.translation
        both = Similarity(first.scale * second.scale, second.rotation @ first.rotation, shift)
        return WorldFrame(further.rig, both, self.words + further.words, self.z_up or further.z_up)


def transform_rig(rig: Rig, new_from_old: Similarity) -> Rig:
    """The same cameras in another world: every point moves by the similarity, and is seen in the same pixels as before."""
    cameras = []
    for camera in rig.cameras:
        rotation = camera.rotation @ new_from_old.rotation.T
        translation = float(new_from_old.scale) * camera.translation - rotation @ new_from_old.translation
        cameras.append(replace(camera, rotation=rotation, translation=translation))
    return Rig(tuple(cameras), rig.source)


def world_from_board(
    rig: Rig,
    board: Board,
    board_rotation: Float[np.ndarray, "F 3 3"],
    board_translation: Float[np.ndarray, "F 3"],
    labels: Sequence[str],
    frame: str | None = None,
    times_s: Float[np.ndarray, " F"] | None = None,
) -> WorldFrame:
    """Make a board that lies on the floor, face up, the world.

    The origin is the outer corner of the print at its top left, x runs along its rows to the right, y up along its columns, z
    out of its face. Its thickness is not known: the print lies at z = 0. board_rotation, board_translation: world_from_board at
    each moment, NaN where it was not placed. labels: what a person calls the moments. frame: the one in which it lies on the
    floor; where not given, the longest time for which it lies still: 1 s or more, or where times_s, the moments' times, are not
    known, 5 moments. The pose is the mean over all moments on end around that one in which no outer corner is further than 5 mm
    from where it is in that one; up to 0.5 s, or three moments, without the board do not end it.

    Raises PosekitError where the board was not seen in that frame, or lies still nowhere; then it names the moments in which it
    does so longest.
    """
    placed = np.isfinite(board_translation).all(axis=-1) & np.isfinite(board_rotation).all(axis=(-1, -2))
    corners = np.einsum("fij,kj->fki", board_rotation, board.outline_m) + board_translation[:, None]
    if frame is None:
        rest = longest_rest(corners, placed, times_s, labels, rig.source, up_in_pictures(rig))
    else:
        place = _named_moment(frame, labels, placed, rig.source)
        rest = rest_around(corners, placed, place, times_s)
    rotation = Rotation.from_matrix(board_rotation[rest]).mean().as_matrix()
    middle = board.outline_m.mean(axis=0)
    centre = corners[rest].mean(axis=(0, 1))
    corner = centre + rotation @ (board.outline_m[0] - middle)
    # The board's y runs down and its z into it: half a turn about x has z out of its face.
    turned = np.diag((1.0, -1.0, -1.0)) @ rotation.T
    moments = (
        f"in frame {labels[rest[0]]}"
        if len(rest) == 1
        else f"in frames {labels[rest[0]]} to {labels[rest[-1]]}, where it lies still"
    )
    words = (
        f"The world is the board as it lies {moments}: origin at its outer corner (top left), x along its rows, z out "
        "of it."
    )
    return _moved(rig, Similarity(np.array(1.0), turned, -turned @ corner), words)


def world_from_points(rig: Rig, points: MarkedPoints) -> WorldFrame:
    """Make three marked points on the floor the world: `origin`, `x` on the +x axis, and `plane` anywhere else on the floor.

    z is up, on the side of the floor where most cameras stand, and y follows by the right hand; where as many stand below, the
    points decide: seen from above, they go round anticlockwise. Raises PosekitError where a point is missing, cannot be placed,
    or the three are on one line.
    """
    places, words = place_marked_points(rig, points)
    missing = [name for name in ("origin", "x", "plane") if name not in places]
    if missing:
        raise PosekitError(
            f"{points.source}: [points.{missing[0]}]: is missing; a world takes the points origin, x and plane, found: "
            f"{', '.join(places) or 'none'}"
        )
    origin = places["origin"]
    along, second = places["x"] - origin, places["plane"] - origin
    normal = np.cross(along, second)
    if np.linalg.norm(normal) <= _ON_A_LINE * np.linalg.norm(along) * np.linalg.norm(second) or not along.any():
        raise PosekitError(
            f"{points.source}: the points origin, x and plane are on one line; mark plane well aside of the line from "
            "origin to x"
        )
    heights = np.array([(camera.centre_world - origin) @ normal for camera in rig.cameras])
    up = normal if (heights > 0).sum() >= (heights < 0).sum() else -normal
    turned = axes_from(up, along)
    told = "The world is made of three marked points: the origin, x on the +x axis, z up on the cameras' side of their plane."
    return _moved(rig, Similarity(np.array(1.0), turned, -turned @ origin), told, *words)


def place_marked_points(rig: Rig, points: MarkedPoints) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Triangulate marked points: name -> (3,) in the rig's world; with words on how well their rays meet.

    Raises PosekitError where the rays are parallel, or a camera is not the rig's or a pixel not in its picture; warns where the
    rays miss each other by 10 px or more.
    """
    pixels = np.full((len(points.pixels), len(rig), 2), np.nan)
    for n, (name, views) in enumerate(points.pixels.items()):
        for camera, pixel in views.items():
            where = f"{points.source}: [points.{name}] {camera}"
            if camera not in rig.names:
                raise PosekitError(f"{where}: the rig has no such camera; it has: {', '.join(rig.names)}")
            if not rig[camera].in_picture(pixel):
                width, height = rig[camera].size
                raise PosekitError(
                    f"{where}: ({pixel[0]:g}, {pixel[1]:g}) is outside its picture of {width} x {height} px"
                )
            pixels[n, rig.names.index(camera)] = pixel
    places = triangulate_freely(rig, pixels)
    errors = reprojection_errors(rig, places, pixels)
    words = []
    for n, name in enumerate(points.pixels):
        if not np.isfinite(errors[n]).any():
            raise PosekitError(
                f"{points.source}: [points.{name}]: its rays meet nowhere in front of the cameras; was the same spot "
                "marked in all?"
            )
        worst = int(np.nanargmax(errors[n]))
        if errors[n, worst] >= _MARKED_WELL_PX:
            line = (
                f"{points.source}: [points.{name}]: its rays miss each other by {errors[n, worst]:.0f} px in "
                f"{rig.names[worst]}; "
                "was the same spot marked in all cameras?"
            )
            warnings.warn(PosekitWarning(line), stacklevel=2)
        words.append(f"The point {name} was placed with a mean error of {np.nanmean(errors[n]):.1f} px.")
    return dict(zip(points.pixels, places, strict=True)), tuple(words)


def scale_by_points(rig: Rig, points: MarkedPoints) -> WorldFrame:
    """Give a rig its scale by the known distance between two marked points, or two cameras, that the points' file states."""
    if points.distance is None:
        raise PosekitError(f"{points.source}: [distance]: is missing; a scale takes between = ['a', 'b'] and metres")
    (first, second), metres = points.distance
    places = {camera.name: camera.centre_world for camera in rig.cameras} | place_marked_points(rig, points)[0]
    for name in (first, second):
        if name not in places:
            raise PosekitError(f"{points.source}: [distance] between: '{name}' is neither a marked point nor a camera")
    return _scaled(
        rig, float(np.linalg.norm(places[first] - places[second])), metres, f"from {first} to {second}", points.source
    )


def scale_by_bone(rig: Rig, people: Keypoints3D, joints: tuple[str, str], metres: float) -> WorldFrame:
    """Give a rig its scale by a bone of known length (m): its median over all frames and people. people: in the rig's world.

    Raises PosekitError where the skeleton has no such joints, or they are there together in fewer than 10 frames.
    """
    ends = people.skeleton.indices(joints)
    lengths = np.linalg.norm(people.xyz[:, :, ends[0]] - people.xyz[:, :, ends[1]], axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    if len(lengths) < _FEWEST_BONES:
        raise PosekitError(
            f"{people.source}: {joints[0]} and {joints[1]} were placed together {len(lengths)} times; a known bone takes "
            f"{_FEWEST_BONES} or more"
        )
    median = float(np.median(lengths))
    # 1.4826 makes the median absolute deviation of normal noise its standard deviation.
    spread = 1.4826 * float(np.median(np.abs(lengths - median))) / median if median > 0 else np.inf
    if spread > 0.1:
        line = (
            f"{people.source}: {joints[0]} to {joints[1]} varies by {100 * spread:.0f} % from frame to frame: the "
            "scale is rough"
        )
        warnings.warn(PosekitWarning(line), stacklevel=2)
    return _scaled(rig, median, metres, f"from {joints[0]} to {joints[1]}, median of {len(lengths)}", people.source)


def up_in_pictures(rig: Rig) -> Float[np.ndarray, " 3"]:
    """About where up is, if cameras are held upright: against the mean of their own y, which runs down a picture."""
    down = np.mean([camera.rotation[1] for camera in rig.cameras], axis=0)
    if np.linalg.norm(down) < 0.2:  # cameras all around a point, or rolled every way: nothing says up
        down = rig.cameras[0].rotation[1]
    return np.asarray(-down / np.linalg.norm(down))


def axes_from(up: Array, along: Array) -> Array:
    """The rotation (3, 3) into a frame whose z is `up` and whose x is the part of `along` across it."""
    z = up / np.linalg.norm(up)
    x = along - (along @ z) * z
    x = x / np.linalg.norm(x)
    return np.stack((x, np.cross(z, x), z))


def _scaled(rig: Rig, found: float, metres: float, what: str, source: str) -> WorldFrame:
    if not 0 < metres < np.inf:
        raise PosekitError(f"{source}: a distance of {metres:g} m {what} cannot be")
    if not found > 1e-9:
        raise PosekitError(f"{source}: the distance {what} is 0 in the rig, which gives no scale")
    scale = metres / found
    similarity = Similarity(np.array(scale), np.eye(3), np.zeros(3))
    words = f"The scale is that of {metres:g} m {what}: lengths were multiplied by {scale:.4g}."
    return WorldFrame(transform_rig(rig, similarity), similarity, (words,), z_up=False)


def _moved(rig: Rig, similarity: Similarity, *words: str) -> WorldFrame:
    """The rig in a world with a floor at z = 0; warns of cameras that are below it."""
    moved = transform_rig(rig, similarity)
    heights = {camera.name: float(camera.centre_world[2]) for camera in moved.cameras}
    below = [name for name, height in heights.items() if height < 0]
    if below:
        line = (
            f"{rig.source}: {', '.join(below)}: below the floor (z < 0) of the new world; is it the floor, and seen "
            "from above?"
        )
        warnings.warn(PosekitWarning(line), stacklevel=3)
    told = f"The cameras are {min(heights.values()):.2f} to {max(heights.values()):.2f} m above the floor."
    return WorldFrame(moved, similarity, (*words, told))


def _named_moment(frame: str, labels: Sequence[str], placed: NDArray[np.bool_], source: str) -> int:
    there = [label for label, at in zip(labels, placed, strict=True) if at]
    if frame not in there:
        near = f"frames {there[0]} to {there[-1]}, {len(there)} of them" if there else "none"
        raise PosekitError(f"{source}: the board was not placed in frame {frame}; it was in {near}: name one of these")
    return list(labels).index(frame)
