import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lifted_people import KnowingLifter, camera, filmed, moving_person
from posekit.apps import lift_inputs
from posekit.apps.main import main
from posekit.calibration.formats import write_aniposelib
from posekit.camera import Rig
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import HAND_21, Skeleton

TRUTH = moving_person(40)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keypoints of a walking person, the rig of their camera, the truth in its world; the lifter knows the truth."""
    monkeypatch.setattr(lift_inputs, "choose_lifter", lambda weights: KnowingLifter(TRUTH, depth_noise=0.02))
    view = camera()
    filmed([TRUTH], view).save(tmp_path / "in.h5")
    write_aniposelib(tmp_path / "rig.toml", Rig((view,)), made_by="test")
    F, J = TRUTH.shape[:2]
    Keypoints3D(
        xyz=(TRUTH @ view.rotation)[:, None],
        covariance=np.full((F, 1, J, 6), 1e-6),
        inliers=np.ones((F, 1, J, 2), dtype=bool),
        reprojection_px=np.zeros((F, 1, J, 2)),
        status=np.zeros((F, 1, J)),
        cameras=("cam", "other"),
        frames=np.arange(F),
        skeleton=KnowingLifter(TRUTH).skeleton,
        fps=30.0,
        source="truth",
    ).save(tmp_path / "truth.h5")
    return tmp_path / "in.h5"


def run(given: Path, *more: str) -> int:
    return main(["lift", str(given), "--out", str(given.with_name("out.h5")), *more])


def test_a_lifted_person_stands_in_the_rigs_world_and_is_measured(given, tmp_path, capsys):
    assert run(given, "--rig", str(tmp_path / "rig.toml"), "--json", str(tmp_path / "lift.json")) == 0
    people = Keypoints3D.load(tmp_path / "out.h5")
    assert people.cameras == ("cam",)
    np.testing.assert_array_equal(people.status, PointStatus.LIFTED)
    truth = Keypoints3D.load(tmp_path / "truth.h5")
    assert np.linalg.norm(people.xyz - truth.xyz, axis=-1).mean() < 0.15  # the distance of 4 m follows from the size
    figures = json.loads((tmp_path / "lift.json").read_text())
    assert (figures["lens"], figures["height_given"], figures["persons"][0]["frames"]) == ("rig", False, 40)
    evaluated = ["evaluate", str(tmp_path / "out.h5"), str(tmp_path / "truth.h5"), "--json", str(tmp_path / "e.json")]
    (tmp_path / "actions.csv").write_text("first,last,action\n0,9,starting\n10,39,walking\n")
    assert main([*evaluated, "--actions", str(tmp_path / "actions.csv")]) == 0
    e = json.loads((tmp_path / "e.json").read_text())
    root = people.xyz[:, 0] - people.xyz[:, 0, :1]
    true = truth.xyz[:, 0] - truth.xyz[:, 0, :1]
    # The root is mid_hip, the first joint; 1e-6: nothing but rounding.
    assert e["mpjpe_mm"] == pytest.approx(1e3 * np.linalg.norm(root - true, axis=-1).mean(), rel=1e-6)
    assert 0 < e["pa_mpjpe_mm"] <= e["mpjpe_mm"] < 60
    assert e["pa_mpjpe_reflected_mm"] <= e["pa_mpjpe_mm"]
    assert e["pck150"] > 0.97
    assert e["symmetry_mm"] < 5
    assert [(a, one["frames"]) for a, one in e["actions"].items()] == [("starting", 10), ("walking", 30)]
    parts = [one["frames"] * one["pa_mpjpe_mm"] for one in e["actions"].values()]
    assert sum(parts) / 40 == pytest.approx(e["pa_mpjpe_mm"], rel=1e-6)


def test_the_pictures_size_is_guessed_from_the_whole_video():
    frames, slow = 20_000, np.zeros((20_000, 1, 1, 2, 2), dtype=np.float32)
    slow[...] = np.linspace(100, 1500, frames)[:, None, None, None, None] * (1.0, 0.5)
    keypoints = Keypoints2D(
        slow,
        np.ones(slow.shape[:-1]),
        ("cam",),
        np.arange(frames),
        Skeleton("TWO", ("a", "b"), (), (), {"body": (0, 1)}),
        30.0,
        "walk",
    )
    assert lift_inputs.usual_size(keypoints, "cam") == (1920, 1080)
    assert lift_inputs.usual_size(replace(keypoints, xy=slow * np.nan), "cam") is None


def test_left_and_right_that_the_detector_exchanged_are_exchanged_back_and_told(given, tmp_path, capsys):
    keypoints = Keypoints2D.load(given)
    rig = ("--rig", str(tmp_path / "rig.toml"), "--json", str(tmp_path / "lift.json"))

    def lifted(*options: str) -> tuple[np.ndarray, int]:
        assert run(given, *rig, *options) == 0
        figures = json.loads((tmp_path / "lift.json").read_text())
        return Keypoints3D.load(tmp_path / "out.h5").xyz, figures["persons"][0]["swapped_frames"]

    right, none = lifted()
    assert none == 0
    assert "--keep-swaps" not in capsys.readouterr().out
    xy = keypoints.xy.copy()
    xy[15:25] = xy[15:25][..., keypoints.skeleton.mirror, :]
    replace(keypoints, xy=xy).save(given)
    mended, told = lifted()
    assert told == 10
    assert "--keep-swaps leaves them" in capsys.readouterr().out
    # Hips and shoulders that lie in one place may stay as they were; nothing else differs.
    assert np.linalg.norm(mended - right, axis=-1).max() < 0.01
    kept, told = lifted("--keep-swaps")
    assert told == 0
    assert np.linalg.norm(kept - right, axis=-1)[15:25].mean() > 0.05


def test_what_several_cameras_missed_is_completed(given, tmp_path, capsys):
    truth = Keypoints3D.load(tmp_path / "truth.h5")
    status = truth.status.copy()
    status[10:15] = PointStatus.TOO_FEW_VIEWS
    xyz = np.where((status == 0)[..., None], truth.xyz, np.nan)
    holed = replace(
        truth,
        xyz=xyz,
        status=status,
        cameras=("cam",),
        inliers=truth.inliers[..., :1],
        reprojection_px=truth.reprojection_px[..., :1],
    )
    holed.save(tmp_path / "holed.h5")
    assert run(given, "--complete", str(tmp_path / "holed.h5"), "--rig", str(tmp_path / "rig.toml")) == 0
    done = Keypoints3D.load(tmp_path / "out.h5")
    np.testing.assert_array_equal(done.status[10:15], PointStatus.LIFTED)
    np.testing.assert_array_equal(done.xyz[:10], truth.xyz[:10])
    assert "75 joints added" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--height", "17"), "--height: found 17"),
        (("--camera", "left"), "has no camera 'left'; it has: cam"),
        (("--person", "3"), "--person 3: .* has 1 people"),
        (("--detector", "rtmpose"), "is no video"),
        (("--complete", "holed.h5"), "needs --rig"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(given, tmp_path, capsys, options, message):
    before = sorted(tmp_path.iterdir())
    assert run(given, *options) == 2
    # Only warnings, such as that of the picture's size, stand before it.
    line = capsys.readouterr().err.strip().splitlines()[-1]
    import re

    assert re.search(message, line), line
    assert sorted(tmp_path.iterdir()) == before


def test_a_skeleton_without_a_body_nobody_and_no_frames_are_told(given, tmp_path, capsys):
    def refused(keypoints: Keypoints2D) -> str:
        keypoints.save(given)
        assert run(given) == 2
        assert not (tmp_path / "out.h5").exists()
        return capsys.readouterr().err.strip().splitlines()[-1]

    blank = np.zeros((3, 1, 1, 21))
    hand = Keypoints2D(np.ones((3, 1, 1, 21, 2)), blank + 1, ("cam",), np.arange(3), HAND_21, 30.0, "hands")
    assert "found 0 of the 12 joints of arms and legs" in refused(hand)
    body = filmed([TRUTH], camera())
    nobody = refused(replace(body, confidence=0 * body.confidence))
    assert "nobody is seen in camera 'cam'" in nobody
    assert str(given) in nobody  # not only what the file was made of
    assert "nobody is seen in camera 'cam'" in refused(replace(body, xy=np.nan * body.xy))
    assert "holds no frame" in refused(
        replace(body, xy=body.xy[:0], confidence=body.confidence[:0], frames=body.frames[:0])
    )


def test_a_video_needs_a_detector_and_an_empty_folder_holds_nothing(given, tmp_path, capsys):
    (tmp_path / "film.mp4").write_bytes(b"")
    assert main(["lift", str(tmp_path / "film.mp4"), "--out", str(tmp_path / "out.h5")]) == 2
    assert "--detector rtmpose:body-with-feet finds the people" in capsys.readouterr().err
    (tmp_path / "nothing").mkdir()
    assert main(["lift", str(tmp_path / "nothing"), "--out", str(tmp_path / "out.h5")]) == 2
    assert "holds no 2D keypoints that are known" in capsys.readouterr().err
    assert not (tmp_path / "out.h5").exists()
