"""A whole capture of one moving right hand: videos of several cameras, their calibration, and what is true.

The truth is written where the caller says, never into the capture's folder: nothing that learns from the capture can
find it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posekit.calibration.formats.aniposelib import write_aniposelib
from posekit.camera import Camera, Rig
from posekit.datasets.backgrounds import room_background
from posekit.datasets.hand_looks import BARE, HandLooks, linear_from_srgb, sample_looks
from posekit.datasets.hand_model import PosedHands, sample_shapes
from posekit.datasets.hand_motion import sample_hand_motion
from posekit.datasets.hand_renderer import CameraViews, render_hands
from posekit.datasets.held_objects import HeldObjects
from posekit.errors import PosekitError
from posekit.io.files import require_file, write_whole
from posekit.io.video import write_video
from posekit.keypoints import Keypoints2D
from posekit.skeleton import get_skeleton

TRUTH_SCHEMA = "posekit.synthetic_truth/1"
#: Black nitrile, sRGB: few of the drawn hands that detectors learn from wear gloves.
BLACK_GLOVE = (0.12, 0.12, 0.13)

_SEED = 0x51_4D_0A
_FRAMES_TOGETHER = 8
_UPPER_ARM = 0.30
_LAMP_WORLD = (0.35, 0.45, 0.82)


@dataclass(frozen=True)
class CaptureSettings:
    """What to film.

    cameras: how many, on an arc of arc_degrees, between the two distances (metres) from the hand. hand_px: the hand's
    length in the middle of an average view. distortion: lenses with k1 and k2, or none. detection_noise_px,
    detection_missing, detection_gross: standard deviation and shares of faults of the simulated body detections. glove: sRGB
    colour (0 to 1) of a thin glove; None is a bare hand. holding: the hand holds one thing all the time.
    """

    seed: int = 0
    cameras: int = 6
    frames: int = 60
    fps: float = 30.0
    size: tuple[int, int] = (640, 480)
    arc_degrees: float = 250.0
    distance: tuple[float, float] = (0.9, 1.5)
    hand_px: float = 130.0
    distortion: bool = True
    oversample: float = 1.5
    detection_noise_px: float = 3.0
    detection_missing: float = 0.03
    detection_gross: float = 0.02
    glove: tuple[float, float, float] | None = None
    holding: bool = False


@dataclass(frozen=True, eq=False)
class CaptureTruth:
    """What is true of a synthetic capture, in metres in its world.

    joints_world: (F,21,3) of the right hand. elbow_world, shoulder_world: (F,3). visible: (F,C,21) seen by that camera,
    neither outside its picture nor hidden. cameras: C names.
    """

    joints_world: NDArray[np.float64]
    elbow_world: NDArray[np.float64]
    shoulder_world: NDArray[np.float64]
    visible: NDArray[np.bool_]
    cameras: tuple[str, ...]
    fps: float

    @property
    def wrist_world(self) -> NDArray[np.float64]:
        """(F,3), the hand's first joint."""
        return self.joints_world[:, 0]

    def save(self, path: str | Path) -> None:
        """Write an HDF5 file, whole or not at all."""
        with write_whole(path) as temporary, h5py.File(temporary, "w") as file:
            for name in ("joints_world", "elbow_world", "shoulder_world", "visible"):
                file.create_dataset(name, data=getattr(self, name))
            file.create_dataset("cameras", data=list(self.cameras), dtype=h5py.string_dtype())
            file.attrs["schema"], file.attrs["units"], file.attrs["fps"] = TRUTH_SCHEMA, "m", self.fps
            file.attrs["skeleton"] = "HAND_21"

    @classmethod
    def load(cls, path: str | Path) -> CaptureTruth:
        """Read what `save` wrote; raises PosekitError where the file is no such thing."""
        path = require_file(path, "truth")
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("schema") != TRUTH_SCHEMA:
                    raise PosekitError(f"{path}: schema is {file.attrs.get('schema')!r}, {TRUTH_SCHEMA!r} was expected")
                arrays = {n: file[n][()] for n in ("joints_world", "elbow_world", "shoulder_world", "visible")}
                names = tuple(name.decode() for name in file["cameras"][()])
                return cls(**arrays, cameras=names, fps=float(file.attrs["fps"]))
        except (OSError, KeyError) as error:
            raise PosekitError(f"{path}: is no truth file that can be read ({error})") from None


