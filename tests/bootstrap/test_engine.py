"""Tasks in this process, in others and on a Ray cluster: the same results, the same errors."""

import importlib.util
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from bootstrap_processes import alive, end_this_process, scaled
from posekit.bootstrap.capture_tasks import cut_in_capture, detect_in_capture, stretches
from posekit.bootstrap.engine import HereEngine, ProcessEngine, RayEngine, make_engine, usable_cores
from posekit.bootstrap.labelled_frames import LabelledInstances
from posekit.bootstrap.searching import search_boxes
from posekit.calibration.formats import read_rig
from posekit.capture import Capture
from posekit.datasets.synthetic_capture import CaptureSettings, render_capture
from posekit.detection.detector_file import load_detector
from posekit.detection.hand_box import HandBox, cut_crops
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.video import VideoReader

FRAMES, CAMERAS = 20, 2
HAVE_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAVE_RAY, reason="Ray is not installed (pip install 'posekit[ray]')")


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A capture, and boxes (F, C, 2) at its hand with some missing."""
    folder = tmp_path_factory.mktemp("filmed")
    settings = CaptureSettings(cameras=CAMERAS, frames=FRAMES, size=(320, 240), hand_px=60, oversample=1)
    truth = render_capture(folder / "capture", settings, folder / "truth.h5")
    rig = read_rig(folder / "capture" / "calibration.toml")
    px = np.stack([camera.project(truth.joints_world) for camera in rig.cameras], axis=1)  # (F, C, 21, 2)
    centre = np.repeat(px.mean(axis=2)[:, :, None], 2, axis=2)
    side = np.full(centre.shape[:-1], 110.0)
    side[::5, 0, 1] = np.nan
    side[3:6, 1] = np.nan  # frames in which a camera has no box at all
    return Capture.open(folder / "capture"), HandBox(centre, side, 0.3, [False, True])


def detections(filmed, engine, **more):
    capture, boxes = filmed
    cameras = tuple(capture.videos)
    return detect_in_capture(capture, cameras, np.arange(FRAMES), boxes, load_detector().fused(), engine, **more)


@pytest.fixture(scope="module")
def here(filmed):
    return detections(filmed, HereEngine(1), frames_per_task=16)


def test_detections_are_those_of_every_picture_by_itself(filmed, here):
    capture, boxes = filmed
    detector = load_detector().fused()
    for c, video in enumerate(capture.videos.values()):
        for f, picture in enumerate(VideoReader(video).frames()):
            xy, confidence = detector.detect_in_image(picture, boxes[f, c])
            # Convolutions of more crops at once add up in another order: float32, heatmaps of some px.
            np.testing.assert_allclose(here.xy[f, c], xy, atol=0.02)
            np.testing.assert_allclose(here.confidence[f, c], confidence, atol=1e-3)
    assert np.array_equal(np.isfinite(here.xy).all(axis=(-1, -2)), boxes.found)


@pytest.mark.parametrize("engine", [HereEngine(2), ProcessEngine(2)], ids=["threads", "processes"])
def test_every_engine_gives_the_same_bits(filmed, here, engine):
    before = torch.get_num_threads()
    found = detections(filmed, engine, frames_per_task=16)
    assert np.array_equal(found.xy, here.xy, equal_nan=True)
    assert np.array_equal(found.confidence, here.confidence)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("engine", [HereEngine(2), ProcessEngine(2)], ids=["threads", "processes"])
def test_a_search_takes_every_picture_by_itself_whatever_the_engine(filmed, engine):
    capture, boxes = filmed
    cameras, detector = tuple(capture.videos), load_detector().fused()
    few = boxes[:, :, 0].scaled(0.9)  # boxes (F, C) as labels have them
    rows = np.array([2, 9])
    labels = LabelledInstances(rows, np.array([0, 0]), np.zeros(2, int), np.zeros((2, 21, 2)), few[rows, 0])
    told = []
    found = search_boxes(
        capture, cameras, np.arange(FRAMES), labels, detector, engine, lambda done, total: told.append((done, total))
    )
    assert told[-1] == (FRAMES * CAMERAS,) * 2
    np.testing.assert_array_equal(found.side, 99.0)  # of camera 0's labels; there are none of camera 1
    looks = [320.0, 178.0]  # from the whole picture down to 99 px in two halvings: 320 (99 / 320)^(k / 2)
    for c, video in enumerate(capture.videos.values()):
        for f, picture in enumerate(VideoReader(video).frames()):
            middle = np.array([159.5, 119.5])
            for look in looks:
                xy, _ = detector.detect_in_image(picture, HandBox(middle[None], np.array([look])))
                middle = np.median(xy[0], axis=0)
            np.testing.assert_allclose(found.centre[f, c, 0], middle, atol=0.5)  # 178.0 stands for 177.99


def test_progress_counts_the_pictures_that_have_a_box(filmed):
    told = []
    detections(filmed, HereEngine(2), on_pictures=lambda done, total: told.append((done, total)), frames_per_task=8)
    assert told[-1] == (FRAMES * CAMERAS - 3,) * 2
    assert sorted(told) == told
    assert len(told) == 6


def test_crops_are_those_of_the_pictures(filmed):
    capture, boxes = filmed
    cameras = tuple(capture.videos)
    place, camera = np.array([9, 2, 17, 9, 2]), np.array([1, 0, 1, 1, 0])
    own = HandBox(boxes.centre[place, camera, 0] + np.arange(5)[:, None], 90.0, 0.1, False)
    crops = cut_in_capture(capture, cameras, np.arange(FRAMES), place, camera, own, 64, HereEngine(2))
    for n in range(5):
        picture = dict(VideoReader(capture.videos[cameras[camera[n]]]).select([int(place[n])]))[int(place[n])]
        assert np.array_equal(crops[n], cut_crops(picture, own[n : n + 1], 64)[0])


def test_tasks_cover_every_wanted_picture_once(filmed):
    capture, _ = filmed
    wanted = np.random.default_rng(0).random((FRAMES, CAMERAS)) < 0.7
    covered = np.zeros_like(wanted, dtype=int)
    for task in stretches(capture, tuple(capture.videos), np.arange(FRAMES), wanted, 4):
        assert 1 <= len(task.places) <= 4
        covered[task.places, task.camera] += 1
    assert np.array_equal(covered, wanted)


def test_a_frame_that_a_video_does_not_have_is_named(filmed):
    capture, _ = filmed
    with pytest.raises(PosekitError, match=f"has no picture of frame {FRAMES}"):
        stretches(capture, tuple(capture.videos), np.arange(FRAMES + 1), np.ones((FRAMES + 1, CAMERAS), bool))


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two workers on this machine, which the engine finds the program connected to."""
    # By default Ray's workers give way to everything else, and on a busy machine hardly ever begin.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # so Ray names it
    # Its workers must find the tasks of these tests.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.fixture(params=["threads", "processes", pytest.param("ray", marks=needs_ray)])
