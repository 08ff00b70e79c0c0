"""``posekit train-lifter`` and ``posekit bench lifting``, on motion capture made for the test."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from posekit.apps.lifter_data import lifter_sources, measure_held_out
from posekit.apps.loss_plots import plot_terms
from posekit.apps.main import main
from posekit.lifting.lifter import Lifter, load_lifter, read_lifter_training
from posekit.lifting.networks import build_generator
from posekit.lifting.settings import RepNetSettings
from posekit.skeleton import CMU_MOCAP

# Where CMU's joints are on somebody who stands, metres: sideways and up.
_BODY = {
    "pelvis": (0, 0.95), "lower_back": (0, 1.05), "upper_back": (0, 1.2), "thorax": (0, 1.35), "lower_neck": (0, 1.45),
    "upper_neck": (0, 1.52), "head_top": (0, 1.7), "hip": (0.09, 0.88), "knee": (0.1, 0.48), "ankle": (0.1, 0.08),
    "foot_ball": (0.1, 0.02), "toe_end": (0.1, 0.01), "shoulder": (0.18, 1.4), "elbow": (0.22, 1.12), "wrist": (0.22, 0.9),
}  # fmt: skip
_ASF = (
    "root head lclavicle lfemur lfingers lfoot lhand lhipjoint lhumerus lowerback lowerneck lradius lthumb ltibia ltoes lwrist "
    "rclavicle rfemur rfingers rfoot rhand rhipjoint rhumerus rradius rthumb rtibia rtoes rwrist thorax upperback upperneck"
)


def mocap_file(folder: Path) -> Path:
    """Three people who sway, in the arrays that CMU's motion capture comes in: metres, Y up."""
    rng = np.random.default_rng(0)
    still = np.zeros((31, 3))
    for number, joint in enumerate(CMU_MOCAP.joints):
        side, _, part = joint.partition("_")
        sideways, up = _BODY.get(joint, _BODY.get(part, (0.22, 0.85)))
        still[number] = ({"left": 1, "right": -1}.get(side, 0) * sideways, up, 0)
    clips = {}
    for subject in ("01", "02", "03"):
        sway = 0.05 * np.cumsum(rng.standard_normal((40, 31, 3)), axis=0) / 6
        clips[f"amc/{subject}_01"] = (still + sway).astype(np.float32)
    path = folder / "mocap.npz"
    np.savez(path, amc_joint_names=np.array(_ASF.split()), **clips)
    return path


