import json
import math

import pytest
from rich.console import Console

from posekit.apps import bench_networks
from posekit.apps.bench_networks import NetworksBench, print_figures, run
from posekit.apps.main import main
from posekit.errors import PosekitError


@pytest.fixture
def few_published(monkeypatch):
    """Two networks, for the time: every one's count has a test of its own in tests/models."""
    few = tuple(row for row in bench_networks.published_networks() if row.name in ("clcNet-A", "ResNet-50 DCNv2"))
    monkeypatch.setattr(bench_networks, "published_networks", lambda: few)


def test_counts_stand_beside_the_published_ones(few_published):
    figures = run(NetworksBench(networks=("light_hand_cpm",), repeats=1, threads=1))
    clcnet, deformable = figures["published"]
    assert clcnet["parameters"] == pytest.approx(clcnet["published_parameters"], rel=2e-3)
    assert clcnet["macs"] == pytest.approx(clcnet["published_macs"], rel=2e-3)
    # ResNet-50, and 13 layers of 3x3 with a convolution of the same inputs to 27 maps: 4 of 128, 6 of 256, 3 of 512 channels.
    offsets = sum(count * (9 * 27 * width + 27) for count, width in ((4, 128), (6, 256), (3, 512)))
    assert deformable["parameters"] == 25_557_032 + offsets
    assert deformable["published_parameters"] is None
    assert clcnet["level_shapes"]["368"] == [(128, 92, 92), (256, 46, 46), (512, 23, 23), (1024, 12, 12)]
    (light,) = figures["hand_networks"]
    assert light["ms_per_hand"] > 0
    console = Console(width=80)
    with console.capture() as captured:
        print_figures(console, figures)
    assert "…" not in captured.get()
    assert "3.254 M  3.25 M  1.001  343.0 M  343 M  1.000" in captured.get()


@pytest.mark.usefixtures("few_hands_at_a_time")
def test_trained_alike_and_measured_on_hands_never_seen(few_published, tmp_path, capsys):
    arguments = [
        "--train-minutes",
        "0.02",
        "--hands",
        "4",
        "--backgrounds",
        "2",
        "--held-out",
        "4",
        "--batch-size",
        "2",
    ]
    chosen = ["--networks", "light_hand_cpm", "--repeats", "1", "--threads", "1"]
    out = tmp_path / "networks.json"
    code = main(["bench", "networks", *arguments, *chosen, "--cache", str(tmp_path / "hands"), "--json", str(out)])
    assert code == 0
    figures = json.loads(out.read_text())
    assert [row["name"] for row in figures["hand_networks"]] == ["light_hand_cpm"]
    for row in figures["hand_networks"]:
        assert row["crops_seen"] >= 2
        assert 0 <= row["pck01"] <= row["pck02"] <= 1
        assert math.isfinite(row["epe"])
        assert row["mean_hand_pck02"] == figures["mean_hand_pck02"]
    assert "constant mean hand" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (NetworksBench(networks=("other",)), "--networks: found 'other', expected one of: light_hand_cpm"),
        (NetworksBench(train_minutes=0.0), "--train-minutes: 0 is not a positive number"),
        (NetworksBench(held_out=0), "--held-out: 0 is not a positive number"),
        (NetworksBench(seed=-1), "--seed: found -1"),
    ],
)
def test_what_cannot_be_is_told_before_the_work(config, told):
    with pytest.raises(PosekitError, match=told):
        run(config)


def test_a_cache_without_a_training_is_refused(tmp_path):
    with pytest.raises(PosekitError, match="--cache: belongs to --train-minutes"):
        run(NetworksBench(cache=tmp_path))
