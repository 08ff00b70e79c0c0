import numpy as np
import pytest

from calibration_scenes import shaken
from posekit.calibration.people.refinement import refine_rig
from posekit.errors import PosekitError
from scenes import observe, ring_rig, walk


def film(frames: int = 60, noise_px: float = 2.0):
    rig = ring_rig(5)
    person = walk(frames, (-1.0, -0.5), (1.0, 0.6))
    return rig, observe(rig, [person], noise_px=noise_px, outlier_share=0.05).keypoints


def distance(rig, other) -> float:
    return max(
        float(np.linalg.norm(a.centre_world - b.centre_world)) for a, b in zip(rig.cameras, other.cameras, strict=True)
    )


def test_a_shaken_rig_is_mended_with_its_scale_and_its_place():
    rig, keypoints = film()
    rough = shaken(rig, 0.5, 0.03)
    refinement = refine_rig(keypoints, rough)
    assert refinement.improved
    assert refinement.after.median_px < 0.4 * refinement.before.median_px
    # 2 px of noise: what is left to see is a Rayleigh distribution of it, with its median at 1.18 sigma, and what points lack.
    assert refinement.after.median_px < 2.5
    # The world is that of the rough rig: cameras that were off by 3 cm each way leave it that far from the truth, not further.
    assert distance(refinement.rig, rig) < distance(rough, rig)
    width, true_width = (
        np.ptp([camera.centre_world[:2] for camera in one.cameras], axis=0) for one in (refinement.rig, rig)
    )
    assert width == pytest.approx(true_width, rel=0.01)  # 3 cm at either end of 8.4 m


def test_a_rig_that_is_right_is_left_alone():
    rig, keypoints = film()
    refinement = refine_rig(keypoints, rig)
    assert not refinement.improved
    assert refinement.rig is rig


def test_blocks_of_time_are_held_out():
    _, keypoints = film(100)
    held_out = refine_rig(keypoints, shaken(ring_rig(5), 0.5, 0.02)).held_out
    assert held_out[20:30].all()
    assert held_out[70:80].all()
    assert held_out.sum() == 20


def test_too_few_frames_are_refused():
    rig, keypoints = film(20)
    with pytest.raises(PosekitError, match="has 20 frames; to refine a rig and to judge it takes 30 or more"):
        refine_rig(keypoints, rig)
