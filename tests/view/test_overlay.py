from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.video import write_video
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import HAND_21
from posekit.synchrony import Synchrony
from posekit.view.colours import FINGERS, LEFT, LEFT_HAND, RIGHT
from posekit.view.contact_sheet import contact_sheet
from posekit.view.overlay import draw_skeleton, overlay_frames, tile, write_picture
from scenes import PERSON, ring_rig, walk

GREY = 120


@pytest.fixture(scope="module")
def rig():
    return ring_rig(3)


@pytest.fixture(scope="module")
def people(rig) -> Keypoints3D:
    xyz = walk(4, (0, 0), (0.2, 0.1))[:, None]
    shape = xyz.shape[:3]
    return Keypoints3D(
        xyz,
        np.zeros((*shape, 6)),
        np.ones((*shape, 3), bool),
        np.zeros((*shape, 3)),
        np.full(shape, PointStatus.OK, np.uint8),
        rig.names,
        np.arange(4),
        PERSON,
        30.0,
        "people",
    )


@pytest.fixture(scope="module")
def videos(rig, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    empty = np.full((rig.cameras[0].size[1], rig.cameras[0].size[0], 3), GREY, np.uint8)
    for name in rig.names:
        write_video(folder / f"{name}.mp4", 30, [empty] * 4, crf=30)
    return {name: folder / f"{name}.mp4" for name in rig.names}


def near(colour: tuple[int, int, int], pixel: np.ndarray) -> bool:
    return bool((np.abs(pixel.astype(int) - colour) <= 12).all())


def test_joints_and_bones_are_where_they_are_in_the_colours_of_their_sides():
    image = np.full((200, 200, 3), GREY, np.uint8)
    xy = np.full((PERSON.joint_count, 2), np.nan)
    for name, place in {"left_elbow": (40.2, 50.7), "left_wrist": (40.2, 150.7), "right_knee": (160, 100)}.items():
        xy[PERSON.index(name)] = place
    draw_skeleton(image, xy, PERSON, thickness=6)
    assert near(LEFT, image[51, 40])
    assert near(LEFT, image[100, 40])  # the bone's middle
    assert near(RIGHT, image[100, 160])
    assert near((GREY,) * 3, image[100, 100])  # nothing leads to a joint that is missing


def test_joints_that_were_filled_in_are_paler():
    image = np.full((200, 200, 3), GREY, np.uint8)
    xy = np.full((PERSON.joint_count, 2), np.nan)
    xy[PERSON.index("left_elbow")], xy[PERSON.index("right_knee")] = (40, 50), (160, 100)
    filled = np.zeros(PERSON.joint_count, bool)
    filled[PERSON.index("left_elbow")] = True
    draw_skeleton(image, xy, PERSON, thickness=6, filled=filled)
    assert near(RIGHT, image[100, 160])
    assert (image[50, 40].astype(int) > np.array(LEFT) + 40).all()
    assert image[50, 40, 2] > image[50, 40, 0]  # still blue


def test_joints_without_confidence_or_far_outside_are_left_out():
    image = np.full((100, 100, 3), GREY, np.uint8)
    xy = np.full((PERSON.joint_count, 2), np.nan)
    xy[PERSON.index("nose")], xy[PERSON.index("neck")] = (50, 50), (1e12, 50)
    confidence = np.ones(PERSON.joint_count)
    confidence[PERSON.index("nose")] = 0.3
    draw_skeleton(image, xy, PERSON, confidence, min_confidence=0.3)
    assert (image == GREY).all()
    draw_skeleton(image, xy, PERSON, confidence, min_confidence=0.2)
    assert not (image == GREY).all()


def test_an_overlay_lies_where_the_cameras_see_the_joints(people, rig, videos):
    sheets = list(overlay_frames(people, rig, videos, [1, 3], size=(2000, 2000)))
    assert len(sheets) == 2
    height, width = sheets[0].shape[:2]
    # Two columns: the largest pictures that fit in a square.
    scale = (width - 4) / 2 / rig.cameras[0].size[0]
    for place, row in enumerate((1, 3)):
        for c, camera in enumerate(rig.cameras):
            corner = np.array([c % 2, c // 2]) * (np.round(np.array(camera.size) * scale) + 4)
            for joint, colour in (("left_ankle", LEFT), ("right_ankle", RIGHT)):
                pixel = camera.project(people.xyz[row, 0, PERSON.index(joint)])
                x, y = np.round(corner + (pixel + 0.5) * scale - 0.5).astype(int)
                assert near(colour, sheets[place][y, x]), (camera.name, joint)
    assert 0.6 < height / width < 1.1


def test_a_hand_in_focus_fills_its_part(people, rig, videos):
    sheet = next(overlay_frames(people, rig, videos, [2], focus="left_hand", size=(900, 300)))
    for cell in np.array_split(sheet, 3, axis=1):
        y, x = np.nonzero((np.abs(cell.astype(int) - LEFT_HAND) <= 25).all(axis=2))
        assert np.ptp(y) > 90
        assert abs(x.mean() - cell.shape[1] / 2) < 60


def test_what_does_not_belong_together_is_said(people, rig, videos):
    with pytest.raises(PosekitError, match=r"none of the videos \(other\) is of a camera of the ring"):
        next(overlay_frames(people, rig, {"other": videos[rig.names[0]]}, [0]))
    late = replace(people, frames=np.array([0, 1, 2, 9]))
    with pytest.raises(PosekitError, match="frame 9 was asked for, the video has 4 frames"):
        list(overlay_frames(late, rig, videos, [2, 3]))
    with pytest.raises(ValueError, match="ascend"):
        next(overlay_frames(people, rig, videos, [3, 1]))
    # Cameras that have no video are left out.
    some = {name: videos[name] for name in rig.names[:2]}
    assert next(overlay_frames(people, rig, some, [0], size=(640, 240))).shape[1] == pytest.approx(640, abs=4)


@pytest.mark.parametrize(
    ("size", "warned"), [((1270, 960), True), ((640, 480), False)], ids=["a codec's rounding", "resized"]
)
def test_a_video_of_another_size_than_the_rig_says(people, rig, tmp_path, size, warned):
    write_video(tmp_path / "cam_1.mp4", 30, [np.zeros((size[1], size[0], 3), np.uint8)], crf=40)
    sheets = overlay_frames(people, rig, {"cam_1": tmp_path / "cam_1.mp4"}, [0])
    said = f"pictures are {size[0]} x {size[1]} px where the rig says 1280 x 960 for camera 'cam_1'"
    with pytest.warns(PosekitWarning, match=said) if warned else pytest.raises(PosekitError, match=said):
        next(sheets)


def test_tiles_stand_in_rows_in_the_middle_of_their_cells():
    tiles = [np.full((2, size, 3), 100 + size, np.uint8) for size in (4, 2, 4)]
    sheet = tile(tiles, columns=2, cell=(4, 4), gap=1)
    assert sheet.shape == (9, 9, 3)
    assert (sheet[1:3, 0:4] == 104).all()
    assert (sheet[1:3, 6:8] == 102).all()
    assert (sheet[6:8, 0:4] == 104).all()
    assert (sheet == 24).sum() == 3 * (81 - 8 - 4 - 8)


def test_a_contact_sheet_shows_every_crop_with_its_joints():
    crops = [np.full((64, 64, 3), GREY, np.uint8), np.full((32, 64, 3), GREY, np.uint8)]
    xy = np.full((2, 21, 2), np.nan)
    xy[0, HAND_21.index("thumb_4")], xy[1, HAND_21.index("little_4")] = (16, 48), (32, 16)
    sheet = contact_sheet(crops, xy, columns=2, cell=128)
    assert sheet.shape == (128, 260, 3)
    assert near(FINGERS[0], sheet[97, 33])
    assert near(FINGERS[4], sheet[32 + 33, 132 + 65])
    with pytest.raises(ValueError, match="xy is"):
        contact_sheet(crops, xy[:1])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_pictures_are_written_in_their_colours(tmp_path, suffix):
    image = np.zeros((16, 24, 3), np.uint8)
    image[...] = (200, 60, 20)
    write_picture(tmp_path / f"a{suffix}", image)
    read = cv2.imread(str(tmp_path / f"a{suffix}"))[..., ::-1]
    assert np.abs(read.astype(int) - image).max() <= 6
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_other_names_of_pictures_are_refused(tmp_path):
    with pytest.raises(PosekitError, match=r"not as '\.bmp'"):
        write_picture(tmp_path / "a.bmp", np.zeros((8, 8, 3), np.uint8))


def test_each_video_shows_its_frame_nearest_to_the_moment(rig, people, tmp_path):
    size = rig.cameras[0].size
    films = {}
    for name in rig.names:
        films[name] = tmp_path / f"{name}.mp4"
        write_video(films[name], 30, [np.full((size[1], size[0], 3), 60 + 40 * f, np.uint8) for f in range(4)], crf=30)
    late = np.array([0.0, 1.2, -2.0])
    sheets = overlay_frames(people, rig, films, range(4), size=(1290, 330), synchrony=Synchrony(rig.names, late))
    # The pictures' brightness says which frame of the video it is; the lower left corner holds no skeleton.
    shown = np.array([[sheet[-8, 4 + c * (sheet.shape[1] // 3)].mean() for c in range(3)] for sheet in sheets])
    numbers = np.round((shown - 60) / 40)
    dark = np.round((24 - 60) / 40)
    assert numbers.tolist() == [[0, dark, 2], [1, 0, 3], [2, 1, dark], [3, 2, dark]]
