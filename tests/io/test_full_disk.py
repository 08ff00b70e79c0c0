"""A disk that is full: one line, and nothing that was there is lost."""

import errno
import os
import resource
import signal

import h5py
import numpy as np
import pytest
import torch

from posekit.errors import NoSpaceError, PosekitError
from posekit.io import files
from posekit.io.files import write_json, write_whole


@pytest.fixture
def little_space():
    """A limit of 64 kB on any file: what goes beyond it is refused by the system, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def as_hdf5(path, size):
    with h5py.File(path, "w") as file:
        file["numbers"] = np.random.default_rng(0).random(size // 8)


def as_torch(path, size):
    torch.save({"numbers": torch.rand(size // 4)}, path)


def as_safetensors(path, size):
    from safetensors.torch import save_file

    save_file({"numbers": torch.rand(size // 4)}, path)


def as_bytes(path, size):
    path.write_bytes(b"x" * size)


@pytest.mark.parametrize("write", [as_hdf5, as_torch, as_safetensors, as_bytes])
def test_what_does_not_fit_is_one_line_and_leaves_the_old_file(tmp_path, little_space, monkeypatch, write):
    path = tmp_path / "keypoints2d.h5"
    with write_whole(path) as temporary:
        write(temporary, 1024)
    old = path.read_bytes()
    # torch does not say why it could not write; that the disk is full is then asked of the disk.
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: _Usage(0))
    expected = r"keypoints2d\.h5: cannot be written: there is no space left"
    with pytest.raises(NoSpaceError, match=expected) as told, write_whole(path) as temporary:
        write(temporary, 1_000_000)
    assert "\n" not in str(told.value)
    assert path.read_bytes() == old
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


class _Usage:
    def __init__(self, free):
        self.free = free


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_when_the_file_is_closed(tmp_path, monkeypatch, number):
    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(NoSpaceError, match="free some space, and run the same command again"):
        write_json(tmp_path / "metrics.json", {"a": 1})
    assert list(tmp_path.iterdir()) == []


def test_other_mistakes_stay_what_they_are(tmp_path):
    for error in (OSError(errno.EACCES, "no"), ValueError("not a number"), PosekitError("found 1, expected 2")):
        with pytest.raises(type(error)) as told, write_whole(tmp_path / "metrics.json"):
            raise error
        assert told.value is error
        assert not isinstance(told.value, NoSpaceError)
