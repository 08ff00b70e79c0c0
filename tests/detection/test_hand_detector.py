import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from posekit.detection.confidence import UNFITTED, ConfidenceCurve
from posekit.detection.detector_file import LIGHT_HAND_WEIGHTS, load_detector, read_training, save_detector
from posekit.detection.hand_box import HandBox, box_from_hand
from posekit.detection.hand_detector import HandDetector
from posekit.detection.hand_shapes import usual_hand_shapes
from posekit.detection.turns import agreed_turn
from posekit.errors import PosekitError
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.hand_networks import light_hand_cpm
from posekit.skeleton import HAND_21


class ColourCoded(nn.Module):
    """Stands in for a network: joint j answers to pixels whose red says j and whose green says how sure."""

    stride = 4
    joints = 21

    def heatmaps(self, images: Tensor) -> Tensor:
        value = images / 4 + 0.5
        wanted = (torch.arange(21) + 1)[None, :, None, None] / 25
        likeness = torch.exp(-((value[:, :1] - wanted).square()) / (2 * 0.006**2)) * value[:, 1:2]
        return nn.functional.avg_pool2d(likeness, 4)


def colour_coded_hand(joints: np.ndarray, size: tuple[int, int] = (640, 480), sure: float = 0.8) -> np.ndarray:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    rows, columns = np.mgrid[: size[1], : size[0]]
    for number, (x, y) in enumerate(joints):
        disc = (columns - x) ** 2 + (rows - y) ** 2 < 4.6**2
        image[disc] = [round(255 * (number + 1) / 25), round(255 * sure), 0]
    return image


def flat_hand() -> np.ndarray:
    """Joints of an upright hand about (0, 0), 100 px high, thumb to the left: 21 places at least 12 px apart."""
    joints = np.zeros((21, 2))
    joints[0] = [0, 50]
    for finger, x in enumerate((-40.0, -20, 0, 20, 40)):
        for number in range(4):
            joints[1 + 4 * finger + number] = [x, 10 - 20 * number]
    return joints


def turned(joints: np.ndarray, angle: float) -> np.ndarray:
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return joints @ rotation.T


HERE, THERE = np.array([300.0, 220.0]), np.array([200.0, 150.0])
# Its hand is drawn flat, as no hand is seen: every joint stands for itself.
DETECTOR = HandDetector(ColourCoded(), 128, shapes=None)


@pytest.mark.parametrize("angle", [0.0, 0.9, -2.5])
@pytest.mark.parametrize("left", [False, True])
def test_joints_come_back_in_the_picture(angle, left):
    shape = flat_hand() * ([-1, 1] if left else [1, 1])
    joints = turned(shape, angle) + HERE
    box = box_from_hand(joints[None], left)
    found, confidence = DETECTOR.detect_in_image(colour_coded_hand(joints), box)
    # The stand-in is good to a cell of 4 crop pixels, here 1.7 px each; joints are 20 px apart.
    assert np.linalg.norm(found[0] - joints, axis=-1).max() < 5
    assert confidence.min() > 0.05


def test_no_box_gives_nan_and_confidence_zero():
    joints = flat_hand() + HERE
    boxes = HandBox([[np.nan, 1.0], [300.0, 200.0]], 220.0)
    found, confidence = DETECTOR.detect_in_image(colour_coded_hand(joints), boxes)
    assert np.isnan(found[0]).all()
    assert (confidence[0] == 0).all()
    assert np.linalg.norm(found[1] - joints, axis=-1).max() < 5


def test_one_picture_for_each_box():
    first, second = flat_hand() + HERE, flat_hand() + THERE
    boxes = HandBox([[300.0, 200.0], [200.0, 130.0]], 220.0)
    found, _ = DETECTOR.detect_in_image([colour_coded_hand(first), colour_coded_hand(second)], boxes)
    assert np.linalg.norm(found - np.stack([first, second]), axis=-1).max() < 5


def test_an_unknown_direction_is_searched_and_the_right_one_kept():
    class Upright(ColourCoded):
        """Surer, the nearer the hand is to upright: answers are scaled by how far joint 9 stands above joint 0."""

        def heatmaps(self, images: Tensor) -> Tensor:
            maps = super().heatmaps(images)
            place = maps.flatten(2).argmax(-1) // maps.shape[-1]
            rise = (place[:, 0] - place[:, 9]).clamp_min(0) / 12
            return maps * rise[:, None, None, None]

    detector = HandDetector(Upright(), 128, shapes=None)
    joints = turned(flat_hand(), 2.2) + HERE
    box = HandBox(joints.mean(axis=0)[None], 230.0, np.nan)
    found, confidence = detector.detect_in_image(colour_coded_hand(joints), box, rotations=12)
    assert np.linalg.norm(found[0] - joints, axis=-1).max() < 5
    assert confidence.mean() > 0.1


