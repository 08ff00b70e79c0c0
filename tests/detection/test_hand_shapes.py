import numpy as np
import pytest
import torch
from torch.nn import functional

from posekit.detection.decoding import decode_heatmaps, find_peaks
from posekit.detection.hand_shapes import HandShapes, shape_prior, usual_hand_shapes
from posekit.errors import PosekitError
from posekit.models.heatmaps import gaussian_heatmaps


def in_crop(shape: torch.Tensor, centre: tuple[float, float] = (66.0, 61.0), size: float = 58.0) -> torch.Tensor:
    return torch.tensor(centre) + size * shape


def test_shapes_of_labels_are_centred_and_of_size_one():
    labels = np.full((3, 21, 2), 7.0)
    labels[0, 3], labels[0, 8] = [17, 7], [7, 27]
    labels[1, 5] = np.nan
    labels[2, 0] = [8, 7]
    shapes = HandShapes.of_labels(labels)
    assert shapes.joints.shape == (2, 21, 2)
    np.testing.assert_allclose(shapes.joints[0, 3], [0.25, -0.5])
    np.testing.assert_allclose(shapes.joints[0, 8], [-0.25, 0.5])
    np.testing.assert_allclose(shapes.joints[1, 0], [0.5, 0.0])


def test_shapes_are_kept_to_a_hundredth(tmp_path):
    shapes = HandShapes(torch.rand(5, 21, 2) - 0.5)
    shapes.save(tmp_path / "shapes.safetensors")
    again = HandShapes.load(tmp_path / "shapes.safetensors")
    assert (again.joints - shapes.joints).abs().max() <= 0.005 + 1e-6  # half a step of 0.01


def test_a_damaged_file_is_one_line(tmp_path):
    path = tmp_path / "shapes.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(PosekitError, match="no shapes") as caught:
        HandShapes.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("joints", [torch.zeros(0, 21, 2), torch.zeros(4, 20, 2), torch.full((1, 21, 2), torch.nan)])
def test_what_is_no_hand_is_refused(joints):
    with pytest.raises(ValueError, match="shapes of hands"):
        HandShapes(joints)


def test_the_shapes_that_come_with_posekit_are_many_and_upright():
    joints = usual_hand_shapes().joints
    assert len(joints) >= 500
    # In most the middle knuckle lies above the wrist; only a hand that bends hard at the wrist has it below.
    assert (joints[:, 9, 1] < joints[:, 0, 1]).float().mean() > 0.9


def test_a_joint_with_two_peaks_goes_where_the_hand_has_it():
    shapes = usual_hand_shapes()
    hand = in_crop(shapes.joints[17])
    maps = gaussian_heatmaps(hand[None], (32, 32), 4)
    # The index finger's tip is nearly as likely on the little finger's, the little finger's on the index finger's.
    other = hand.clone()
    other[[8, 20]] = hand[[20, 8]]
    wrong = gaussian_heatmaps(other[None], (32, 32), 4)
    maps[:, [8, 20]] = 0.9 * maps[:, [8, 20]] + wrong[:, [8, 20]]
    assert (hand[8] - hand[20]).norm() > 15
    alone, _ = decode_heatmaps(maps, 4)
    together, _ = decode_heatmaps(maps, 4, shapes)
    errors = [np.linalg.norm(found[0] - hand.numpy(), axis=-1)[[8, 20]].max() for found in (alone, together)]
    assert errors[0] > 15
    assert errors[1] < 4  # px, a cell


def test_certain_joints_stay_where_they_are():
    # A hand that no shape is near: the fingers' tips exchanged throughout. Where the maps are sure, the prior has no say.
    hand = in_crop(usual_hand_shapes().joints[3])
    hand[[4, 8, 12, 16, 20]] = hand[[20, 16, 4, 8, 12]]
    maps = gaussian_heatmaps(hand[None], (32, 32), 4, sigma=1.0)
    found, _ = decode_heatmaps(maps, 4, usual_hand_shapes())
    # The prior pulls, but not across: 0.1 B. The tips were exchanged over 15 px and more.
    assert np.linalg.norm(found[0] - hand.numpy(), axis=-1).max() < 5.8


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.5])
def test_shapes_choose_and_the_maps_place(sigma):
    # Joints that lie beside those of all shapes, as of a hand with longer fingers, stay there, but for 0.01 B, however unsure.
    shapes = HandShapes(usual_hand_shapes().joints[:1])
    usual = in_crop(shapes.joints[0])
    generator = torch.Generator().manual_seed(0)
    aside = 8 * functional.normalize(torch.randn(21, 2, generator=generator), dim=1)
    maps = gaussian_heatmaps((usual + aside)[None], (32, 32), 4, sigma=sigma)
    found, _ = decode_heatmaps(maps, 4, shapes)
    assert np.linalg.norm(found[0] - (usual + aside).numpy(), axis=-1).max() < 0.01 * 58


def test_the_prior_of_the_very_shape_peaks_at_its_joints():
    shapes = HandShapes(usual_hand_shapes().joints[:1])
    hand = in_crop(shapes.joints[0])
    maps = gaussian_heatmaps(hand[None], (32, 32), 4)
    prior = shape_prior(maps, *find_peaks(maps), shapes)
    assert 0.95 < float(prior.max()) <= 1.0 + 1e-6
    peak, _ = find_peaks(prior)
    np.testing.assert_allclose(peak[0].numpy() * 4 + 1.5, hand.numpy(), atol=0.2)


def test_the_prior_is_that_of_one_shape_after_another():
    rng = np.random.default_rng(4)
    shapes = HandShapes(usual_hand_shapes().joints[::50])
    # More hands than are looked at together; some near the border, so that joints of their shapes lie outside the map.
    hands = torch.stack([in_crop(shapes.joints[k], (30.0 + 9 * k, 100.0 - 8 * k)) for k in range(10)])
    maps = gaussian_heatmaps(hands, (32, 32), 4) + 0.1 * torch.rand(10, 21, 32, 32)
    peaks, heights = find_peaks(maps)
    ours = shape_prior(maps, peaks, heights, shapes, nearest=3).numpy()
    grid = np.arange(32)
    for hand in rng.choice(10, 4, replace=False):
        peak, height = peaks[hand].double().numpy(), heights[hand].double().numpy()
        fitted, scores = [], []
        for shape in shapes.joints.double().numpy():
            middle, own = np.average(peak, axis=0, weights=height), np.average(shape, axis=0, weights=height)
            scale = (height[:, None] * (shape - own) * (peak - middle)).sum()
            scale = np.clip(scale / (height[:, None] * (shape - own) ** 2).sum(), 0.2 * 32, 0.75 * 32)
            at = middle + scale * (shape - own)
            x, y = np.round(at).astype(int).T
            inside = (x >= 0) & (y >= 0) & (x < 32) & (y < 32)
            seen = np.where(inside, maps[hand].numpy()[np.arange(21), y.clip(0, 31), x.clip(0, 31)], 0.0)
            fitted.append(at)
            scores.append(np.log(seen + 0.02).sum())
        best = np.argsort(scores)[::-1][:3]
        share = np.exp(0.5 * (np.array(scores)[best] - scores[best[0]]))
        expected = np.zeros((21, 32, 32))
        for part, place in zip(share / share.sum(), np.array(fitted)[best], strict=True):
            across, down = (np.exp(-0.5 * ((grid - place[:, [axis]]) / 3) ** 2) for axis in (0, 1))
            expected += part * down[:, :, None] * across[:, None, :]
        np.testing.assert_allclose(ours[hand], expected, atol=1e-4)  # float32, and a sum of logarithms
