import pytest
import torch
from rich.console import Console

from posekit.apps.bench_distillation import DistillationBench, print_figures, run
from posekit.detection.detector_file import save_detector
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError
from posekit.models.hand_networks import light_hand_cpm


@pytest.mark.usefixtures("few_hands_at_a_time")
def test_both_students_stand_beside_the_teacher_and_the_mean_hand(tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    torch.manual_seed(0)
    save_detector(teacher, HandDetector(light_hand_cpm().eval()))
    config = DistillationBench(
        teacher, minutes=0.01, hands=4, backgrounds=2, held_out=4, batch_size=4, threads=1, cache=tmp_path / "hands"
    )
    figures = run(config)
    alone, taught, heavy = figures["rows"]
    assert alone["crops_seen"] >= 4
    assert taught["crops_seen"] >= 4
    assert "crops_seen" not in heavy
    # All three are measured on the same joints.
    assert len({(row["joints"], row["mean_hand_pck02"]) for row in figures["rows"]}) == 1
    assert all(0 <= row["pck01"] <= row["pck02"] <= 1 for row in figures["rows"])
    console = Console(width=120, record=True)
    print_figures(console, figures)
    text = console.export_text()
    assert "tiny_hand_cpm, with teacher" in text
    assert f"{alone['mean_hand_pck02']:.3f}" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"student": "nonet"}, "found 'nonet'"),
        ({"minutes": 0.0}, "--minutes"),
        ({"hands": 0}, "--hands"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_mistakes_are_told_before_the_work(change, says, tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    save_detector(teacher, HandDetector(light_hand_cpm().eval()))
    with pytest.raises(PosekitError, match=says):
        run(DistillationBench(teacher, cache=tmp_path / "hands", **change))
    assert not (tmp_path / "hands").exists()
