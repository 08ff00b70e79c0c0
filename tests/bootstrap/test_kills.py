"""A run that is killed (kill -9) in the middle of its work, and goes on, ends as one that was not."""

import json
import multiprocessing
import os
import signal

import h5py
import numpy as np
import pytest

from bootstrap_processes import run_rounds, write_small_capture
from posekit.apps.bench_bootstrap_kills import run_differences

#: In the middle of writing so many files since the process began.
KILLED_AT = (6, 9, 11)


@pytest.fixture(scope="module")
def processes():
    """Processes that have loaded torch already, each forked from one that does nothing else."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["posekit.bootstrap.rounds", "bootstrap_processes"])
    return context


@pytest.fixture(scope="module")
def undisturbed(processes, tmp_path_factory):
    """A capture, the run that was left alone, and the number of files that it wrote."""
    folder = tmp_path_factory.mktemp("kills")
    write_small_capture(folder / "capture")
    assert ended(processes, folder / "capture", folder / "undisturbed", 0) == 0
    return folder / "capture", folder / "undisturbed", int((folder / "undisturbed.files").read_text())


def ended(processes, capture, out, die_at):
    process = processes.Process(target=run_rounds, args=(capture, out, die_at))
    process.start()
    process.join()
    return process.exitcode


def test_kills_change_nothing(processes, undisturbed, tmp_path):
    capture, run, files = undisturbed
    # The files of round 0, of T0 and the labels, a checkpoint for each of 4 steps, weights, detections, 3D and figures.
    assert files > sum(KILLED_AT)
    killed = tmp_path / "killed"
    within_training = False
    for die_at in KILLED_AT:
        assert ended(processes, capture, killed, die_at) == -signal.SIGKILL
        # The file that was being written is there under another name; the next process removes it.
        assert len(list(killed.rglob(".*.part*"))) == 1
        within_training |= (killed / "round_1" / "training.pt").exists()
    assert within_training
    assert not (killed / "keypoints3d.h5").exists()
    assert ended(processes, capture, killed, 0) == 0
    assert run_differences(run, killed) == []
    assert not list(killed.rglob(".*.part*"))
    assert not list(killed.rglob("training.pt"))


def test_differences_are_seen(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for run, last in ((one, 0.0), (other, np.nextafter(0.0, 1.0))):
        run.mkdir()
        (run / "metrics.json").write_text(json.dumps({"round": 1, "seconds": {"training": 5 + last}}))
        with h5py.File(run / "keypoints3d.h5", "w") as file:
            file["xyz"] = np.array([np.nan, last])
    assert run_differences(one, one) == []
    assert run_differences(one, other) == ["keypoints3d.h5: differs in xyz"]
    (one / "keypoints3d.h5").unlink()
    assert run_differences(one, other) == [f"keypoints3d.h5: only in {other}"]
