import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from posekit.detection.adapters.found import HANDS_42
from posekit.detection.adapters.mediapipe_hands import MediapipeHands, detect_hands
from posekit.errors import PosekitError
from posekit.skeleton import BLAZEPOSE_33, HAND_21, with_hands

# A stand-in: "hands" are the picture's coloured squares, red ones of a right hand and green ones of a left hand, whose joints
# lie on the diagonal of the square. Either API calls them what the real one was seen to call them where nothing is mirrored.
STAND_IN = """
import sys
from types import SimpleNamespace as Made

import numpy as np

__version__ = "0.10.99"
print("a library that talks")


def squares(picture, count):
    height, width = picture.shape[:2]
    found = []
    for channel, side in enumerate(("right", "left")):
        rows, columns = np.nonzero(picture[..., channel] > 200)
        if len(rows):
            along = np.linspace(0, 1, 21)
            # Edges of the square in parts of the picture: the far edge is that of the last pixel.
            x = (columns.min() + along * (columns.max() + 1 - columns.min())) / width
            y = (rows.min() + along * (rows.max() + 1 - rows.min())) / height
            score = picture[rows[0], columns[0], channel] / 255
            found.append((side, score, [Made(x=float(a), y=float(b), z=0.0) for a, b in zip(x, y)]))
    return found[:count]


class Hands:
    def __init__(self, static_image_mode, max_num_hands, model_complexity):
        assert not static_image_mode and model_complexity == 1
        self.count = max_num_hands

    def process(self, picture):
        if picture[0, 0, 2] == 255:
            sys.exit("the library breaks")
        found = squares(picture, self.count)
        if not found:
            return Made(multi_handedness=None, multi_hand_landmarks=None)
        mirrored = {"right": "Left", "left": "Right"}
        return Made(
            multi_handedness=[Made(classification=[Made(label=mirrored[s], score=float(c))]) for s, c, _ in found],
            multi_hand_landmarks=[Made(landmark=points) for _, _, points in found],
        )


class Landmarker:
    def __init__(self, options):
        if b"a model" not in open(options.base_options.model_asset_path, "rb").read():
            raise RuntimeError("Unable to open zip archive.")
        assert options.running_mode == "VIDEO"
        self.count, self.last = options.num_hands, -1

    create_from_options = classmethod(lambda cls, options: cls(options))

    def detect_for_video(self, image, milliseconds):
        assert milliseconds > self.last, "time must go on"
        self.last = milliseconds
        found = squares(image.data, self.count)
        return Made(
            handedness=[[Made(category_name=side.capitalize(), score=float(c))] for side, c, _ in found],
            hand_landmarks=[points for _, _, points in found],
        )


solutions = Made(hands=Made(Hands=Hands))
tasks = Made(
    BaseOptions=lambda model_asset_path: Made(model_asset_path=model_asset_path),
    vision=Made(HandLandmarkerOptions=Made, HandLandmarker=Landmarker, RunningMode=Made(VIDEO="VIDEO")),
)
ImageFormat = Made(SRGB=1)
Image = lambda image_format, data: Made(data=data)
"""


def make_interpreter(folder: Path, library: str | None) -> Path:
    """Return something that runs like the interpreter of an environment that has the library."""
    if library is not None:
        (folder / "mediapipe.py").write_text(library)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


def picture(right=None, left=None, sure=255) -> np.ndarray:
    """Right and left: (x, y, side) px of a square, its first pixel and how many it is wide."""
    image = np.zeros((60, 100, 3), np.uint8)
    for channel, square in enumerate((right, left)):
        if square:
            x, y, side = square
            image[y : y + side, x : x + side, channel] = sure
    return image


def diagonal(x: float, y: float, side: float) -> np.ndarray:
    """Where the joints are: from the outer corner of the first pixel to that of the last."""
    return np.array((x, y)) - 0.5 + np.linspace(0, side, 21)[:, None]


@pytest.fixture(params=["solutions", "tasks"])
def way(request, tmp_path):
    """The two APIs, both by another environment's Python."""
    python = make_interpreter(tmp_path, STAND_IN)
    if request.param == "solutions":
        return {"python": python}
    (tmp_path / "hand.task").write_bytes(b"a model")
    return {"python": python, "model": tmp_path / "hand.task"}


