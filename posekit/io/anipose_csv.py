"""The ``pose-3d`` CSV files of Anipose: one row per frame, six columns per joint."""

import csv
import math
from pathlib import Path

import numpy as np

from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.keypoints import Keypoints3D


def write_anipose_csv(path: str | Path, keypoints: Keypoints3D, person: int = 0) -> None:
    """Write one person with Anipose's columns, whole or not at all.

    Per joint: x, y, z in metres (Anipose's own files have the unit of its board); error, the mean reprojection error in
    px over the views that agree; ncams, their number; score, which posekit has no like of and leaves empty, like every
    missing value. Then M_00 ... M_22 and center_0 ... 2, the change of axes, here none; and fnum, the frame number.

    Raises PosekitError where there is no such person.
    """
    path = Path(path)
    people = keypoints.xyz.shape[1]
    if not 0 <= person < people:
        raise PosekitError(f"{path}: there is no person {person}; {keypoints.source or 'the keypoints'} hold {people}")
    columns = [
        f"{joint}_{what}" for joint in keypoints.skeleton.joints for what in ("x", "y", "z", "error", "ncams", "score")
    ]
    columns += [f"M_{row}{column}" for row in range(3) for column in range(3)] + [f"center_{axis}" for axis in range(3)]
    inliers = keypoints.inliers[:, person]
    count = inliers.sum(axis=-1)
    total = np.where(inliers, np.nan_to_num(keypoints.reprojection_px[:, person]), 0).sum(axis=-1)
    error = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    score = np.full_like(error, np.nan)
    values = np.concatenate((keypoints.xyz[:, person], np.stack((error, count, score), axis=-1)), axis=-1)
    unchanged = [*np.eye(3).ravel().tolist(), 0.0, 0.0, 0.0]
    with write_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "fnum"])
        for frame, row in zip(keypoints.frames.tolist(), values.reshape(len(values), -1).tolist(), strict=True):
            writer.writerow([*("" if math.isnan(value) else repr(value) for value in row), *unchanged, frame])
