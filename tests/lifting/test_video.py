from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import solveh_banded

from lifted_people import TREE, KnowingLifter, camera, filmed, moving_person
from posekit.lifting.banded import second_difference_pull, smoothness_bands, solve_translations
from posekit.lifting.inputs import follow_people
from posekit.lifting.people import LiftSettings, lift_people
from posekit.lifting.skeletons import LIFTER_15
from posekit.lifting.video import RefinementSettings, bridged
from posekit.metrics import bone_lengths, pa_mpjpe_errors


def dense_differences(joined: np.ndarray) -> np.ndarray:
    rows = [np.eye(len(joined) + 1)[n : n + 3] for n in range(len(joined) - 1) if joined[n] and joined[n + 1]]
    return np.array([a - 2 * b + c for a, b, c in rows]).reshape(-1, len(joined) + 1)


JOINED = np.array([True, True, True, False, True, True, True, True, False])


def test_smoothness_is_that_of_dense_second_differences_across_no_break() -> None:
    D = dense_differences(JOINED)
    values = np.random.default_rng(0).normal(size=(10, 2, 3))
    expected = 7 * np.einsum("fg,gij->fij", D.T @ D, values)
    # 1e-12: sums of a few numbers of size 50.
    np.testing.assert_allclose(second_difference_pull(values, JOINED, 7.0), expected, atol=1e-12)
    bands = smoothness_bands(JOINED, 7.0)
    bands[2] += 1
    right = values.reshape(10, -1)
    np.testing.assert_allclose(
        solveh_banded(bands, right), np.linalg.solve(np.eye(10) + 7 * D.T @ D, right), atol=1e-12
    )


