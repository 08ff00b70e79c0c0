"""Dictionaries of ArUco and AprilTag markers, by name."""

import difflib
import re
from functools import cache
from typing import Any

import cv2

from posekit.errors import PosekitError


@cache
def dictionary_names() -> dict[str, int]:
    """Every dictionary that OpenCV has: its name, as OpenCV writes it, and number."""
    numbers: dict[str, int] = {}
    taken = set()
    # OpenCV spells some in two ways; of "36H11" and "36h11" the latter is the one that its documentation uses.
    for name in sorted((name for name in dir(cv2.aruco) if name.startswith("DICT_")), key=str.swapcase):
        number = int(getattr(cv2.aruco, name))
        if number not in taken:
            numbers[name] = number
            taken.add(number)
    return numbers


def dictionary_name(text: str) -> str:
    """Return OpenCV's name of a dictionary, however it was written: ``4x4_50``, ``tag36h11``, ``DICT_APRILTAG_36H11``.

    Raises PosekitError naming those that are near where there is none.
    """

    def plain(name: str) -> str:
        return (
            name.upper()
            .removeprefix("DICT_")
            .replace("-", "_")
            .replace("TAG36", "APRILTAG_36")
            .replace("APRILAPRIL", "APRIL")
        )

    known = {plain(name): name for name in dictionary_names()}
    if plain(text) in known:
        return known[plain(text)]
    near = difflib.get_close_matches(plain(text), known, n=4, cutoff=0.5)
    families = (
        "4X4_50 ... 7X7_1000 (50, 100, 250, 1000), APRILTAG_16h5, 25h9, 36h10, 36h11, ARUCO_ORIGINAL, ARUCO_MIP_36h12"
    )
    nearest = f"did you mean {' or '.join(known[name] for name in near)}? " if near else ""
    raise PosekitError(f"--board: '{text}' is no dictionary of markers; {nearest}OpenCV has DICT_{families}")


@cache
def dictionary_of(name: str) -> Any:
    """OpenCV's dictionary of that name, in any spelling."""
    return cv2.aruco.getPredefinedDictionary(dictionary_names()[dictionary_name(name)])


@cache
def marker_count(name: str) -> int:
    """How many markers a dictionary has."""
    return len(dictionary_of(name).bytesList)


def family_of(name: str) -> str:
    """What dictionaries have in common of which the larger begins with the smaller: DICT_4X4; elsewhere the name itself."""
    name = dictionary_name(name)
    return name.rpartition("_")[0] if re.fullmatch(r"DICT_\dX\d_\d+", name) else name


@cache
def smallest_sibling(name: str, count: int) -> str:
    """The smallest dictionary of the same family that holds `count` markers: the same ones, looked through sooner."""
    name = dictionary_name(name)
    family = family_of(name)
    siblings = [f"{family}_{size}" for size in (50, 100, 250, 1000)]
    return next(
        (sibling for sibling in siblings if sibling in dictionary_names() and marker_count(sibling) >= count), name
    )
