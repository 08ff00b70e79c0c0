from pathlib import Path

import numpy as np
import pytest

from posekit.datasets.cmu_mocap import CMU_BONE_ENDS, read_cmu_arrays
from posekit.datasets.mocap import MocapClip, hold_out
from posekit.datasets.mocap_files import KINDS, load_mocap
from posekit.datasets.mocap_retarget import NOSE_FRONT, NOSE_UP, head_axes, retarget
from posekit.errors import PosekitError
from posekit.lifting.skeletons import LIFTER_15, REPNET_16, map_to_lifter
from posekit.skeleton import BODY_25, BODY_25B, COCO_17, H36M_17, HAND_21, apply_joint_map

STANDING = {
    "left_shoulder": (0, 0.2, 1.4),
    "right_shoulder": (0, -0.2, 1.4),
    "upper_neck": (0, 0, 1.5),
    "head_top": (0, 0, 1.7),
    "left_hip": (0, 0.1, 0.9),
    "right_hip": (0, -0.1, 0.9),
}
for side, sign in (("left", 1), ("right", -1)):
    STANDING |= {f"{side}_knee": (0.1, 0.1 * sign, 0.5), f"{side}_ankle": (0, 0.1 * sign, 0.1)}
    STANDING |= {f"{side}_elbow": (0, 0.3 * sign, 1.1), f"{side}_wrist": (0.2, 0.3 * sign, 1.0)}


def clip(joints: dict[str, tuple[float, float, float]] = STANDING, frames: int = 2, **more: object) -> MocapClip:
    """Somebody who looks along x, with the left side at +y."""
    xyz = np.repeat(np.array(list(joints.values()), dtype=np.float64)[None], frames, axis=0)
    values = {"name": "a", "subject": "1", "action": "standing", "fps": 30.0} | more
    return MocapClip(joints=tuple(joints), xyz=xyz, **values)


def test_joints_are_those_of_the_capture_and_what_is_made_of_them() -> None:
    xyz = retarget(clip(), LIFTER_15)[0]
    assert xyz.shape == (15, 3)
    for joint, place in STANDING.items():
        if joint in LIFTER_15:
            np.testing.assert_array_equal(xyz[LIFTER_15.index(joint)], place)
    np.testing.assert_allclose(xyz[LIFTER_15.index("mid_hip")], (0, 0, 0.9), atol=1e-12)
    np.testing.assert_allclose(xyz[LIFTER_15.index("neck")], (0, 0, 1.4), atol=1e-12)
    # Shoulders are 0.4 m apart; left is +y and up is +z, so that the front is +x.
    expected = (0.4 * NOSE_FRONT, 0, 1.4 + 0.4 * NOSE_UP)
    np.testing.assert_allclose(xyz[LIFTER_15.index("nose")], expected, atol=1e-12)


