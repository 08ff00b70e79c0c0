"""The figures of ``posekit evaluate`` where 2D keypoints are held against 2D keypoints, such as labels by hand or a truth."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

    from posekit.apps.evaluate import EvaluateConfig
    from posekit.keypoints import Keypoints2D

#: Thresholds of PCK in plain pixels, and of the area under its curve.
PLAIN_PX = (5.0, 10.0, 20.0)


def holds_keypoints2d(path: "Path") -> bool:
    """Tell a file of posekit's that holds 2D keypoints, by what it says of itself."""
    import h5py

    from posekit.io.keypoints_hdf5 import SCHEMA_2D

    if path.suffix.lower() not in (".h5", ".hdf5") or not path.is_file():
        return False
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("schema")
    except (OSError, RuntimeError, ValueError, TypeError):
        return False  # damaged: who reads it will say so
    return (found.decode(errors="replace") if isinstance(found, bytes) else str(found)) == SCHEMA_2D


def measure_keypoints(config: "EvaluateConfig") -> dict[str, Any]:
    """Figures of all views together at the top, of each camera under ``cameras``."""
    from posekit.errors import PosekitError
    from posekit.io.keypoint_files import open_keypoints
    from posekit.people.matching import common_frames

    if len(config.reference) != 1:
        raise PosekitError(f"{config.result}: is of 2D keypoints; one reference of 2D keypoints was expected beside it")
    sources = [open_keypoints(path, config.skeleton, None) for path in (config.result, *config.reference)]
    result, reference = (source.read(0, len(source.frames)) for source in sources)
    cameras = tuple(name for name in result.cameras if name in reference.cameras)
    own, others = common_frames(result.frames, reference.frames)
    for what, count in (("camera", len(cameras)), ("frame", len(own))):
        if count == 0:
            raise PosekitError(f"{config.result} and {config.reference[0]}: have no {what} in common")
    joints = _joints(config, result, reference)
    estimate = result.select_cameras(cameras).xy[own][..., result.skeleton.indices(joints), :].astype(np.float64)
    truth = reference.select_cameras(cameras).xy[others][..., reference.skeleton.indices(joints), :].astype(np.float64)
    matched = _match(estimate, truth)
    return {
        "result": str(config.result),
        "reference": str(config.reference[0]),
        "frames": len(own),
        "joints": list(joints),
        **_figures(matched, truth, joints),
        "cameras": {name: _figures(matched[:, [c]], truth[:, [c]], joints) for c, name in enumerate(cameras)},
    }


def _joints(config: "EvaluateConfig", result: "Keypoints2D", reference: "Keypoints2D") -> tuple[str, ...]:
    """Joints that both have; those that were asked for, where any were."""
    from posekit.errors import PosekitError

    for joint in config.joints:
        for one in (result, reference):
            one.skeleton.index(joint)  # raises where it has none
    common = config.joints or tuple(joint for joint in reference.skeleton.joints if joint in result.skeleton)
    if not common:
        raise PosekitError(f"{config.result} and {config.reference[0]}: have no joint in common")
    return common


def _match(estimate: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put the estimated people (F, C, P, J, 2) into the slots of the true ones (F, C, R, J, 2), view by view."""
    from scipy.optimize import linear_sum_assignment

    from posekit.people.matching import pixel_distances

    matched = np.full_like(truth, np.nan)
    for c in range(truth.shape[1]):
        between = pixel_distances(estimate[:, [c]], truth[:, [c]])
        far = np.nanmax(between, initial=1.0) * (1 + len(between[0]))
        for f, cost in enumerate(np.where(np.isfinite(between), between, far)):
            for p, r in zip(*linear_sum_assignment(cost), strict=True):
                if np.isfinite(between[f, p, r]):
                    matched[f, c, r] = estimate[f, c, p]
    return matched


def _figures(estimate: NDArray[np.float64], truth: NDArray[np.float64], joints: tuple[str, ...]) -> dict[str, Any]:
    """EPE, and PCK by box, head, torso and plain pixels; None where the reference has not what it is measured by."""
    from posekit import metrics

    errors = metrics.keypoint_errors(estimate, truth)
    counted = np.asarray(np.isfinite(truth).all(axis=-1))
    mean, median = metrics.end_point_error(errors)
    box = metrics.box_scale(truth)
    head = _segment(truth, joints, ("head_top", "neck"))
    torso = _segment(truth, joints, ("left_shoulder", "right_hip"))

    def share(measure: Callable[..., float], scale: NDArray[np.float64] | None, threshold: Any) -> float | None:
        if scale is None:
            return None
        value = measure(errors, scale, threshold, counted & np.isfinite(scale)[..., None])
        return value if np.isfinite(value) else None

    ones = np.ones(errors.shape[:-1])
    return {
        "keypoints": int(counted.sum()),
        "keypoints_found": int(np.isfinite(errors).sum()),
        "epe_px": mean if np.isfinite(mean) else None,
        "median_px": median if np.isfinite(median) else None,
        "pck_box_0.2": share(metrics.pck, box, 0.2),
        "pck_head_0.5": share(metrics.pck, head, 0.5),
        "pck_torso_0.2": share(metrics.pck, torso, 0.2),
        **{f"pck_{px:g}px": share(metrics.pck, ones, px) for px in PLAIN_PX},
        "auc_20px": share(metrics.pck_auc, ones, np.linspace(0, PLAIN_PX[-1], 21)),
        "auc_box_0.2": share(metrics.pck_auc, box, np.linspace(0, 0.2, 21)),
    }


def _segment(truth: NDArray[np.float64], joints: tuple[str, ...], ends: tuple[str, str]) -> NDArray[np.float64] | None:
    from posekit.metrics import segment_scale

    if not all(end in joints for end in ends):
        return None
    return segment_scale(truth, (joints.index(ends[0]), joints.index(ends[1])))


def print_keypoint_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print one row per camera."""
    from posekit.apps.tables import figures_table, number

    columns = {
        "epe_px": "EPE px",
        "median_px": "median",
        "pck_box_0.2": "box .2",
        "pck_head_0.5": "head .5",
        "pck_torso_0.2": "torso .2",
        "pck_10px": "10 px",
        "auc_20px": "AUC 20",
    }
    table = figures_table(
        f"{len(figures['joints'])} joints, {figures['frames']} frames: errors, and PCK by box, head, torso, pixels",
        ("camera", "found", *columns.values()),
    )
    for name, one in {**figures["cameras"], "all": figures}.items():
        digits = (2, 2, 3, 3, 3, 3, 3)
        cells = (number(one[key], count) for key, count in zip(columns, digits, strict=True))
        table.add_row(name, f"{one['keypoints_found']}/{one['keypoints']}", *cells)
    console.print(table)