def test_all_turns_are_one_batch_and_equal_single_looks():
    looks = []

    class Counting(ColourCoded):
        def heatmaps(self, images: Tensor) -> Tensor:
            looks.append(len(images))
            return super().heatmaps(images)

    detector = HandDetector(Counting(), 128, shapes=None)
    pictures = [colour_coded_hand(turned(flat_hand(), angle) + HERE) for angle in (0.4, 2.0, -1.3)]
    angles = np.array([np.nan, 0.0, np.nan])
    boxes = HandBox([HERE] * 3, [230.0, 230.0, 150.0], angles, [False, True, True])
    found, confidence = detector.detect_in_image(pictures, boxes, rotations=6)
    assert looks == [3, 2 * 5]
    for row in range(3):
        single = [
            DETECTOR.detect_in_image(pictures[row], HandBox(HERE[None], boxes.side[row], angle, boxes.left[row]))
            for angle in (2 * np.pi * np.arange(6) / 6 if np.isnan(angles[row]) else angles[row : row + 1])
        ]
        all_xy, all_sure = (np.stack(parts, axis=1) for parts in zip(*single, strict=True))
        best = agreed_turn(all_xy, all_sure)[0]
        np.testing.assert_allclose(confidence[row], single[best][1][0], atol=1e-6)  # float32, in another batch
        np.testing.assert_allclose(found[row], single[best][0][0], atol=1e-3)


def test_a_second_pass_follows_the_hand_that_the_first_found():
    # The box is far too large: the first crop shows every disc as a dot of two pixels, low and coarse.
    joints = flat_hand() + HERE
    image = colour_coded_hand(joints)
    box = HandBox([[330.0, 230.0]], 420.0)
    detector = HandDetector(ColourCoded(), 128, shapes=None)
    once, _ = detector.detect_in_image(image, box)
    twice, _ = detector.detect_in_image(image, box, passes=2)
    error = [np.linalg.norm(found[0] - joints, axis=-1).mean() for found in (once, twice)]
    assert error[1] < 0.8 * error[0]


def test_wrong_crops_are_refused():
    with pytest.raises(ValueError, match="uint8 crops"):
        DETECTOR.detect(np.zeros((1, 64, 64, 3), np.uint8))


def test_a_network_whose_answers_are_no_numbers_is_one_line():
    class Overflowing:
        joints, stride = 21, 4

        def heatmaps(self, images):
            return torch.full((len(images), 21, 32, 32), torch.inf)

    with pytest.raises(PosekitError, match="is no number: its weights are damaged"):
        HandDetector(Overflowing()).detect(np.zeros((1, 128, 128, 3), np.uint8))


def warmed_up_model() -> ConvolutionalPoseMachine:
    torch.manual_seed(0)
    model = light_hand_cpm()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
    return model.eval()


def test_folding_batch_norms_changes_no_answer():
    detector = HandDetector(warmed_up_model())
    folded = detector.fused()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.model.modules())
    images = torch.rand(2, 3, 128, 128)
    with torch.inference_mode():
        for before, after in zip(detector.model(images), folded.model(images), strict=True):
            torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)  # float32 through 20 layers
    assert any(isinstance(module, nn.BatchNorm2d) for module in detector.model.modules())


