import os
from pathlib import Path

import pytest

from posekit.apps.checks import in_capture, require_places
from posekit.errors import PosekitError, PosekitWarning


def test_a_folder_that_is_not_for_writing_is_told_before_the_work(tmp_path, monkeypatch):
    require_places([tmp_path / "a.json", None], [])
    asked = []

    def not_for_writing(path, mode):
        asked.append((path, mode))
        return False

    monkeypatch.setattr("posekit.apps.checks.os.access", not_for_writing)  # the superuser may write everywhere
    with pytest.raises(PosekitError, match=rf"a\.json: cannot be written: the folder {tmp_path} is not for writing"):
        require_places([tmp_path / "a.json"], [])
    assert asked == [(tmp_path, os.W_OK)]


def test_of_two_folders_of_one_name_the_captures_is_read_and_said(tmp_path, monkeypatch):
    capture = tmp_path / "capture"
    (capture / "openpose").mkdir(parents=True)
    monkeypatch.chdir(capture)
    assert in_capture(capture, Path("openpose")).samefile("openpose")  # one and the same: nothing to say
    monkeypatch.chdir(tmp_path)
    path = Path("openpose")
    assert in_capture(capture, path) == capture / "openpose"
    path.mkdir()
    with pytest.warns(
        PosekitWarning, match=f"{capture}/openpose is read, .* {tmp_path}/openpose is another of this name"
    ):
        assert in_capture(capture, path) == capture / "openpose"
    (capture / "openpose").rmdir()
    assert in_capture(capture, path) == path
