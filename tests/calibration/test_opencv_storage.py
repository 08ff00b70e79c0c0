import cv2
import numpy as np
import pytest

from posekit.calibration.formats.opencv_storage import read_storage, storage_text
from posekit.errors import PosekitError


def write(folder, text, name="a.yml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".yml", ".xml"])
def test_reads_what_opencv_writes(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    rng = np.random.default_rng(0)
    arrays = {"K": rng.normal(size=(3, 3)), "row": rng.normal(size=5), "points": rng.normal(size=(2, 3, 2))}
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for key, array in arrays.items():
        file.write(key, array)
    file.write("count", 7)
    file.write("error", 0.25)
    file.write("date", "Sat Nov 21 06:17")
    file.startWriteStruct("names", cv2.FileNode_SEQ)
    for name in ("01", "left cam"):
        file.write("", name)
    file.endWriteStruct()
    file.startWriteStruct("cameras", cv2.FileNode_SEQ)
    for number in (1, 2):
        file.startWriteStruct("", cv2.FileNode_MAP)
        file.write("number", number)
        file.write("T", arrays["K"][:, :1])
        file.endWriteStruct()
    file.endWriteStruct()
    file.release()
    found = read_storage(path)
    for key, array in arrays.items():
        # OpenCV writes 17 digits, of which the last may be another.
        assert np.abs(found[key].squeeze() - array).max() < 1e-15
    assert (found["count"], found["error"], found["date"]) == (7, 0.25, "Sat Nov 21 06:17")
    assert found["names"] == ["01", "left cam"]
    assert [node["number"] for node in found["cameras"]] == [1, 2]
    assert np.abs(found["cameras"][1]["T"] - arrays["K"][:, :1]).max() < 1e-15


def test_reads_what_people_write(tmp_path):
    text = """%YAML:1.0
---
# a rig written by hand
names:
- "1"    # beside its key
- 02
K_1: !!opencv-matrix
  rows: 3
  cols: 3
  dt: d
  data: [900, 0, 640,   # whole numbers

     0, 910, 480, 0, 0, 1]
camera_matrix: {rows: 1, cols: 2, data: [1.5, -2e-3]}
nested:
  - [1, 2]
  - [.5, .Nan]
list:
  - name: "a # b"
    value: 1
  -
    name: 'c'
    value: 1e3
empty:
note: any text
...
"""
    found = read_storage(write(tmp_path, text))
    assert found["names"] == ["1", "02"]  # as a number, 02 would be another name
    assert found["K_1"].tolist() == [[900, 0, 640], [0, 910, 480], [0, 0, 1]]
    assert found["camera_matrix"].tolist() == [[1.5, -0.002]]
    assert found["nested"][0] == [1, 2]
    assert np.isnan(found["nested"][1][1])
    assert found["list"] == [{"name": "a # b", "value": 1}, {"name": "c", "value": 1000}]
    assert found["empty"] is None
    assert found["note"] == "any text"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("- 1\n- 2\n", "names and values were expected, it is a list"),
        ("a: 1\n  b: 2\n", "line 2: stands further left or right"),
        ("a:\n    b: 1\n  c: 2\n", "line 3: stands further left or right"),
        ("a: 1\na: 2\n", "line 2: the name stands there twice"),
        ("a\n", "line 1: name: value was expected"),
        ("a:\n\tb: 1\n", "line 2: begins with a tab"),
        ("a: [1, 2\nb: 3\n", "line 1: a bracket is not closed|a comma was expected"),
        ("a: [1, 2] 3\n", "line 1: something follows a closed bracket"),
        ("a: [1 2]\n", "a comma was expected before 2"),
        ("a: {b 1}\n", "a colon was expected after b"),
        ("a: [1}\n", "a comma was expected|a bracket is not closed"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("".join(f"{' ' * n}a:\n" for n in range(500)), "line 2.: is nested too deeply"),
        (
            "a: !!opencv-matrix\n  rows: 300000\n  cols: 300000\n  dt: d\n  data: [1]\n",
            "a matrix of 300000 x 300000 has 1 values",
        ),
        ("a: !!opencv-matrix\n  rows: -1\n  cols: -1\n  data: [1]\n", "a matrix needs rows and cols"),
        ("a: !!opencv-matrix\n  cols: 1\n  data: [1]\n", "a matrix needs rows and cols"),
        ("a: !!opencv-matrix\n  rows: 1\n  cols: 1\n  data: [one]\n", "a matrix needs data of numbers"),
        ("<a/>", "its root is <a>, <opencv_storage> was expected"),
        ("<opencv_storage>", "no element found|mismatched|unclosed"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><opencv_storage><a>&b;</a></opencv_storage>", "EntitiesForbidden"),
        ("<?xml version='1.0' encoding='none'?><opencv_storage/>", "unknown encoding"),
        ("<opencv_storage>" + "<a>" * 3000 + "</a>" * 3000 + "</opencv_storage>", "recursion"),
    ],
)
def test_damaged_files(tmp_path, text, reason):
    with pytest.raises(PosekitError, match=rf"a\.yml: is no OpenCV file that can be read \(.*({reason})") as error:
        read_storage(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.yml").write_bytes(b"%YAML:1.0\n---\na: \xff\xfe\n")
    with pytest.raises(PosekitError, match="is no OpenCV file that can be read"):
        read_storage(tmp_path / "a.yml")


def test_what_is_written_is_read_again_by_both(tmp_path):
    content = {
        "units": "m",
        "count": 3,
        "K": np.array([[1 / 3, 1e-17, 900.0], [0.0, -2e20, 5e-324]]),
        "names": ["01", "b"],
        "cameras": [{"name": "a", "T": np.array([[1.0], [2.0]])}, {"name": "b", "T": np.zeros((2, 1))}],
    }
    path = write(tmp_path, storage_text(content))
    found = read_storage(path)
    assert np.array_equal(found["K"], content["K"])
    assert (found["units"], found["count"], found["names"]) == ("m", 3, ["01", "b"])
    assert [node["name"] for node in found["cameras"]] == ["a", "b"]
    assert np.array_equal(found["cameras"][0]["T"], content["cameras"][0]["T"])
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    assert np.array_equal(file.getNode("K").mat()[0], content["K"][0])
    assert file.getNode("names").at(0).string() == "01"
    assert file.getNode("cameras").at(0).getNode("T").mat()[1, 0] == 2