def render_capture(folder: str | Path, settings: CaptureSettings, truth_path: str | Path) -> CaptureTruth:
    """Write folder/videos/<camera>.mp4, folder/calibration.toml and folder/keypoints2d.h5; return and store the truth.

    keypoints2d.h5 holds simulated body detections: right wrist, elbow and shoulder only. truth_path must lie outside
    the folder. The same settings make the same capture.
    """
    folder, truth_path = Path(folder), Path(truth_path)
    if truth_path.resolve().is_relative_to(folder.resolve()):
        raise PosekitError(f"{truth_path}: lies in the capture's folder {folder}, the truth must be kept outside it")
    if settings.cameras < 1 or settings.frames < 1:
        raise PosekitError(f"synthetic capture: {settings.cameras} cameras and {settings.frames} frames is no capture")
    rng = np.random.default_rng([_SEED, settings.seed])
    rig = sample_rig(rng, settings)
    shape = sample_shapes(rng, 1)
    hands, things = sample_hand_motion(rng, shape, settings.frames, settings.fps, holding=settings.holding)
    looks = sample_capture_looks(rng, settings.glove)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    seen = []
    for camera in rig.cameras:
        visible: list[Tensor] = []
        frames = _film(np.random.default_rng(rng.integers(2**63)), camera, hands, things, looks, settings, visible)
        write_video(folder / "videos" / f"{camera.name}.mp4", settings.fps, frames, crf=23)
        seen.append(torch.cat(visible))
    elbow = hands.elbow.double().numpy()
    truth = CaptureTruth(
        joints_world=hands.joints.double().numpy(),
        elbow_world=elbow,
        shoulder_world=_shoulder(elbow, hands.joints[:, 0].double().numpy()),
        visible=torch.stack(seen, dim=1).numpy(),
        cameras=rig.names,
        fps=settings.fps,
    )
    write_aniposelib(folder / "calibration.toml", rig, made_by="posekit, synthetic capture")
    simulate_body_detections(rng, rig, truth, settings).save(folder / "keypoints2d.h5")
    truth.save(truth_path)
    return truth


def look_at(position: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Rotation (3,3) cam_from_world and translation (3,) of a camera at a position, upright in a world with z up."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return rotation, -rotation @ position


def sample_rig(rng: np.random.Generator, settings: CaptureSettings) -> Rig:
    """Place cameras around the world's origin, where the hand moves; z is up."""
    width, height = settings.size
    cameras = []
    count = settings.cameras
    step = np.deg2rad(settings.arc_degrees) / max(count - 1, 1)
    for i in range(count):
        bearing = (i - (count - 1) / 2) * step + rng.normal(0, 0.15 * min(step, 1.0))
        distance = rng.uniform(*settings.distance)
        elevation = rng.uniform(-0.15, 0.6)
        away = [np.cos(elevation) * np.cos(bearing), np.cos(elevation) * np.sin(bearing), np.sin(elevation)]
        # A little below the hand: the forearm hangs down from it, and whoever looks for a hand needs its elbow.
        rotation, translation = look_at(distance * np.array(away), rng.normal(0, 0.015, 3) - (0, 0, 0.06))
        roll = rng.normal(0, 0.04)
        turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        # 0.18 m of hand at the mean distance fill hand_px.
        focal = settings.hand_px / 0.18 * float(np.mean(settings.distance)) * rng.uniform(0.92, 1.08)
        centre = (np.array([width, height]) - 1) / 2 + rng.normal(0, 0.01 * width, 2)
        lens = [rng.uniform(-0.12, 0.02), rng.uniform(-0.02, 0.05), 0.0, 0.0] if settings.distortion else []
        cameras.append(
            Camera(
                name=f"cam_{i + 1}",
                size=settings.size,
                matrix=np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]]),
                distortion=np.array(lens),
                rotation=turn @ rotation,
                translation=turn @ translation,
            )
        )
    return Rig(tuple(cameras), source="synthetic capture")


