import numpy as np
import pytest
import torch
from rich.console import Console

from posekit.apps.bench_distillation import DistillationBench, print_figures, run, sources
from posekit.detection.detector_file import save_detector
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError
from posekit.models.hand_networks import light_hand_cpm
from posekit.training.composites import CompositedCrops


@pytest.mark.usefixtures("few_hands_at_a_time")
@pytest.mark.parametrize("labelled", [None, 2])
def test_both_students_stand_beside_the_teacher_and_the_mean_hand(labelled, tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    torch.manual_seed(0)
    save_detector(teacher, HandDetector(light_hand_cpm().eval()))
    config = DistillationBench(
        teacher,
        minutes=0.01,
        hands=4,
        labelled=labelled,
        backgrounds=2,
        held_out=4,
        batch_size=4,
        threads=1,
        cache=tmp_path / "hands",
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
    assert f"labels of {labelled or 'all'}" in text


def test_without_labels_only_a_teacher_learns():
    generator = np.random.default_rng(0)
    rgba, joints = generator.integers(0, 256, (6, 8, 8, 4), np.uint8), generator.random((6, 21, 2), np.float32)
    behind = generator.integers(0, 256, (1, 8, 8, 3), np.uint8)
    hands = CompositedCrops(rgba, joints, np.ones((6, 21), np.float32), behind)
    alone, taught = sources(hands, 2)
    drawn = alone.draw(40, generator)
    known = torch.from_numpy(joints[:2])
    assert (drawn.weight == 1).all()
    assert all((known == one).all(dim=(1, 2)).any() for one in drawn.joints)
    mixed = taught.draw(40, generator)
    of_known = torch.stack([(known == one).all(dim=(1, 2)).any() for one in mixed.joints])
    assert of_known.sum() == 20
    assert (mixed.weight == of_known[:, None].float()).all()
    assert sources(hands, None) == (hands, hands)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"student": "nonet"}, "found 'nonet'"),
        ({"minutes": 0.0}, "--minutes"),
        ({"hands": 0}, "--hands"),
        ({"labelled": 6000}, "--labelled: found 6000"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_mistakes_are_told_before_the_work(change, says, tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    save_detector(teacher, HandDetector(light_hand_cpm().eval()))
    with pytest.raises(PosekitError, match=says):
        run(DistillationBench(teacher, cache=tmp_path / "hands", **change))
    assert not (tmp_path / "hands").exists()
