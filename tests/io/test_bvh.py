from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from moving_person import moving_person
from posekit.errors import PosekitError
from posekit.io.bvh import euler_zxy, unwrap_zxy, write_bvh
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from scenes import PERSON


def people(xyz: NDArray[np.float64], frames: NDArray[np.int64] | None = None, fps: float | None = 50.0) -> Keypoints3D:
    """One person (F, J, 3)."""
    xyz = xyz[:, None]
    present = np.isfinite(xyz).all(-1)
    shape = xyz.shape[:3]
    return Keypoints3D(
        xyz,
        np.zeros((*shape, 6)),
        np.zeros((*shape, 1), bool),
        np.full((*shape, 1), np.nan),
        np.where(present, PointStatus.OK, PointStatus.TOO_FEW_VIEWS).astype(np.uint8),
        ("a",),
        np.arange(len(xyz)) if frames is None else frames,
        PERSON,
        fps,
        "test",
    )


class Motion:
    """A BVH file read as its grammar has it, word by word, and its joints' places by chained 4 x 4 matrices."""

    def __init__(self, path: Path) -> None:
        self.words = path.read_text(encoding="ascii").split()
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[list[float]] = []
        self.channels: list[list[str]] = []
        self.ends = 0
        self.take("HIERARCHY", "ROOT")
        self.joint(-1)
        self.take("MOTION", "Frames:")
        count = int(self.take())
        self.take("Frame", "Time:")
        self.frame_time = float(self.take())
        width = sum(map(len, self.channels))
        self.values = np.array([float(word) for word in self.words]).reshape(count, width)

    def take(self, *expected: str) -> str:
        for word in expected:
            assert self.words[0] == word
            self.words.pop(0)
        return "" if expected else self.words.pop(0)

    def vector(self) -> list[float]:
        self.take("OFFSET")
        return [float(self.take()) for _ in range(3)]

    def joint(self, parent: int) -> None:
        number = len(self.names)
        self.names.append(self.take())
        self.parents.append(parent)
        self.take("{")
        self.offsets.append(self.vector())
        self.take("CHANNELS")
        self.channels.append([self.take() for _ in range(int(self.take()))])
        children = 0
        while self.words[0] != "}":
            children += 1
            if self.words[0] == "End":
                self.take("End", "Site", "{")
                assert np.linalg.norm(self.vector()) > 0
                self.take("}")
                self.ends += 1
            else:
                self.take("JOINT")
                self.joint(number)
        assert children
        self.take("}")

    def places(self) -> NDArray[np.float64]:
        """(F, N, 3) in the file's unit."""
        result = np.empty((len(self.values), len(self.names), 3))
        for row, values in enumerate(self.values):
            matrices: list[NDArray[np.float64]] = []
            column = 0
            for number, channels in enumerate(self.channels):
                local = np.eye(4)
                local[:3, 3] = self.offsets[number]
                for channel in channels:
                    step, axis = np.eye(4), "XYZ".index(channel[0])
                    if channel.endswith("position"):
                        step[axis, 3] = values[column]
                    else:
                        a, b = (axis + 1) % 3, (axis + 2) % 3
                        angle = np.radians(values[column])
                        step[a, a] = step[b, b] = np.cos(angle)
                        step[b, a] = np.sin(angle)
                        step[a, b] = -np.sin(angle)
                    local = local @ step
                    column += 1
                parent = self.parents[number]
                matrices.append(local if parent == -1 else matrices[parent] @ local)
            result[row] = [matrix[:3, 3] for matrix in matrices]
        return result


def test_another_reader_finds_the_person_where_it_was(tmp_path):
    xyz = moving_person(40)
    figures = write_bvh(tmp_path / "a.bvh", people(xyz))
    motion = Motion(tmp_path / "a.bvh")
    assert motion.names[0] == "mid_hip"
    assert motion.frame_time == pytest.approx(1 / 50)
    assert motion.channels[0] == ["Xposition", "Yposition", "Zposition", "Zrotation", "Xrotation", "Yrotation"]
    assert set(map(tuple, motion.channels[1:])) == {("Zrotation", "Xrotation", "Yrotation")}
    assert motion.ends == motion.names.__len__() - len({p for p in motion.parents if p >= 0})
    names = [name for name in PERSON.joints if name in motion.names]
    assert len(names) == PERSON.joint_count
    found = motion.places()[:, [motion.names.index(name) for name in names]]
    wanted = 100 * xyz[..., (1, 2, 0)]  # cm, Y up
    error = 10 * np.linalg.norm(found - wanted, axis=-1)
    assert error.mean() < 0.02  # mm; see test_a_rigid_person_is_found_exactly
    assert error.max() < 0.5
    assert figures.mean_mm == pytest.approx(error.mean(), abs=1e-3)
    assert (figures.points, figures.missing, figures.left_out) == (40 * 67, 0, ())


