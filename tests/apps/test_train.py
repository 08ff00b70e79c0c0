import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from posekit.apps import train_data
from posekit.apps.main import main
from posekit.apps.train import TrainConfig, _first_weights
from posekit.apps.train import main as train
from posekit.apps.train_card import command_of, data_of
from posekit.apps.train_data import drawn_hands, held_out_hands, held_out_index
from posekit.detection.detector_file import load_detector, read_training, save_detector
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.models.backbones.resnet import ResNet
from posekit.models.hand_networks import light_hand_cpm, tiny_hand_cpm
from posekit.skeleton import BODY_25B
from posekit.training.samples import LabelledCrops
from posekit.training.unlabelled import framed


def quiet(what: str, done: int, total: int) -> None:
    pass


@pytest.mark.usefixtures("few_hands_at_a_time")
def test_a_short_training_leaves_weights_a_card_and_a_record(tmp_path, capsys, monkeypatch):
    out = tmp_path / "hand.safetensors"
    train(
        TrainConfig(
            out,
            hands=6,
            backgrounds=3,
            held_out=4,
            steps=2,
            batch_size=2,
            sizes=("1:64", "1:128"),
            threads=1,
            cache=tmp_path / "hands",
        )
    )
    detector = load_detector(out)
    xy, confidence = detector.detect(np.zeros((1, 128, 128, 3), np.uint8))
    assert np.isfinite(xy).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    training = read_training(out)
    assert training["seen"] == 8 + 2  # of 64 px, then of 128 px
    assert training["finished"] is True
    card = out.with_suffix(".md").read_text()
    assert f"{training['held_out_pck_0.2']:.3f}" in card
    sizes = [line.split("|") for line in card.splitlines() if re.match(r"\| (\d+ to \d+|45 and more) \|", line)]
    assert sum(int(hands) for _, _, hands, *_ in sizes) == 4
    assert json.loads((tmp_path / "hand.run.json").read_text())["settings"]["seed"] == 0
    assert "PCK@0.2B" in capsys.readouterr().out
    # The drawn hands are kept: they need no drawing again, and do not pass for others.
    again = drawn_hands(tmp_path / "hands", 6, 3, 0, lambda what, done, total: pytest.fail("drawn again"))
    assert again.rgba[..., 3].max() == 255
    assert 0 < again.visible.mean() < 1
    losses = [json.loads(line) for line in (tmp_path / "hand.losses.jsonl").read_text().splitlines()]
    assert losses[-1]["step"] == 2
    with pytest.raises(PosekitError, match="seed: found 0, expected 1; name another --cache"):
        drawn_hands(tmp_path / "hands", 6, 3, 1, quiet)
    monkeypatch.setattr(train_data, "_generator", lambda: "another")
    with pytest.raises(PosekitError, match=r"generator: found \w+, expected another"):
        drawn_hands(tmp_path / "hands", 6, 3, 0, quiet)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no/such/folder/x.safetensors"], "no/such/folder"),
        (["x.pt"], ".safetensors"),
        (["x.safetensors", "--steps", "0"], "--steps: found 0"),
        (["x.safetensors", "--sizes", "1:100"], "--sizes: found '1:100'"),
        (["x.safetensors", "--sizes", "0.5:128", "0.5:64"], "expected the last to be of 128 px"),
        (["x.safetensors", "--network", "nonet"], "--network: found 'nonet'"),
        (["x.safetensors", "--unlabelled", "."], "teach nothing without --teacher"),
        pytest.param(
            ["x.safetensors", "--device", "cuda"],
            "--device: found 0 CUDA devices",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
        (["x.safetensors", "--data", "nokind:."], "--data: found 'nokind:.'"),
        (["x.safetensors", "--data", "freihand:none"], "none"),
        (["x.safetensors", "--crops-share", "1"], "--crops-share: found 1"),
        (["x.safetensors", "--start", "none.safetensors"], "none.safetensors"),
        (["x.safetensors", "--backbone-weights", "none.pth"], "none.pth: found no such file"),
        (["x.safetensors", "--backbone-weights", "a.pth", "--start", "b.safetensors"], "found beside --start"),
        (["x.safetensors", "--average", "none.safetensors"], "none.safetensors"),
        (["x.safetensors", "--seed", "-1"], "--seed: found -1"),
        (["x.safetensors", "--precision", "float16"], "precision: found float16 on cpu"),
        (["x.safetensors", "--seed", str(2**64)], "less than 2^62"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--cache", "is a file, not a folder (expected: a folder for --cache)"),
        ("--log", "is a file, not a folder (expected: a folder for --log)"),
        ("--checkpoint", "no checkpoint of this model: Weights only load failed\n"),  # without torch's advice
        ("--crops", "schema is 'posekit.keypoints2d/1', 'posekit.crops/1' was expected"),
    ],
)
def test_a_file_of_another_kind_is_told_of_before_hands_are_drawn(option, says, tmp_path, capsys, monkeypatch):
    body = np.zeros((1, 1, 1, 25, 2))
    Keypoints2D(body, np.ones(body.shape[:-1]), ("cam",), np.arange(1), BODY_25B).save(tmp_path / "other")
    before = (tmp_path / "other").read_bytes()
    monkeypatch.setattr("posekit.apps.train.drawn_hands", lambda *given: pytest.fail("drawn"))
    assert main(["train", str(tmp_path / "x.safetensors"), option, str(tmp_path / "other")]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1
    assert (tmp_path / "other").read_bytes() == before


def test_tensorboard_that_is_not_installed_is_told_of_before_hands_are_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setattr("posekit.apps.train.drawn_hands", lambda *given: pytest.fail("drawn"))
    assert main(["train", str(tmp_path / "x.safetensors"), "--log", str(tmp_path / "log")]) == 2
    assert "pip install 'posekit[tensorboard]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_backbone_begins_with_weights_from_outside_and_the_rest_with_the_seeds(tmp_path):
    torch.manual_seed(5)
    outside = ResNet(width=32).state_dict()
    save_file(outside, tmp_path / "resnet.safetensors")
    config = TrainConfig(
        tmp_path / "x.safetensors",
        network="resnet_dcnv2_hand_cpm",
        backbone_weights=tmp_path / "resnet.safetensors",
    )
    first, second = _first_weights(config), _first_weights(replace(config, seed=1))
    assert first.architecture == "resnet_dcnv2_hand_cpm"
    ours, others = first.model.state_dict(), second.model.state_dict()
    for name, value in outside.items():
        assert torch.equal(ours[f"backbone.backbone.{name}"], value)
    assert not torch.equal(ours["stages.0.0.weight"], others["stages.0.0.weight"])
    assert torch.equal(ours["stages.0.0.weight"], _first_weights(config).model.state_dict()["stages.0.0.weight"])
    assert "resnet.safetensors" in data_of(config)
    assert "no picture of a person" not in data_of(config)
    assert "no picture of a person" in data_of(replace(config, backbone_weights=None))
    with pytest.raises(PosekitError, match="no outside weights are known for PlainResidual"):
        _first_weights(replace(config, network="light_hand_cpm"))


def test_drawn_hands_are_told_apart_by_all_code_that_draws_them_and_no_other():
    read = set(train_data._drawing_modules())
    # The second four are not imported by synthetic_hands itself.
    near = {"synthetic_hands", "hand_renderer", "backgrounds", "photo_effects"}
    assert (
        near | {"background_scenes", "hand_markings", "hand_shading", "held_objects"} <= read
    )  # the last are not imported there
    assert not read & {"freihand", "labelled_hands", "synthetic_capture"}


@pytest.mark.usefixtures("few_hands_at_a_time")
def test_a_student_learns_from_a_teacher_pictures_without_labels_and_a_bootstraps_crops(tmp_path):
    """Resumed, too: the second run finds the first one's checkpoint of the last step, and ends with the same weights."""
    teacher = tmp_path / "teacher.safetensors"
    torch.manual_seed(0)
    save_detector(teacher, HandDetector(light_hand_cpm().eval()))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        cv2.imwrite(str(pictures / f"{number}.png"), rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
    config = TrainConfig(
        tmp_path / "student.safetensors",
        hands=4,
        backgrounds=2,
        held_out=2,
        steps=2,
        batch_size=2,
        sizes=("1:128",),
        threads=1,
        cache=tmp_path / "hands",
        teacher=teacher,
        unlabelled=pictures,
        checkpoint=tmp_path / "run.pt",
    )
    train(config)
    first = load_detector(config.out).model.state_dict()
    train(config)
    second = load_detector(config.out).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert "pictures without labels" in config.out.with_suffix(".md").read_text()
    assert read_training(config.out)["teacher"] == "teacher.safetensors"
    with pytest.raises(PosekitError, match="steps: found 2, expected 3"):
        train(replace(config, steps=3))


@pytest.mark.usefixtures("few_hands_at_a_time")
def test_the_trained_weights_are_averaged_with_those_named(tmp_path):
    start, out = tmp_path / "start.safetensors", tmp_path / "hand.safetensors"
    torch.manual_seed(3)
    save_detector(start, HandDetector(tiny_hand_cpm().eval(), 128, architecture="tiny_hand_cpm"), {})
    config = TrainConfig(
        out, hands=4, backgrounds=2, held_out=2, steps=1, batch_size=2, sizes=("1:128",), threads=1,
        start=start, cache=tmp_path / "hands",
    )  # fmt: skip
    train(config)
    alone = load_file(out)
    train(replace(config, out=tmp_path / "mean.safetensors", average=(start, out)))
    mean, before = load_file(tmp_path / "mean.safetensors"), load_file(start)
    name = "backbone.backbone.stem.0.weight"
    assert not torch.equal(alone[name], before[name])
    torch.testing.assert_close(mean[name], (2 * alone[name] + before[name]) / 3)
    assert "a mean with all weights of start.safetensors" in (tmp_path / "mean.md").read_text()
    with pytest.raises(PosekitError, match="found weights of tiny_hand_cpm, expected those of light_hand_cpm"):
        train(replace(config, start=None, average=(start,)))


@pytest.mark.usefixtures("few_hands_at_a_time")
def test_a_larger_network_begins_with_the_weights_of_a_smaller_one(tmp_path):
    start, out = tmp_path / "start.safetensors", tmp_path / "hand.safetensors"
    torch.manual_seed(3)
    save_detector(start, HandDetector(light_hand_cpm().eval()), {})
    config = TrainConfig(
        out, network="deep_light_hand_cpm", hands=4, backgrounds=2, held_out=2, steps=1, batch_size=2, sizes=("1:128",),
        threads=1, start=start, cache=tmp_path / "hands", learning_rate=1e-9,
    )  # fmt: skip
    train(config)
    after, before = load_file(out), load_file(start)
    assert load_detector(out).architecture == "deep_light_hand_cpm"
    for name in ("backbone.backbone.stem.0.weight", "stages.1.0.weight"):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)
    torch.testing.assert_close(after["stages.2.0.weight"], before["stages.1.0.weight"], rtol=0, atol=1e-6)
    train(
        replace(config, out=tmp_path / "mean.safetensors", average=(start, out), checkpoint=tmp_path / "checkpoint.pt")
    )
    mean = load_file(tmp_path / "mean.safetensors")["stages.2.0.weight"]
    torch.testing.assert_close(mean, before["stages.1.0.weight"], rtol=0, atol=1e-6)
    with pytest.raises(PosekitError, match="network: found deep_light_hand_cpm, expected light_hand_cpm"):
        train(replace(config, out=tmp_path / "x.safetensors", network=None, checkpoint=tmp_path / "checkpoint.pt"))
    with pytest.raises(
        PosekitError, match=r"hand\.safetensors: deep_light_hand_cpm is no part of light_hand_cpm: tensor"
    ):
        train(replace(config, out=tmp_path / "smaller.safetensors", start=out, network="light_hand_cpm"))


def test_held_out_hands_are_kept_as_they_were_drawn(tmp_path):
    drawn, read = (held_out_hands(3, 4, 1, quiet, tmp_path) for _ in range(2))
    for name in ("images", "joints", "weight", "visible", "seen_px"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(read, name))
    box = np.ptp(read.joints, axis=1).max(axis=1)
    assert (read.seen_px > 0.2 * box).all()
    assert (read.seen_px < 1.001 * box).all()


def test_what_measures_is_never_what_the_confidence_was_fitted_on():
    fitted, measured = ({held_out_index(number, part) for number in range(3500)} for part in (0, 1))
    assert len(fitted | measured) == 7000
    # The first thousand are those of the figures that were published.
    assert [held_out_index(number, part) for part in (0, 1) for number in (0, 999)] == [0, 999, 1000, 1999]


def test_the_command_in_the_card_is_what_was_asked_for_and_tells_no_folders(tmp_path):
    config = TrainConfig(
        tmp_path / "x.safetensors",
        hands=7,
        data=("freihand:/my/sets/FreiHAND", "rhd:/my/RHD"),
        sizes=("1:128",),
        teacher=Path("/there/big.safetensors"),
        cache=tmp_path,
        threads=3,
    )
    assert command_of(config) == (
        "posekit train x.safetensors --hands 7 --data freihand:FreiHAND rhd:RHD --sizes 1:128 --teacher big.safetensors"
    )


def test_crops_are_brought_to_the_size_of_the_drawn_ones():
    images = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(1, 6, 6, 3)
    crops = LabelledCrops(images, np.array([[[2.0, 3.0]]]), np.ones((1, 1)))
    larger, smaller = framed(crops, 10), framed(crops, 4)
    assert np.array_equal(larger.images[0, 2:8, 2:8], images[0])
    assert larger.images[0, 5, 4, 0] == images[0, 3, 2, 0]
    assert larger.joints.tolist() == [[[4.0, 5.0]]]
    assert np.array_equal(smaller.images[0], images[0, 1:5, 1:5])
    assert smaller.joints.tolist() == [[[1.0, 2.0]]]