def test_translations_minimise_the_dense_cost() -> None:
    rng = np.random.default_rng(1)
    half = rng.normal(size=(10, 3, 3))
    normal, right, weights = (
        half @ half.swapaxes(1, 2) + 0.1 * np.eye(3),
        rng.normal(size=(10, 3)),
        np.array((3.0, 2, 1)),
    )
    D = dense_differences(JOINED)
    whole = np.zeros((30, 30))
    for n in range(10):
        whole[3 * n : 3 * n + 3, 3 * n : 3 * n + 3] = normal[n]
    for i in range(3):
        whole[i::3, i::3] += weights[i] * D.T @ D
    expected = np.linalg.solve(whole, right.ravel()).reshape(10, 3)
    # 1e-5: of rows that nothing holds, the solver adds 1e-9 of the largest weight.
    np.testing.assert_allclose(solve_translations(normal, right, JOINED, weights), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rate", [30.0, 240.0, 1000.0])
def test_smoothness_at_a_high_rate_draws_nobody_to_the_camera(rate: float) -> None:
    N = 500
    place, held = np.array((0.5, -0.2, 4.0)), 200.0  # as tightly as fifteen joints hold a distance
    normal = np.broadcast_to(held * np.eye(3), (N, 3, 3))
    right = np.broadcast_to(held * place, (N, 3))
    weights = np.full(3, (1.0 / rate**2) ** -2)
    found = solve_translations(normal, right, np.ones(N - 1, dtype=np.bool_), weights)
    # 2 mm: what rounding needs against a smoothness of 1e12, at 1000 frames a second.
    np.testing.assert_allclose(found, np.broadcast_to(place, (N, 3)), atol=0.002)


def test_bridged_rows_lie_straight_between_those_of_their_own_stretch() -> None:
    values = np.array([0, np.nan, 2, np.nan, np.nan, 10, np.nan, 12, np.nan, 5.0])[:, None]
    filled = bridged(values, JOINED)[:, 0]
    # Row 3 ends the first stretch, row 4 begins the second.
    np.testing.assert_allclose(filled, [0, 1, 2, 2, 10, 10, 11, 12, 12, 5])


@pytest.fixture(scope="module")
def lifted() -> dict[str, np.ndarray]:
    truth, view = moving_person(90), camera()
    people = follow_people(filmed([truth], view, noise_px=2.0), "cam", LIFTER_15)
    lifter = KnowingLifter(truth, depth_noise=0.06)
    out = {"truth": truth}
    for name, settings in (("plain", LiftSettings(refine=False)), ("refined", LiftSettings())):
        out[name] = lift_people(people, lifter, view, settings)[0].xyz
    return out


def test_refinement_takes_noise_of_single_frames_away(lifted: dict[str, np.ndarray]) -> None:
    error = {name: np.nanmean(pa_mpjpe_errors(lifted[name], lifted["truth"])) for name in ("plain", "refined")}
    # 60 mm of noise in depth are some 40 mm of PA-MPJPE. Networks err alike in neighbouring frames, so refinement is set to
    # trust the motion less than noise that is new in every frame, as here, would allow.
    assert 0.03 < error["plain"] < 0.07
    assert error["refined"] < 0.85 * error["plain"]


def test_refined_bones_keep_their_length(lifted: dict[str, np.ndarray]) -> None:
    spread = {name: bone_lengths(lifted[name], LIFTER_15.bones).std(axis=0).mean() for name in ("plain", "refined")}
    # 20 mm is what a bone's length may be off by in a frame; with the other frames' weight it is a tenth of that.
    assert spread["refined"] < 0.004 < 0.02 < spread["plain"]
    thighs = tuple((LIFTER_15.index(f"{side}_hip"), LIFTER_15.index(f"{side}_knee")) for side in ("left", "right"))
    left, right = bone_lengths(lifted["refined"], thighs).T
    assert abs(left.mean() - right.mean()) < 0.004


def test_the_motion_has_no_jumps(lifted: dict[str, np.ndarray]) -> None:
    def shake(xyz: np.ndarray) -> float:
        relative = xyz - xyz[:, :1]
        return float(np.abs(np.diff(relative, n=2, axis=0)).mean())

    # The true motion's own second differences are half as large again as the refined may be: it moves.
    assert shake(lifted["refined"]) < 1.5 * shake(lifted["truth"]) < 0.1 * shake(lifted["plain"])


def test_chunks_do_not_show() -> None:
    truth, view = moving_person(120), camera()
    people = follow_people(filmed([truth], view), "cam", LIFTER_15)
    lifter = KnowingLifter(truth, depth_noise=0.03)
    whole, pieces = (
        lift_people(people, lifter, view, LiftSettings(refinement=RefinementSettings(chunk=chunk, overlap=30)))[0].xyz
        for chunk in (4096, 40)
    )
    # Thirty frames beyond a cut hardly pull at it: some tenths of a millimetre, where the network errs by 30 mm.
    assert np.abs(whole - pieces).max() < 0.003


def test_missing_joints_and_frames_are_bridged_and_longer_gaps_are_not() -> None:
    truth, view = moving_person(120), camera()
    keypoints = filmed([truth], view)
    confidence = keypoints.confidence.copy()
    wrist = LIFTER_15.index("left_wrist")
    confidence[20:26, 0, 0, wrist] = 0
    confidence[50:58] = 0
    confidence[80:105] = 0
    people = follow_people(replace(keypoints, confidence=confidence), "cam", LIFTER_15)
    (person,) = lift_people(people, KnowingLifter(truth), view)
    assert sorted(set(range(120)) - set(person.rows.tolist())) == list(range(80, 105))
    row = {int(frame): n for n, frame in enumerate(person.rows)}
    hidden = [row[frame] for frame in range(20, 26)]
    error = np.linalg.norm(person.xyz[hidden, wrist] - truth[20:26, wrist], axis=-1)
    # The wrist swings by 0.3 m in these six frames, at the end of an arm's chain of bones whose depths add their errors.
    assert error.max() < 0.2
    assert not person.seen[hidden, wrist].any()
    assert not person.seen[[row[frame] for frame in range(50, 58)]].any()
    gone = np.linalg.norm(person.xyz[[row[f] for f in range(50, 58)]] - truth[50:58], axis=-1)
    # A quarter of a second of a swing that lasts 1.25 s, by what stands before and after it.
    assert gone.mean() < 0.12


def test_tree_holds_its_bones_together() -> None:
    xyz = np.random.default_rng(3).normal(size=(4, 15, 3))
    np.testing.assert_allclose(TREE.joints(TREE.bone_vectors(xyz)), xyz - xyz[:, :1], atol=1e-12)
    assert [LIFTER_15.joints[c] for _, c in TREE.bones[TREE.mirror]][:3] == ["neck", "right_hip", "left_hip"]