def test_hands_are_where_they_are_and_of_the_persons_own_side(way):
    pictures = [
        picture(right=(60, 10, 20)),
        picture(left=(5, 30, 20), sure=204),
        picture(),
        picture(right=(70, 0, 10), left=(5, 30, 20)),
    ]
    found = detect_hands(iter(pictures), "cam_2", 30.0, **way)
    assert found.skeleton == HANDS_42
    assert found.cameras == ("cam_2",)
    assert found.frames.tolist() == [0, 1, 2, 3]
    assert found.fps == 30
    assert "MediaPipe 0.10.99" in found.source
    assert found.xy.shape == (4, 1, 1, 42, 2)
    left, right = (found.skeleton.part(f"{side}_hand") for side in ("left", "right"))
    hands = found.xy[:, 0, 0]
    np.testing.assert_allclose(hands[0, right], diagonal(60, 10, 20), atol=1e-4)  # float32 of 100 px
    np.testing.assert_allclose(hands[1, left], diagonal(5, 30, 20), atol=1e-4)
    np.testing.assert_allclose(hands[3, right], diagonal(70, 0, 10), atol=1e-4)
    np.testing.assert_allclose(hands[3, left], diagonal(5, 30, 20), atol=1e-4)
    assert np.isnan(hands[0, left]).all()
    assert np.isnan(hands[1, right]).all()
    assert np.isnan(hands[2]).all()
    confidence = found.confidence[:, 0, 0]
    np.testing.assert_allclose(confidence[1, left], 204 / 255, atol=1e-6)
    assert not confidence[1, right].any()
    assert (confidence[0, right] == 1).all()


def test_no_more_hands_than_were_asked_for(way):
    both = picture(right=(60, 10, 20), left=(5, 30, 20))
    found = detect_hands([both], "cam", 30.0, hands=1, **way)
    assert (found.confidence > 0).sum() == 21


def test_times_go_on_where_pictures_follow_each_other_within_a_millisecond(way):
    found = detect_hands([picture(right=(60, 10, 20))] * 4, "cam", 5000.0, **way)
    assert (found.confidence[:, 0, 0, 21:] > 0).all()


def test_a_video_without_a_picture_is_one_without_hands(way):
    assert detect_hands([], "cam", 30.0, **way).xy.shape == (0, 1, 0, 42, 2)


def test_the_two_hands_are_named_as_behind_a_body():
    body = with_hands(BLAZEPOSE_33)
    assert set(HANDS_42.joints) < set(body.joints)
    for side in ("left", "right"):
        assert [HANDS_42.joints[j] for j in HANDS_42.part(f"{side}_hand")] == [
            body.joints[j] for j in body.part(f"{side}_hand")
        ]
    assert HANDS_42.joints[HANDS_42.mirror[HANDS_42.index("left_thumb_4")]] == "right_thumb_4"
    assert len(HANDS_42.bones) == 2 * len(HAND_21.bones)


MISTAKES = {
    "no mediapipe": (
        None,
        False,
        r"python: mediapipe cannot be imported \(.*\); it needs: pip install mediapipe==0.10.21",
    ),
    "none that has models": ("__version__ = '1.2'", False, r"python: mediapipe 1\.2 carries no models; 0\.10\.21 does"),
    "one that breaks": ("raise ImportError('no libGL')", False, "no libGL"),
    "no model": (STAND_IN, True, r"Unable to open zip archive"),
}


@pytest.mark.parametrize(("library", "with_model", "line"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_missing_is_told_in_one_line(tmp_path, library, with_model, line):
    python = make_interpreter(tmp_path, library)
    (tmp_path / "hand.task").write_bytes(b"nothing")
    model = tmp_path / "hand.task" if with_model else None
    with pytest.raises(PosekitError, match=line) as error, MediapipeHands(model=model, python=python):
        pass
    assert "\n" not in str(error.value)


def test_without_an_environment_the_extra_is_named(monkeypatch, tmp_path):
    (tmp_path / "mediapipe.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(PosekitError, match=r"not here.*pip install 'posekit\[mediapipe\]'"), MediapipeHands():
        pass


def test_a_process_that_ends_is_told_in_one_line(tmp_path):
    breaking = picture()
    breaking[0, 0, 2] = 255
    with pytest.raises(PosekitError, match="the library breaks"):
        detect_hands([picture(), breaking], "cam", 30.0, python=make_interpreter(tmp_path, STAND_IN))


def test_files_that_are_not_there_are_told_before_anything_runs(tmp_path):
    with pytest.raises(PosekitError, match=r"gone\.task: no such file"):
        MediapipeHands(model=tmp_path / "gone.task")
    with pytest.raises(PosekitError, match="gone: no such file"):
        MediapipeHands(python=tmp_path / "gone")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(PosekitError, match="text: cannot be run"), MediapipeHands(python=tmp_path / "text"):
        pass