@pytest.mark.parametrize("shapes", [None, usual_hand_shapes()], ids=["alone", "shapes"])
def test_a_saved_detector_loads_as_it_was(tmp_path, shapes):
    path = tmp_path / "hand.safetensors"
    curve = ConfidenceCurve(np.array([0, 0.3, 1.0]), np.array([0, 0.8, 0.95]))
    detector = HandDetector(warmed_up_model(), 128, shapes, curve)
    save_detector(path, detector, {"seed": 7})
    loaded = load_detector(path)
    assert loaded.crop_size == 128
    np.testing.assert_array_equal(loaded.confidence.score, curve.score)
    assert loaded.shapes is shapes
    assert read_training(path) == {"seed": 7}
    assert path.stat().st_size < 4e6
    assert path.stat().st_mode & 0o777 == 0o644
    images = torch.rand(1, 3, 128, 128)
    with torch.inference_mode():
        before, after = detector.model(images)[-1], loaded.model(images)[-1]
    # float16 weights: 11 bits, and 20 layers of rounding that partly cancels.
    assert (before - after).abs().max() < 0.01 * before.abs().max()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p, t, h: p.write_bytes(p.read_bytes()[:1000]), "safetensors"),
        (lambda p, t, h: p.write_bytes(b""), "safetensors"),
        (lambda p, t, h: p.unlink(), "no such file"),
        (lambda p, t, h: (p.unlink(), p.mkdir()), "is a folder, not a file"),
        (lambda p, t, h: save_file(t, p), "format"),
        (lambda p, t, h: save_file(t, p, {**h, "architecture": "other"}), "architecture"),
        (
            lambda p, t, h: save_file({k: v for k, v in t.items() if "stages.0.0.weight" not in k}, p, h),
            "stages.0.0.weight",
        ),
        (lambda p, t, h: save_file({**t, "more": torch.zeros(1)}, p, h), "more"),
        (lambda p, t, h: save_file({k: v * float("nan") for k, v in t.items()}, p, h), "no numbers"),
        (lambda p, t, h: save_file(t, p, {**h, "crop_size": "100"}), "crop_size"),
        (lambda p, t, h: save_file(t, p, {**h, "confidence_score": "[1, 0]"}), "rising"),
        (lambda p, t, h: save_file(t, p, {**h, "decoding": "guess"}), "decoding"),
        (lambda p, t, h: save_file(t, p, {**h, "joints": json.dumps(["tip"])}), "joints"),
        (lambda p, t, h: save_file(t, p, {k: v for k, v in h.items() if k != "crop_size"}), "crop_size"),
    ],
)
def test_a_wrong_or_damaged_file_is_one_clear_line(tmp_path, damage, says):
    path = tmp_path / "hand.safetensors"
    save_detector(path, HandDetector(light_hand_cpm()))
    tensors = load_file(path)
    header = {
        "format": "posekit hand detector 1",
        "architecture": "light_hand_cpm",
        "crop_size": "128",
        "joints": json.dumps(HAND_21.joints),
        "confidence_score": "[0, 1]",
        "confidence_probability": "[0, 1]",
        "decoding": "shapes",
    }
    damage(path, tensors, header)
    with pytest.raises(PosekitError, match=says) as caught:
        load_detector(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_older_file_has_no_curve_for_these_scores(tmp_path):
    path = tmp_path / "hand.safetensors"
    curve = ConfidenceCurve(np.array([0, 0.3, 1.0]), np.array([0, 0.8, 0.95]))
    save_detector(path, HandDetector(light_hand_cpm(), confidence=curve))
    with safe_open(path, "pt") as file:
        header = {**file.metadata(), "bone_longest": "[1]", "bone_spread": "0.15"}
    del header["decoding"]
    save_file(load_file(path), path, header)
    loaded = load_detector(path)
    assert loaded.confidence is UNFITTED
    assert loaded.shapes is usual_hand_shapes()


def test_a_network_that_is_not_torchs_stands_in():
    class Elsewhere:
        """As a network in another runtime: it has maps, and nothing else of torch's modules."""

        joints, stride = 21, 4

        def heatmaps(self, images: Tensor) -> Tensor:
            return ColourCoded().heatmaps(images)

    joints = flat_hand() + HERE
    box = box_from_hand(joints[None])
    ours, theirs = DETECTOR, HandDetector(Elsewhere(), 128, shapes=None).fused()
    for one, other in zip(*(d.detect_in_image(colour_coded_hand(joints), box) for d in (ours, theirs)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(PosekitError, match="device cuda: this network is not torch's"):
        theirs.to("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which is no mistake")
def test_a_device_that_is_not_there_is_one_line():
    with pytest.raises(PosekitError, match="device cuda: torch cannot use it") as caught:
        HandDetector(light_hand_cpm()).to("cuda")
    assert "\n" not in str(caught.value)


def test_other_crop_sizes_than_128():
    joints = flat_hand() + HERE
    detector = HandDetector(ColourCoded(), 192, shapes=None)
    found, _ = detector.detect_in_image(colour_coded_hand(joints), box_from_hand(joints[None]))
    assert np.linalg.norm(found[0] - joints, axis=-1).max() < 4  # a cell of 4 of 192 px is 4.6 px of the picture


def test_an_unknown_architecture_is_not_saved(tmp_path):
    with pytest.raises(PosekitError, match="other"):
        save_detector(tmp_path / "x.safetensors", HandDetector(light_hand_cpm(), architecture="other"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not LIGHT_HAND_WEIGHTS.exists(), reason="the weights that come with posekit are not in this tree")
def test_the_weights_that_come_with_posekit_load():
    detector = load_detector()
    assert detector.crop_size == 128
    # Two bytes a parameter, and 20 MB for all that comes with posekit.
    assert LIGHT_HAND_WEIGHTS.stat().st_size < 2.1 * sum(value.numel() for value in detector.model.parameters())
    assert sum(path.stat().st_size for path in LIGHT_HAND_WEIGHTS.parent.iterdir()) < 20e6
    assert read_training()["data"]
