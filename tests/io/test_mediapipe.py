import gzip
from pathlib import Path

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.caliscope_points import read_caliscope_points
from posekit.io.mediapipe import read_landmark_arrays
from posekit.skeleton import BLAZEPOSE_33, COCO_17, COCO_WHOLEBODY_133, HALPE_26, HAND_21, with_hands

HOLISTIC = with_hands(BLAZEPOSE_33)
LEFT, RIGHT = HOLISTIC.part("left_hand"), HOLISTIC.part("right_hand")


def landmarks(count: int, joints: int, depth: int = 2, first: float = 100) -> np.ndarray:
    """Places that are told apart by frame, joint and coordinate."""
    F, J, D = np.meshgrid(np.arange(count), np.arange(joints), np.arange(depth), indexing="ij")
    return first + 1000 * F + 2.0 * J + 0.5 * D


@pytest.mark.parametrize(
    ("joints", "order"), [(33, BLAZEPOSE_33), (21, HAND_21), (26, HALPE_26), (133, COCO_WHOLEBODY_133)]
)
def test_an_array_per_camera(tmp_path, joints, order):
    for c, camera in enumerate(("cam_10", "cam_2")):
        np.save(tmp_path / f"{camera}.npy", landmarks(3, joints, first=100 + c))
    found = read_landmark_arrays(tmp_path, fps=25)
    assert (found.cameras, found.skeleton, found.fps) == (("cam_2", "cam_10"), order, 25)
    assert found.frames.tolist() == [0, 1, 2]
    assert np.array_equal(found.xy[:, 1, 0], landmarks(3, joints))
    assert np.array_equal(found.xy[:, 0, 0], landmarks(3, joints, first=101))
    assert (found.confidence == 1).all()


def test_several_people_and_what_is_missing(tmp_path):
    values = np.stack((landmarks(2, 33), landmarks(2, 33, first=300)), axis=1)
    values[0, 1, 4] = np.nan
    values[1, 0, 5] = 0
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "b.npy", values[:, 0])
    found = read_landmark_arrays(tmp_path)
    assert found.xy.shape == (2, 2, 2, 33, 2)
    missing = np.argwhere(found.confidence[:, 0] == 0).tolist()
    assert missing == [[0, 1, 4], [1, 0, 5]]
    assert (found.confidence[:, 1, 1] == 0).all()
    assert found.xy[0, 0, 1, 0].tolist() == [300, 300.5]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ([[0.25, 0.5, 1.0]], [0.25, 0.5, 1.0]),  # all within 0 and 1: a confidence
        ([[0.25, -0.5, 0.1]], [1, 1, 1]),  # a depth, about the hips' or the wrist's
        ([[0.25, 40, 0.1]], [1, 1, 1]),
        ([[-3, 7, 0.1], [0.25, 0.5, 0.75]], [0.25, 0.5, 0.75]),  # a depth and a visibility
        ([[-3, 7, 0.1], [0.25, np.nan, 0]], [0.25, 0, 0]),
    ],
)
def test_what_stands_behind_x_and_y(tmp_path, extra, expected):
    values = np.zeros((1, 33, 2 + len(extra)))
    values[0, :, :2] = landmarks(1, 33)[0]
    values[0, :3, 2:] = np.array(extra).T
    np.save(tmp_path / "a.npy", values)
    assert np.allclose(read_landmark_arrays(tmp_path).confidence[0, 0, 0, :3], expected, rtol=1e-7)  # float32


