"""InterHand2.6M: one and two hands in a studio of some 80 cameras, right and left, with 3D and calibration.

Moon et al., "InterHand2.6M: A Dataset and Baseline for 3D Interacting Hand Pose Estimation from a Single RGB Image", ECCV 2020.
Licence: CC BY-NC 4.0, no commercial use. To be had from mks0601.github.io/InterHand2.6M: pictures and annotations (5 or
30 frames per second), unpacked into one folder.

Layout: ``annotations/{all,human_annot,machine_annot}/InterHand2.6M_<split>_{data,camera,joint_3d}.json`` (version 1.0 has them
in ``annotations/<split>``) and ``images/<split>/...``. 42 joints: the right hand, then the left, each finger tip to base, the
wrist last. World in millimetres, camera = camrot (world - campos), focal lengths and principal point per camera.
``joint_valid`` is 1 where a joint has a label and lies in the picture; whether something hides it is not said.

The annotations of all training pictures are some gigabytes in memory while they are read; ``human_annot`` has a tenth of them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.datasets.hand_labels import HandLabels, number_array, project, read_table
from posekit.errors import PosekitError
from posekit.io.files import require_folder
from posekit.skeleton import HAND_21, INTERHAND_21

#: Where the joints of hand-21 are in InterHand2.6M's hand.
_PLACES = np.array([INTERHAND_21.index(joint) for joint in HAND_21.joints])
_SUBSETS = ("all", "human_annot", "machine_annot", "")
_MM = 1e-3
_Calibration = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]


def read_interhand(folder: str | Path, split: str = "train") -> HandLabels:
    """Read the labels of every hand. split: ``train``, ``val`` or ``test``.

    The first of the annotations ``all``, ``human_annot``, ``machine_annot`` that is there. A picture of two hands gives two.
    Raises PosekitError for files that are missing, damaged, or do not belong together.
    """
    folder = require_folder(folder, "InterHand2.6M")
    data_path, place = _find_annotations(folder, split)
    data = read_table(data_path, "InterHand2.6M's annotations", ("images", "annotations"))
    cameras_path, joints_path = (place / f"InterHand2.6M_{split}_{what}.json" for what in ("camera", "joint_3d"))
    cameras = read_table(cameras_path, "InterHand2.6M's cameras", ())
    world = read_table(joints_path, "InterHand2.6M's 3D joints", ())
    images = {image["id"]: image for image in _entries(data, "images", data_path)}
    numbers = {image_id: number for number, image_id in enumerate(images)}
    calibrations: dict[tuple[str, str], _Calibration] = {}
    frames: dict[tuple[str, str], NDArray[np.float64]] = {}
    rows: list[tuple[int, bool, NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]] = []
    for annotation in _entries(data, "annotations", data_path):
        where = f"{data_path}: annotation {annotation.get('id')}"
        try:
            image = images[annotation["image_id"]]
            capture, camera, frame = str(image["capture"]), str(image["camera"]), str(image["frame_idx"])
            if (capture, camera) not in calibrations:
                calibrations[capture, camera] = _calibration(cameras[capture], camera, f"{cameras_path}: {capture}")
            rotation, position, matrix = calibrations[capture, camera]
            if (capture, frame) not in frames:  # which some 80 cameras have pictures of
                found = world[capture][frame]
                points = found["world_coord"] if isinstance(found, dict) else found
                frames[capture, frame] = number_array(
                    points, (42, 3), f"{joints_path}: capture {capture}, frame {frame}"
                )
            valid = annotation["joint_valid"]
        except (KeyError, TypeError) as error:
            raise PosekitError(f"{where}: found no {error} for it, expected one") from None
        xyz = frames[capture, frame]
        labelled = _flags(valid, f"{where}: joint_valid")
        for left in (False, True):
            places = _PLACES + 21 * left
            if labelled[places].any():
                own = np.where(labelled[places, None], (xyz[places] - position) @ rotation.T * _MM, np.nan)
                rows.append((numbers[annotation["image_id"]], left, own.astype(np.float32), labelled[places], matrix))
    if not rows:
        raise PosekitError(f"{data_path}: found no annotation with a valid joint, expected one")
    picture, left_hands, in_camera, labels, matrices = (np.array(column) for column in zip(*rows, strict=True))
    return HandLabels(
        folder=require_folder(folder / "images" / split, f"InterHand2.6M's {split} pictures"),
        pictures=[str(image["file_name"]) for image in images.values()],
        picture=picture,
        joints=project(in_camera, matrices),
        visible=labels,
        left=left_hands,
        source=str(data_path),
        xyz=in_camera,
        camera_matrix=matrices,
    )


def _find_annotations(folder: Path, split: str) -> tuple[Path, Path]:
    for subset in (*_SUBSETS, split):
        place = folder / "annotations" / subset
        path = place / f"InterHand2.6M_{split}_data.json"
        if path.is_file():
            return path, place
    raise PosekitError(
        f"{folder}: found no annotations/{{all,human_annot,machine_annot}}/InterHand2.6M_{split}_data.json, expected one"
    )


def _entries(data: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    entries = data[key]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "id" in entry for entry in entries):
        raise PosekitError(f"{path}: {key}: expected a list of objects that have an id")
    return entries


def _flags(values: Any, where: str) -> NDArray[np.bool_]:
    """Whether each of 42 numbers is above 0; version 1.0 has each of them in a list of its own."""
    nested = isinstance(values, list) and len(values) > 0 and isinstance(values[0], list)
    return number_array(values, (42, 1) if nested else (42,), where).ravel() > 0


def _calibration(capture: dict[str, Any], camera: str, where: str) -> _Calibration:
    """Rotation world to camera, position in mm, camera matrix in px."""
    focal = number_array(capture["focal"][camera], (2,), f"{where}, focal of {camera}")
    centre = number_array(capture["princpt"][camera], (2,), f"{where}, princpt of {camera}")
    matrix = np.diag([*focal, 1.0])
    matrix[:2, 2] = centre
    return (
        number_array(capture["camrot"][camera], (3, 3), f"{where}, camrot of {camera}"),
        number_array(capture["campos"][camera], (3,), f"{where}, campos of {camera}"),
        matrix.astype(np.float32),
    )
