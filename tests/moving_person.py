"""A person of rigid bones who bends every joint: parts of a standing person turned about pivots, the outermost ones first."""

import re

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scenes import PERSON, standing_person

_ARM = "{s}_(elbow|wrist|hand_wrist|thumb|index|middle|ring|little)"
# What turns, about which joint, how far in degrees about x, y, z; the world has z up.
_TURNS = (
    *(
        (rf"{{s}}_{finger}_[34]", f"{{s}}_{finger}_2", (40, 0, 5))
        for finger in ("index", "middle", "ring", "little", "thumb")
    ),
    *((rf"{{s}}_{finger}_[234]", f"{{s}}_{finger}_1", (30, 0, 10)) for finger in ("index", "little", "thumb")),
    (r"{s}_(hand_wrist|thumb|index|middle|ring|little)", "{s}_wrist", (35, 25, 40)),
    (r"{s}_(wrist|hand_wrist|thumb|index|middle|ring|little)", "{s}_elbow", (100, 0, 10)),
    (_ARM, "{s}_shoulder", (70, 35, 60)),
    (r"{s}_(heel|big_toe|small_toe)", "{s}_ankle", (25, 15, 20)),
    (r"{s}_(ankle|heel|big_toe|small_toe)", "{s}_knee", (-80, 0, 0)),
    (r"{s}_(knee|ankle|heel|big_toe|small_toe)", "{s}_hip", (60, 20, 15)),
)
_HEAD = r"nose|head_top|(left|right)_(eye|ear)"


def moving_person(frame_count: int = 60) -> NDArray[np.float64]:
    """Return the joints of `PERSON`, (F, 67, 3) metres, Z up; every bone keeps its length."""
    frames = np.repeat(standing_person()[None], frame_count, axis=0)
    time = np.linspace(0, 2 * np.pi, frame_count)

    def turn(pattern: str, pivot: NDArray[np.float64], degrees: NDArray[np.float64]) -> None:
        moved = [number for number, name in enumerate(PERSON.joints) if re.match(pattern, name)]
        matrices = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        frames[:, moved] = np.einsum("fij,fnj->fni", matrices, frames[:, moved] - pivot[:, None]) + pivot[:, None]

    for number, (pattern, pivot, reach) in enumerate(_TURNS):
        for phase, side in enumerate(("left", "right")):
            swing = (1 - np.cos(time + 0.3 * number + 2 * phase))[:, None] / 2
            turn(pattern.format(s=side), frames[:, PERSON.index(pivot.format(s=side))].copy(), swing * np.array(reach))
    wave = np.sin(time)[:, None]
    turn(f"({_HEAD})$", frames[:, PERSON.index("neck")].copy(), wave * (30, 15, 50))
    middle = frames[:, PERSON.indices(("left_hip", "right_hip"))].mean(axis=1)
    upper = rf"({_HEAD}|neck|(left|right)_shoulder|{_ARM.format(s='(left|right)')})"
    turn(upper, middle, wave * (25, 20, 35))
    # Twice round: angles that are not unwrapped would jump.
    turn(".*", middle, np.stack((10 * np.sin(time), 10 * np.cos(time), np.degrees(2 * time)), axis=1))
    moved: NDArray[np.float64] = frames + np.stack((time, np.sin(time), 0.1 * np.cos(time)), axis=1)[:, None]
    return moved
