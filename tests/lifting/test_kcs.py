"""The kinematic chain space against values worked out by hand."""

import numpy as np
import pytest
import torch

from posekit.errors import PosekitError
from posekit.lifting.kcs import REPNET_BONES, body_parts, bone_matrix, bone_vectors, bones_of, kcs, upper_entries
from posekit.lifting.skeletons import LIFTER_15, REPNET_16

CHAIN = ((0, 1), (1, 2))


def test_two_bones_by_hand() -> None:
    # A thigh of 3 along x, a shin of 4 along y and 12 along z: lengths 3 and sqrt(160), a right angle between them.
    pose = torch.tensor([[[1.0, 1.0, 1.0], [4.0, 1.0, 1.0], [4.0, 5.0, 13.0]]], dtype=torch.float64)
    matrix = bone_matrix(CHAIN, 3).double()
    assert matrix.tolist() == [[-1, 0], [1, -1], [0, 1]]
    bones = bone_vectors(pose, matrix)
    assert bones[0].tolist() == [[3, 0, 0], [0, 4, 12]]
    assert kcs(bones)[0].tolist() == [[9, 0], [0, 160]]
    assert upper_entries(kcs(bones)).tolist() == [[9, 0, 160]]
    assert upper_entries(kcs(bones), [1]).tolist() == [[160]]


def test_kcs_is_the_papers_formula_and_blind_to_turns() -> None:
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(4, 16, 3))
    matrix = bone_matrix(REPNET_BONES, 16).double()
    psi = kcs(bone_vectors(torch.from_numpy(poses), matrix)).numpy()
    for pose, found in zip(poses, psi, strict=True):
        B = pose.T @ matrix.numpy()
        np.testing.assert_allclose(found, B.T @ B, atol=1e-12)  # rounding of float64
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turned = kcs(bone_vectors(torch.from_numpy(poses @ turn + 5.0), matrix)).numpy()
    np.testing.assert_allclose(turned, psi, atol=1e-11)  # rounding, and the shift by 5


def test_published_bones() -> None:
    assert len(REPNET_BONES) == 15
    names = {frozenset((REPNET_16.joints[a], REPNET_16.joints[b])) for a, b in REPNET_BONES}
    assert len(names) == 15
    assert frozenset(("right_hip", "left_hip")) in names
    assert frozenset(("left_hip", "mid_hip")) not in names
    # Every joint is reached: no joint is free to be anywhere.
    assert torch.linalg.matrix_rank(bone_matrix(REPNET_BONES, 16)) == 15


@pytest.mark.parametrize("skeleton", [LIFTER_15, REPNET_16])
def test_parts_cover_every_bone(skeleton) -> None:
    parts = body_parts(skeleton, bones_of(skeleton))
    assert len(parts) == 5
    assert {bone for part in parts for bone in part} == set(range(len(bones_of(skeleton))))
    left = [{skeleton.joints[joint] for bone in part for joint in bones_of(skeleton)[bone]} for part in parts[:4]]
    assert {"left_elbow", "left_wrist"} <= left[0]
    assert not any("left_knee" in part and "right_knee" in part for part in left)


def test_a_bone_of_no_joint_is_refused() -> None:
    with pytest.raises(PosekitError, match="found joints 0 and 3, expected two of 3"):
        bone_matrix(((0, 3),), 3)
