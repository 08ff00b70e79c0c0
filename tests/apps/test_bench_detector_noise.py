import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from posekit.apps.bench_detector_noise import DetectorNoiseBench, print_figures, run
from posekit.calibration.formats import write_rig
from posekit.camera import Camera, Rig
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import BODY_25B


def test_the_figures_of_a_detector_and_of_a_body_are_printed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames, joints = 40, BODY_25B.joint_count
    xyz = np.repeat(rng.normal(scale=0.4, size=(1, 1, joints, 3)), frames, axis=0)
    matrix = np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]])
    rig = Rig(
        tuple(
            Camera(name, (1000, 1000), matrix, np.zeros(4), np.eye(3), np.array([x, 0.0, 5.0]))
            for name, x in (("a", 0.0), ("b", 0.5))
        )
    )
    shape = xyz.shape[:3]
    status = np.full(shape, PointStatus.OK, dtype=np.uint8)
    empty = np.zeros((*shape, 6)), np.zeros((*shape, 2), bool), np.full((*shape, 2), np.nan)
    Keypoints3D(xyz, *empty, status, ("a", "b"), np.arange(frames), BODY_25B, 30.0, "test").save(tmp_path / "points.h5")
    xy = np.stack([camera.project(xyz) for camera in rig.cameras], axis=1)
    xy += rng.normal(scale=2.0, size=xy.shape)
    Keypoints2D(
        xy.astype(np.float32), np.ones(xy.shape[:-1], np.float32), ("a", "b"), np.arange(frames), BODY_25B, 30.0
    ).save(tmp_path / "found.h5")
    write_rig(tmp_path / "rig.toml", rig)
    figures = run(DetectorNoiseBench(tmp_path / "found.h5", tmp_path / "points.h5", tmp_path / "rig.toml"))

    def length(a: str, b: str) -> float:
        return float(np.linalg.norm(xyz[0, 0, BODY_25B.index(a)] - xyz[0, 0, BODY_25B.index(b)]))

    leg = sum(length(f"{s}_hip", f"{s}_knee") + length(f"{s}_knee", f"{s}_ankle") for s in ("left", "right")) / 2
    assert figures["people"][0]["leg"] == pytest.approx(leg)
    assert figures["people"][0]["hips"] == pytest.approx(length("left_hip", "right_hip") / leg)
    # 2 px where a leg is about leg x 1000 / 5 px; the joints' middle is nearer or farther than 5 m by some centimetres.
    assert figures["detector"]["jitter"] == pytest.approx(2 / (200 * leg), rel=0.1)
    console = Console(file=sys.stdout, width=80, record=True)
    print_figures(console, figures)
    text = console.export_text()
    assert f"{figures['detector']['jitter']:.4f}" in text
    assert "forearm" in text
