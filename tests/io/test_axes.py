from itertools import product
from typing import get_args

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.axes import UpAxis, turn_up, z_up_from

AXES = get_args(UpAxis)


def unit(axis: str) -> np.ndarray:
    return (-1 if axis.startswith("-") else 1) * np.eye(3)["xyz".index(axis[-1])]


@pytest.mark.parametrize(("world", "file"), list(product(AXES, AXES)))
def test_up_becomes_up_and_nothing_is_mirrored(world, file):
    turn = turn_up(world, file)
    np.testing.assert_array_equal(turn @ unit(world), unit(file))
    assert np.linalg.det(turn) == pytest.approx(1)
    assert set(np.unique(np.abs(turn))) == {0, 1}  # axes and signs only: no number changes


def test_a_z_up_world_in_a_y_up_file_is_as_pose2sim_has_it():
    np.testing.assert_array_equal(turn_up("z", "y") @ (1, 2, 3), (2, 3, 1))
    np.testing.assert_array_equal(z_up_from("z"), np.eye(3))
    with pytest.raises(PosekitError, match="'up' is not known"):
        z_up_from("up")