@pytest.mark.parametrize(
    ("joints", "body", "left", "right"),
    [
        (75, 0, 33, 54),
        (75, 0, 54, 33),
        (543, 0, 501, 522),
        (543, 0, 522, 501),
        (543, 489, 468, 522),
        (553, 0, 54, 33),
    ],
)
def test_hands_are_told_by_the_wrists_they_are_at(tmp_path, joints, body, left, right):
    values = np.random.default_rng(0).uniform(0, 1000, (4, joints, 2))
    wrists = {"left": np.array([[200.0, 500]]), "right": np.array([[800.0, 500]])}
    for side, first in (("left", left), ("right", right)):
        values[:, body + BLAZEPOSE_33.index(f"{side}_wrist")] = wrists[side]
        values[:, first : first + 21] = wrists[side] + np.arange(1, 22)[:, None]
    np.save(tmp_path / "a.npy", values)
    found = read_landmark_arrays(tmp_path)
    assert found.skeleton == HOLISTIC
    assert np.array_equal(found.xy[:, 0, 0, :33], values[:, body : body + 33].astype(np.float32))
    assert np.array_equal(found.xy[:, 0, 0, LEFT], values[:, left : left + 21].astype(np.float32))
    assert np.array_equal(found.xy[:, 0, 0, RIGHT], values[:, right : right + 21].astype(np.float32))
    assert np.array_equal(read_landmark_arrays(tmp_path, BLAZEPOSE_33).xy, found.xy)


def test_parts_of_the_picture_need_its_size(tmp_path):
    values = np.full((2, 33, 3), 0.25)
    values[1] = (1.1, 0.5, -0.2)  # a little outside, as MediaPipe guesses
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(
        PosekitError, match=r"camera 'a': coordinates are parts of the picture \(at most 1\.10\), not px"
    ):
        read_landmark_arrays(tmp_path)
    found = read_landmark_arrays(tmp_path, sizes={"a": (640, 480)})
    # The middle of the first pixel is (0, 0), the picture's edge half a pixel before.
    assert np.allclose(found.xy[:, 0, 0, 0], [[159.5, 119.5], [703.5, 239.5]], atol=1e-4)  # float32
    with pytest.raises(PosekitError, match="parts of the picture"):
        read_landmark_arrays(tmp_path, sizes={"b": (640, 480)})


def test_one_file_of_all_cameras(tmp_path):
    np.savez_compressed(tmp_path / "all.npz", left=landmarks(3, 33), right=landmarks(3, 33, first=500))
    found = read_landmark_arrays(tmp_path / "all.npz")
    assert found.cameras == ("left", "right")
    assert found.xy[0, 1, 0, 0].tolist() == [500, 500.5]
    name = "mediapipe2dData_numCams_numFrames_numTrackedPoints_pixelXY.npy"
    np.save(tmp_path / name, np.stack((landmarks(3, 553), landmarks(3, 553, first=500))))
    found = read_landmark_arrays(tmp_path / name)
    assert (found.cameras, found.xy.shape) == (("cam_0", "cam_1"), (3, 2, 1, 75, 2))


def test_an_archive_per_camera(tmp_path):
    for camera in ("a", "b"):
        np.savez(tmp_path / f"{camera}.npz", landmarks(3, 33))
    assert read_landmark_arrays(tmp_path).cameras == ("a", "b")
    np.savez(tmp_path / "c.npz", x=landmarks(3, 33), y=landmarks(3, 33))
    with pytest.raises(PosekitError, match=r"c\.npz: holds 2 arrays, one was expected"):
        read_landmark_arrays(tmp_path)


def test_joints_of_another_number_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", landmarks(2, 17))
    assert read_landmark_arrays(tmp_path, COCO_17).skeleton == COCO_17
    with pytest.raises(PosekitError, match=r"order of the 17 joints is not told \(COCO_17 or H36M_17\)"):
        read_landmark_arrays(tmp_path)
    with pytest.raises(PosekitError, match=r"33 joints of BLAZEPOSE_33 were expected, found 17 \(as many as COCO_17"):
        read_landmark_arrays(tmp_path, BLAZEPOSE_33)
    np.save(tmp_path / "a.npy", landmarks(2, 24))
    with pytest.raises(PosekitError, match=r"order of the 24 joints is not told \(no known one\)"):
        read_landmark_arrays(tmp_path)
    np.save(tmp_path / "a.npy", landmarks(2, 33))
    np.save(tmp_path / "b.npy", landmarks(2, 21))
    with pytest.raises(PosekitError, match="camera 'b' has 21 joints, camera 'a' 33"):
        read_landmark_arrays(tmp_path)
    np.save(tmp_path / "b.npy", landmarks(1, 33))
    with pytest.raises(PosekitError, match="camera 'b' has 1 of the 2 frames"):
        read_landmark_arrays(tmp_path)


