"""The hands that multiview bootstrapping was shown on: labelled by hand (MPII, NZSL), and from CMU's Panoptic Studio.

Simon et al., "Hand Keypoint Detection in Single Images using Multiview Bootstrapping", CVPR 2017.
Licence: for research only, no commercial use; the pictures labelled by hand are MPII's and, under CC BY-NC-SA 3.0, those of the
New Zealand Sign Language Dictionary. To be had from domedb.perception.cs.cmu.edu/handdb.html: hand_labels.zip (1,912 hands to
train on, 846 to test on) and hand143_panopticdb.tar (14,817 hands).

Layouts: ``hand_labels/{manual_train,manual_test}/<name>.json`` beside ``<name>.jpg``, with ``hand_pts``, 21 x [x, y, labelled],
and ``is_left``, 0 or 1; and ``hand143_panopticdb/hands_v143_14817.json``, whose ``root`` lists hands with ``img_paths`` and
``joint_self``, as hand_pts: all of them right hands, where no ``is_left`` says otherwise. Joints are in hand-21 order.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.datasets.hand_labels import HandLabels, number_array, read_table
from posekit.errors import PosekitError
from posekit.io.files import natural_order, require_folder

_SPLITS = {"train": "manual_train", "test": "manual_test"}


def read_hand_labels(folder: str | Path, split: str = "train") -> HandLabels:
    """Read the hands labelled by hand. folder: ``hand_labels``. split: ``train`` or ``test``.

    Raises PosekitError for a folder without labels and for a damaged file.
    """
    folder = require_folder(Path(folder) / _SPLITS[split], f"hand_labels, its {_SPLITS[split]}")
    files = sorted(folder.glob("*.json"), key=lambda path: natural_order(path.name))
    if not files:
        raise PosekitError(f"{folder}: found no .json, expected one beside every picture")
    names, points, left = [], [], []
    for path in files:
        content = read_table(path, "the labels of one hand", ("hand_pts",))
        points.append(_points(content["hand_pts"], f"{path}: hand_pts"))
        left.append(bool(content.get("is_left", 0)))
        names.append(f"{path.stem}.jpg")
    return _labels(folder, names, points, left, str(folder))


def read_hand143(folder: str | Path, split: str = "train") -> HandLabels:
    """Read the hands of the Panoptic Studio. folder: ``hand143_panopticdb``, which has a ``train`` split only.

    Raises PosekitError for a missing or damaged file, and for another split.
    """
    folder = require_folder(folder, "hand143_panopticdb")
    if split != "train":
        raise PosekitError(f"{folder}: found no {split} split, expected 'train': this set was only trained on")
    files = sorted(folder.glob("hands_v*.json"))
    if len(files) != 1:
        raise PosekitError(f"{folder}: found {len(files)} files hands_v*.json, expected one")
    entries = read_table(files[0], "the labels of hand143_panopticdb", ("root",))["root"]
    if not isinstance(entries, list) or not entries:
        raise PosekitError(f"{files[0]}: root: found no list of hands, expected one")
    names, points, left = [], [], []
    for number, entry in enumerate(entries):
        where = f"{files[0]}: hand {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("img_paths"), str):
            raise PosekitError(f"{where}: found no img_paths, expected a file name")
        points.append(_points(entry.get("joint_self"), f"{where}: joint_self"))
        left.append(bool(entry.get("is_left", 0)))
        names.append(entry["img_paths"])
    return _labels(folder, names, points, left, str(files[0]))


def _points(values: Any, where: str) -> NDArray[np.float64]:
    return number_array(values, (21, 3), where)


def _labels(
    folder: Path, names: list[str], points: list[NDArray[np.float64]], left: list[bool], source: str
) -> HandLabels:
    values = np.array(points)
    labelled = values[..., 2] > 0
    return HandLabels(
        folder=folder,
        pictures=names,
        picture=np.arange(len(names)),
        joints=np.where(labelled[..., None], values[..., :2], np.nan),
        visible=labelled,
        left=np.array(left, dtype=bool),
        source=source,
    )
