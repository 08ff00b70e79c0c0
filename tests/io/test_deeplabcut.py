import csv
import io
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.deeplabcut import read_deeplabcut
from posekit.skeleton import COCO_17, HAND_21

COORDS = ("x", "y", "likelihood")
Columns = list[tuple[str, ...]]


def columns(bodyparts: tuple[str, ...], individuals: tuple[str, ...] = (), coords: tuple[str, ...] = COORDS) -> Columns:
    middle = [(individual,) for individual in individuals] or [()]
    return [("DLC_resnet50", *who, part, coord) for who in middle for part in bodyparts for coord in coords]


def numbers(count: int, names: Columns, first: float = 100) -> np.ndarray:
    """Places by row and column; likelihoods of a half."""
    values = first + 10 * np.arange(count)[:, None] + np.arange(len(names))
    return np.where([name[-1] == "likelihood" for name in names], 0.5, values)


def write_csv(path: Path, names: Columns, values: np.ndarray, index: list[tuple] | None = None) -> Path:
    rows = [(frame,) for frame in range(len(values))] if index is None else index
    levels = (
        ("scorer", "individuals", "bodyparts", "coords") if len(names[0]) == 4 else ("scorer", "bodyparts", "coords")
    )
    text = io.StringIO()
    writer = csv.writer(text)
    for level, entries in zip(levels, zip(*names, strict=True), strict=True):
        writer.writerow([level, *[""] * (len(rows[0]) - 1), *entries])
    for row, places in zip(rows, values.tolist(), strict=True):
        writer.writerow([*row, *("" if np.isnan(value) else value for value in places)])
    path.write_text(text.getvalue())
    return path


def write_levels(group: h5py.Group, name: str, entries: list[tuple[str, ...]]) -> None:
    group.attrs[f"{name}_nlevels"] = len(entries[0])
    for level, texts in enumerate(zip(*entries, strict=True)):
        known, label = np.unique(np.array(texts).astype("S"), return_inverse=True)
        group[f"{name}_level{level}"] = known
        group[f"{name}_label{level}"] = label.astype("i1")


