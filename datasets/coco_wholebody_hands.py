"""The hands of COCO-WholeBody: people in the wild, right and left hands, by hand.

Jin et al., "Whole-Body Human Pose Estimation in the Wild", ECCV 2020. Licence: annotations CC BY-NC 4.0, for
research only (github.com/jin-s13/COCO-WholeBody, where they are to be had); the pictures are COCO 2017's (cocodataset.org),
each under its own licence of Flickr.

Layout: ``annotations/coco_wholebody_{train,val}_v1.0.json``, or the file in the folder itself, and pictures in ``train2017``
and ``val2017``, or those within ``images``. Of an annotation are read ``lefthand_kpts`` and ``righthand_kpts``, (x, y, v) * 21
in hand-21 order, where ``lefthand_valid`` and ``righthand_valid`` say that they were labelled. v: 0 no label, 1 hidden, 2
visible.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.datasets.hand_labels import HandLabels, number_array, read_table
from posekit.errors import PosekitError
from posekit.io.files import require_folder

_SPLITS = {"train": "train", "val": "val", "test": "val"}


def read_coco_wholebody_hands(folder: str | Path, split: str = "train") -> HandLabels:
    """Read the labelled hands. split: ``train`` or ``val``, which ``test`` stands for, too.

    Raises PosekitError for files that are missing, damaged, or do not belong together.
    """
    folder = require_folder(folder, "COCO-WholeBody")
    name = _SPLITS[split]
    file = f"coco_wholebody_{name}_v1.0.json"
    path = next((place / file for place in (folder / "annotations", folder) if (place / file).is_file()), None)
    if path is None:
        raise PosekitError(f"{folder}: found no annotations/{file}, expected it")
    data = read_table(path, "COCO-WholeBody's annotations", ("images", "annotations"))
    numbers: dict[Any, int] = {}
    names: list[str] = []
    try:
        for image in data["images"]:
            numbers[image["id"]] = len(names)
            names.append(str(image["file_name"]))
        rows = [row for annotation in data["annotations"] for row in _hands(annotation, numbers, path)]
    except (KeyError, TypeError) as error:
        raise PosekitError(f"{path}: an entry has no {error}, expected COCO-WholeBody's annotations") from None
    if not rows:
        raise PosekitError(f"{path}: found no valid hand, expected some")
    picture, left, values = (np.array(column) for column in zip(*rows, strict=True))
    labelled = values[..., 2] > 0
    # A file that knows no 2 does not tell hidden joints from visible ones.
    visible = values[..., 2] > 1 if (values[..., 2] > 1).any() else labelled
    return HandLabels(
        folder=_pictures(folder, f"{name}2017"),
        pictures=names,
        picture=picture,
        joints=np.where(labelled[..., None], values[..., :2], np.nan),
        visible=visible,
        left=left,
        source=str(path),
    )


def _hands(
    annotation: dict[str, Any], numbers: dict[Any, int], path: Path
) -> list[tuple[int, bool, NDArray[np.float64]]]:
    rows = []
    for side in ("left", "right"):
        if not annotation.get(f"{side}hand_valid"):
            continue
        where = f"{path}: annotation {annotation.get('id')}: {side}hand_kpts"
        points = number_array(annotation[f"{side}hand_kpts"], (63,), where).reshape(21, 3)
        if annotation["image_id"] not in numbers:
            raise PosekitError(f"{where}: found image_id {annotation['image_id']}, expected one of its images")
        rows.append((numbers[annotation["image_id"]], side == "left", points))
    return rows


def _pictures(folder: Path, name: str) -> Path:
    for place in (folder / name, folder / "images" / name):
        if place.is_dir():
            return place
    raise PosekitError(f"{folder}: found no folder {name} or images/{name}, expected COCO's pictures there")
