from dataclasses import replace

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.people.held_out import held_out_cameras
from posekit.people.reconstruction import ReconstructionSettings, triangulate_people
from scenes import BODY_25B, Scene, observe, ring_rig, walk

SETTINGS = ReconstructionSettings(threshold_px=8.0)


def of_bodies(scene: Scene) -> Keypoints2D:
    body = slice(0, BODY_25B.joint_count)
    keypoints = scene.keypoints
    return replace(
        keypoints, xy=keypoints.xy[..., body, :], confidence=keypoints.confidence[..., body], skeleton=BODY_25B
    )


@pytest.fixture(scope="module")
def scene() -> Scene:
    people = [walk(4, (-0.8, 0), (-0.6, 0)), walk(4, (0.8, 0), (0.6, 0))]
    return observe(ring_rig(4), people, noise_px=1.0)


def test_the_others_foretell_what_is_true(scene):
    found = held_out_cameras(of_bodies(scene), scene.rig, SETTINGS)
    truth = np.stack([camera.project(scene.xyz[:, :, :25]) for camera in scene.rig.cameras], axis=1)
    off = np.linalg.norm(found.predicted_px - truth, axis=-1)
    # Three other views of 1 px each; what is out of the picture is not foretold.
    assert np.nanmax(off) < 8
    assert np.nanmedian(off) < 1.5
    inside = np.stack([camera.in_picture(truth[:, c]) for c, camera in enumerate(scene.rig.cameras)], axis=1)
    # But for joints at the very edge, which noise puts on the other side of it.
    assert (np.isfinite(off) == inside).mean() > 0.99
    # Their errors are those of the detections and of the three that foretell them: larger than the residuals of a fit.
    residual = triangulate_people(of_bodies(scene), scene.rig, SETTINGS).people.reprojection_px
    assert np.nanmean(found.error_px) > 1.3 * np.nanmean(residual)


def test_a_camera_that_lies_does_not_vouch_for_itself():
    scene = observe(ring_rig(6), [walk(3, (-0.3, 0), (0.3, 0))], noise_px=1.0)
    keypoints = of_bodies(scene)
    xy = keypoints.xy.copy()
    xy[:, 1] += (40, 0)
    found = held_out_cameras(replace(keypoints, xy=xy), scene.rig, SETTINGS)
    error = np.nanmedian(found.error_px, axis=(0, 2, 3))
    assert error[1] == pytest.approx(40, abs=1)
    # The four honest ones among the five others outvote it.
    assert np.delete(error, 1).max() < 3
    # What is foretold for it is what was foretold before: its own detections have no say in it.
    before = held_out_cameras(keypoints, scene.rig, SETTINGS).predicted_px[:, 1]
    assert np.array_equal(found.predicted_px[:, 1], before, equal_nan=True)


def test_what_is_not_detected_has_no_error_but_is_foretold(scene):
    keypoints = of_bodies(scene)
    xy = keypoints.xy.copy()
    xy[1, 2, 0, 5] = np.nan
    found = held_out_cameras(replace(keypoints, xy=xy), scene.rig, SETTINGS)
    assert np.isnan(found.error_px[1, 2, 0, 5])
    assert np.isfinite(found.predicted_px[1, 2, 0, 5]).all()
    # Seen by that camera and one other alone: the other cannot place it.
    xy[1, [0, 1], 0, 5] = np.nan
    xy[1, 2, 0, 5] = keypoints.xy[1, 2, 0, 5]
    assert np.isnan(held_out_cameras(replace(keypoints, xy=xy), scene.rig, SETTINGS).error_px[1, :, 0, 5]).all()


def test_three_cameras_that_must_all_agree(scene):
    names = scene.rig.names[:3]
    few = of_bodies(scene).select_cameras(names)
    strict = ReconstructionSettings(threshold_px=8.0, min_views=3)
    found = held_out_cameras(few, scene.rig.select(names), strict)
    assert np.isfinite(found.error_px).mean() > 0.9


def test_mistakes(scene):
    two = scene.rig.names[:2]
    with pytest.raises(PosekitError, match="has 2 cameras; to hold one out takes three or more"):
        held_out_cameras(of_bodies(scene).select_cameras(two), scene.rig.select(two))
    with pytest.raises(PosekitError, match="its cameras are not those of the ring"):
        held_out_cameras(of_bodies(scene), scene.rig.select(scene.rig.names[::-1]))