def sample_capture_looks(rng: np.random.Generator, glove: tuple[float, float, float] | None = None) -> HandLooks:
    """Looks (one hand's) outside what training draws: olive and ruddy undertones, or a glove; broad checks on the sleeve."""
    looks = sample_looks(rng, 1, glove_share=0.0)
    tone = np.array([0.80, 0.60, 0.46]) * rng.uniform(0.45, 1.12) * (1 + rng.uniform(-0.06, 0.06, 3))
    skin = linear_from_srgb(tone)
    palm = linear_from_srgb(0.7 * tone + 0.3 * np.array([0.85, 0.66, 0.58]) * tone.mean() / 0.62)
    nail = palm * 1.15
    colour = linear_from_srgb(np.zeros(3) if glove is None else np.array(glove))
    sleeve = linear_from_srgb(rng.uniform(0.1, 0.8, 3))

    def row(values: NDArray[np.float64] | list[float]) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32))[None]

    return replace(
        looks,
        skin=row(skin),
        palm=row(palm),
        nail=row(nail),
        glove=row(colour),
        glove_end=row([BARE if glove is None else 0.12])[0],
        sleeve=row(sleeve),
        sleeve_start=torch.tensor([float(rng.uniform(0.03, 0.10))]),
        sleeve_pattern=row([rng.uniform(0.035, 0.07), 0.35, 0.0]),
        mottle=row(rng.normal(0, 1, 5) * np.array([0.05, 0.03, 0.01, 0.03, 0.01])),
        light_colour=row(rng.uniform(0.5, 0.95) * np.array([1.0, 0.96, 0.9])),
        sky=row(rng.uniform(0.4, 0.6) * np.array([0.95, 0.98, 1.0])),
        ground=row(rng.uniform(0.2, 0.4) * np.array([1.0, 0.97, 0.92])),
    )


