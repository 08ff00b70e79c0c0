import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.deeplabcut import read_deeplabcut
from posekit.io.keypoint_files import open_keypoints
from posekit.io.openpose_json import OpenPoseFolder
from posekit.keypoints import Keypoints2D
from posekit.skeleton import BLAZEPOSE_33, BODY_25, BODY_25B, COCO_17, HALPE_26, with_hands

CALISCOPE = "sync_index,cam_id,point_id,img_loc_x,img_loc_y\n4,0,0,10,20\n5,1,0,10,20\n"
DEEPLABCUT = "scorer,s,s,s\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\n0,10,20,0.5\n"


def openpose(folder: Path, count: int = 26) -> Path:
    flat = [value for n in range(count) for value in (10 + n, 20 + 7 * n % count, 0.5)]
    for camera in ("a", "b"):
        place = folder / f"{camera}_json"
        place.mkdir(parents=True)
        for frame in range(3):
            (place / f"{camera}_{frame:06d}.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": flat}]}))
    return folder


def coco(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for camera in ("a", "b"):
        (folder / f"{camera}.json").write_text(json.dumps([{"image_id": 4, "keypoints": [1, 2, 0.5] * 17}]))
    return folder


def arrays(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for camera in ("a", "b"):
        np.save(folder / f"{camera}.npy", np.arange(2 * 33 * 2.0).reshape(2, 33, 2) + 1)
    return folder


def own(path: Path) -> Path:
    xy = np.ones((3, 2, 1, 25, 2))
    Keypoints2D(xy, np.ones(xy.shape[:-1]), ("a", "b"), np.arange(3), BODY_25B, 60, str(path)).save(path)
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


def test_every_kind_is_told_by_names_and_content(tmp_path):
    for found, skeleton, cameras, frames in (
        (own(tmp_path / "keypoints2d.h5"), BODY_25B, ("a", "b"), [0, 1, 2]),
        (openpose(tmp_path / "openpose"), HALPE_26, ("a", "b"), [0, 1, 2]),
        (tmp_path / "openpose" / "b_json", HALPE_26, ("b",), [0, 1, 2]),
        (coco(tmp_path / "coco"), COCO_17, ("a", "b"), [4]),
        (tmp_path / "coco" / "b.json", COCO_17, ("b",), [4]),
        (arrays(tmp_path / "arrays"), BLAZEPOSE_33, ("a", "b"), [0, 1]),
        (tmp_path / "arrays" / "b.npy", BLAZEPOSE_33, ("b",), [0, 1]),
        (
            text(tmp_path / "caliscope" / "xy_HOLISTIC.csv", CALISCOPE),
            with_hands(BLAZEPOSE_33),
            ("cam_0", "cam_1"),
            [4, 5],
        ),
        (tmp_path / "caliscope", with_hands(BLAZEPOSE_33), ("cam_0", "cam_1"), [4, 5]),
    ):
        source = open_keypoints(found)
        assert (source.skeleton, source.cameras, source.frames.tolist()) == (skeleton, cameras, frames), found
        assert source.source.startswith(str(found)), found
        piece = source.read(0, 1)
        assert piece.frames.tolist() == frames[:1]
        assert np.isfinite(piece.xy).any()


def test_deeplabcut_is_told_by_its_header(tmp_path):
    source = open_keypoints(text(tmp_path / "dlc" / "aDLC_x.csv", DEEPLABCUT))
    assert (source.cameras, source.skeleton.joints) == (("a",), ("nose",))
    text(tmp_path / "dlc" / "bDLC_x.csv", DEEPLABCUT)
    assert open_keypoints(tmp_path / "dlc").cameras == ("a", "b")


def test_openpose_is_read_piece_by_piece(tmp_path):
    assert isinstance(open_keypoints(openpose(tmp_path / "openpose")), OpenPoseFolder)


def test_the_rate_and_the_skeleton_can_be_given(tmp_path):
    path = own(tmp_path / "keypoints2d.h5")
    assert open_keypoints(path).fps == 60
    assert open_keypoints(path, "body25b", fps=50).fps == 50
    with pytest.raises(PosekitError, match="its joints are those of BODY_25B, not of COCO_17"):
        open_keypoints(path, "coco17")
    folder = openpose(tmp_path / "openpose", 25)
    assert open_keypoints(folder, "BODY_25", fps=30).fps == 30
    assert open_keypoints(folder, "BODY_25").skeleton == BODY_25
    with pytest.raises(PosekitError, match="BODY_25 and BODY_25B both have 25 points"):
        open_keypoints(folder)
    with pytest.raises(PosekitError, match="skeleton 'stickman' is not known"):
        open_keypoints(folder, "stickman")


def test_sizes_reach_parts_of_the_picture(tmp_path):
    np.save(tmp_path / "a.npy", np.full((1, 33, 2), 0.5))
    assert open_keypoints(tmp_path, sizes={"a": (101, 51)}).read(0, 1).xy[0, 0, 0, 0].tolist() == [50, 25]


def test_somebodys_own_joints_are_kept_in_keypoints2d(tmp_path):
    bodyparts = read_deeplabcut(
        text(tmp_path / "a.csv", "scorer,s,s,s,s\nbodyparts,L paw,L paw,R paw,R paw\ncoords,x,y,x,y\n0,1,2,3,4\n")
    )
    bodyparts.save(tmp_path / "keypoints2d.h5")
    again = open_keypoints(tmp_path / "keypoints2d.h5")
    assert again.skeleton == bodyparts.skeleton
    assert again.skeleton.left_right == ((0, 1),)
    assert np.array_equal(again.read(0, 1).xy, bodyparts.xy)


def test_a_folder_beside_other_things(tmp_path):
    folder = openpose(tmp_path / "capture" / "pose")
    text(folder / "notes.json", "[]")
    assert open_keypoints(folder).cameras == ("a", "b")
    (folder / "notes.json").unlink()
    text(tmp_path / "capture" / "run.txt", "")
    with pytest.raises(PosekitError, match="holds no 2D keypoints that are known; pose in it does: name one"):
        open_keypoints(tmp_path / "capture")


def test_folders_of_json_that_are_empty_are_named(tmp_path):
    for name in ("cam01_json", "cam02_json"):
        (tmp_path / "pose" / name).mkdir(parents=True)
    with pytest.raises(PosekitError, match="pose: holds no 2D keypoints that are known; cam01_json, cam02_json: empty"):
        open_keypoints(tmp_path / "pose")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.trc", b"", "holds no 2D keypoints that are known; known are: posekit's keypoints2d.h5, OpenPose JSON"),
        ("a.csv", b"time,x,y\n0,1,2\n", "holds no 2D keypoints that are known"),
        ("a.csv", b"", "holds no 2D keypoints that are known"),
        ("a.csv.gz", gzip.compress(DEEPLABCUT.encode(), mtime=0), "holds no 2D keypoints that are known"),
        ("a.csv.gz", b"garbage", "cannot be read"),
        ("a.json", b'{"version":1.3,"people":[]}', "is one frame of OpenPose JSON; give the folder"),
        ("a.json", b"[", "is damaged"),
        ("a.json", b'{"info":{},"images":[]}', "this is no COCO file"),
        ("a.h5", b"garbage", "is no keypoint file that can be read"),
        ("a.npy", b"garbage", "is no array that can be read"),
        ("a.npz", b"garbage", "is no archive of arrays that can be read"),
    ],
)
def test_what_is_not_known_is_refused_in_one_line(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PosekitError, match=reason) as error:
        open_keypoints(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_folders_with_nothing_known(tmp_path):
    with pytest.raises(PosekitError, match="gone: no such file or folder"):
        open_keypoints(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PosekitError, match="empty: holds no 2D keypoints that are known; known are: "):
        open_keypoints(tmp_path / "empty")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a_000.json").write_bytes(b"")
    with pytest.raises(PosekitError, match=r"a_000\.json: is damaged \(0 bytes"):
        open_keypoints(tmp_path / "flat")


@pytest.mark.parametrize("kind", ["npz", "csv.gz", "npy", "json"])
def test_a_flipped_or_lost_byte_ends_in_one_line_or_in_keypoints(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez_compressed(path, landmarks=np.arange(3 * 33 * 2.0).reshape(3, 33, 2))
    elif kind == "npy":
        np.save(path, np.arange(3 * 33 * 2.0).reshape(3, 33, 2))
    elif kind == "json":
        path.write_text(json.dumps([{"image_id": frame, "keypoints": [1, 2, 0.5] * 17} for frame in range(3)]))
    else:
        path.write_bytes(gzip.compress(CALISCOPE.encode()))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refusals = []
    for number in range(60):
        damaged = bytearray(whole)
        place = int(rng.integers(len(whole)))
        if number % 3:
            damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged if number % 3 else damaged[:place])
        try:
            open_keypoints(path)
        except PosekitError as error:
            refusals.append(str(error))
    assert len(refusals) >= 20  # whatever was cut short
    assert not any("\n" in refusal or str(path) not in refusal for refusal in refusals)