def test_angles_do_not_jump_though_the_person_turns_twice_round(tmp_path):
    write_bvh(tmp_path / "a.bvh", people(moving_person(80)))
    motion = Motion(tmp_path / "a.bvh")
    steps = np.abs(np.diff(motion.values[:, 3:], axis=0))
    assert steps.max() < 90
    root = motion.values[:, 3:6]
    assert abs(root[-1, 2] - root[0, 2]) == pytest.approx(720, abs=15)


def test_world_axes_and_units_are_those_asked_for(tmp_path):
    xyz = moving_person(5)
    write_bvh(tmp_path / "z.bvh", people(xyz), up="z", unit="m")
    motion = Motion(tmp_path / "z.bvh")
    wrist = motion.places()[:, motion.names.index("left_wrist")]
    np.testing.assert_allclose(wrist, xyz[:, PERSON.index("left_wrist")], atol=2e-4)
    down = xyz @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T  # a world whose -y is up, as a camera's is
    write_bvh(tmp_path / "y.bvh", people(down), world_up="-y", unit="mm")
    motion = Motion(tmp_path / "y.bvh")
    heights = motion.places()[:, [motion.names.index(name) for name in ("head_top", "left_heel")], 1]
    np.testing.assert_allclose(heights[0], 1000 * xyz[0, PERSON.indices(("head_top", "left_heel")), 2], atol=1)


def test_frames_and_joints_that_are_missing_are_filled_and_counted(tmp_path):
    xyz = moving_person(30)
    truth = xyz.copy()
    xyz[10:13, PERSON.part("right_hand")] = np.nan
    keep = np.setdiff1d(np.arange(30), [20, 21])
    figures = write_bvh(tmp_path / "a.bvh", people(xyz[keep], keep))
    motion = Motion(tmp_path / "a.bvh")
    assert motion.values.shape[0] == 30
    assert figures.missing == 3 * 21 + 2 * 67
    head = motion.places()[:, motion.names.index("head_top")] / 100
    # Carried over through 3 of 30 frames of a person who turns by 25 degrees in each.
    assert np.linalg.norm(head - truth[:, PERSON.index("head_top")][:, (1, 2, 0)], axis=-1).max() < 0.1


def test_euler_angles_mean_the_rotation_also_where_two_axes_meet():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (200, 3))
    angles[:20, 1] = np.pi / 2
    angles[20:40, 1] = -np.pi / 2

    def matrix(axis: int, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.zeros((len(angle), 3, 3))
        turn[:, axis, axis] = 1
        turn[:, a, a] = turn[:, b, b] = np.cos(angle)
        turn[:, b, a], turn[:, a, b] = np.sin(angle), -np.sin(angle)
        return turn

    def rotation(zxy: NDArray[np.float64]) -> NDArray[np.float64]:
        return matrix(2, zxy[:, 0]) @ matrix(0, zxy[:, 1]) @ matrix(1, zxy[:, 2])

    # The arc sine loses half of the digits at its end.
    np.testing.assert_allclose(rotation(euler_zxy(rotation(angles))), rotation(angles), atol=1e-7)
    smooth = np.linspace((0, 0, 0), (9, 3, -7), 200)[:, None]
    wrapped = euler_zxy(rotation(smooth[:, 0]))[:, None]
    np.testing.assert_allclose(unwrap_zxy(wrapped), smooth, atol=1e-9)


def test_what_cannot_be_written_is_refused(tmp_path):
    xyz = moving_person(3)
    with pytest.raises(PosekitError, match="no person 1"):
        write_bvh(tmp_path / "a.bvh", people(xyz), 1)
    with pytest.raises(PosekitError, match="BVH needs a frame rate"):
        write_bvh(tmp_path / "a.bvh", people(xyz, fps=None))
    with pytest.raises(PosekitError, match="not one point of person 0"):
        write_bvh(tmp_path / "a.bvh", people(np.full_like(xyz, np.nan)))
    assert list(tmp_path.iterdir()) == []


def test_the_balancing_man_keeps_his_joints(tmp_path, shared_data):
    from posekit.io.trc import read_trc

    markers = read_trc(shared_data / "pose2sim_balancing" / "peer_3d" / "balancing_raw_0-100.trc")
    from posekit.io.trc import marker_name

    xyz = np.full((100, 67, 3), np.nan)
    for number, joint in enumerate(PERSON.joints):
        if marker_name(joint) in markers.names:
            xyz[:, number] = markers.xyz[:, markers.names.index(marker_name(joint))]
    figures = write_bvh(tmp_path / "a.bvh", replace(people(xyz), fps=60.0))
    # His bones, triangulated frame by frame with a rig of 10 px, change by some centimetres; fixed ones cannot follow.
    assert figures.median_mm < 25
    assert Motion(tmp_path / "a.bvh").values.shape[0] == 100
