import json

import pytest

from posekit.apps.bench_bootstrap_scale import BootstrapScaleBench, day_figures, round_seconds
from posekit.errors import PosekitError

MEASURED = {
    "decode_s_per_picture": 0.01,
    "detect_s_per_hand": 0.002,
    "train_s_per_step": 0.36,
    "triangulate_s_per_hand": 0.001,
    "evidence_s_per_hand": 0.02,
    "bytes_2d_per_hand_and_view": 250.0,
    "bytes_3d_per_hand": 4000.0,
    "bytes_per_label": 1e4,
}


def test_a_day_is_what_one_frame_takes_many_times():
    config = BootstrapScaleBench(cameras=10, hours=1, fps=100, hands=2, labelled_frames=50, train_steps=10_000)
    day = day_figures(config, MEASURED)
    # By hand: 360,000 moments, 3.6 million pictures, 7.2 million hands in views, 500 labels.
    expected = {
        "pictures": 3.6e6,
        "decode_core_hours": 10.0,
        "detect_hours": 4.0,
        "triangulate_core_hours": 0.2,
        "evidence_core_hours": 4.0,
        "train_hours": 1.0,
        "keypoints2d_bytes": 1.8e9,
        "keypoints3d_bytes": 2.88e9,
        "labels": 500,
        "labels_bytes": 5e6,
    }
    assert day == pytest.approx(expected)


def test_the_day_of_the_issue_is_80_million_pictures():
    assert day_figures(BootstrapScaleBench(), MEASURED)["pictures"] == pytest.approx(80e6, rel=0.01)


def test_geometrys_share_is_that_of_its_steps(tmp_path):
    for number, seconds in (
        (0, {"detection": 5.0}),
        (1, {"labels": 1, "triangulation": 2, "evidence": 1, "training": 96}),
    ):
        (tmp_path / f"round_{number}").mkdir()
        (tmp_path / f"round_{number}" / "seconds.json").write_text(json.dumps(seconds))
    (only,) = round_seconds(tmp_path)
    assert only["round"] == "round_1"
    assert only["geometry_share"] == pytest.approx(0.04)
    with pytest.raises(PosekitError, match="holds no finished round"):
        round_seconds(tmp_path / "round_1")