def write_fixed(path: Path, names: Columns, values: np.ndarray, index: list[tuple] | None = None) -> Path:
    """As pandas' to_hdf(format="fixed") lays it out."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_("frame")
        group.attrs["nblocks"] = 1
        write_levels(group, "axis0", names)
        write_levels(group, "block0_items", names)
        if index is None:
            group["axis1"] = np.arange(len(values))
        else:
            write_levels(group, "axis1", index)
        group["block0_values"] = values
        group["block0_values"].attrs["transposed"] = 1
    return path


def write_table(path: Path, names: Columns, values: np.ndarray, kind: bytes | None = None) -> Path:
    """As pandas' to_hdf(format="table"), DeepLabCut's choice, lays it out: the names of the columns are pickled."""
    rows = np.zeros(len(values), dtype=[("index", "i8"), ("values_block_0", "f8", (len(names),))])
    rows["index"], rows["values_block_0"] = np.arange(len(values)), values
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_("frame_table")
        group["table"] = rows
        group["table"].attrs["values_block_0_kind"] = np.void(pickle.dumps(names, 0) if kind is None else kind)
    return path


WRITERS = {"csv": write_csv, "fixed": write_fixed, "table": write_table}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_per_camera(tmp_path, kind):
    names = columns(("nose", "LWrist", "wrist_r"))
    values = numbers(4, names)
    values[1, 3:6] = np.nan
    ending = "csv" if kind == "csv" else "h5"
    WRITERS[kind](tmp_path / f"cam_10DLC_resnet50_walkMay1shuffle1_1000.{ending}", names, values)
    WRITERS[kind](tmp_path / f"cam_2DLC_resnet50_walkMay1shuffle1_1000.{ending}", names, values + 1000)
    with pytest.warns(PosekitWarning, match="joints that it lacks: left_eye, right_eye"):
        found = read_deeplabcut(tmp_path, COCO_17, fps=100)
    assert found.cameras == ("cam_2", "cam_10")
    assert found.frames.tolist() == [0, 1, 2, 3]
    assert (found.skeleton, found.fps) == (COCO_17, 100)
    places = COCO_17.indices(("nose", "left_wrist", "right_wrist"))
    assert np.array_equal(found.xy[:, 1, 0, places, 0], values[:, 0::3], equal_nan=True)
    assert np.array_equal(found.xy[:, 1, 0, places, 1], values[:, 1::3], equal_nan=True)
    assert np.isnan(found.xy[1, 1, 0, COCO_17.index("left_wrist")]).all()
    assert (found.confidence[0, 1, 0, places] == 0.5).all()
    assert (np.isfinite(found.xy[..., 0]).sum(axis=-1) == [[[3], [3]], [[2], [2]], [[3], [3]], [[3], [3]]]).all()


@pytest.mark.parametrize("kind", WRITERS)
def test_individuals_are_slots(tmp_path, kind):
    names = columns(("nose", "tail"), ("mouse1", "mouse2"))
    values = numbers(3, names)
    path = WRITERS[kind](tmp_path / ("a.csv" if kind == "csv" else "a.h5"), names, values)
    found = read_deeplabcut(path)
    assert found.xy.shape == (3, 1, 2, 2, 2)
    assert found.xy[:, 0, 1, 1].tolist() == values[:, 9:11].tolist()
    assert found.skeleton.joints == ("nose", "tail")


@pytest.mark.parametrize("kind", ["csv", "fixed"])
def test_labels_by_hand_are_of_frames_by_the_names_of_pictures(tmp_path, kind):
    names = columns(("nose", "tail"), coords=("x", "y"))
    values = numbers(2, names)
    values[0, 2:] = np.nan
    ending = "csv" if kind == "csv" else "h5"
    for camera, frames in (("a", (7, 20)), ("b", (7, 31))):
        index = [("labeled-data", "walk1", f"img{frame:04d}.png") for frame in frames]
        WRITERS[kind](tmp_path / f"CollectedData_{camera}.{ending}", names, values, index)
    found = read_deeplabcut(tmp_path)
    assert found.cameras == ("CollectedData_a", "CollectedData_b")
    assert found.frames.tolist() == [7, 20, 31]
    assert found.confidence[..., 0].tolist() == [[[1], [1]], [[1], [0]], [[0], [1]]]
    assert found.confidence[0, :, 0, 1].tolist() == [0, 0]


def test_one_column_of_pictures_is_an_index_too(tmp_path):
    names = columns(("nose",), coords=("x", "y"))
    write_csv(
        tmp_path / "a.csv",
        names,
        numbers(2, names),
        [("labeled-data/walk1/img3.png",), ("labeled-data/walk1/img5.png",)],
    )
    assert read_deeplabcut(tmp_path).frames.tolist() == [3, 5]


def test_bodyparts_that_are_a_known_skeleton_are_it(tmp_path):
    fingers = ("thumb", "index", "middle", "ring", "pinky")
    bodyparts = ("wrist", *(f"{finger}{number}" for finger in fingers for number in range(1, 5)))
    names = columns(bodyparts)
    found = read_deeplabcut(write_csv(tmp_path / "a.csv", names, numbers(2, names)))
    assert found.skeleton == HAND_21
    assert found.xy[0, 0, 0, :, 0].tolist() == [100 + 3 * n for n in range(21)]


def test_bodyparts_that_are_no_joints_are_named(tmp_path):
    names = columns(("nose", "tail"))
    path = write_csv(tmp_path / "a.csv", names, numbers(2, names))
    with pytest.warns(PosekitWarning, match=r"a\.csv: no joints of COCO_17: tail; joints that it lacks: left_eye"):
        read_deeplabcut(path, COCO_17)
    with pytest.raises(PosekitError, match="none of its bodyparts is a joint of HAND_21; they are: nose, tail"):
        read_deeplabcut(path, HAND_21)
    names = columns(("LWrist", "wrist_l"))
    path = write_csv(tmp_path / "a.csv", names, numbers(2, names))
    with pytest.raises(PosekitError, match=r"a\.csv: 'LWrist' and 'wrist_l' are both left_wrist"):
        read_deeplabcut(path, COCO_17)


def test_hdf5_is_taken_where_csv_is_there_too(tmp_path):
    names = columns(("nose",))
    write_csv(tmp_path / "aDLC_x.csv", names, numbers(2, names, 900))
    write_table(tmp_path / "aDLC_x.h5", names, numbers(2, names, 100))
    assert read_deeplabcut(tmp_path).xy[0, 0, 0, 0].tolist() == [100, 101]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_names_are_read_from_pickles_of_every_protocol(tmp_path, protocol):
    names = columns(("nose", "tail"))
    path = write_table(tmp_path / "a.h5", names, numbers(2, names), pickle.dumps(names, protocol))
    assert read_deeplabcut(path).skeleton.joints == ("nose", "tail")


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran code from a file')",)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (pickle.dumps([Evil()]), "stored as a program .*, which is not run; export it as CSV"),
        (pickle.dumps([np.str_("nose")]), "stored as a program .* export it as CSV"),
        (pickle.dumps("nose"), "export it as CSV"),
        (pickle.dumps({"nose": 1}), "export it as CSV"),
        (pickle.dumps([[["nose"]]]), "lists in the place of names"),
        (b"", "is no table that can be read"),
        (b"garbage", "is no table that can be read"),
        (b"a.", "is no table that can be read|export it as CSV"),
        (b"g1\n.", "is no table that can be read"),
        (pickle.dumps([("nose", "x")]), "is no table that can be read .*1 columns"),
    ],
)
def test_pickles_are_never_run(tmp_path, kind, reason):
    names = columns(("nose",))
    path = write_table(tmp_path / "a.h5", names, numbers(2, names), kind or b"\0")
    with pytest.raises(PosekitError, match=reason) as error:
        read_deeplabcut(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_damaged_hdf5_is_refused(tmp_path):
    names = columns(("nose",))
    path = write_fixed(tmp_path / "a.h5", names, numbers(50, names))
    whole = path.read_bytes()
    for content in (b"", b"garbage", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(PosekitError, match=r"a\.h5: is no table that can be read"):
            read_deeplabcut(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(PosekitError, match="holds 0 tables of pandas"):
        read_deeplabcut(path)
    write_fixed(path, names, numbers(50, names))
    with h5py.File(path, "r+") as file:
        del file["df_with_missing/block0_values"]
        file["df_with_missing"].create_dataset("block0_values", (10**9, 3), "f8", chunks=(1000, 3))
    with pytest.raises(PosekitError, match="claims 24000000000 bytes, more than the file can hold"):
        read_deeplabcut(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the header lines scorer, bodyparts and coords were expected"),
        ("a,b\n1,2\n", "this is no DeepLabCut file"),
        ("scorer,s,s,s\nbodyparts,nose,nose\ncoords,x,y,likelihood\n0,1,2,3\n", "this is no DeepLabCut file"),
        ("scorer,s,s\nbodyparts,nose,nose\ncoords,x,z\n0,1,2\n", "nose has no column 'y'"),
        (
            "scorer,s,s,s,s,s\nbodyparts,a,a,a,b,b\ncoords,x,y,likelihood,x,y\n0,1,2,.5,3,4\n",
            "b has no column 'likelihood'",
        ),
        ("scorer,s,s,t,t\nbodyparts,a,a,a,a\ncoords,x,y,x,y\n0,1,2,3,4\n", "columns of several scorers"),
        ("scorer,s,s\nbodyparts,a,a\ncoords,x,y\n0,1,2\n1,1\n", "line 5: 3 columns were expected, found 2"),
        ("scorer,s,s\nbodyparts,a,a\ncoords,x,y\n0,1,two\n", "line 4: could not convert string to float: .*two"),
        ("scorer,s,s\nbodyparts,a,a\ncoords,x,y\n1,1,2\n0,1,2\n", "the rows do not go forward in frames"),
        ("scorer,s,s\nbodyparts,a,a\ncoords,x,y\nphoto.png,1,2\n", r"the row 'photo\.png' has no frame number"),
        ("\0\1\2", "DeepLabCut file|is no table that can be read"),
    ],
)
def test_damaged_csv_is_refused(tmp_path, text, reason):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(PosekitError, match=rf"a\.csv: .*{reason}") as error:
        read_deeplabcut(path)
    assert "\n" not in str(error.value)


def test_cameras_must_agree(tmp_path):
    names = columns(("nose", "tail"))
    write_csv(tmp_path / "a.csv", names, numbers(5, names))
    write_csv(tmp_path / "b.csv", names, numbers(4, names))
    with pytest.raises(PosekitError, match=r"camera 'b' has 4 of the 5 frames .*; the first it lacks is frame 4"):
        read_deeplabcut(tmp_path)
    names = columns(("nose", "ear"))
    write_csv(tmp_path / "b.csv", names, numbers(5, names))
    with pytest.raises(PosekitError, match=r"b\.csv: its bodyparts are not those of a\.csv \(ear, tail\)"):
        read_deeplabcut(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PosekitError, match=r"holds neither \.h5 nor \.csv"):
        read_deeplabcut(tmp_path / "empty")