def engine(request):
    if request.param == "ray":
        request.getfixturevalue("cluster")
        return RayEngine()
    return {"threads": HereEngine, "processes": ProcessEngine}[request.param](2)


def test_results_come_with_their_places_and_warnings_as_they_are(engine):
    tasks = [0, 7, 2, 3]
    with pytest.warns(PosekitWarning, match="task 7 is odd"):
        results = sorted(engine.run(scaled, 2.5, tasks))
    # Every task has one thread of torch.
    assert results == [(place, (2.5 * task, 1)) for place, task in enumerate(tasks)]


def test_errors_come_as_they_are(engine):
    with pytest.raises(PosekitError, match=r"^task 13: found 13, expected anything else$"):
        list(engine.run(scaled, 1.0, [1, 13, 2]))


@pytest.mark.parametrize("idle", [HereEngine(2), ProcessEngine(2)], ids=["threads", "processes"])
def test_no_task_is_no_work(idle):
    assert list(idle.run(scaled, 1.0, [])) == []


def test_a_worker_that_is_ended_from_outside_is_one_line():
    with pytest.raises(PosekitError, match=r"a worker process was ended from outside.*--workers"):
        list(ProcessEngine(1).run(end_this_process, None, [1]))


ORPHANS = """
import sys
sys.path.insert(0, {tests!r})
from bootstrap_processes import tell_and_wait
from posekit.bootstrap.engine import ProcessEngine
if __name__ == "__main__":
    list(ProcessEngine(2).run(tell_and_wait, {folder!r}, [0, 1]))
"""


def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(ORPHANS.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, str(script)])
    deadline = time.monotonic() + 60
    while len(begun := [p for p in tmp_path.glob("*.begun") if p.read_text()]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert len(begun) == 2
    workers = [int(path.read_text()) for path in begun]
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def test_auto_is_threads_where_there_are_few_cores():
    assert make_engine(workers=2) == HereEngine(2)
    assert make_engine(workers=16) == ProcessEngine(16)
    assert usable_cores() >= 1


@pytest.mark.parametrize(("name", "workers", "words"), [("gpu", None, "'gpu' was given"), ("auto", 0, "--workers: 0")])
def test_what_no_engine_is_is_one_line(name, workers, words):
    with pytest.raises(PosekitError, match=words):
        make_engine(name, workers)


def test_an_address_that_no_ray_is_asked_for_is_one_line():
    with pytest.raises(PosekitError, match="--ray-address: auto is the address of a Ray cluster"):
        make_engine("auto", address="auto")


def test_ray_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PosekitError, match=r"pip install 'posekit\[ray\]'"):
        make_engine("ray")


@needs_ray
@pytest.mark.usefixtures("cluster")
def test_a_cluster_of_two_workers_gives_the_same_bits(filmed, here):
    found = detections(filmed, RayEngine(), frames_per_task=16)
    assert np.array_equal(found.xy, here.xy, equal_nan=True)
    assert np.array_equal(found.confidence, here.confidence)


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch):
    def refuse(address, **options):
        raise ConnectionError(f"ray could not reach {address}\nand so on")

    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(is_initialized=lambda: False, init=refuse))
    with pytest.raises(
        PosekitError, match=r"^--engine ray: no cluster 10.0.0.1:6379: ray could not reach 10.0.0.1:6379$"
    ):
        list(RayEngine("10.0.0.1:6379").run(scaled, 1.0, [1]))
