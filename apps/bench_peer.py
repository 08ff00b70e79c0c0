"""Triangulate with aniposelib-pytorch: run by the interpreter of an environment that has it, and has no posekit.

``python bench_peer.py FOLDER``: reads FOLDER/input.npz, triangulates once, prints ``ready`` and the library's name. Then for
every line on stdin: ``run`` triangulates and prints the seconds it took, ``save`` writes FOLDER/output.npz. Ends with stdin.
"""

import importlib
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTION = "aniposelib-pytorch"


def serve(folder: Path) -> None:
    """Answer until stdin ends."""
    # Whatever the library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    try:
        version = metadata.version(DISTRIBUTION)
        import numpy as np

        triangulate = prepare(np.load(folder / "input.npz", allow_pickle=False))
    except (ImportError, metadata.PackageNotFoundError) as error:
        sys.exit(f"has no {DISTRIBUTION} that can be used ({error}); it needs: pip install {DISTRIBUTION}==1.0.0")
    found = triangulate()
    answer(f"ready {DISTRIBUTION} {version}")
    for line in sys.stdin:
        if line.strip() == "run":
            start = time.perf_counter()
            found = triangulate()
            answer(f"run {time.perf_counter() - start!r}")
        elif line.strip() == "save":
            np.savez(folder / "output.npz", points_world=np.asarray(found))
            answer("save done")


def prepare(scene: Any) -> Callable[[], Any]:
    """Return what is timed: from pixels, lens included, to points (N, 3)."""
    import cv2
    import torch

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

    def triangulate() -> Any:
        # Its default method, with posekit's threshold, which is its own default, too.
        with torch.no_grad():
            return group.triangulate_robust(keypoints, tau=threshold).p3d

    return triangulate


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
