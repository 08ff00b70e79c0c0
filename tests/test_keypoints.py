from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from posekit.errors import NoSpaceError, PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.point_status import PRESENT, PointStatus
from posekit.skeleton import BODY_25, BODY_25B, HAND_21, Skeleton, with_hands

CAMERAS = ("front", "links außen")


def keypoints_2d(F: int = 3, P: int = 2, joints_of: Skeleton = HAND_21, **changes) -> Keypoints2D:
    rng = np.random.default_rng(0)
    J = joints_of.joint_count
    values = {
        "xy": rng.uniform(0, 1000, (F, 2, P, J, 2)),
        "confidence": rng.uniform(0.1, 1, (F, 2, P, J)),
        "cameras": CAMERAS,
        "frames": np.arange(F) * 5 + 100,
        "skeleton": joints_of,
        "fps": 59.94,
        "source": "a folder",
        **changes,
    }
    return Keypoints2D(**values)


def keypoints_3d(F: int = 3, P: int = 2, joints_of: Skeleton = HAND_21, **changes) -> Keypoints3D:
    rng = np.random.default_rng(0)
    J = joints_of.joint_count
    status = rng.choice(np.array(PointStatus), (F, P, J))
    missing = ~np.isin(status, PRESENT)
    xyz = rng.normal(0, 1, (F, P, J, 3))
    xyz[missing] = np.nan
    values = {
        "xyz": xyz,
        "covariance": np.where(missing[..., None], np.nan, rng.uniform(0, 1e-4, (F, P, J, 6))),
        "inliers": rng.random((F, P, J, 2)) < 0.5,
        "reprojection_px": rng.uniform(0, 9, (F, P, J, 2)),
        "status": status,
        "cameras": CAMERAS,
        "frames": np.arange(F) * 5 + 100,
        "skeleton": joints_of,
        "fps": 59.94,
        "source": "a folder + a rig",
        **changes,
    }
    return Keypoints3D(**values)


ARRAYS = {
    Keypoints2D: ("xy", "confidence", "frames"),
    Keypoints3D: ("xyz", "covariance", "inliers", "reprojection_px", "status", "frames"),
}
MAKERS = pytest.mark.parametrize("make", [keypoints_2d, keypoints_3d])


def assert_same(a: Keypoints2D | Keypoints3D, b: Keypoints2D | Keypoints3D) -> None:
    assert type(a) is type(b)
    for name in ARRAYS[type(a)]:
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype, name
        assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), name
    assert (a.cameras, a.skeleton, a.fps, a.source) == (b.cameras, b.skeleton, b.fps, b.source)


@MAKERS
@pytest.mark.parametrize("skeleton", [HAND_21, BODY_25B, with_hands(BODY_25B)], ids=lambda skeleton: skeleton.name)
def test_files_give_back_what_was_saved(tmp_path, make, skeleton):
    made = make(joints_of=skeleton)
    made.save(tmp_path / "k.h5")
    assert_same(type(made).load(tmp_path / "k.h5"), made)
    assert [path.name for path in tmp_path.iterdir()] == ["k.h5"]


@MAKERS
@pytest.mark.parametrize(
    "changes", [{"F": 0}, {"P": 0}, {"F": 0, "P": 0}, {"fps": None}, {"source": ""}, {"source": "ä" * 500}]
)
def test_files_of_empty_and_bare_keypoints(tmp_path, make, changes):
    made = make(**changes)
    made.save(tmp_path / "k.h5")
    assert_same(type(made).load(tmp_path / "k.h5"), made)


def test_a_capture_where_nobody_is_compresses_well_and_still_loads(tmp_path):
    # Runs of one value reach deflate's limit, which is what the reader's guard against invented sizes goes by.
    empty = np.full((3000, 2, 4, 21, 2), np.nan)
    made = keypoints_2d(F=3000, P=4, xy=empty, confidence=np.zeros(empty.shape[:-1]))
    made.save(tmp_path / "k.h5")
    assert (tmp_path / "k.h5").stat().st_size < made.xy.nbytes / 40
    assert_same(Keypoints2D.load(tmp_path / "k.h5"), made)


def test_missing_is_said_in_one_way_whichever_way_the_maker_said_it():
    xy, confidence = np.full((1, 2, 1, 21, 2), 7.0), np.full((1, 2, 1, 21), 0.5)
    xy[0, 0, 0, :4, 0] = (np.nan, np.inf, 0, -np.inf)
    confidence[0, 0, 0, 3:9] = (0.5, 0, -1, np.nan, np.inf, 1e-30)
    made = keypoints_2d(F=1, P=1, xy=xy, confidence=confidence)
    # 2 is a detection at x = 0, 8 one that is hardly believed.
    missing = [0, 1, 3, 4, 5, 6, 7]
    assert np.flatnonzero(np.isnan(made.xy[0, 0, 0]).all(axis=-1)).tolist() == missing
    assert np.flatnonzero(np.isnan(made.xy[0, 0, 0]).any(axis=-1)).tolist() == missing
    assert np.flatnonzero(made.confidence[0, 0, 0] == 0).tolist() == missing
    assert np.isfinite(made.confidence).all()


