import warnings
from pathlib import Path

import numpy as np
import pytest

from out_of_step import FPS, film_out_of_step, person_at, rig_out_of_step
from posekit.apps.main import main
from posekit.calibration.formats import write_aniposelib
from posekit.io.timestamps import counts_moments, find_timestamps_of_keypoints
from posekit.keypoints import Keypoints3D
from scenes import ring_rig


def triangulated_mm(folder: Path, late: tuple[float, ...], known: tuple[float, ...]) -> float:
    """Median error of `posekit triangulate` on a person filmed by cameras that are late, with a rig that has them so late."""
    folder.mkdir(exist_ok=True)
    rig = ring_rig(len(late))
    film_out_of_step(rig, late, 60).save(folder / "keypoints2d.h5")
    write_aniposelib(folder / "calibration.toml", rig_out_of_step(rig, known))
    arguments = [
        str(folder / "keypoints2d.h5"),
        "--rig",
        str(folder / "calibration.toml"),
        "--out",
        str(folder / "out.h5"),
    ]
    assert main(["triangulate", *arguments]) == 0
    people = Keypoints3D.load(folder / "out.h5")
    truth = person_at(people.frames, 60)
    return float(1000 * np.nanmedian(np.linalg.norm(people.xyz[4:-4, 0] - truth[4:-4], axis=-1)))


def test_triangulate_brings_cameras_into_step_and_says_so(tmp_path, capsys):
    reference = triangulated_mm(tmp_path / "in", (0, 0, 0, 0), (0, 0, 0, 0))
    said = capsys.readouterr()
    assert "in step" not in said.out + said.err
    assert "into step" not in said.out + said.err
    late = (0, 2.4, -1.5, 0.3)
    assert triangulated_mm(tmp_path / "late", late, late) < 1.1 * reference  # as tests/people/test_in_step.py
    said = capsys.readouterr()
    for line in ("cam_2 is 2.4 frames late: brought into step", "cam_3 is 1.5 frames early: brought into step"):
        assert line in " ".join(said.err.split())
    # Half a frame or less is no reason to warn.
    triangulated_mm(tmp_path / "little", (0, 0.3, 0, 0), (0, 0.3, 0, 0))
    said = capsys.readouterr()
    assert "cam_2 is 0.3 frames late: brought into step" in said.out
    assert "0.3 frames" not in said.err
    assert triangulated_mm(tmp_path / "unknown", late, (0, 0, 0, 0)) > 2 * reference


def test_triangulate_takes_the_times_beside_the_keypoints(tmp_path, capsys):
    rows = ["sync_index,cam_id,frame_time"]
    late = (0, 0.4, -0.4, 0.2)
    rows += [f"{f},{c + 1},{(f + late[c]) / FPS:.9f}" for f in range(60) for c in range(4)]
    (tmp_path / "timestamps.csv").write_text("\n".join(rows) + "\n")
    triangulated_mm(tmp_path, late, (0, 0, 0, 0))
    assert "timestamps.csv: 60 moments, pictures up to 15 ms from them: brought into step" in capsys.readouterr().out
    moment = np.arange(60) + np.mean(late)
    people = Keypoints3D.load(tmp_path / "out.h5")
    with_times = np.linalg.norm(people.xyz[:, 0] - person_at(moment, 60), axis=-1)
    (tmp_path / "timestamps.csv").unlink()
    triangulated_mm(tmp_path, late, (0, 0, 0, 0))
    people = Keypoints3D.load(tmp_path / "out.h5")
    without = np.linalg.norm(people.xyz[:, 0] - person_at(moment, 60), axis=-1)
    assert np.nanmedian(with_times) < 0.8 * np.nanmedian(without)


def test_offsets_without_a_rate_are_one_line(tmp_path, capsys):
    rig = rig_out_of_step(ring_rig(4), (0, 1, 0, 0))
    filmed = film_out_of_step(rig, 0, 10)
    type(filmed)(filmed.xy, filmed.confidence, filmed.cameras, filmed.frames, filmed.skeleton).save(tmp_path / "a.h5")
    write_aniposelib(tmp_path / "rig.toml", rig)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = [str(tmp_path / "a.h5"), "--rig", str(tmp_path / "rig.toml"), "--out", str(tmp_path / "out.h5")]
        assert main(["triangulate", *arguments]) == 2
    assert "the capture names no rate: give --fps" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("keypoints", "times", "found"),
    [
        ("xy_HOLISTIC.csv", "timestamps.csv", True),
        ("HOLISTIC/xy_HOLISTIC.csv", "timestamps.csv", True),
        ("openpose/", "timestamps.csv.gz", True),
        ("openpose/", "videos/timestamps.csv", True),
        ("openpose/", "openpose/timestamps.csv", True),
        ("round_0/keypoints2d.h5", "timestamps.csv", False),
        ("keypoints2d.h5", "other/timestamps.csv", False),
    ],
)
def test_times_are_looked_for_where_captures_have_them(tmp_path, keypoints, times, found):
    for name in (keypoints, times):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (tmp_path / name).mkdir(exist_ok=True)
        else:
            (tmp_path / name).write_text("")
    there = find_timestamps_of_keypoints(tmp_path / keypoints)
    assert there == ((tmp_path / times).resolve() if found else None)


def test_caliscopes_tables_count_moments():
    assert counts_moments("recording/xy_HOLISTIC.csv")
    assert counts_moments("xy_HOLISTIC.csv.gz")
    assert not counts_moments("recording/openpose")
    assert not counts_moments("galaxy_1.csv")
