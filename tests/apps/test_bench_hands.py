import json
import re
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from posekit.apps.bench_hands import HandsBench, run
from posekit.apps.main import main

# A stand-in for a TFLite interpreter: it takes its time for every picture, and sees hands in bright ones.
STAND_IN = """
import time

import numpy as np


class Interpreter:
    def __init__(self, model_path, num_threads):
        assert open(model_path).read() == "full" and num_threads == 1
        self.shape = (1, 224, 224, 3)

    def get_input_details(self):
        return [{"index": 7}]

    def get_output_details(self):
        return [{"index": 1}, {"index": 2}]

    def resize_tensor_input(self, index, shape):
        assert index == 7
        self.shape = tuple(shape)

    def allocate_tensors(self):
        pass

    def set_tensor(self, index, value):
        assert value.shape == self.shape and value.dtype == np.float32 and 0.2 < value.max() <= 1
        self.images = value

    def invoke(self):
        time.sleep(0.02 * len(self.images))

    def get_tensor(self, index):
        return np.zeros((len(self.images), 63 if index == 1 else 1), np.float32) + 0.9
"""


def make_interpreter(folder: Path, library: str | None, models: bool = True) -> Path:
    """Return something that runs like the interpreter of an environment that has mediapipe and the library."""
    if library is not None:
        (folder / "ai_edge_litert").mkdir()
        (folder / "ai_edge_litert" / "__init__.py").write_text("")
        (folder / "ai_edge_litert" / "interpreter.py").write_text(library)
    landmarks = folder / "mediapipe" / "modules" / "hand_landmark"
    landmarks.mkdir(parents=True)
    (folder / "mediapipe" / "__init__.py").write_text(
        "raise AssertionError('its library is not needed, its files are')"
    )
    if models:
        (landmarks / "hand_landmark_full.tflite").write_text("full")
    (folder / "mediapipe-0.10.99.dist-info").mkdir()
    (folder / "mediapipe-0.10.99.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mediapipe\nVersion: 0.10.99\n"
    )
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


@pytest.fixture
def grey_hands(monkeypatch):
    """Hands that cost nothing to draw; what is in the crops changes no time."""
    import posekit.apps.bench_hands as bench

    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        bench, "_draw_hands", lambda config: rng.integers(0, 256, (config.hands, 224, 224, 3), dtype=np.uint8)
    )


QUICK = ("--network", "light_hand_cpm", "--hands", "2", "--repeats", "2", "--threads", "1", "--batches", "1", "2")


def test_beside_a_peer(tmp_path, capsys, monkeypatch, grey_hands):
    monkeypatch.setenv("COLUMNS", "80")
    python = make_interpreter(tmp_path, STAND_IN)
    arguments = ["bench", "hands", "--peer", str(python), *QUICK, "--json", str(tmp_path / "a.json")]
    assert main(arguments) == 0
    figures = json.loads((tmp_path / "a.json").read_text())
    assert (figures["peer"], figures["peer_model"], figures["network"]) == (
        "MediaPipe 0.10.99",
        "full",
        "light_hand_cpm",
    )
    assert not figures["trained"]
    assert figures["parameters"] > 1e5
    assert figures["macs"] > 1e7
    assert [(row["threads"], row["batch"]) for row in figures["rows"]] == [(1, 1), (1, 2)]
    for row in figures["rows"]:
        # The stand-in sleeps 20 ms for a hand; a busy machine wakes it late, but never early.
        assert 20 <= row["peer_network_ms"] < row["peer_crops_ms"]
        assert row["peer_sees_a_hand"] == 1
        for what in ("crops", "network"):
            assert row[f"ratio_{what}"] == pytest.approx(row[f"peer_{what}_ms"] / row[f"onnxruntime_{what}_ms"])
            assert row[f"torch_{what}_ms"] > 0
    printed = capsys.readouterr().out
    assert "hand_landmark_full" in printed
    assert f"{figures['rows'][0]['onnxruntime_network_ms']:.2f}" in printed
    assert "…" not in printed
    assert max(len(line) for line in printed.splitlines()) <= 80


def test_by_itself_the_joints_take_longer_than_the_network(grey_hands):
    figures = run(HandsBench(network="light_hand_cpm", hands=2, repeats=3, threads=(1,), batches=(2,)))
    (row,) = figures["rows"]
    assert not any(name.startswith(("peer", "ratio")) for name in (*figures, *row))
    assert row["torch_crops_ms"] > 0.5 * row["torch_network_ms"] > 0  # half: another program may run in between


def test_it_draws_right_hands():
    from posekit.apps.bench_hands import _draw_hands

    drawn = _draw_hands(HandsBench(hands=2, seed=3))
    assert drawn.shape == (2, 224, 224, 3)
    assert drawn.dtype == np.uint8
    assert drawn.std() > 10


LIBRARIES = {
    "no interpreter": (None, True, "no TFLite interpreter"),
    "no model": (STAND_IN, False, r"no hand_landmark_full\.tflite in it"),
    "one that breaks": ("import os\nos._exit(3)", True, "ended without a word"),
}


@pytest.mark.parametrize(("library", "models", "line"), LIBRARIES.values(), ids=LIBRARIES)
def test_a_peer_that_cannot_be_used_is_told_in_one_line(tmp_path, capsys, grey_hands, library, models, line):
    python = make_interpreter(tmp_path, library, models)
    assert main(["bench", "hands", "--peer", str(python), *QUICK, "--json", str(tmp_path / "a.json")]) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.count("\n") == 1
    assert re.search(r"posekit: error: --peer: .*python: .*" + line, told)
    assert not (tmp_path / "a.json").exists()


MISTAKES = {
    "no such interpreter": (("--peer", "gone/python"), "gone/python: no such file"),
    "no hands": (("--hands", "0"), "--hands: 0 is not a positive number"),
    "no thread": (("--threads", "0"), "--threads: 0 was given, positive numbers were expected"),
    "batches that do not fit": (("--hands", "6", "--batches", "4"), "--hands: 6 is no multiple of 4"),
    "no such network": (("--network", "vgg"), "--network: 'vgg' is not known; known are: light_hand_cpm"),
    "two networks": (("--network", "light_hand_cpm", "--weights", "a.safetensors"), "one of them was expected"),
    "no weights": (("--weights", "gone.safetensors"), "gone.safetensors"),
    "weights of another runtime": (("--weights", "hand.onnx"), "--weights: hand.onnx"),
    "figures to no such place": (("--json", "below/a.json"), "below: no such folder"),
}


@pytest.mark.parametrize(("arguments", "line"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "hands", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("posekit: error: ")
    assert told.count("\n") == 1
    assert line in told
    assert list(tmp_path.iterdir()) == []
