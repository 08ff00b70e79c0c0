"""posekit and a peer on the same videos of a board, each in a process of its own, and both rigs judged alike."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from posekit.errors import PosekitError

if TYPE_CHECKING:
    from posekit.apps.bench_calibration import CalibrationBench
    from posekit.calibration.boards.board import Board
    from posekit.calibration.boards.views import BoardViews
    from posekit.camera import Rig

#: The capture that is rendered where no videos are given: a board for cameras of 640 x 480 px, a minute of it.
_RENDERED_BOARD, _RENDERED_FRAMES, _RENDERED_CAMERAS = "charuco:5x4:0.08:0.06:DICT_4X4_50", 120, 4


@dataclass(frozen=True, eq=False)
class _Run:
    """A rig and what it took: seconds from the videos to the rig, and of the whole process, its start included."""

    rig: "Rig"
    seconds: float
    process_seconds: float
    printed_px: float


def compare(config: "CalibrationBench") -> dict[str, Any]:
    """Calibrate the videos by both; the errors are over the same corners, freely triangulated with each rig, none dropped."""
    from posekit.calibration.boards.board import parse_board
    from posekit.calibration.boards.capture import find_board_capture
    from posekit.calibration.boards.search import film_views

    assert config.peer is not None
    board = parse_board(config.board or _RENDERED_BOARD)
    if board.kind == "aruco":
        raise PosekitError("--board: the peer has no grids of markers; a charuco or a chessboard was expected")
    with _videos(config, board) as folder:
        capture = find_board_capture(folder)
        if not capture.videos:
            raise PosekitError(f"--videos: {folder}: holds stills; the peer takes a video per camera")
        own = _run_posekit(config, board, folder)
        with _as_the_peer_needs_them(config, [video.path for video in capture.videos]) as paths:
            theirs, peer = _run_peer(config, board, capture.cameras, paths)
        views = film_views(capture, board).views
    figures = {
        "board": str(board),
        "videos": "rendered" if config.videos is None else str(config.videos),
        "inverted": config.inverted,
        "cameras": len(views.cameras),
        **_figures(own, views, ""),
        "peer": peer,
        **_figures(theirs, views, "peer_"),
    }
    return {
        **figures,
        "ratio_seconds": theirs.seconds / own.seconds,
        "ratio_mean_px": figures["peer_mean_px"] / figures["mean_px"],
        "threads": config.threads,
    }


@contextmanager
def _videos(config: "CalibrationBench", board: "Board") -> Iterator[Path]:
    if config.videos is not None:
        yield config.videos
        return
    from posekit.datasets.rendered_boards import write_board_videos
    from posekit.datasets.synthetic_boards import film_board, ring_of_cameras

    rig = ring_of_cameras(_RENDERED_CAMERAS, radius_m=1.6, arc_rad=2.0, seed=config.seed, size=(640, 480))
    with tempfile.TemporaryDirectory() as folder:
        film = film_board(rig, board, _RENDERED_FRAMES, seed=config.seed, spread_m=0.3)
        write_board_videos(Path(folder), film, seed=config.seed)
        yield Path(folder)


@contextmanager
def _as_the_peer_needs_them(config: "CalibrationBench", paths: list[Path]) -> Iterator[list[Path]]:
    """The videos, inverted where the board is printed so: the peer does not look for that, and this is not timed."""
    from posekit.io.video import VideoReader, write_video

    if not config.inverted:
        yield paths
        return
    with tempfile.TemporaryDirectory() as folder:
        inverted = []
        for path in paths:
            reader = VideoReader(path)
            frames = (255 - frame for frame in reader.frames(stop=reader.frame_count))
            inverted.append(Path(folder) / f"{path.stem}.mp4")
            write_video(inverted[-1], reader.fps, frames, crf=10)
        yield inverted


def _run_peer(
    config: "CalibrationBench", board: "Board", cameras: tuple[str, ...], videos: list[Path]
) -> tuple[_Run, str]:
    """Calibrate with the peer's defaults, and return what it found and its name."""
    import cv2

    from posekit.apps.bench_peer_process import Peer
    from posekit.camera import Camera, Rig
    from posekit.io.video import VideoReader

    assert config.peer is not None
    start = time.perf_counter()
    with Peer(
        config.peer, "calibration", config.threads, partial(_write_input, config, board, cameras, videos)
    ) as peer:
        seconds = peer.run()
        process_seconds = time.perf_counter() - start
        found = peer.found()
    rig = Rig(
        tuple(
            Camera(
                name,
                VideoReader(videos[c]).size,
                found["matrix"][c],
                found["distortion"][c],
                cv2.Rodrigues(found["turn"][c])[0],
                found["translation"][c],
            )
            for c, name in enumerate(cameras)
        ),
        peer.name,
    )
    return _Run(rig, seconds, process_seconds, float(found["printed_px"])), peer.name