def large_header(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 33, 2)})
        file.write(b"\0" * 100)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (
            np.array([{"a": 1}], dtype=object),
            "is no array that can be read .*allow_pickle|is no array that can be read",
        ),
        (np.array(["a"]), "numbers of shape .* were expected, found <U1"),
        (np.zeros((3, 33)), r"numbers of shape .* found float64 of \(3, 33\)"),
        (np.zeros((3, 33, 5)), r"found float64 of \(3, 33, 5\)"),
        (np.zeros((0, 33, 2)), r"found float64 of \(0, 33, 2\)"),
        (np.zeros((3, 33, 2), dtype=complex), "found complex128"),
    ],
)
def test_arrays_that_are_none_of_landmarks_are_refused(tmp_path, array, reason):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(PosekitError, match=reason) as error:
        read_landmark_arrays(tmp_path)
    assert "\n" not in str(error.value)
    np.savez(tmp_path / "b.npz", array)
    with pytest.raises(PosekitError, match=reason.replace("array that", "archive of arrays that")) as error:
        read_landmark_arrays(tmp_path / "b.npz")
    assert "\n" not in str(error.value)


def test_damaged_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", landmarks(10, 33))
    whole = (tmp_path / "a.npy").read_bytes()
    for content in (b"", b"garbage", whole[:60], whole[: len(whole) // 2]):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(PosekitError, match=r"a\.npy: is no array that can be read"):
            read_landmark_arrays(tmp_path)
    large_header(tmp_path / "a.npy")
    with pytest.raises(PosekitError, match=r"a\.npy: is no array that can be read"):
        read_landmark_arrays(tmp_path)
    np.savez(tmp_path / "b.npz", landmarks(10, 33))
    whole = (tmp_path / "b.npz").read_bytes()
    for content in (b"", b"garbage", whole[: len(whole) // 2]):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(PosekitError, match=r"b\.npz: is no archive of arrays that can be read"):
            read_landmark_arrays(tmp_path / "b.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PosekitError, match=r"holds neither \.npy nor \.npz"):
        read_landmark_arrays(tmp_path / "empty")


HEADER = "sync_index,cam_id,frame_index,frame_time,point_id,img_loc_x,img_loc_y,obj_loc_x,obj_loc_y"


def table(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def test_caliscopes_points(tmp_path):
    rows = [
        "7,0,7,0.1,0,10,20,,",
        "7,2,7,0.1,15,11.5,21,,",
        "9,0,9,0.2,103,12,22,,",
        "9,0,9,0.2,204,13,23,,",
        "9,0,9,0.2,777,1,1,,",
    ]
    found = read_caliscope_points(table(tmp_path / "xy_HOLISTIC.csv", rows), fps=30)
    assert (found.skeleton, found.cameras, found.frames.tolist()) == (HOLISTIC, ("cam_0", "cam_2"), [7, 9])
    assert found.xy[0, 0, 0, 0].tolist() == [10, 20]
    assert found.xy[0, 1, 0, HOLISTIC.index("left_wrist")].tolist() == [11.5, 21]
    assert found.xy[1, 0, 0, HOLISTIC.index("right_thumb_3")].tolist() == [12, 22]
    assert found.xy[1, 0, 0, HOLISTIC.index("left_thumb_4")].tolist() == [13, 23]
    assert (found.confidence > 0).sum() == 4
    ports = table(tmp_path / "xy_HOLISTIC.csv", rows, HEADER.replace("cam_id", "port"))
    assert read_caliscope_points(ports).cameras == ("port_0", "port_2")
    (tmp_path / "camera_array.toml").write_text("[cameras.0]\ncam_id = 0\n")
    assert read_caliscope_points(ports).cameras == ("cam_0", "cam_2")
    (tmp_path / "xy.csv.gz").write_bytes(gzip.compress(ports.read_bytes()))
    assert np.array_equal(read_caliscope_points(tmp_path / "xy.csv.gz").xy, found.xy, equal_nan=True)


@pytest.mark.parametrize(
    ("rows", "header", "reason"),
    [
        ([], HEADER, "holds no points"),
        (["0,0,0,0,0,1,2,,"], "a,b", "columns sync_index, cam_id or port"),
        (["0,0,0,0,0,1,2,0.1,0.2"], HEADER, "holds the corners of a board, not the joints of a person"),
        (["0,0,0,0,50,1,2,,"], HEADER, "point_id 50 is none of Holistic's"),
        (["0,0.5,0,0,0,1,2,,"], HEADER, "whole numbers were expected"),
        (["-1,0,0,0,0,1,2,,"], HEADER, "whole numbers were expected"),
        (["0,nan,0,0,0,1,2,,"], HEADER, "whole numbers were expected"),
        (["0,0,0,0,0,one,2,,"], HEADER, "is no table that can be read"),
        (["0,0,0,0,0,1,2,,", "0,0"], HEADER, "is no table that can be read"),
    ],
)
def test_damaged_tables_of_caliscope_are_refused(tmp_path, rows, header, reason):
    path = table(tmp_path / "xy.csv", rows, header)
    with pytest.raises(PosekitError, match=rf"xy\.csv: .*{reason}") as error:
        read_caliscope_points(path)
    assert "\n" not in str(error.value)


def test_other_tables_of_caliscope_are_refused(tmp_path):
    path = table(tmp_path / "xy.csv", ["0,0,0,0,0,1,2,,"])
    with pytest.raises(PosekitError, match=r"holds joints of BLAZEPOSE_33\+hands, not of COCO_17"):
        read_caliscope_points(path, COCO_17)
    packed = tmp_path / "xy.csv.gz"
    for content in (b"", b"garbage", gzip.compress(path.read_bytes() * 50)[:60]):
        packed.write_bytes(content)
        with pytest.raises(PosekitError, match=r"xy\.csv\.gz: "):
            read_caliscope_points(packed)


def test_a_recording_of_caliscope(shared_data):
    found = read_caliscope_points(shared_data / "caliscope_holistic" / "recording_1" / "xy_HOLISTIC.csv.gz")
    assert found.xy.shape == (267, 4, 1, 75, 2)
    # Counted with awk: 26844 of the body, 17186 of right hands, 14640 of left ones.
    counts = [
        (found.confidence[..., found.skeleton.part(part)] > 0).sum() for part in ("body", "right_hand", "left_hand")
    ]
    assert counts == [26844, 17186, 14640]
    # Where the body's wrists are well apart, hands are at the wrist of their own side. Not all: MediaPipe takes the right hand
    # for the left one in camera 0, which makes it 85 % here; sides exchanged would make it 15 %.
    nearer = []
    for side, other in (("left", "right"), ("right", "left")):
        joints = found.skeleton.indices((f"{side}_hand_wrist", f"{side}_wrist", f"{other}_wrist"))
        hand, own, opposite = np.moveaxis(found.xy[:, :, 0, joints], 2, 0)
        apart = np.linalg.norm(own - opposite, axis=-1) > 100
        seen = apart & np.isfinite(hand).all(axis=-1)
        nearer += (np.linalg.norm(hand - own, axis=-1) < np.linalg.norm(hand - opposite, axis=-1))[seen].tolist()
    assert np.mean(nearer) > 0.75
