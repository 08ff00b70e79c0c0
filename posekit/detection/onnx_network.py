"""Hand detectors as ONNX files: written from a torch network, run by onnxruntime where a network of torch stands otherwise."""

import copy
import importlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posekit.detection.detector_header import read_header, require_format, write_header
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError
from posekit.io.files import require_file, write_whole

_IMAGES, _HEATMAPS = "images", "heatmaps"

#: The first version of ONNX that has deformable convolution.
_OPSET = 19
_DEFORMABLE = "posekit::modulated_deform_conv2d"

#: Of the largest height: rounding in another order of summation is 1e-6, a layer that is exported wrongly is 1e-1.
_TOLERANCE = 1e-3

#: So many times torch's own rounding, float32 beside float64, may be the difference: it is large in untrained networks.
_ROUNDINGS = 4.0


class OnnxHeatmaps:
    """The heatmaps of a network in an ONNX file, computed by onnxruntime.

    threads: for one batch; None for as many as torch uses. cuda: on the GPU, by onnxruntime-gpu; else on the processor.
    joints, stride, crop_size: as the file says them. header: what it says of its detector.

    Raises PosekitError where onnxruntime is not installed, where the file is missing, damaged or another network's, and where
    `cuda` is asked for and cannot be had.
    """

    def __init__(self, path: str | Path, threads: int | None = None, *, cuda: bool = False) -> None:
        self.path = require_file(path, "a hand detector as ONNX, made by posekit convert")
        self._session = _open_session(self.path, torch.get_num_threads() if threads is None else threads, cuda)
        self.header: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        require_format(self.path, self.header)
        inputs = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        outputs = {tensor.name: tensor.shape for tensor in self._session.get_outputs()}
        shape_in, shape_out = inputs.get(_IMAGES, ()), outputs.get(_HEATMAPS, ())
        side, cells = (
            shape[-1] if len(shape) == 4 and isinstance(shape[-1], int) else 0 for shape in (shape_in, shape_out)
        )
        self.joints: int = shape_out[1] if cells and isinstance(shape_out[1], int) else 0
        fits = self.joints and shape_in[1:] == [3, side, side] and shape_out[1:] == [self.joints, cells, cells]
        if not fits or side % cells:
            raise PosekitError(
                f"{self.path}: takes {inputs} and gives {outputs}; {_IMAGES} (batch, 3, S, S) and {_HEATMAPS} "
                "(batch, J, s, s) were expected"
            )
        self.stride = side // cells
        self.crop_size = side

    def heatmaps(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B J h w"]:
        """Return heights, as `ConvolutionalPoseMachine.heatmaps` does. images: float32, normalised, of the file's size S."""
        (maps,) = self._session.run([_HEATMAPS], {_IMAGES: images.detach().cpu().contiguous().numpy()})
        return torch.from_numpy(maps)


def load_onnx_detector(path: str | Path, threads: int | None = None, *, cuda: bool = False) -> HandDetector:
    """Read a detector that `export_onnx` wrote. threads, cuda, and what is raised: as of `OnnxHeatmaps`."""
    network = OnnxHeatmaps(path, threads, cuda=cuda)
    header = read_header(network.path, network.header, network.stride)
    if header.crop_size != network.crop_size:
        raise PosekitError(
            f"{path}: header: crop_size is {header.crop_size}, the network takes {network.crop_size} px; they must be one"
        )
    if network.joints != header.skeleton.joint_count:
        raise PosekitError(
            f"{path}: gives {network.joints} maps; {header.skeleton.joint_count} were expected, the joints of "
            f"{header.skeleton.name}"
        )
    return HandDetector(
        network,
        header.crop_size,
        header.shapes,
        header.confidence,
        architecture=header.architecture,
        skeleton=header.skeleton,
    )


def export_onnx(path: str | Path, detector: HandDetector, training: dict[str, Any] | None = None) -> float:
    """Write a detector as ONNX, whole or not at all, batch norms folded, for batches of any size; run it, and compare.

    detector: of a torch network. training: how it was trained, anything JSON can hold; it goes into the file's header.
    Returns the largest difference between torch's heights and onnxruntime's, over noise of other batch sizes than were traced.

    Raises PosekitError where onnx or onnxruntime is not installed, and for a network that has no such form: one with an
    operation that ONNX does not know, or whose results differ.
    """
    if not isinstance(detector.model, nn.Module):
        raise PosekitError(f"{path}: the detector to write is ONNX already; a .safetensors file was expected")
    content = _traced(path, detector, write_header(detector, training))
    with write_whole(path) as temporary:
        temporary.write_bytes(content)
        return _check(path, detector, OnnxHeatmaps(temporary))


class _Heights(nn.Module):
    """A network whose forward pass gives what its `heatmaps` gives."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, J, S / stride, S / stride)."""
        heights: Tensor = self.model.heatmaps(images)
        return heights


def _traced(path: str | Path, detector: HandDetector, header: dict[str, str]) -> bytes:
    """Return the content of the file."""
    onnx: Any = _require("onnx")
    model = _Heights(detector.fused().model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    size = detector.crop_size
    file = io.BytesIO()
    exporter: Any = torch.onnx  # whose types name neither what this takes nor all that it has
    exporter.register_custom_op_symbolic(_DEFORMABLE, _deformable_convolution, _OPSET)
    # torch's older exporter: it needs onnx alone, the newer one onnxscript besides; and every torch from 2.6 on has it. What it
    # warns of is its own age, and branches of the network that were followed once: those the comparison would find.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exporter.export(
                model.eval(),
                (torch.zeros(2, 3, size, size),),
                file,
                dynamo=False,
                opset_version=_OPSET,
                input_names=[_IMAGES],
                output_names=[_HEATMAPS],
                dynamic_axes={_IMAGES: {0: "batch"}, _HEATMAPS: {0: "batch"}},
            )
        except (exporter.errors.OnnxExporterError, RuntimeError) as error:
            first = str(error).strip().partition("\n")[0][:200]
            raise PosekitError(f"{path}: {detector.architecture} cannot be written as ONNX: {first}") from error
    content = onnx.load_from_string(file.getvalue())
    content.producer_name = "posekit"
    onnx.helper.set_model_props(content, header)
    # Two of the four sizes are the batch's and the joints'; what is traced leaves the maps' own without a number.
    shape = content.graph.output[0].type.tensor_type.shape.dim
    for place, value in (
        (1, detector.model.joints),
        (2, size // detector.model.stride),
        (3, size // detector.model.stride),
    ):
        shape[place].dim_value = value
    return bytes(content.SerializeToString())


def _deformable_convolution(graph: Any, x: Any, offset: Any, mask: Any, weight: Any, bias: Any, *geometry: Any) -> Any:
    """Write posekit's operator as ONNX's DeformConv, which has the same layout and the same zeros beyond the border."""
    helper = torch.onnx.symbolic_helper
    stride, padding, dilation = (helper._get_const(value, "is", "geometry") for value in geometry[:3])
    filters, _, *kernel = helper._get_tensor_sizes(weight)
    if helper._is_none(bias):
        bias = graph.op("Constant", value_t=torch.zeros(filters))
    found = graph.op(
        "DeformConv",
        *(x, weight, offset, bias, mask),
        strides_i=stride,
        pads_i=[*padding, *padding],
        dilations_i=dilation,
        group_i=helper._get_const(geometry[3], "i", "groups"),
        offset_group_i=helper._get_tensor_sizes(mask)[1] // (kernel[0] * kernel[1]),
        kernel_shape_i=kernel,
    )
    return found.setType(x.type().with_sizes([None, filters, *helper._get_tensor_sizes(mask)[2:]]))


def _check(path: str | Path, detector: HandDetector, network: OnnxHeatmaps) -> float:
    """Return how far the two are apart; raise where that is more than rounding."""
    model: Any = detector.model
    exact = copy.deepcopy(model).double().eval()
    model.eval()
    generator = torch.Generator().manual_seed(0)
    furthest = 0.0
    for batch in (1, 3):
        images = torch.randn(batch, 3, detector.crop_size, detector.crop_size, generator=generator)
        with torch.inference_mode():
            expected = model.heatmaps(images)
            rounding = float((exact.heatmaps(images.double()) - expected).abs().max())
        apart = float((network.heatmaps(images) - expected).abs().max())
        if not apart <= max(_TOLERANCE * max(1.0, float(expected.abs().max())), _ROUNDINGS * rounding):
            raise PosekitError(
                f"{path}: {detector.architecture} cannot be written as ONNX: its heights would differ by {apart:.2g}"
            )
        furthest = max(furthest, apart)
    return furthest


def _open_session(path: Path, threads: int, cuda: bool) -> Any:
    runtime: Any = _require("onnxruntime")
    wanted = "CUDAExecutionProvider" if cuda else "CPUExecutionProvider"
    if wanted not in runtime.get_available_providers():
        raise PosekitError("CUDA: this onnxruntime has none; it needs: pip install onnxruntime-gpu")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait by spinning take the processor from whoever decodes the next picture.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors: they are raised, too, and its warnings are about its own optimisations
    try:
        session = runtime.InferenceSession(str(path), options, providers=[wanted])
    except Exception as error:  # its errors have no common class of their own
        first = str(error).strip().partition("\n")[0][:200]
        raise PosekitError(f"{path}: is no ONNX network that can be run ({first})") from error
    if wanted not in session.get_providers():
        raise PosekitError("CUDA: onnxruntime cannot use the GPU; its CUDA and cuDNN libraries are missing or too old")
    return session


def _require(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PosekitError(f"{name} is not installed ({error}); it comes with: pip install 'posekit[onnx]'") from None
