import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.files import natural_order, require_file, require_folder, write_json, write_whole


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_file_appears_whole_and_alone(tmp_path):
    path = tmp_path / "a.run.json"
    with write_whole(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".json"
        assert temporary.parent == tmp_path
        assert not path.exists()
    assert path.read_text() == "new"
    assert listing(tmp_path) == ["a.run.json"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(5, "Input/output error")])
@pytest.mark.parametrize("written", ["", "half"])
def test_a_failed_write_leaves_the_old_file(tmp_path, error, written):
    path = tmp_path / "a.h5"
    path.write_text("old")
    with pytest.raises(type(error)), write_whole(path) as temporary:  # noqa: PT012
        if written:
            temporary.write_text(written)
        raise error
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["a.h5"]


def test_a_file_has_the_mode_of_any_new_file(tmp_path):
    (tmp_path / "new").touch()
    with write_whole(tmp_path / "a.h5") as temporary:
        temporary.write_text("secret")
        temporary.chmod(0o600)
    assert (tmp_path / "a.h5").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_a_writer_that_writes_nothing_is_a_fault_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), write_whole(path):
        pass
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["a.h5"]


def write_and_die(path: str) -> None:
    with write_whole(path) as temporary:
        temporary.write_text("half of the n")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    process = multiprocessing.get_context("fork").Process(target=write_and_die, args=(str(path),))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert path.read_text() == "old"
    # What it left is hidden, so that no reader of the folder takes it for a result.
    assert [name for name in listing(tmp_path) if not name.startswith(".")] == ["a.txt"]


def test_writing_where_there_is_no_folder_or_where_a_folder_stands(tmp_path):
    with pytest.raises(PosekitError, match=r"a\.txt: cannot be written: the folder .*gone does not exist"):
        write_whole(tmp_path / "gone" / "a.txt").__enter__()
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(PosekitError, match=r"a\.txt: cannot be written: it is a folder"):
        write_whole(tmp_path / "a.txt").__enter__()
    assert listing(tmp_path) == ["a.txt"]


def test_a_place_that_cannot_be_written_is_told_by_its_own_name(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "touch", refuse)  # the superuser may write everywhere
    with (
        pytest.raises(PosekitError, match=rf"^{tmp_path}/a\.txt: cannot be written: Permission denied$"),
        write_whole(tmp_path / "a.txt"),
    ):
        pass


def test_json_has_plain_values_and_null_for_nan(tmp_path):
    content = {
        "a": np.float32(0.5),
        "b": np.array([[1.0, np.nan], [np.inf, 2]]),
        "c": (True, np.bool_(False), None),
        "d": Path("x") / "y",
        3: {"e": float("nan"), "f": np.int64(2**40)},
        "g": [],
    }
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "a": 0.5,
        "b": [[1.0, None], [None, 2.0]],
        "c": [True, False, None],
        "d": str(Path("x") / "y"),
        "3": {"e": None, "f": 2**40},
        "g": [],
    }


def test_json_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert listing(tmp_path) == ["a.json"]


def test_natural_order():
    names = ["cam_10", "cam_2", "cam_1", "cam_01", "b", "10", "9", "cam", "cam_2b", "cam_2a10", "cam_2a9", "cam²", ""]
    assert sorted(names, key=natural_order) == [
        "",
        "b",
        "cam",
        "cam_01",
        "cam_1",
        "cam_2",
        "cam_2a9",
        "cam_2a10",
        "cam_2b",
        "cam_10",
        "cam²",
        "9",
        "10",
    ]


def test_missing_and_mistaken_inputs(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("")
    assert require_file(str(file), "x") == file
    assert require_folder(tmp_path, "x") == tmp_path
    with pytest.raises(PosekitError, match=r"gone: no such file \(expected: a rig\)"):
        require_file(tmp_path / "gone", "a rig")
    with pytest.raises(PosekitError, match=r"is a folder, not a file \(expected: a rig"):
        require_file(tmp_path, "a rig")
    with pytest.raises(PosekitError, match=r"gone: no such folder \(expected: videos\)"):
        require_folder(tmp_path / "gone", "videos")
    with pytest.raises(PosekitError, match=r"a\.txt: is a file, not a folder \(expected: videos"):
        require_folder(file, "videos")