@pytest.mark.parametrize("ends", [("head_top",), ("upper_neck",), ("lower_neck", "upper_neck"), ("head",)])
def test_a_head_is_found_by_what_the_capture_has_of_it(ends: tuple[str, ...]) -> None:
    joints = {joint: place for joint, place in STANDING.items() if joint not in ("upper_neck", "head_top")}
    joints |= {joint: (0, 0, 1.4 + 0.1 * number) for number, joint in enumerate(ends, start=1)}
    neck, up, front, width = head_axes(clip(joints))
    np.testing.assert_allclose(neck[0], (0, 0, 1.4), atol=1e-12)
    np.testing.assert_allclose(up[0], (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(front[0], (1, 0, 0), atol=1e-12)
    assert width == pytest.approx(0.4)
    assert np.isfinite(retarget(clip(joints), LIFTER_15)).all()
    assert np.isfinite(retarget(clip(joints), REPNET_16)).all()


def test_what_was_not_measured_stays_missing() -> None:
    xyz = clip().xyz.copy()
    xyz[1, list(STANDING).index("left_hip")] = np.nan
    moved = retarget(MocapClip("a", "", "", 30.0, tuple(STANDING), xyz), LIFTER_15)
    missing = {LIFTER_15.joints[joint] for joint in np.flatnonzero(np.isnan(moved[1]).any(axis=-1))}
    assert missing == {"left_hip", "mid_hip"}
    assert np.isfinite(moved[0]).all()


def test_a_capture_without_a_joint_that_cannot_be_made_is_refused() -> None:
    joints = {joint: place for joint, place in STANDING.items() if joint != "left_wrist"}
    with pytest.raises(PosekitError, match=r"clip a: lacks left_wrist of LIFTER_15"):
        retarget(clip(joints), LIFTER_15)
    headless = {joint: place for joint, place in STANDING.items() if joint not in ("upper_neck", "head_top")}
    with pytest.raises(PosekitError, match=r"clip a: has no head_top, upper_neck or head"):
        retarget(clip(headless), LIFTER_15)


@pytest.mark.parametrize("source", [BODY_25, BODY_25B, COCO_17])
def test_detectors_joints_come_to_the_lifters_by_name(source: object) -> None:
    mapping = map_to_lifter(source)
    assert mapping.missing == ()
    points = np.random.default_rng(0).normal(size=(source.joint_count, 2))
    moved, _ = apply_joint_map(mapping, source, LIFTER_15, points)
    for joint in LIFTER_15.joints:
        words = {"mid_hip": "hip", "neck": "shoulder"}
        ends = (joint,) if joint in source else tuple(f"{side}_{words[joint]}" for side in ("left", "right"))
        np.testing.assert_allclose(moved[LIFTER_15.index(joint)], points[source.indices(ends)].mean(axis=0))


def test_human36m_has_no_nose_and_a_hand_is_no_body() -> None:
    assert map_to_lifter(H36M_17).missing == ("nose",)
    assert map_to_lifter(H36M_17, REPNET_16).missing == ()
    with pytest.raises(PosekitError, match=r"skeleton HAND_21: found 0 of the 12 joints"):
        map_to_lifter(HAND_21)


def test_clips_are_held_out_by_whole_subjects_and_actions() -> None:
    clips = [clip(name=f"{s}{a}", subject=s, action=a) for s in "12" for a in ("walking", "running")]
    kept, out = hold_out(clips, subjects=["2"])
    assert [c.name for c in kept] == ["1walking", "1running"]
    assert [c.name for c in out] == ["2walking", "2running"]
    kept, out = hold_out(clips, actions=["running"])
    assert {c.action for c in kept} == {"walking"}
    assert {c.action for c in out} == {"running"}
    with pytest.raises(PosekitError, match=r"hold out subject '7': no clip has it; there are: 1, 2"):
        hold_out(clips, subjects=["7"])
    with pytest.raises(PosekitError, match=r"0 clips would be left"):
        hold_out(clips, subjects=["1", "2"])


def test_a_rate_is_lowered_by_leaving_frames_out() -> None:
    fast = clip(frames=9, fps=120.0)
    assert fast.at_rate(30).fps == 30
    assert len(fast.at_rate(30).xyz) == 3
    assert fast.at_rate(200) is fast


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 0.0}, "found 0.0 frames per second"),
        ({"joints": ("a",) * len(STANDING)}, "two joints have one name"),
        ({"xyz": np.empty((0, len(STANDING), 3))}, "found joints of shape"),
    ],
)
def test_impossible_clips_are_refused(change: dict[str, object], message: str) -> None:
    values = {"name": "a", "subject": "", "action": "", "fps": 30.0, "joints": tuple(STANDING), "xyz": clip().xyz}
    with pytest.raises(PosekitError, match=message):
        MocapClip(**values | change)


def cmu_file(folder: Path, **change: np.ndarray) -> Path:
    rng = np.random.default_rng(1)
    amc = rng.normal(size=(3, 31, 3)).astype(np.float32)
    exp = rng.normal(size=(2, 38, 3)).astype(np.float32)
    exp[:, 16] = exp[:, 15]
    arrays = {"amc/02_01": amc, "exp/train_basketball_signal_basketball_signal_3": exp}
    arrays |= {"amc_joint_names": np.array(list(CMU_BONE_ENDS))}
    path = folder / "cmu.npz"
    np.savez(path, **arrays | change)
    return path


