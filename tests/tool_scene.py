"""A tool with coloured ends that turns and wanders before a few cameras, drawn with OpenCV: what a user defines, and films."""

from pathlib import Path

import cv2
import numpy as np

from posekit.calibration.formats.aniposelib import write_aniposelib
from posekit.camera import Rig
from posekit.io.video import write_video
from posekit.keypoints import Keypoints2D
from posekit.skeleton import Skeleton
from scenes import looking_camera

DEFINITION = """
name = "cross"
joints = ["red", "green", "blue", "yellow"]
bones = [["red", "green"], ["blue", "yellow"]]
groups = [["red", "green"]]
"""
CROSS = Skeleton("cross", ("red", "green", "blue", "yellow"), ((0, 1), (2, 3)), (), {"subject": (0, 1, 2, 3)})
ENDS = np.array([[-0.15, 0, 0], [0.15, 0, 0], [0, -0.1, 0.05], [0, 0.1, 0.05]])
COLOURS = ((220, 30, 30), (30, 200, 30), (40, 60, 230), (230, 210, 30))
SIZE = (320, 240)


def cross_rig(cameras: int = 4) -> Rig:
    bearings = np.linspace(-1.2, 1.2, cameras)
    places = [(2 * np.sin(b), -2 * np.cos(b), 0.6 + 0.2 * n) for n, b in enumerate(bearings)]
    return Rig(tuple(looking_camera(f"cam_{n}", p, (0, 0, 0), 400.0, SIZE) for n, p in enumerate(places)), "the scene")


def cross_in_space(frames: int) -> np.ndarray:
    """Where the ends are, (F, 4, 3) metres."""
    t = np.arange(frames) / 30
    turn, lean = 1.5 * t, 0.5 * np.sin(2 * t)
    z = np.stack([[np.cos(a), -np.sin(a), 0, np.sin(a), np.cos(a), 0, 0, 0, 1] for a in turn]).reshape(-1, 3, 3)
    y = np.stack([[np.cos(a), 0, np.sin(a), 0, 1, 0, -np.sin(a), 0, np.cos(a)] for a in lean]).reshape(-1, 3, 3)
    middle = np.stack([0.25 * np.sin(3 * t), 0.25 * np.cos(2 * t), 0.1 * np.sin(4 * t)], axis=-1)
    return np.einsum("fij,fjk,nk->fni", z, y, ENDS) + middle[:, None]


def film_cross(folder: Path, frames: int, cameras: int = 4, seed: int = 0) -> Keypoints2D:
    """Write videos and calibration into `folder`; return the true places of the ends in every picture."""
    rig, rng = cross_rig(cameras), np.random.default_rng(seed)
    points = cross_in_space(frames)
    (folder / "videos").mkdir(parents=True)
    write_aniposelib(folder / "calibration.toml", rig)
    xy = np.stack([camera.project(points) for camera in rig.cameras], axis=1)
    for c, camera in enumerate(rig.cameras):
        wall = cv2.resize(rng.integers(60, 190, (12, 16, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
        pictures = []
        for f in range(frames):
            picture = wall.copy()
            depth = (points[f] @ camera.rotation.T + camera.translation)[:, 2]
            ends = [tuple(int(v) for v in place) for place in np.round(xy[f, c])]
            for a, b in CROSS.bones:
                cv2.line(picture, ends[a], ends[b], (25, 25, 25), 4, cv2.LINE_AA)
            for n in np.argsort(-depth):
                cv2.circle(picture, ends[n], 7, COLOURS[n], -1, cv2.LINE_AA)
            pictures.append(picture)
        write_video(folder / "videos" / f"{camera.name}.mp4", 30, pictures)
    confidence = np.ones((frames, cameras, 1, 4))
    return Keypoints2D(xy[:, :, None], confidence, rig.names, np.arange(frames), CROSS, 30.0, "the truth")
