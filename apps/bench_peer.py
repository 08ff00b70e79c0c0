"""Work for aniposelib-pytorch: run by the interpreter of an environment that has it, and has no posekit.

``python bench_peer.py FOLDER WORK``: reads its input from FOLDER, prints ``ready`` and the library's name. Then for every line
on stdin: ``run`` does the work once and prints the seconds it took, ``save`` writes FOLDER/output.npz. Ends with stdin.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTION = "aniposelib-pytorch"


def serve(folder: Path, work: str) -> None:
    """Answer until stdin ends."""
    # Whatever the library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    try:
        version = metadata.version(DISTRIBUTION)
        import numpy as np

        run = WORKS[work](folder)
    except (ImportError, metadata.PackageNotFoundError) as error:
        sys.exit(f"has no {DISTRIBUTION} that can be used ({error}); it needs: pip install {DISTRIBUTION}==1.0.0")
    found: dict[str, Any] = {}
    answer(f"ready {DISTRIBUTION} {version}")
    for line in sys.stdin:
        if line.strip() == "run":
            start = time.perf_counter()
            found = run()
            answer(f"run {time.perf_counter() - start!r}")
        elif line.strip() == "save":
            np.savez(folder / "output.npz", **found)
            answer("save done")


def triangulation(folder: Path) -> Callable[[], dict[str, Any]]:
    """Return what is timed: from the pixels of input.npz, lens included, to points (N, 3). It has run once."""
    import cv2
    import numpy as np
    import torch

    scene = np.load(folder / "input.npz", allow_pickle=False)
    aniposelib: Any = importlib.import_module("aniposelib")
    torch.set_num_threads(int(scene["threads"]))
    cameras = [
        aniposelib.Camera(
            matrix=scene["matrix"][c],
            dist=scene["distortion"][c],
            size=tuple(int(side) for side in scene["size"][c]),
            rvec=cv2.Rodrigues(scene["rotation"][c])[0].ravel(),
            tvec=scene["translation"][c],
            name=f"cam_{c + 1}",
        )
        for c in range(len(scene["matrix"]))
    ]
    group = aniposelib.CameraGroup(cameras)
    keypoints = torch.from_numpy(scene["keypoints_px"])
    threshold = float(scene["threshold_px"])

    def triangulate() -> dict[str, Any]:
        # Its default method, with posekit's threshold, which is its own default, too.
        with torch.no_grad():
            return {"points_world": np.asarray(group.triangulate_robust(keypoints, tau=threshold).p3d)}

    triangulate()
    return triangulate


def calibration(folder: Path) -> Callable[[], dict[str, Any]]:
    """Return what is timed: from the videos and the board of input.json to a rig, detection included, all by its defaults."""
    import numpy as np
    import torch

    capture = json.loads((folder / "input.json").read_text(encoding="utf-8"))
    aniposelib: Any = importlib.import_module("aniposelib")
    boards: Any = importlib.import_module("aniposelib.boards")
    torch.set_num_threads(capture["threads"])
    board = capture["board"]
    if board["kind"] == "charuco":
        made = boards.CharucoBoard(
            board["columns"],
            board["rows"],
            board["square_m"],
            board["marker_m"],
            aruco_dict=board["dictionary"],
            legacy_pattern=board["legacy"],
        )
    else:
        made = boards.Checkerboard(board["columns"], board["rows"], board["square_m"])

    def stack(values: list[Any]) -> Any:
        return np.stack([torch.as_tensor(value).detach().numpy() for value in values])

    def calibrate() -> dict[str, Any]:
        group = aniposelib.CameraGroup.from_names(capture["names"])
        error, _ = group.calibrate_videos([[video] for video in capture["videos"]], made, verbose=False)
        cameras = group.cameras
        return {
            "printed_px": float(error),
            "matrix": stack([camera.get_camera_matrix() for camera in cameras]),
            "distortion": stack([camera.get_distortions() for camera in cameras]),
            "turn": stack([camera.get_rotation() for camera in cameras]),
            "translation": stack([camera.get_translation() for camera in cameras]),
        }

    return calibrate


WORKS: dict[str, Callable[[Path], Callable[[], dict[str, Any]]]] = {
    "triangulation": triangulation,
    "calibration": calibration,
}

if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