def test_cmu_arrays_are_turned_named_and_brought_to_one_scale(tmp_path: Path) -> None:
    path = cmu_file(tmp_path)
    with np.load(path) as file:
        amc, exp = file["amc/02_01"], file["exp/train_basketball_signal_basketball_signal_3"]
    first, second = load_mocap(f"cmu:{path}")
    assert (first.subject, first.action, second.action) == ("02", "walking", "basketball_signal")
    # Y up (x, y, z) is Z up (z, x, y).
    elbow = list(CMU_BONE_ENDS).index("lhumerus")
    np.testing.assert_array_equal(first["left_elbow"], amc[:, elbow][:, [2, 0, 1]])

    def legs(xyz: np.ndarray, places: tuple[tuple[int, int, int], ...]) -> float:
        spans = [
            np.linalg.norm(xyz[:, k] - xyz[:, h], axis=-1) + np.linalg.norm(xyz[:, a] - xyz[:, k], axis=-1)
            for h, k, a in places
        ]
        return float(np.median(np.concatenate(spans)))

    names = list(CMU_BONE_ENDS)
    chains = tuple(tuple(names.index(f"{s}{b}") for b in ("hipjoint", "femur", "tibia")) for s in "lr")
    factor = legs(amc, chains) / legs(exp, ((2, 3, 4), (8, 9, 10)))
    knee = exp[:, 3][:, [2, 0, 1]] * factor
    np.testing.assert_allclose(second["left_knee"], knee, rtol=1e-5)  # float32
    # The thorax goes on for as long as the upper back below it.
    lifted = (exp[:, 30] + exp[:, 15] - exp[:, 14])[:, [2, 0, 1]] * factor
    np.testing.assert_allclose(second["right_shoulder"], lifted, rtol=1e-4, atol=1e-5)  # float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amc/02_01": np.zeros((3, 5, 3), np.float32)}, r"'amc/02_01': found float32 \(3, 5, 3\)"),
        ({"amc_joint_names": np.array(["tail"] * 31)}, "found 'tail'"),
        ({"amc_joint_names": np.zeros(3)}, "not found as an array of texts"),
        ({"amc/02_01": np.array([{}], dtype=object)}, "no whole .npz of plain arrays"),
    ],
)
def test_other_arrays_are_refused_in_one_line(change: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match=message) as caught:
        read_cmu_arrays(cmu_file(tmp_path, **change))
    assert "\n" not in str(caught.value)


def test_a_damaged_file_an_empty_one_and_none_are_refused(tmp_path: Path) -> None:
    whole = cmu_file(tmp_path).read_bytes()
    path = tmp_path / "cut.npz"
    for raw in (whole[: len(whole) // 2], b"", b"no archive"):
        path.write_bytes(raw)
        with pytest.raises(PosekitError, match=r"cut.npz: is no whole .npz"):
            read_cmu_arrays(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(PosekitError, match=r"found no arrays amc/<clip> or exp/<clip>"):
        read_cmu_arrays(path)
    with pytest.raises(PosekitError, match=r"nothing.npz: no such file"):
        load_mocap(f"cmu:{tmp_path / 'nothing.npz'}")


@pytest.mark.parametrize("spec", ["", "cmu", "cmu:", "tail:x"])
def test_a_source_that_is_not_known_is_refused(spec: str) -> None:
    with pytest.raises(PosekitError, match=f"expected KIND:PATH with a kind of {', '.join(KINDS)}"):
        load_mocap(spec)


def test_the_recorded_arrays_are_people_of_one_size(shared_data: Path) -> None:
    clips = load_mocap(f"cmu:{shared_data / 'cmu_mocap' / 'cmu_joints_30hz.npz'}")
    assert len(clips) == 66
    bones = LIFTER_15.bones
    for subject in ("02", "unknown"):
        xyz = np.concatenate([retarget(c, LIFTER_15) for c in clips if c.subject == subject])
        lengths = {LIFTER_15.joints[b]: np.linalg.norm(xyz[:, a] - xyz[:, b], axis=-1) for a, b in bones}
        for joint in ("left_knee", "right_ankle", "left_elbow", "right_wrist", "left_hip"):
            # Rigid bones, up to the files' float32 and the middle of two hips.
            assert np.ptp(lengths[joint]) < 1e-5, joint
        assert np.median(lengths["left_knee"]) == pytest.approx(0.42, abs=0.03)
        trunk = np.median(lengths["neck"])
        assert trunk == pytest.approx(0.5, abs=0.03)
        # People stand on their feet most of the time, and look where their feet point.
        nose = xyz[:, LIFTER_15.index("nose")] - xyz[:, LIFTER_15.index("neck")]
        assert (nose[:, 2] > 0).mean() > 0.9