def test_texts_of_variable_length_are_read_too(tmp_path):
    made = keypoints_2d()
    made.save(tmp_path / "k.h5")
    with h5py.File(tmp_path / "k.h5", "r+") as file:
        for name in ("schema", "skeleton", "source"):
            file.attrs[name] = file.attrs[name].decode()
        file.attrs["joints"] = list(HAND_21.joints)
        del file["cameras"]
        file.create_dataset("cameras", data=list(CAMERAS), dtype=h5py.string_dtype())
    assert_same(Keypoints2D.load(tmp_path / "k.h5"), made)


@MAKERS
def test_arrays_are_copies_and_cannot_be_changed(make):
    source = make()
    for name in ARRAYS[type(source)]:
        array = np.array(getattr(source, name))
        made = replace(source, **{name: array})
        array[...] = 0
        assert np.array_equal(getattr(made, name), getattr(source, name), equal_nan=array.dtype.kind == "f")
        with pytest.raises(ValueError, match="read-only"):
            getattr(made, name)[...] = 0


def test_cameras_are_selected_by_name_and_order():
    made = keypoints_2d()
    chosen = made.select_cameras(("links außen",))
    assert chosen.cameras == ("links außen",)
    assert np.array_equal(chosen.xy[:, 0], made.xy[:, 1])
    turned = made.select_cameras(("links außen", "front"))
    assert np.array_equal(turned.confidence[:, 1], made.confidence[:, 0])
    with pytest.raises(PosekitError, match="a folder: has no camera 'rear'; it has: front, links außen"):
        made.select_cameras(("front", "rear"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"xy": np.zeros((3, 2, 2, 21, 3))}, "shapes"),
        ({"confidence": np.zeros((3, 2, 2, 20))}, "shapes"),
        ({"skeleton": BODY_25}, "the 25 joints of BODY_25"),
        ({"cameras": ("a",)}, "1 cameras"),
        ({"cameras": ("a", "a")}, "two cameras have one name"),
        ({"frames": (0, 1)}, "2 frames"),
        ({"frames": (0, 1, 1)}, "none of them twice"),
        ({"frames": ((0,), (1,), (2,))}, "a list of numbers"),
        ({"fps": 0.0}, "fps: 0.0 frames per second cannot be"),
        ({"fps": -30.0}, "fps"),
        ({"fps": float("nan")}, "fps"),
    ],
)
def test_2d_keypoints_that_cannot_be(changes, reason):
    with pytest.raises(PosekitError, match=f"^a folder: .*{reason}"):
        keypoints_2d(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"xyz": np.zeros((3, 2, 21))}, "xyz has shape"),
        ({"xyz": np.zeros((3, 2, 21, 2))}, "xyz has shape"),
        ({"covariance": np.zeros((3, 2, 21, 3, 3))}, "covariance has shape"),
        ({"inliers": np.zeros((3, 2, 21, 3))}, "inliers has shape"),
        ({"reprojection_px": np.zeros((3, 2, 21, 1))}, "reprojection_px has shape"),
        ({"status": np.zeros((3, 2))}, "status has shape"),
        ({"status": np.full((3, 2, 21), 8)}, "status 8 is not known"),
        ({"status": np.full((3, 2, 21), PointStatus.OK)}, "a missing point must have a status"),
        ({"status": np.full((3, 2, 21), PointStatus.NO_AGREEMENT)}, "a missing point must have a status"),
        ({"skeleton": BODY_25}, "21 joints, BODY_25 has 25"),
        ({"cameras": ("a", "a")}, "two cameras have one name"),
        ({"frames": (1, 1, 2)}, "none of them twice"),
        ({"frames": (1, 2)}, "frames has shape"),
        ({"fps": float("inf")}, "fps"),
    ],
)
def test_3d_keypoints_that_cannot_be(changes, reason):
    with pytest.raises(PosekitError, match=rf"^a folder \+ a rig: .*{reason}"):
        keypoints_3d(**changes)


def test_a_point_with_a_coordinate_missing_is_missing():
    xyz = np.zeros((1, 1, 21, 3))
    xyz[0, 0, 4, 2] = np.nan
    status = np.zeros((1, 1, 21))
    status[0, 0, 4] = PointStatus.TOO_FEW_VIEWS
    shape = (1, 1, 21, 2)
    made = keypoints_3d(1, 1, xyz=xyz, status=status, covariance=np.zeros((1, 1, 21, 6)), inliers=np.zeros(shape))
    assert np.isnan(made.xyz[0, 0, 4]).all()
    assert np.isfinite(made.xyz).sum() == 60


