"""``posekit bench triangulation``: robust triangulation of many points, and what it costs to have more cameras."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from posekit.camera import Rig

#: Cameras of the scene on which a peer is measured, too.
COMPARED_CAMERAS = 8
NOISE_PX = 1.0
OUTLIER_SHARE = 0.15
OUTLIER_PX = 80.0

#: A ring of 4 m around people: full HD, 1300 px of focal length, the lens of a machine vision camera (k1 k2 p1 p2 k3).
_RADIUS, _SIZE, _FOCAL = 4.0, (1920, 1080), 1300.0
_LENS = (-0.12, 0.06, 8e-4, -5e-4, -0.01)


@dataclass(frozen=True)
class TriangulationBench:
    """Triangulate robustly: single points, 1 px of noise, 15 % of the detections 80 px off."""

    peer: Path | None = None
    """Python interpreter of an environment that has aniposelib-pytorch 1.0: both are timed in turn on the same input."""
    cameras: tuple[int, ...] = (4, 8, 16, 31)
    """Numbers of cameras of posekit's own table. The peer is measured on 8."""
    points: int = 20_000
    """Points per run."""
    repeats: int = 5
    """Runs of each, after one that does not count; the best one is taken, which was disturbed least."""
    threads: int = 2
    """Threads for each; they never run at the same time."""
    threshold_px: float = 10.0
    """Within how many pixels a view agrees, for each."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where posekit's tensors are: cpu or cuda. Beside the peer: cpu."""
    seed: int = 0
    """Seed of the scene."""
    json: Path | None = None
    """Write the figures here, too."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Points (N, 3) metres where people are, and what the cameras report of them, (N, C, 2) px, noise and outliers included."""

    rig: "Rig"
    points_world: NDArray[np.float64]
    keypoints_px: NDArray[np.float64]


def make_scene(cameras: int, points: int, seed: int) -> Scene:
    """Film points in a room of 2 x 2 x 2 m; every detection is noisy, a share of them lies elsewhere. Nothing is missing."""
    rng = np.random.default_rng(seed)
    rig = _ring(cameras)
    world = rng.uniform((-1, -1, 0), (1, 1, 2), (points, 3))
    keypoints = np.stack([camera.project(world) for camera in rig.cameras], axis=1)
    keypoints += rng.normal(0, NOISE_PX, keypoints.shape)
    wrong = rng.random(keypoints.shape[:2]) < OUTLIER_SHARE
    angle = rng.uniform(0, 2 * np.pi, wrong.shape)
    keypoints += (wrong * OUTLIER_PX)[..., None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    return Scene(rig, world, keypoints)


def _ring(count: int) -> "Rig":
    """Return cameras around the middle of the room, at three heights, which look at it."""
    from posekit.camera import Camera, Rig

    cameras = []
    for c in range(count):
        angle = 2 * np.pi * c / count + 0.1
        centre = np.array((_RADIUS * np.cos(angle), _RADIUS * np.sin(angle), 1.2 + 0.6 * (c % 3)))
        forward = np.array((0, 0, 1.0)) - centre
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0, 0, 1))
        right /= np.linalg.norm(right)
        rotation = np.stack((right, np.cross(forward, right), forward))
        matrix = np.array([[_FOCAL, 0, (_SIZE[0] - 1) / 2], [0, _FOCAL, (_SIZE[1] - 1) / 2], [0, 0, 1]])
        cameras.append(Camera(f"cam_{c + 1}", _SIZE, matrix, np.array(_LENS), rotation, -rotation @ centre))
    return Rig(tuple(cameras), "the ring")


def run(config: TriangulationBench) -> dict[str, Any]:
    """Measure; the figures at the top are those of 8 cameras, ``cameras`` is posekit's own table."""
    import torch

    from posekit.errors import PosekitError

    _check(config)
    if config.device != "cpu" and not torch.cuda.is_available():
        raise PosekitError(f"--device: '{config.device}' is not there (torch finds no GPU)")
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        figures = _compare(config)
        figures["cameras"] = _table(config)
    finally:
        torch.set_num_threads(threads)
    return {
        "benchmark": "triangulation",
        **figures,
        "points": config.points,
        "threads": config.threads,
        "repeats": config.repeats,
        "threshold_px": config.threshold_px,
        "device": torch.cuda.get_device_name() if config.device != "cpu" else "cpu",
        "torch": torch.__version__,
    }


def _check(config: TriangulationBench) -> None:
    """Say before the work, not after it, what cannot be."""
    from posekit.apps.checks import require_counts, require_positive
    from posekit.errors import PosekitError
    from posekit.io.files import require_file

    if config.peer is not None:
        require_file(config.peer, "the Python interpreter of the peer's environment")
        if config.device != "cpu":
            raise PosekitError(f"--device: is '{config.device}'; beside a peer posekit is measured on the cpu")
    require_counts(points=config.points, repeats=config.repeats, threads=config.threads)
    require_positive("--threshold-px", config.threshold_px)
    if any(count < 2 for count in config.cameras):
        raise PosekitError(f"--cameras: {min(config.cameras)} cannot place a point, 2 or more were expected")


