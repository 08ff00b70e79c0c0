import json

import pytest
import torch

from posekit.apps import bench_deformable
from posekit.apps.main import main
from posekit.ops.deformable import modulated_deform_conv2d


@pytest.fixture(autouse=True)
def _small_shapes(monkeypatch):
    monkeypatch.setattr(bench_deformable, "SHAPES", ((2, 3, 5, 6), (1, 4, 4, 3)))


def test_all_methods_are_timed_on_one_input_and_agree_with_the_loops(tmp_path, capsys):
    file, threads = tmp_path / "deformable.json", torch.get_num_threads()
    assert main(["bench", "deformable", "--threads", "1", "--repeats", "2", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert figures["threads"] == 1
    assert torch.get_num_threads() == threads
    assert [list(shape.values())[:4] for shape in figures["shapes"]] == [[2, 3, 5, 6], [1, 4, 4, 3]]
    for shape in figures["shapes"]:
        for work in ("forward", "forward_backward"):
            milliseconds = shape[f"{work}_ms"]
            assert all(value > 0 for value in milliseconds.values())
            ratio = milliseconds["posekit"] / milliseconds["conv2d"]
            assert shape[f"{work}_times_conv2d"] == pytest.approx(ratio)
            faster = milliseconds["grid_sample"] / milliseconds["posekit"]
            assert shape[f"{work}_faster_than_grid_sample"] == pytest.approx(faster)
        # float32, positions of a few px to 1e-7 of them: the method it is compared with computes the same thing
        assert 0 < shape["max_relative_error"]["posekit"] < 1e-5
        assert 0 < shape["max_relative_error"]["grid_sample"] < 1e-5
    printed = capsys.readouterr().out
    assert "2 x 3 x 5 x 6" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_the_methods_have_the_same_gradients():
    config = bench_deformable.DeformableBench()
    inputs = tuple(tensor.detach().double().requires_grad_() for tensor in bench_deformable._draw(config, (2, 3, 5, 6)))
    one = torch.autograd.grad(bench_deformable._by_grid_sample(*inputs).square().sum(), inputs)
    other = torch.autograd.grad(modulated_deform_conv2d(*inputs, padding=1).square().sum(), inputs)
    for first, second in zip(one, other, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)  # float64, places by another way


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--repeats", "0"], "--repeats"), (["--offset-px", "-1"], "--offset-px")],
)
def test_what_cannot_be_measured_is_said_in_one_line(arguments, message, capsys):
    assert main(["bench", "deformable", *arguments]) == 2
    assert message in capsys.readouterr().err