@MAKERS
def test_a_write_that_fails_leaves_the_old_file(tmp_path, make, monkeypatch):
    path = tmp_path / "k.h5"
    make().save(path)
    before = path.read_bytes()
    create = h5py.Group.create_dataset
    written = []

    def fail_at_the_second(self, name, *args, **kwargs):
        if written:
            raise OSError(28, "No space left on device")
        written.append(name)
        return create(self, name, *args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", fail_at_the_second)
    with pytest.raises(NoSpaceError, match="no space left"):
        make(F=2).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["k.h5"]


@MAKERS
def test_every_truncation_is_refused_naming_the_file(tmp_path, make):
    path = tmp_path / "k.h5"
    made = make()
    made.save(path)
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 100, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(PosekitError, match=r"k\.h5: is no keypoint file that can be read"):
            type(made).load(path)


def test_a_flipped_bit_is_noticed_or_does_no_harm(tmp_path):
    path = tmp_path / "k.h5"
    made = keypoints_2d(F=2, P=1)
    made.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            found = Keypoints2D.load(path)
        except PosekitError:
            refused += 1
        else:
            for name in ARRAYS[Keypoints2D]:
                assert np.array_equal(getattr(found, name), getattr(made, name), equal_nan=True)
    # Much of so small a file is free space.
    assert refused > 30


def change(path: Path, act) -> None:
    with h5py.File(path, "r+") as file:
        act(file)


def put(name: str, value):
    def act(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, data=value)

    return act


def claim(file: h5py.File) -> None:
    # 1.6 TB that the file does not hold: HDF5 writes no chunk before something is put in it.
    del file["xy"]
    file.create_dataset("xy", shape=(10**7, 10**3, 1, 10, 2), chunks=(1, 100, 1, 10, 2), dtype="f8")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda file: file.attrs.__setitem__("schema", "posekit.keypoints2d/2"), "schema is 'posekit.keypoints2d/2'"),
        (lambda file: file.attrs.__setitem__("schema", [1, 2]), r"schema is '1 2', 'posekit.keypoints2d/1' was"),
        (lambda file: file.attrs.__delitem__("schema"), "schema is 'None'"),
        (lambda file: file.attrs.__setitem__("skeleton", "OCTOPUS"), "skeleton 'OCTOPUS' is not known"),
        (lambda file: file.attrs.__setitem__("skeleton", "BODY_25"), "its joints are not those of BODY_25"),
        (lambda file: file.attrs.__setitem__("joints", ["a"] * 21), "its joints are not those of HAND_21"),
        (lambda file: file.attrs.__delitem__("joints"), "is no keypoint file"),
        (lambda file: file.attrs.__setitem__("fps", "fast"), "is no keypoint file"),
        (lambda file: file.__delitem__("xy"), "has no dataset 'xy' of numbers in 5 dimensions"),
        (lambda file: file.__delitem__("cameras"), "is no keypoint file"),
        (put("cameras", [1, 2, 3]), "3 cameras"),
        (put("cameras", [b"\xff", b"b"]), "is no keypoint file"),
        (put("xy", np.zeros((3, 2))), "has no dataset 'xy' of numbers in 5 dimensions"),
        (put("frames", ["a", "b", "c"]), "has no dataset 'frames' of numbers in 1 dimensions"),
        (claim, "dataset 'xy' claims 1600000000000 bytes"),
    ],
)
def test_files_of_another_kind_are_refused_naming_the_field(tmp_path, act, reason):
    path = tmp_path / "k.h5"
    keypoints_2d().save(path)
    change(path, act)
    with pytest.raises(PosekitError, match=rf"k\.h5: .*{reason}") as error:
        Keypoints2D.load(path)
    assert "\n" not in str(error.value)


def test_2d_and_3d_files_are_not_taken_for_each_other(tmp_path):
    keypoints_2d().save(tmp_path / "2.h5")
    keypoints_3d().save(tmp_path / "3.h5")
    with pytest.raises(PosekitError, match=r"2\.h5: schema is 'posekit.keypoints2d/1', 'posekit.keypoints3d/1' was"):
        Keypoints3D.load(tmp_path / "2.h5")
    with pytest.raises(PosekitError, match=r"3\.h5: schema"):
        Keypoints2D.load(tmp_path / "3.h5")
    with pytest.raises(PosekitError, match=r"gone\.h5: no such file"):
        Keypoints2D.load(tmp_path / "gone.h5")


def test_the_file_says_what_it_holds(tmp_path):
    made = keypoints_3d()
    made.save(tmp_path / "k.h5")
    with h5py.File(tmp_path / "k.h5") as file:
        assert file.attrs["units"] == b"m"
        assert file.attrs["schema"] == b"posekit.keypoints3d/1"
        assert [name.decode() for name in file.attrs["joints"]] == list(HAND_21.joints)
        assert file["xyz"].dtype == np.float64
        assert file["xyz"].shape == (3, 2, 21, 3)
        assert [name.decode() for name in file["cameras"][()]] == list(CAMERAS)
