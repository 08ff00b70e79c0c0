import numpy as np
import pytest

from lifted_people import camera, filmed, moving_person
from posekit.lifting.skeletons import LIFTER_15
from posekit.lifting.swaps import find_swaps

RATE = 30.0
MIRROR = LIFTER_15.mirror


def seen(frames: int = 120, noise_px: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """2D (F, 15, 2) and confidences of somebody who swings arms and legs, 300 px tall, seen half from the side."""
    keypoints = filmed([moving_person(frames)], camera(), noise_px=noise_px)
    return keypoints.xy[:, 0, 0].astype(np.float64), np.full((frames, 15), 0.8)


def joints(*names: str) -> list[int]:
    return [j for j, name in enumerate(LIFTER_15.joints) if name.endswith(names) and not name.startswith("mid")]


def exchanged(xy: np.ndarray, rows: slice, which: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The 2D with left and right of some joints exchanged, and which (F, 15) that are."""
    wrong = np.zeros(xy.shape[:2], dtype=np.bool_)
    wrong[rows, which] = True
    return np.where(wrong[..., None], xy[:, MIRROR], xy), wrong


def joined(xy: np.ndarray) -> np.ndarray:
    return np.ones(len(xy) - 1, dtype=np.bool_)


LEGS, ARMS = ("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")


@pytest.mark.parametrize(
    "names", [LEGS + ARMS, LEGS, ARMS, ("knee", "ankle")], ids=["all", "legs", "arms", "lower legs"]
)
@pytest.mark.parametrize("rows", [slice(40, 50), slice(0, 12), slice(105, 120), slice(60, 61)])
def test_exchanged_stretches_are_found_to_the_frame(names, rows) -> None:
    xy, confidence = seen()
    given, wrong = exchanged(xy, rows, joints(*names))
    found = find_swaps(given, confidence, joined(xy), LIFTER_15, RATE)
    mended = np.where(found[..., None], given[:, MIRROR], given)
    # Where left and right lie within the noise of each other, nobody can tell them, and it does not matter.
    apart = np.linalg.norm(xy - xy[:, MIRROR], axis=-1)
    assert (found == wrong)[apart > 25].all()
    assert np.linalg.norm(mended - xy, axis=-1).max() < 25


def test_what_is_right_stays_as_it_is() -> None:
    xy, confidence = seen(300, noise_px=4.0)
    assert not find_swaps(xy, confidence, joined(xy), LIFTER_15, RATE).any()


def test_limbs_that_pass_each_other_are_not_exchanged() -> None:
    # Straight from the side: knees, ankles, elbows and wrists pass each other at every step, and at twice its pace.
    for pace in (1.0, 2.0):
        side = moving_person(int(300 / pace), fps=RATE / pace) @ np.array(((0, 0, 1.0), (0, 1, 0), (-1, 0, 0)))
        side += np.array((0, 0, 4.0)) - side[:, :1]
        xy = filmed([side], camera(), noise_px=2.0).xy[:, 0, 0].astype(np.float64)
        crossings = np.diff(np.sign((xy - xy[:, MIRROR])[:, LIFTER_15.index("left_ankle"), 0])) != 0
        assert crossings.sum() >= 8
        assert not find_swaps(xy, np.full(xy.shape[:2], 0.8), joined(xy), LIFTER_15, RATE).any()


def test_one_bad_detection_is_no_exchange() -> None:
    xy, confidence = seen()
    xy[50, LIFTER_15.index("left_wrist")] += (80, -120)
    xy[70:73, LIFTER_15.index("right_ankle")] = xy[70:73, LIFTER_15.index("left_ankle")]
    assert not find_swaps(xy, confidence, joined(xy), LIFTER_15, RATE).any()


def test_what_time_does_not_tell_is_left() -> None:
    xy, confidence = seen(240)
    # All of it, and four seconds with two on both sides.
    for rows in (slice(0, 240), slice(60, 180)):
        given, _ = exchanged(xy, rows, joints(*LEGS, *ARMS))
        assert not find_swaps(given, confidence, joined(xy), LIFTER_15, RATE).any()
    # Of a stretch that reaches to one end, the shorter side is what is exchanged.
    given, wrong = exchanged(xy, slice(20, 240), joints(*LEGS, *ARMS))
    found = find_swaps(given, confidence, joined(xy), LIFTER_15, RATE)
    np.testing.assert_array_equal(found[:, joints("ankle", "wrist")], ~wrong[:, joints("ankle", "wrist")])
    # A stretch that would be found, but with nothing that ties it to the frames around.
    given, _ = exchanged(xy, slice(40, 50), joints(*LEGS))
    loose = joined(xy)
    loose[[39, 49]] = False
    assert not find_swaps(given, confidence, loose, LIFTER_15, RATE).any()


def test_missing_joints_and_few_rows_are_no_evidence() -> None:
    xy, confidence = seen()
    given, wrong = exchanged(xy, slice(40, 50), joints(*LEGS))
    given[45, LIFTER_15.index("left_knee")] = np.nan
    given[80:90] = np.nan
    confidence = np.where(np.isfinite(given).all(axis=-1), confidence, 0)
    found = find_swaps(given, confidence, joined(xy), LIFTER_15, RATE)
    there = np.isfinite(given).all(axis=-1)
    there |= there[:, MIRROR]  # the one knee that is seen in frame 45 goes to the other side
    np.testing.assert_array_equal(found[:, joints("knee", "ankle")], (wrong & there)[:, joints("knee", "ankle")])
    assert not found[~there].any()
    for count in (0, 1, 2):
        assert not find_swaps(
            given[:count], confidence[:count], np.ones(max(count - 1, 0), bool), LIFTER_15, RATE
        ).any()
    assert not find_swaps(given * np.nan, confidence * 0, joined(xy), LIFTER_15, RATE).any()
