import copy
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from posekit.apps.main import main
from posekit.detection.confidence import ConfidenceCurve
from posekit.detection.detector_file import ARCHITECTURES, load_detector, save_detector
from posekit.detection.hand_detector import HandDetector
from posekit.detection.hand_shapes import usual_hand_shapes
from posekit.detection.onnx_network import OnnxHeatmaps, export_onnx, load_onnx_detector
from posekit.errors import PosekitError
from posekit.models.backbones.vgg import VggTrunk
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.hand_networks import SKELETON_NETWORKS
from posekit.ops.layers import ModulatedDeformConv2d
from posekit.skeleton import Skeleton

CURVE = ConfidenceCurve(np.array([0.0, 0.2, 0.9]), np.array([0.0, 0.5, 0.95]))
#: Without OpenPose's network, whose file is 147 MB; its kind, heights and a background from VGG, stands below.
TRACED = [name for name in ARCHITECTURES if name != "openpose_hand_cpm"]


def make_detector(name: str = "light_hand_cpm", size: int = 64) -> HandDetector:
    """An untrained detector whose batch norms do something: their scales are drawn, their statistics those of noise.

    With statistics that are drawn, too, what goes through many layers grows until rounding decides.
    """
    torch.manual_seed(1)
    model = ARCHITECTURES[name]()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.2)
            elif isinstance(layer, ModulatedDeformConv2d):
                layer.conv_offset.weight.normal_(0, 0.005)
        model.train()(torch.randn(8, 3, size, size))
        model.eval()
        # Untrained maps are all but flat, which agree whatever is written, or so steep that rounding decides.
        logits = model(torch.randn(1, 3, size, size))[-1]
        model.stages[-1][-1].weight *= 2 / logits.std()
    return HandDetector(model, size, usual_hand_shapes(), CURVE, architecture=name)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "hand.onnx"
    detector = make_detector()
    export_onnx(path, detector, {"seed": 3})
    return path, detector


