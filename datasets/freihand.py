"""FreiHAND: 32,560 right hands before a green screen, each with four backgrounds, with 3D; 224 px pictures.

Zimmermann et al., "FreiHAND: A Dataset for Markerless Capture of Hand Pose and Shape from Single RGB Images", ICCV 2019.
Licence: for research only, no commercial use. To be had from lmb.informatik.uni-freiburg.de/projects/freihand: unpack
FreiHAND_pub_v2.zip, and FreiHAND_pub_v2_eval.zip (the labels of the evaluation pictures) into the same folder.

Layout: ``training_xyz.json``, ``training_K.json`` and ``training/rgb/%08d.jpg``; the same with ``evaluation``. xyz is in metres
in the camera's axes; hand n is on the pictures n, n + 32560, n + 65120 and n + 97680. Joints are in hand-21 order, all of them
have a label, and which of them are hidden is not said.
"""

from pathlib import Path

import numpy as np

from posekit.datasets.hand_labels import HandLabels, number_array, project, read_list
from posekit.errors import PosekitError
from posekit.io.files import require_folder

_SPLITS = {"train": "training", "test": "evaluation"}


def read_freihand(folder: str | Path, split: str = "train") -> HandLabels:
    """Read the labels. split: ``train`` or ``test``.

    Raises PosekitError for files that are missing or damaged, and where there are not 1 to 4 pictures of every hand.
    """
    folder = require_folder(folder, "FreiHAND")
    name = _SPLITS[split]
    xyz_path = folder / f"{name}_xyz.json"
    points = read_list(xyz_path, f"the labels of FreiHAND's {name} set")
    xyz = number_array(points, (-1, 21, 3), str(xyz_path))
    matrix_path = folder / f"{name}_K.json"
    matrices = read_list(matrix_path, f"the cameras of FreiHAND's {name} set", len(points))
    camera_matrix = number_array(matrices, (-1, 3, 3), str(matrix_path))
    rgb = require_folder(folder / name / "rgb", f"FreiHAND's {name} pictures")
    pictures = sorted(path.name for path in rgb.iterdir() if path.suffix == ".jpg")
    versions = len(pictures) // len(xyz)
    if versions not in (1, 2, 3, 4) or len(pictures) % len(xyz):
        raise PosekitError(
            f"{rgb}: found {len(pictures)} pictures for {len(xyz)} hands of {xyz_path.name}, expected 1 to 4 of each"
        )
    hand = np.arange(len(pictures)) % len(xyz)
    return HandLabels(
        folder=rgb,
        pictures=pictures,
        picture=np.arange(len(pictures)),
        joints=project(xyz, camera_matrix)[hand],
        visible=np.ones((len(pictures), 21), dtype=bool),
        left=np.zeros(len(pictures), dtype=bool),
        source=str(xyz_path),
        xyz=xyz[hand],
        camera_matrix=camera_matrix[hand],
    )
