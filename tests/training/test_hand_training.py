from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from posekit.detection.hand_detector import HandDetector
from posekit.detection.hand_shapes import usual_hand_shapes
from posekit.errors import PosekitError
from posekit.models.hand_networks import light_hand_cpm
from posekit.training.hand_training import (
    HandTrainSettings,
    fit_detector,
    measure_detector,
    new_network,
    normalised_errors,
    train_hand_detector,
)
from posekit.training.samples import LabelledCrops
from posekit.training.settings import TrainSettings
from posekit.training.size_schedule import SizeSchedule


class Fixed(nn.Module):
    """Stands in for a network: every joint is at the crop's middle, joint j with height (j + 1) / 21."""

    stride = 4
    joints = 21

    def heatmaps(self, images: Tensor) -> Tensor:
        maps = torch.zeros(len(images), 21, 32, 32)
        maps[:, :, 16, 16] = (torch.arange(21) + 1) / 21
        return maps


def crops_with_joints_at(joints: np.ndarray) -> LabelledCrops:
    count = len(joints)
    return LabelledCrops(np.zeros((count, 128, 128, 3), np.uint8), joints, np.ones((count, 21)))


def test_errors_are_in_units_of_the_longer_side():
    truth = np.zeros((1, 21, 2))
    truth[0, :, 0] = np.linspace(10, 60, 21)
    truth[0, :, 1] = np.linspace(30, 50, 21)
    truth[0, 5] = np.nan
    error = normalised_errors(truth + np.array([3.0, 4.0]), truth)
    assert error[0, 0] == pytest.approx(5 / 50)
    assert np.isnan(error[0, 5])


def test_scores_by_hand():
    # Joint 0 and 1 set B = 100 px. Of the others 10 lie where the stand-in puts them (65.5), 9 lie 15 px away.
    joints = np.full((4, 21, 2), 65.5)
    joints[:, 0], joints[:, 1] = [5.5, 65.5], [105.5, 65.5]
    joints[:, 12:, 1] += 15
    scores = measure_detector(HandDetector(Fixed(), shapes=None), crops_with_joints_at(joints))
    assert scores.pck02 == pytest.approx(19 / 21)
    assert scores.pck01 == pytest.approx(10 / 21)
    assert scores.mean_hand_pck02 == 1.0  # all four hands are the same
    assert scores.joints == scores.all_joints == 84
    assert scores.epe_px == pytest.approx((60 + 40 + 9 * 15) / 21)
    assert scores.epe == pytest.approx(scores.epe_px / 100)
    assert scores.auc == pytest.approx((0 + 0.2 + 10 + 9 * 0.7) / 21)
    assert [one.pck02 for one in scores.per_joint] == [0, 0] + [1] * 19
    assert scores.per_joint[12].epe == pytest.approx(0.15)
    assert scores.per_joint[12].name == "middle_4"
    assert sum(one.joints for one in scores.calibration if one) == 84


def test_hidden_joints_count_apart():
    joints = np.full((4, 21, 2), 65.5)
    joints[:, 0], joints[:, 1] = [5.5, 65.5], [105.5, 65.5]
    crops = crops_with_joints_at(joints)
    visible = np.ones((4, 21), dtype=bool)
    visible[:, :2] = visible[3] = False
    scores = measure_detector(
        HandDetector(Fixed(), shapes=None), LabelledCrops(crops.images, joints, crops.weight, visible)
    )
    assert scores.pck02 == 1.0
    assert scores.all_pck02 == pytest.approx(19 / 21)
    assert (scores.joints, scores.all_joints) == (3 * 19, 84)
    assert np.isnan(scores.per_joint[0].pck02)