def _film(
    rng: np.random.Generator,
    camera: Camera,
    hands: PosedHands,
    things: HeldObjects | None,
    looks: HandLooks,
    settings: CaptureSettings,
    visible: list[Tensor],
) -> Iterator[NDArray[np.uint8]]:
    """The frames (H,W,3) uint8 of one camera; appends (n,21) flags to `visible` on the way."""
    width, height = settings.size
    behind = room_background(rng, width, height)
    gain = torch.from_numpy((rng.uniform(0.75, 1.2) * rng.normal(1, 0.05, 3)).astype(np.float32))[:, None, None]
    blur = float(rng.uniform(0.3, 0.9))
    room = (torch.from_numpy(behind).permute(2, 0, 1).to(torch.float32) / 255 * gain).clamp_(0, 1)
    # One sheet of noise, laid on each frame somewhere else: drawing it anew would take longer than drawing the hand.
    noise = np.empty((height + 64, width + 64, 3), dtype=np.int16)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(noise, np.zeros(3), np.full(3, float(rng.uniform(0.5, 3))))
    rotation = torch.from_numpy(np.array(camera.rotation, dtype=np.float32))
    translation = torch.from_numpy(np.array(camera.translation, dtype=np.float32))
    # The lamp hangs in the room: at the same place for every camera.
    lamp = torch.nn.functional.normalize(rotation @ torch.tensor(_LAMP_WORLD), dim=0)
    for start in range(0, hands.joints.shape[0], _FRAMES_TOGETHER):
        index = torch.arange(start, min(start + _FRAMES_TOGETHER, hands.joints.shape[0]))
        n = len(index)
        seen = hands.take(index).moved(rotation.expand(n, 3, 3), translation.expand(n, 3))
        views = CameraViews(
            focal=torch.full((n,), float(camera.matrix[0, 0])),
            centre=torch.tensor(camera.matrix[:2, 2].tolist()).expand(n, 2),
            radial=torch.tensor(camera.distortion[:2].tolist()).expand(n, 2) if camera.distortion.any() else None,
        )
        held = None if things is None else things.take(index).moved(rotation.expand(n, 3, 3), translation.expand(n, 3))
        left, top, right, bottom = _bounds(seen, held, views, settings.size)
        part = replace(views, centre=views.centre - torch.tensor([left, top]))
        look = replace(looks.take(torch.zeros(n, dtype=torch.int64)), light=lamp.expand(n, 3))
        size = (right - left, bottom - top)
        pictures = render_hands(seen, part, look, size, objects=held, oversample=settings.oversample)
        visible.append(pictures.visible)
        colours = pictures.rgba[:, :3] * gain + (1 - pictures.rgba[:, 3:]) * room[:, top:bottom, left:right]
        hand = (colours * 255).clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        empty = (room * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        for picture in hand:
            frame = empty.copy()
            frame[top:bottom, left:right] = picture
            x, y = (int(v) for v in rng.integers(0, 64, 2))
            grain = noise[y : y + height, x : x + width]
            yield np.asarray(cv2.add(cv2.GaussianBlur(frame, (0, 0), blur), grain, dtype=cv2.CV_8U))


def _bounds(
    hands: PosedHands, things: HeldObjects | None, views: CameraViews, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of the picture that holds all these hands, forearms and things."""
    points = torch.cat([hands.joints, hands.elbow[:, None]], dim=1)
    # No flesh or sleeve lies further than 6 cm from the line of the bones.
    reach = torch.full(points.shape[:2], 0.06)
    if things is not None:
        points = torch.cat([points, things.centre[:, None]], dim=1)
        reach = torch.cat([reach, things.half.norm(dim=1, keepdim=True)], dim=1)
    seen = views.project(points)
    margin = (reach * views.focal[:, None] / (points[..., 2] - reach).clamp(min=0.05))[..., None]
    low, high = (seen - margin).amin((0, 1)).floor(), (seen + margin).amax((0, 1)).ceil()
    left, top = (int(v.clamp(0, s - 2)) for v, s in zip(low, size, strict=True))
    right, bottom = (int(v.clamp(min=1)) for v in high)
    return left, top, min(size[0], max(right, left + 2)), min(size[1], max(bottom, top + 2))


def _shoulder(elbow: NDArray[np.float64], wrist: NDArray[np.float64]) -> NDArray[np.float64]:
    """A shoulder (F,3) for an arm with the elbow bent by a right angle: level with, and behind, the elbow."""
    forearm = (wrist - elbow) / np.linalg.norm(wrist - elbow, axis=1, keepdims=True)
    sideways = np.cross(forearm, [0.0, 1.0, 0.0])
    return np.asarray(elbow + _UPPER_ARM * sideways / np.linalg.norm(sideways, axis=1, keepdims=True))


def simulate_body_detections(
    rng: np.random.Generator, rig: Rig, truth: CaptureTruth, settings: CaptureSettings
) -> Keypoints2D:
    """What a body detector would say of the right arm in every view: noisy, sometimes missing, sometimes far off.

    All joints of BODY_25B but right wrist, elbow and shoulder are missing.
    """
    skeleton = get_skeleton("BODY_25B")
    F, C = truth.visible.shape[:2]
    xy = np.full((F, C, 1, skeleton.joint_count, 2), np.nan)
    confidence = np.zeros(xy.shape[:-1])
    arm = {
        "right_wrist": truth.wrist_world,
        "right_elbow": truth.elbow_world,
        "right_shoulder": truth.shoulder_world,
    }
    for name, points in arm.items():
        joint = skeleton.joints.index(name)
        for c, camera in enumerate(rig.cameras):
            size = np.array(camera.size)
            found = camera.project(points) + rng.normal(0, settings.detection_noise_px, (F, 2))
            gross = rng.random((F,)) < settings.detection_gross
            found[gross] = rng.uniform(0, 1, (int(gross.sum()), 2)) * size
            missing = (rng.random((F,)) < settings.detection_missing) | ~camera.in_picture(found)
            found[missing] = np.nan
            xy[:, c, 0, joint] = found
            confidence[:, c, 0, joint] = np.where(missing, 0, rng.uniform(0.45, 0.95, F))
    return Keypoints2D(
        xy=xy.astype(np.float32),
        confidence=confidence.astype(np.float32),
        cameras=rig.names,
        frames=np.arange(F),
        skeleton=skeleton,
        fps=settings.fps,
        source="simulated body detections of a synthetic capture",
    )
