import json

import numpy as np
import pytest

from posekit.apps.main import main
from posekit.apps.train import TrainConfig, drawn_hands
from posekit.apps.train import main as train
from posekit.detection.detector_file import load_detector, read_training
from posekit.errors import PosekitError


def quiet(what: str, done: int, total: int) -> None:
    pass


def test_a_short_training_leaves_weights_a_card_and_a_record(tmp_path, capsys):
    out = tmp_path / "hand.safetensors"
    train(TrainConfig(out, hands=6, backgrounds=3, held_out=4, steps=2, batch_size=2, cache=tmp_path / "hands"))
    detector = load_detector(out)
    xy, confidence = detector.detect(np.zeros((1, 128, 128, 3), np.uint8))
    assert np.isfinite(xy).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    training = read_training(out)
    assert training["seen"] == 4
    assert training["finished"] is True
    card = out.with_suffix(".md").read_text()
    assert f"{training['held_out_pck_0.2']:.3f}" in card
    assert json.loads((tmp_path / "hand.run.json").read_text())["settings"]["seed"] == 0
    assert "PCK@0.2B" in capsys.readouterr().out
    # The drawn hands are kept: they need no drawing again, and do not pass for others.
    again = drawn_hands(tmp_path / "hands", 6, 3, 0, lambda what, done, total: pytest.fail("drawn again"))
    assert again.rgba[..., 3].max() == 255
    with pytest.raises(PosekitError, match="--cache"):
        drawn_hands(tmp_path / "hands", 6, 3, 1, quiet)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no/such/folder/x.safetensors"], "no/such/folder"),
        (["x.pt"], ".safetensors"),
        (["x.safetensors", "--steps", "0"], "--steps: found 0"),
        (["x.safetensors", "--small-size", "100"], "--small-size: found 100"),
        (["x.safetensors", "--start", "none.safetensors"], "none.safetensors"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