def test_training_writes_weights_card_losses_and_record(tmp_path) -> None:
    data, out = mocap_file(tmp_path), tmp_path / "own.safetensors"
    arguments = ["train-lifter", str(out), "--data", f"cmu:{data}", "--hold-out", "03", "--steps", "12"]
    assert main([*arguments, "--poses", "200", "--batch-size", "8", "--report-every", "4", "--minutes", "None"]) == 0
    lifter = load_lifter(out)
    assert np.isfinite(lifter.lift(np.random.default_rng(0).normal(size=(3, 15, 2))).xyz).all()
    made = read_lifter_training(out)
    assert made["hold_out"] == ["03"]
    assert made["steps"] == 12
    assert made["finished"] is True
    losses = [json.loads(line) for line in out.with_suffix(".losses.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in losses] == [4, 8, 12]
    assert {"critic", "prior", "reprojection", "consistency", "adversarial"} <= set(losses[-1])
    assert cv2.imread(str(out.with_suffix(".losses.png"))) is not None
    assert "P-II, mm" in out.with_suffix(".md").read_text()
    record = json.loads((tmp_path / "own.run.json").read_text())
    assert record["figures"]["p2_mm"] == made["p2_mm"] > 0


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ((), "--data: found nothing"),
        (("--data", "nothing"), "expected KIND:PATH"),
        (("--steps", "0"), "steps"),
        (("--hold-out", "99"), "99"),
        (("--frames", "2"), "frames: found 2, expected an odd number"),
        (("--variant", "published", "--learned-elevation"), "expected them with 'view' alone"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, capsys, extra, message) -> None:
    data = () if "--data" in extra or not extra else ("--data", f"cmu:{mocap_file(tmp_path)}")
    arguments = ["train-lifter", str(tmp_path / "own.safetensors"), *(data or ()), *extra]
    if not extra:
        arguments += ["--data"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert not (tmp_path / "own.safetensors").exists()


def test_a_temporal_lifter_and_a_learned_elevation_are_options(tmp_path) -> None:
    out = tmp_path / "own.safetensors"
    arguments = ["train-lifter", str(out), "--data", f"cmu:{mocap_file(tmp_path)}", "--steps", "3", "--poses", "64"]
    assert main([*arguments, "--batch-size", "8", "--frames", "3", "--learned-elevation"]) == 0
    settings = load_lifter(out).settings
    assert (settings.frames, settings.learned_elevation) == (3, True)


def test_another_ending_is_refused(tmp_path, capsys) -> None:
    assert main(["train-lifter", str(tmp_path / "own.pt"), "--data", f"cmu:{mocap_file(tmp_path)}"]) == 2
    assert "found the ending '.pt', expected .safetensors" in capsys.readouterr().err


def test_bench_of_variants(tmp_path, capsys) -> None:
    figures = tmp_path / "figures.json"
    arguments = ["bench", "lifting", "--data", f"cmu:{mocap_file(tmp_path)}", "--hold-out", "03", "--steps", "3"]
    names = ["today", "today, no critic", "today, temporal, 9 frames", "today, learned elevation"]
    chosen = ["--variants", *names, "--poses", "64", "--lift", "500", "--threads", "1"]
    assert main([*arguments, *chosen, "--json", str(figures)]) == 0
    found = json.loads(figures.read_text())
    assert [row["variant"] for row in found["variants"]] == names
    assert all(row["steps"] == 3 and row["p1_mm"] >= row["p2_mm"] > 0 for row in found["variants"])
    assert found["poses_per_second"] > 0
    assert "today, no critic" in capsys.readouterr().out


def test_lifters_of_any_window_are_measured_on_the_same_poses(tmp_path) -> None:
    sources = lifter_sources((f"cmu:{mocap_file(tmp_path)}",), "LIFTER_15", ("03",), 64, 0)
    single = RepNetSettings(width=16, blocks=1)
    torch.manual_seed(0)
    lifter = Lifter(sources.skeleton, single, build_generator(sources.skeleton, single), sources.mean_bone)
    settings = replace(single, frames=5)
    generator = build_generator(sources.skeleton, settings)
    # A window's network that is blind to all but the middle is the single frame's.
    weights = lifter.generator.state_dict()
    first = weights["layers.0.0.weight"]
    wide = torch.zeros(16, 5 * 45)
    wide[:, 60:90], wide[:, 5 * 30 + 30 : 5 * 30 + 45] = first[:, :30], first[:, 30:]
    generator.load_state_dict({**weights, "layers.0.0.weight": wide})
    temporal = Lifter(sources.skeleton, settings, generator, sources.mean_bone)
    figures, own = (measure_held_out(one, sources.held_out, 50, frames=9) for one in (lifter, temporal))
    assert own == pytest.approx(figures, rel=1e-4)  # float32, sums of another order
    assert measure_held_out(temporal, sources.held_out, 50)["p2_mm"] != pytest.approx(figures["p2_mm"], rel=1e-4)
    windows = sources.windows(5).draw(20, np.random.default_rng(0))
    assert windows.xy.shape == (20, 5, 15, 2)
    assert windows.weight.shape == (20, 5, 15)
    assert sources.windows(1) is sources.views


def test_bench_refuses_what_it_does_not_know(capsys) -> None:
    assert main(["bench", "lifting", "--variants", "tomorrow"]) == 2
    assert "--variants tomorrow: expected some of: published" in capsys.readouterr().err
    assert main(["bench", "lifting", "--captures", "nothing"]) == 2
    assert "expected NAME=KEYPOINTS,RIG" in capsys.readouterr().err


def test_losses_are_drawn_where_they_are() -> None:
    history = [{"step": 1, "seconds": 0, "prior": 2.0}, {"step": 2, "seconds": 1, "prior": 1.0, "critic": 0.5}]
    picture = plot_terms(history)
    assert picture.shape[2] == 3
    # The first panel has a curve, the third, of no term, nothing.
    width = picture.shape[1] // 3
    assert (picture[:, :width] == (180, 90, 20)).all(axis=-1).any()
    assert (picture[:, 2 * width :] == 255).all()
