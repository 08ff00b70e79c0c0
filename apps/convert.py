"""``posekit convert``: camera files into each other, other tools' 2D keypoints to posekit's, and weights to ONNX."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from posekit.calibration.formats import Unsaid
    from posekit.camera import Rig

CameraFormat = Literal[
    "aniposelib",
    "caliscope",
    "colmap",
    "easymocap",
    "handpose3d",
    "opencv",
    "openpose",
    "panoptic",
    "qualisys",
]

#: Names the weights that come with posekit, where a file of others could be named.
SHIPPED_DETECTOR = Path("hand-cpm")


@dataclass(frozen=True)
class ConvertConfig:
    """Convert camera files into each other, 2D keypoints of other tools to keypoints2d.h5, and a detector to ONNX."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """Cameras: .toml (aniposelib, Pose2Sim, FreeMoCap, Caliscope), .qca.txt (Qualisys), .json (Panoptic), .yml (OpenCV), or
    the folder of EasyMocap, OpenPose, OpenCV or COLMAP. Or 2D keypoints: what `posekit triangulate` reads. Or a detector, of
    hands or of a skeleton of your own: .safetensors, or the word hand-cpm for the one that comes with posekit."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Cameras: .toml (aniposelib), .json (Panoptic), .yml (OpenCV), or a folder (EasyMocap). 2D keypoints: .h5. A
    detector: .onnx, which onnxruntime runs; that of a hand, `posekit detect --weights` takes."""
    format: Annotated[CameraFormat | None, tyro.conf.arg(name="from")] = None
    """Read the cameras as this format, whatever their name and content suggest."""
    units: Literal["m", "cm", "mm"] | None = None
    """Unit of the cameras' positions, where the file does not say it."""
    size: tuple[int, int] | None = None
    """Width and height of the cameras' pictures in pixels, where the file does not say them."""
    skeleton: str | None = None
    """Order of the joints of 2D keypoints that do not say it themselves."""
    fps: float | None = None
    """Frames per second of 2D keypoints that do not say it themselves."""


def main(config: ConvertConfig) -> None:
    """Run the command."""
    from rich.console import Console

    from posekit.calibration.formats import Unsaid, find_format
    from posekit.errors import PosekitError

    console = Console(markup=False, highlight=False, soft_wrap=True)
    if config.source.suffix.lower() == ".safetensors" or config.source == SHIPPED_DETECTOR:
        console.print(_convert_detector(config))
        return
    if not config.source.exists():
        raise PosekitError(f"{config.source}: no such file or folder (cameras or 2D keypoints were expected)")
    _check_output(config)
    if config.format or find_format(config.source):
        for name, value in (("--skeleton", config.skeleton), ("--fps", config.fps)):
            if value is not None:
                raise PosekitError(f"{name}: is for 2D keypoints; {config.source} holds cameras")
        rig = _convert_cameras(config, Unsaid(config.units, config.size))
        for line in _lines(rig):
            console.print(line)
        return
    for name, cameras_only in (("--units", config.units), ("--size", config.size)):
        if cameras_only is not None:
            raise PosekitError(f"{name}: is for cameras; {config.source} is no camera file of a known name or content")
    console.print(_convert_keypoints(config))


def _check_output(config: ConvertConfig) -> None:
    """Say before anything is read that the result has no place, or that it would be written over what is read."""
    from posekit.calibration.formats.easymocap import FILES
    from posekit.errors import PosekitError
    from posekit.io.files import require_folder

    out, source = config.out.resolve(), config.source.resolve()
    written = {out}
    if out.is_dir() or not out.suffix or out.name in FILES:
        folder = out.parent if out.name in FILES else out
        written |= {folder / name for name in FILES}
        require_folder(config.out.parent if folder == out else config.out.parent.parent, "the folder to write into")
    else:
        require_folder(config.out.parent, "the folder to write into")
    # Some cameras are two files that are found by either, in one folder with it.
    read = set(source.iterdir()) if source.is_dir() else {source}
    partners = ("intri.yml", "extri.yml", "intrinsics.yml", "extrinsics.yml")
    if source.name in partners:
        read |= {source.with_name(name) for name in partners}
    if out == source or written & {path for path in read if path.is_file()}:
        raise PosekitError(f"{config.out}: would be written over what is read; the result needs a name of its own")


def _convert_cameras(config: ConvertConfig, unsaid: "Unsaid") -> "Rig":
    from posekit.apps.provenance import write_record
    from posekit.calibration.formats import read_rig, write_rig

    rig = read_rig(config.source, config.format, unsaid)
    write_rig(config.out, rig)
    write_record(config.out, "convert", config, [config.source])
    return rig


def _lines(rig: "Rig") -> list[str]:
    """Return a line per camera: enough to see that units, sizes and axes are what they should be."""
    import numpy as np

    width = max(len(name) for name in rig.names)
    return [
        f"{camera.name:{width}}  {camera.size[0]} x {camera.size[1]} px  focal {camera.matrix[0, 0]:.1f} px  "
        f"{float(np.linalg.norm(camera.translation)):.2f} m from the origin{'  fisheye' if camera.fisheye else ''}"
        for camera in rig.cameras
    ]


def _convert_keypoints(config: ConvertConfig) -> str:
    from contextlib import nullcontext
    from functools import partial

    from posekit.apps.checks import require_positive
    from posekit.apps.progress import progress_bars
    from posekit.apps.provenance import write_record
    from posekit.errors import PosekitError
    from posekit.io.keypoint_copies import copy_keypoints2d
    from posekit.io.keypoint_files import open_keypoints

    require_positive("--fps", config.fps)
    if config.out.suffix.lower() not in (".h5", ".hdf5"):
        raise PosekitError(
            f"{config.source}: holds no cameras of a known format, and 2D keypoints are written as .h5, not as "
            f"'{config.out.suffix}'"
        )
    source = open_keypoints(config.source, config.skeleton, config.fps)
    F, C, J = len(source.frames), len(source.cameras), source.skeleton.joint_count
    with progress_bars() if F > 500 else nullcontext() as show:
        P = copy_keypoints2d(source, config.out, partial(show, "frames") if show else None)
    write_record(config.out, "convert", config, [config.source])
    rate = "" if source.fps is None else f" at {source.fps:g} per second"
    return f"{config.out}: {F} frames{rate}, {C} cameras ({', '.join(source.cameras)}), up to {P} people, {J} joints"


def _convert_detector(config: ConvertConfig) -> str:
    from posekit.apps.checks import require_places
    from posekit.apps.provenance import write_record
    from posekit.detection.detector_file import LIGHT_HAND_WEIGHTS, load_detector, read_training
    from posekit.detection.onnx_network import export_onnx
    from posekit.errors import PosekitError

    source = LIGHT_HAND_WEIGHTS if config.source == SHIPPED_DETECTOR else config.source
    for name in ("format", "units", "size", "skeleton", "fps"):
        if getattr(config, name) is not None:
            raise PosekitError(f"--{'from' if name == 'format' else name}: {source} holds a detector, which has none")
    if config.out.suffix.lower() != ".onnx":
        raise PosekitError(f"{config.out}: a detector is written as .onnx, not as '{config.out.suffix}'")
    require_places((config.out,), (source,))
    detector = load_detector(source, skeleton=None)
    apart = export_onnx(config.out, detector, read_training(source))
    write_record(config.out, "convert", config, [source])
    return (
        f"{config.out}: {detector.architecture}, crops of {detector.crop_size} px, batches of any size; "
        f"its heights differ from torch's by {apart:.1g} at most"
    )
