import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.training.size_schedule import SizeSchedule, batch_of_equal_cost


def test_sizes_follow_the_run_and_mix_about_the_borders():
    schedule = SizeSchedule([(2, 64), (1, 96), (1, 128)], blend=0.1)
    rng = np.random.default_rng(0)
    assert {schedule.draw(part, rng) for part in np.linspace(0, 0.449, 50)} == {64}
    assert {schedule.draw(part, rng) for part in np.linspace(0.551, 0.699, 50)} == {96}
    assert {schedule.draw(part, rng) for part in np.linspace(0.801, 1.0, 50)} == {128}
    # At the border itself both sizes are as likely; a quarter of the blend further it is three in four.
    assert np.mean([schedule.draw(0.5, rng) == 96 for _ in range(600)]) == pytest.approx(0.5, abs=0.07)
    assert np.mean([schedule.draw(0.525, rng) == 96 for _ in range(600)]) == pytest.approx(0.75, abs=0.07)


def test_a_batch_of_smaller_crops_has_as_many_pixels():
    assert batch_of_equal_cost(24, 128, 64) == 96
    assert batch_of_equal_cost(24, 128, 96) == 43  # 42.7
    assert batch_of_equal_cost(24, 128, 128) == 24


def test_schedules_that_cannot_be_are_refused():
    with pytest.raises(PosekitError, match="share > 0"):
        SizeSchedule([])
    with pytest.raises(PosekitError, match="share > 0"):
        SizeSchedule([(0.0, 64), (1.0, 128)])
    with pytest.raises(PosekitError, match="blend"):
        SizeSchedule([(1.0, 128)], blend=2.0)