def _write_input(
    config: "CalibrationBench", board: "Board", cameras: tuple[str, ...], videos: list[Path], folder: Path
) -> None:
    content = {
        "names": cameras,
        "videos": [str(path.resolve()) for path in videos],
        "threads": config.threads,
        "board": {
            "kind": board.kind,
            "columns": board.columns,
            "rows": board.rows,
            "square_m": board.square_m,
            "marker_m": board.marker_m,
            "dictionary": board.dictionary,
            "legacy": board.legacy,
        },
    }
    (folder / "input.json").write_text(json.dumps(content), encoding="utf-8")


def _run_posekit(config: "CalibrationBench", board: "Board", folder: Path) -> _Run:
    """Run the command as a person does; its own seconds are from the videos to the rig, as the peer's are."""
    from posekit.calibration.formats import read_rig

    with tempfile.TemporaryDirectory() as place:
        out, figures = Path(place) / "calibration.toml", Path(place) / "figures.json"
        arguments = ["calibrate", str(folder), "--board", str(board), "--out", str(out), "--json", str(figures)]
        environment = os.environ | {"OMP_NUM_THREADS": str(config.threads), "OMP_WAIT_POLICY": "PASSIVE"}
        start = time.perf_counter()
        done = subprocess.run(  # noqa: S603  # this Python
            [sys.executable, "-m", "posekit.apps.main", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        process_seconds = time.perf_counter() - start
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["ended without a word"])[-1]
            raise PosekitError(f"posekit calibrate: {last.removeprefix('posekit: error: ')}")
        told = json.loads(figures.read_text(encoding="utf-8"))
        return _Run(read_rig(out), told["seconds"], process_seconds, told["mean_reprojection_px"])


def _figures(run: _Run, views: "BoardViews", prefix: str) -> dict[str, Any]:
    errors = free_errors(run.rig, views)
    return {
        f"{prefix}mean_px": float(errors.mean()),
        f"{prefix}median_px": float(np.median(errors)),
        f"{prefix}detections": len(errors),
        f"{prefix}printed_px": run.printed_px,
        f"{prefix}seconds": run.seconds,
        f"{prefix}process_seconds": run.process_seconds,
        f"{prefix}cameras_placed": len(run.rig),
    }


def free_errors(rig: "Rig", views: "BoardViews") -> np.ndarray[Any, np.dtype[np.float64]]:
    """Reprojection errors (N,) px of all corners that two cameras of the rig or more saw, each placed where it fits best."""
    from posekit.calibration.report.free_points import reprojection_errors, triangulate_freely

    views = views.of(rig.names)
    pixels = np.moveaxis(views.corners_px, 2, 1).reshape(-1, len(rig), 2)
    errors = reprojection_errors(rig, triangulate_freely(rig, pixels), pixels)
    return np.asarray(errors[np.isfinite(errors)])


def print_comparison(console: Any, figures: dict[str, Any]) -> None:
    """Print posekit beside its peer."""
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        f"{figures['cameras']} cameras, {figures['board']}, {figures['threads']} threads",
        ("library", "mean px", "median px", "own px", "seconds", "with start"),
    )
    for name, prefix in (("posekit", ""), (figures["peer"], "peer_")):
        table.add_row(
            name,
            *(number(figures[f"{prefix}{what}_px"], 3) for what in ("mean", "median", "printed")),
            *(number(figures[f"{prefix}{what}"], 1) for what in ("seconds", "process_seconds")),
        )
    console.print(table)
    console.print(
        f"mean and median over all {figures['detections']} detections of corners that two cameras saw,\n"
        f"freely triangulated with each rig, none dropped; own: what each says of itself\n"
        f"the peer takes {figures['ratio_seconds']:.1f} times as long"
    )