def _compare(config: TriangulationBench) -> dict[str, Any]:
    """Measure on 8 cameras; with a peer, the two take turns on the same input."""
    from posekit.apps.bench_peer_process import Peer
    from posekit.errors import PosekitError

    scene = make_scene(COMPARED_CAMERAS, config.points, config.seed)
    own = _own_triangulation(config, scene)
    if config.peer is None:
        found = own()
        return _figures(_time(own, config.repeats), found, scene)
    with Peer(config.peer, "triangulation", config.threads, partial(_write_scene, config, scene)) as peer:
        own()
        seconds, peer_seconds = [], []
        for _ in range(config.repeats):
            # Twice each: the first run after the other's finds neither caches nor memory as its own left them.
            seconds += _time(own, 2)
            peer_seconds += [peer.run(), peer.run()]
        found, peer_found = own(), peer.found()["points_world"]
    if peer_found.shape != scene.points_world.shape:
        raise PosekitError(f"--peer: {peer.name} gave points of shape {peer_found.shape}")
    figures = _figures(seconds, found, scene)
    others = _figures(peer_seconds, peer_found, scene)
    return {
        **figures,
        "peer": peer.name,
        **{f"peer_{name}": value for name, value in others.items()},
        "ratio_points_per_second": figures["points_per_second"] / others["points_per_second"],
    }


def _write_scene(config: TriangulationBench, scene: Scene, folder: Path) -> None:
    """Write the peer's input."""
    cameras = scene.rig.cameras
    np.savez(
        folder / "input.npz",
        matrix=np.stack([camera.matrix for camera in cameras]),
        # The peer takes five coefficients: the rest of the eight are of a model that the scene's lenses do not have.
        distortion=np.stack([camera.distortion[:5] for camera in cameras]),
        rotation=np.stack([camera.rotation for camera in cameras]),
        translation=np.stack([camera.translation for camera in cameras]),
        size=np.array([camera.size for camera in cameras]),
        keypoints_px=scene.keypoints_px.swapaxes(0, 1),
        threshold_px=config.threshold_px,
        threads=config.threads,
    )


def _table(config: TriangulationBench) -> list[dict[str, Any]]:
    """Measure posekit by number of cameras; they take turns, so that what else the machine does falls to all alike."""
    scenes = [make_scene(count, config.points, config.seed) for count in config.cameras]
    works = [_own_triangulation(config, scene) for scene in scenes]
    found = [work() for work in works]
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(config.repeats):
        for own, work in zip(seconds, works, strict=True):
            own += _time(work, 1)
    return [
        {
            "cameras": count,
            **_figures(seconds[number], found[number], scenes[number]),
            "microseconds_per_view": 1e6 * min(seconds[number]) / (config.points * count),
        }
        for number, count in enumerate(config.cameras)
    ]


def _own_triangulation(config: TriangulationBench, scene: Scene) -> Callable[[], NDArray[np.float64]]:
    """Return what is timed: from pixels, lens included, to points (N, 3)."""
    import torch

    from posekit.camera import CameraBatch
    from posekit.geometry.triangulation import triangulate_robust

    cameras = CameraBatch.from_rig(scene.rig, config.device)
    keypoints = torch.from_numpy(scene.keypoints_px[:, None]).to(config.device)
    confidence = torch.ones_like(keypoints[..., 0])

    def triangulate() -> NDArray[np.float64]:
        # Taking the points to the CPU is part of the time: it waits until a GPU has done its work.
        found: NDArray[np.float64] = (
            triangulate_robust(keypoints, confidence, cameras, config.threshold_px).points_world[:, 0].cpu().numpy()
        )
        return found

    return triangulate


def _time(work: Callable[[], object], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def _figures(seconds: list[float], found: NDArray[np.float64], scene: Scene) -> dict[str, Any]:
    """Speed of the best run, and errors over all points: one that was not found counts as infinitely far off."""
    error = np.linalg.norm(found - scene.points_world, axis=-1)
    missing = ~np.isfinite(error)
    error[missing] = np.inf
    # Quantiles that are one of the errors: between a number and infinity there is nothing to interpolate.
    median, p99 = np.quantile(error, (0.5, 0.99), method="inverted_cdf")
    return {
        "points_per_second": len(error) / min(seconds),
        "points_per_second_median": len(error) / float(np.median(seconds)),
        # To a micrometre: what is drawn differently with another seed is ten times as much.
        "median_mm": round(float(1e3 * median), 3),
        "p99_mm": round(float(1e3 * p99), 3),
        "points_missing": int(missing.sum()),
    }


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print posekit beside its peer, and posekit by number of cameras."""
    from posekit.apps.tables import figures_table, number

    what = f"{figures['points']} points, {NOISE_PX:g} px of noise, {OUTLIER_SHARE:.0%} of the detections {OUTLIER_PX:g} px off"
    if "peer" in figures:
        table = figures_table(
            f"{COMPARED_CAMERAS} cameras, {figures['threads']} threads",
            ("library", "points/s", "times", "median mm", "p99 mm", "not found"),
        )
        for name, prefix, ratio in (
            ("posekit", "", figures["ratio_points_per_second"]),
            (figures["peer"], "peer_", 1.0),
        ):
            table.add_row(
                name,
                f"{figures[prefix + 'points_per_second']:,.0f}",
                number(ratio, 1),
                number(figures[prefix + "median_mm"], 2),
                number(figures[prefix + "p99_mm"], 2),
                str(figures[prefix + "points_missing"]),
            )
        console.print(table)
    table = figures_table(
        f"posekit, {figures['threads']} threads" if figures["device"] == "cpu" else f"posekit, {figures['device']}",
        ("cameras", "points/s", "us/point/view", "median mm", "p99 mm", "not found"),
    )
    for one in figures["cameras"]:
        table.add_row(
            str(one["cameras"]),
            f"{one['points_per_second']:,.0f}",
            number(one["microseconds_per_view"], 3),
            number(one["median_mm"], 2),
            number(one["p99_mm"], 2),
            str(one["points_missing"]),
        )
    console.print(table)
    console.print(what)
