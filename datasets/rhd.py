"""Rendered Handpose Dataset: 41,258 + 2,728 rendered people, both hands, with 3D and visibility; 320 px pictures.

Zimmermann and Brox, "Learning to Estimate 3D Hand Pose from Single RGB Images", ICCV 2017. Licence: for research only, no
commercial use. To be had from lmb.informatik.uni-freiburg.de/resources/datasets/RenderedHandposeDataset.en.html: unpack
RHD_v1-1.zip; the folder wanted here is ``RHD_published_v2``.

Layout: ``{training,evaluation}/color/%05d.png``, and ``{training,evaluation}/anno_{training,evaluation}.pickle``, a table by
the pictures' numbers of ``uv_vis``, (42, 3) px and 1 where visible, ``xyz``, (42, 3) metres in the camera's axes, and ``K``.
42 joints: the left hand, then the right; the wrist first, but each finger tip to base. A hand of which fewer than 11 joints
can be seen is left out.
"""

from pathlib import Path

import numpy as np

from posekit.datasets.array_pickle import read_array_pickle
from posekit.datasets.hand_labels import MIN_JOINTS, HandLabels, number_array
from posekit.errors import PosekitError
from posekit.io.files import require_file, require_folder
from posekit.skeleton import HAND_FINGERS

_SPLITS = {"train": "training", "test": "evaluation"}
#: Where the joints of hand-21 are in RHD's hand: every finger stands there the other way round.
_PLACES = np.array([0, *(joint for finger in HAND_FINGERS for joint in reversed(finger))])


def read_rhd(folder: str | Path, split: str = "train") -> HandLabels:
    """Read the labels of every hand. split: ``train`` or ``test``.

    The pickle is read by a reader of its own that makes arrays and nothing else. Raises PosekitError for files that are
    missing or damaged, and for a pickle that holds anything but arrays.
    """
    name = _SPLITS[split]
    place = require_folder(Path(folder) / name, f"RHD's {name} set")
    path = require_file(place / f"anno_{name}.pickle", "RHD's labels")
    samples = read_array_pickle(path)
    if not isinstance(samples, dict) or not samples:
        raise PosekitError(f"{path}: found no table of samples, expected one")
    pictures: list[str] = []
    picture: list[int] = []
    left: list[bool] = []
    uv, xyz, matrices = [], [], []
    for number, sample in samples.items():
        if not isinstance(number, int | np.integer) or not isinstance(sample, dict):
            raise PosekitError(f"{path}: sample {number}: expected a number with uv_vis, xyz and K")
        for key in ("uv_vis", "xyz", "K"):
            if key not in sample:
                raise PosekitError(f"{path}: sample {number}: found no {key}, expected one")
        where = f"{path}: sample {number}"
        points = number_array(sample["uv_vis"], (42, 3), f"{where}: uv_vis")
        in_camera = number_array(sample["xyz"], (42, 3), f"{where}: xyz")
        for first in (0, 21):
            if (points[first : first + 21, 2] == 1).sum() >= MIN_JOINTS:
                picture.append(len(pictures))
                left.append(first == 0)
                uv.append(points[first + _PLACES])
                xyz.append(in_camera[first + _PLACES])
                matrices.append(number_array(sample["K"], (3, 3), f"{where}: K"))
        pictures.append(f"{int(number):05d}.png")
    if not picture:
        raise PosekitError(f"{path}: found no hand with {MIN_JOINTS} visible joints, expected some")
    values = np.array(uv)
    return HandLabels(
        folder=require_folder(place / "color", f"RHD's {name} pictures"),
        pictures=pictures,
        picture=np.array(picture),
        joints=values[..., :2],
        visible=values[..., 2] == 1,
        left=np.array(left),
        source=str(path),
        xyz=np.array(xyz),
        camera_matrix=np.array(matrices),
    )
