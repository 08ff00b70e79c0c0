import numpy as np
import pytest

from lifted_people import moving_person
from posekit.apps.bench_refinement import RefinementBench, _film, _motions
from posekit.errors import PosekitError
from posekit.lifting.skeletons import LIFTER_15


def test_filmed_people_stand_before_the_camera_and_their_joints_on_their_rays() -> None:
    person = moving_person(20)
    level = np.stack((person[..., 0], person[..., 2], -person[..., 1]), axis=-1)
    keypoints, camera, truth, height = _film(level, np.random.default_rng(0))
    assert truth[..., 2].min() > 2
    # Usual proportions are those of a person of 1.70 m.
    assert height == pytest.approx(1.7, rel=1e-6)
    off = np.linalg.norm(keypoints.xy[:, 0, 0] - camera.project(level), axis=-1)
    # A detector errs by 0.016 legs, which are 1100 px * 0.83 m / 3.5 m long at most.
    assert np.nanmedian(off) < 2 * 0.016 * 1100 * 0.83 / 3.5
    np.testing.assert_allclose(camera.project(level), (truth[..., :2] / truth[..., 2:]) * 1100 + (959.5, 539.5))


def test_what_cannot_be_filmed_is_told() -> None:
    with pytest.raises(PosekitError):
        _motions(RefinementBench(("cmu:nowhere.npz",)), LIFTER_15, np.random.default_rng(0))