def heights(detector: HandDetector, images: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return detector.model.heatmaps(images).numpy()


@pytest.mark.parametrize("name", TRACED)
def test_heights_are_those_of_torch_in_batches_of_any_size(tmp_path, name):
    detector = make_detector(name)
    told = export_onnx(tmp_path / "hand.onnx", detector)
    network = OnnxHeatmaps(tmp_path / "hand.onnx", threads=1)
    assert (network.joints, network.stride, network.crop_size) == (21, detector.model.stride, 64)
    exact = replace(detector, model=copy.deepcopy(detector.model).double())
    for batch in (1, 2, 5):
        images = torch.randn(batch, 3, 64, 64)
        expected = heights(detector, images)
        assert expected.std() > 0.02
        # float32, summed in another order through up to fifty layers; where that matters more, as torch's own does.
        rounding = np.abs(heights(exact, images.double()) - expected).max()
        tolerance = max(1e-4 * max(1, expected.max()), 4 * rounding)
        assert tolerance < 0.02 * expected.max()
        np.testing.assert_allclose(network.heatmaps(images).numpy(), expected, rtol=0, atol=tolerance)
    assert told < 0.02 * expected.max()


def test_heights_with_a_background_and_without_a_distribution(tmp_path):
    model = ConvolutionalPoseMachine(
        VggTrunk(16), 16, 21, stages=2, stride=8, first_channels=16, stage_channels=8
    ).eval()
    export_onnx(tmp_path / "hand.onnx", HandDetector(model, 64, architecture="a VGG of mine"))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = model(images)[-1][:, :21].numpy()
    found = OnnxHeatmaps(tmp_path / "hand.onnx").heatmaps(images).numpy()
    assert found.shape == (2, 21, 8, 8)
    np.testing.assert_allclose(found, expected, atol=1e-5)  # float32, values below 1


def test_a_detector_is_the_same_from_either_file(exported, tmp_path):
    path, detector = exported
    loaded = load_onnx_detector(path, threads=1)
    assert (loaded.crop_size, loaded.architecture) == (64, "light_hand_cpm")
    np.testing.assert_array_equal(loaded.confidence.score, CURVE.score)
    np.testing.assert_array_equal(loaded.confidence.probability, CURVE.probability)
    assert loaded.shapes is usual_hand_shapes()
    save_detector(tmp_path / "hand.safetensors", detector, {"seed": 3})
    safetensors = load_detector(tmp_path / "hand.safetensors")
    words = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert words["training"] == '{"seed": 3}'
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    xy, confidence = loaded.detect(crops)
    again, surely = detector.detect(crops)
    # One of the detectors' weights were float16 in between: 5e-4 of each.
    np.testing.assert_allclose(confidence, surely, atol=1e-3)
    np.testing.assert_allclose(xy, again, atol=1e-2)
    assert safetensors.confidence.score.tolist() == loaded.confidence.score.tolist()


def test_a_detector_of_another_thing_keeps_its_joints(tmp_path):
    torch.manual_seed(1)
    tool = Skeleton("tool", ("tip", "grip", "end"), ((0, 1), (1, 2)), (), {"tool": (0, 1, 2)})
    network = SKELETON_NETWORKS["light_pose_machine"](tool).eval()
    detector = HandDetector(network, 64, None, CURVE, architecture="light_pose_machine", skeleton=tool)
    path = tmp_path / "tool.onnx"
    export_onnx(path, detector)
    loaded = load_detector(path, None)
    assert (loaded.skeleton.name, loaded.skeleton.joints, loaded.model.joints) == ("tool", tool.joints, 3)
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_allclose(loaded.detect(crops)[1], detector.detect(crops)[1], atol=1e-4)  # float32
    with pytest.raises(PosekitError, match="skeleton: found tool"):
        load_detector(path)


def test_what_comes_with_posekit_finds_the_same_joints(tmp_path):
    detector = load_detector()
    export_onnx(tmp_path / "hand.onnx", detector)
    crops = np.random.default_rng(0).integers(
        0, 256, (4, detector.crop_size // 8, detector.crop_size // 8, 3), dtype=np.uint8
    )
    crops = crops.repeat(8, axis=1).repeat(8, axis=2)
    xy, confidence = load_onnx_detector(tmp_path / "hand.onnx").detect(crops)
    expected, sure = detector.detect(crops)
    np.testing.assert_allclose(confidence, sure, atol=1e-4)  # float32
    np.testing.assert_allclose(xy, expected, atol=1e-2)  # px, of a parabola through three logarithms


def test_batch_norms_are_folded_and_the_batch_alone_is_free(exported):
    path, _ = exported
    content = onnx.load(path)
    onnx.checker.check_model(content, full_check=True)
    assert "BatchNormalization" not in {node.op_type for node in content.graph.node}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 64, 64]
    assert session.get_outputs()[0].shape == ["batch", 21, 16, 16]


class Doubtful(nn.Module):
    """Goes another way for one picture than for two, which a trace does not see."""

    stride, joints = 4, 21

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        maps = nn.functional.avg_pool2d(images[:, :1], 4).repeat(1, 21, 1, 1)
        return maps if len(images) == 2 else maps + 1


class Unknown(nn.Module):
    stride, joints = 4, 21

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(nn.functional.avg_pool2d(images[:, :1], 4).repeat(1, 21, 1, 1))


@pytest.mark.parametrize(
    ("network", "line"),
    [(Doubtful(), "cannot be written as ONNX: its heights would differ by 1"), (Unknown(), "bessel_j0")],
    ids=["a trace that is wrong", "an operation that ONNX lacks"],
)
def test_a_network_without_such_a_form_leaves_no_file(tmp_path, network, line):
    with pytest.raises(PosekitError, match=line) as error:
        export_onnx(tmp_path / "hand.onnx", HandDetector(network, 64, architecture="mine"))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def spoilt(path, kind):
    content = onnx.load(path)
    if kind == "cut short":
        return path.read_bytes()[:5000]
    if kind == "no network":
        return b"hello"
    if kind == "of others":
        del content.metadata_props[:]
    elif kind == "of 20 maps":
        content.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 20
    elif kind == "of another size":
        next(entry for entry in content.metadata_props if entry.key == "crop_size").value = "128"
    elif kind == "without a curve":
        kept = [entry for entry in content.metadata_props if entry.key != "confidence_score"]
        del content.metadata_props[:]
        content.metadata_props.extend(kept)
    return content.SerializeToString()


@pytest.mark.parametrize(
    ("kind", "line"),
    {
        "cut short": "is no ONNX network that can be run",
        "no network": "is no ONNX network that can be run",
        "of others": "format: found 'nothing', expected 'posekit hand detector 1'",
        "of 20 maps": "were expected",
        "of another size": "crop_size is 128, the network takes 64 px",
        "without a curve": "found no 'confidence_score'",
    }.items(),
)
def test_a_file_that_is_no_detector_is_told_in_one_line(exported, tmp_path, kind, line):
    path = tmp_path / "spoilt.onnx"
    path.write_bytes(spoilt(exported[0], kind))
    with pytest.raises(PosekitError, match=line) as error:
        load_onnx_detector(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_told_in_one_line(exported, tmp_path, monkeypatch):
    path, detector = exported
    with pytest.raises(PosekitError, match=r"gone\.onnx: no such file"):
        load_onnx_detector(tmp_path / "gone.onnx")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(PosekitError, match="pip install onnxruntime-gpu"):
            load_onnx_detector(path, cuda=True)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PosekitError, match=r"onnxruntime is not installed .*pip install 'posekit\[onnx\]'"):
        load_onnx_detector(path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PosekitError, match=r"onnx is not installed .*pip install 'posekit\[onnx\]'"):
        export_onnx(tmp_path / "hand.onnx", detector)
    assert list(tmp_path.iterdir()) == []


def test_convert_writes_it_and_says_how_close_it_is(tmp_path, capsys):
    save_detector(tmp_path / "hand.safetensors", make_detector())
    arguments = ["convert", str(tmp_path / "hand.safetensors"), str(tmp_path / "hand.onnx")]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "hand.onnx: light_hand_cpm, crops of 64 px" in told
    assert load_onnx_detector(tmp_path / "hand.onnx").crop_size == 64
    assert (tmp_path / "hand.onnx.run.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("gone.safetensors", "hand.onnx"), "gone.safetensors"),
        (("hand-cpm", "hand.toml"), "a detector is written as .onnx, not as '.toml'"),
        (("hand-cpm", "hand.onnx", "--fps", "30"), "--fps: "),
        (("hand-cpm", "hand.onnx", "--from", "opencv"), "--from: "),
        (("hand-cpm", "gone/hand.onnx"), "gone: no such folder"),
    ],
)
def test_convert_tells_mistakes_in_one_line(tmp_path, capsys, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("posekit: error: ")
    assert told.count("\n") == 1
    assert line in told
    assert list(tmp_path.iterdir()) == []