def test_small_hands_are_scored_apart_from_large_ones():
    joints = np.full((5, 21, 2), 65.5)
    joints[:, 0], joints[:, 1] = [15.5, 65.5], [115.5, 65.5]
    joints[1:3, 2:, 1] += 15  # of B = 100 px
    joints[3, 2:, 1] += 25
    crops = crops_with_joints_at(joints)
    sized = replace(crops, seen_px=np.array([19.9, 20.0, 29.9, 44.0, 200.0]))
    detector = HandDetector(Fixed(), shapes=None)
    assert measure_detector(detector, crops).by_size == ()
    sizes = measure_detector(detector, sized).by_size
    assert [(one.lowest_px, one.highest_px, one.hands) for one in sizes] == [
        (0, 20, 1), (20, 30, 2), (30, 45, 1), (45, np.inf, 1),
    ]  # fmt: skip
    # Joints 0 and 1 are half of B from where the stand-in puts everything.
    assert [one.pck02 for one in sizes] == pytest.approx([19 / 21, 19 / 21, 0, 19 / 21])
    assert [one.pck01 for one in sizes] == pytest.approx([19 / 21, 0, 0, 19 / 21])


class Unsure(nn.Module):
    """Stands in for a network that sees the same hand everywhere; (j + 1) / 21 of joint j's map lies where it has the joint."""

    stride = 4
    joints = 21

    def __init__(self) -> None:
        super().__init__()
        self.cells = (15.5 + 14 * usual_hand_shapes().joints[0]).round().long()

    def heatmaps(self, images: Tensor) -> Tensor:
        share = ((torch.arange(21) + 1) / 21)[:, None, None]
        maps = (1 - share).expand(21, 32, 32) / 32**2
        maps[torch.arange(21), self.cells[:, 1], self.cells[:, 0]] += share[:, 0, 0]
        return maps.expand(len(images), -1, -1, -1)


def test_a_fitted_detector_knows_how_sure_it_is():
    # The stand-in's answer for joint j is right in (j + 1) / 21 squared of the crops: it is too sure of itself.
    network = Unsure()
    rng = np.random.default_rng(0)
    right = rng.random((400, 21)) < ((np.arange(21) + 1) / 21) ** 2
    place = network.cells.numpy() * 4 + 1.5
    joints = np.where(right[..., None], place, place + rng.choice([-1, 1], (400, 21, 2)) * 50.0)
    detector = fit_detector(network, crops_with_joints_at(joints), 128)
    _, confidence = detector.detect(np.zeros((1, 128, 128, 3), np.uint8))
    # 16 knots over 21 scores, the flat ends included; 400 crops: standard error 0.025.
    assert np.abs(confidence[0] - ((np.arange(21) + 1) / 21) ** 2).max() < 0.1
    scores = measure_detector(detector, crops_with_joints_at(joints))
    assert scores.calibration_error < 0.04
    assert measure_detector(HandDetector(network), crops_with_joints_at(joints)).calibration_error > 0.1


def test_training_goes_on_from_a_detector_and_leaves_it_alone():
    rng = np.random.default_rng(0)
    joints = 128 * rng.random((40, 21, 2))
    held_out = LabelledCrops(rng.integers(0, 255, (40, 128, 128, 3), dtype=np.uint8), joints, np.ones((40, 21)))
    torch.manual_seed(3)
    start = HandDetector(light_hand_cpm().eval())
    before = {name: value.clone() for name, value in start.model.state_dict().items()}
    # A rate this small changes weights by 1e-9 a step: what comes out must still be the start.
    settings = HandTrainSettings(
        TrainSettings(steps=2, learning_rate=1e-9, weight_decay=0),
        batch_size=2,
        sizes=SizeSchedule([(1, 64), (1, 128)], blend=0.0),
    )
    detector, history = train_hand_detector(held_out, held_out, settings, start)
    assert history[-1]["step"] == 2
    for name, value in start.model.state_dict().items():
        assert torch.equal(value, before[name])
    weight = "stages.1.0.weight"
    torch.testing.assert_close(detector.model.state_dict()[weight], before[weight], rtol=0, atol=1e-7)


def test_a_network_of_another_name_is_refused():
    with pytest.raises(PosekitError, match=r"found 'no_such_net', expected one of: light_hand_cpm"):
        new_network("no_such_net")
