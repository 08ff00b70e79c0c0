import numpy as np
import pytest

from hand_scene import PICTURE, Scene, at
from posekit.detection.hand_box import HandBox, box_from_hand
from posekit.detection.hand_search import SearchSettings, grid_of_boxes, search_hands
from posekit.detection.hands_in_views import HandsOfBodies, LoneHands, LoneHandSettings

SETTINGS = SearchSettings(sides=(0.5,), rotations=2, looks=24)


class Searched(Scene):
    """A scene with what a search asks of a detector."""

    model = None
    crop_size = 128


def test_the_grid_covers_the_picture_in_every_direction_and_both_hands():
    boxes = grid_of_boxes((640, 480), SearchSettings(sides=(0.3, 0.6), step=0.4, rotations=3))
    assert boxes.found.all()
    for side in (144, 288):
        of_size = boxes[np.isclose(boxes.side, side)]
        assert len({(round(angle, 3), left) for angle, left in zip(of_size.angle, of_size.left, strict=True)}) == 6
        x = np.unique(of_size.centre[:, 0])
        assert x[0] - side / 2 == pytest.approx(-0.5)  # the picture's outer edges
        assert x[-1] + side / 2 == pytest.approx(639.5)
        assert np.diff(x).max() <= 0.4 * side + 1e-9
    assert len(grid_of_boxes((100, 100), SearchSettings(sides=(1.0,), rotations=1)).side) == 2


def test_hands_are_found_once_each_the_surest_first():
    scene = Searched()
    scene.hands = [(at(120), 0.7), (at(420, 250), 0.9)]
    found = search_hands(scene, PICTURE, 3, SETTINGS)
    assert [hand.mean_confidence for hand in found] == pytest.approx([0.9, 0.7])
    np.testing.assert_array_equal(found[0].xy, at(420, 250))
    assert len(search_hands(scene, PICTURE, 1, SETTINGS)) == 1
    scene.hands = [(at(120), 0.3)]
    assert search_hands(scene, PICTURE, 1, SETTINGS) == []


def test_a_lone_hand_is_searched_for_seldom_and_followed_between():
    scene = Searched()
    finder = LoneHands(scene, LoneHandSettings(hands=1, search_every=4, turn_every=1000, search=SETTINGS))
    xy, confidence, _ = finder.step([PICTURE])
    assert np.isnan(xy).all()
    assert (confidence == 0).all()
    searched = scene.looks
    for frame in range(1, 12):
        scene.hands = [(at(200 + 5 * frame), 0.8)]
        xy, confidence, _ = finder.step([PICTURE])
        if frame < 4:
            assert scene.looks == searched  # nothing to follow, and too early to search again
        else:
            np.testing.assert_array_equal(xy[0, 0], at(200 + 5 * frame))
            assert (confidence == 0.8).all()


def test_the_side_of_a_lone_hand_is_told_in_every_frame_and_may_change():
    class Sided(Searched):
        """Is surer of a hand in a box of the side that it prefers."""

        left = False

        def detect_in_image(self, pictures, boxes, *, passes=1, rotations=12):
            xy, confidence = super().detect_in_image(pictures, boxes, passes=passes, rotations=rotations)
            return xy, np.where((boxes.left == self.left)[:, None], confidence, 0.8 * confidence)

    scene = Sided()
    scene.hands = [(at(200), 0.8)]
    finder = LoneHands(scene, LoneHandSettings(hands=2, turn_every=2, search=SETTINGS))
    sides = []
    for frame in range(4):
        scene.left = frame > 0  # it learns better after the first frame, and asks again in the third
        xy, confidence, left = finder.step([PICTURE])
        np.testing.assert_array_equal(xy[0, 0], at(200))
        assert (confidence[0, 1] == 0).all()
        sides.append(left[0].tolist())
    assert sides == [[False, False], [False, False], [True, False], [True, False]]


def test_hands_of_bodies_come_back_in_their_slots():
    scene = Searched()
    scene.hands = [(at(150), 0.8), (at(450), 0.8)]
    one, other = at(150, 300)[None, :17], at(450, 300)[None, :17]
    box = [box_from_hand(at(150), True), box_from_hand(at(450), True)]

    def boxes(first: HandBox, second: HandBox) -> HandBox:
        nothing = np.full(2, np.nan)
        return HandBox(
            [[first.centre, nothing, second.centre, nothing]],
            [[first.side, np.nan, second.side, np.nan]],
            [[first.angle, np.nan, second.angle, np.nan]],
            [[True, False, True, False]],
        )

    finder = HandsOfBodies(scene)
    xy, confidence = finder.step([PICTURE], np.stack([np.concatenate([one, other])]), boxes(*box))
    np.testing.assert_array_equal(xy[0, [0, 2]], [at(150), at(450)])
    assert (confidence[0, [1, 3]] == 0).all()
    # The slots are exchanged, and one arm is not seen: its hand is followed into its body's new slot.
    missing = HandBox(np.full(2, np.nan), np.nan, np.nan, True)
    xy, _ = finder.step([PICTURE], np.stack([np.concatenate([other, one])]), boxes(box[1], missing))
    np.testing.assert_array_equal(xy[0, [0, 2]], [at(450), at(150)])
