"""Sheets of the hands that a detector is worst at, beside their references."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from posekit.datasets.recorded_hands import RecordedHands

_CELL = 224
_KEPT = 48
_PAIRS_IN_A_ROW = 5


class WorstHands:
    """The hands of which the smallest share of joints lies within 0.2 B of the reference, with their crops."""

    def __init__(self, hands: "RecordedHands") -> None:
        from posekit.detection.hand_box import box_from_hand

        self._hands = hands
        # As they stand in the picture, unmirrored: turned crops would hide what the detector got wrong.
        self._boxes = box_from_hand(hands.reference, angle=0.0)
        self._kept: list[tuple[float, int, np.ndarray, np.ndarray]] = []

    def add(self, rows: "np.ndarray", pictures: "list[np.ndarray]", xy: "np.ndarray") -> None:
        """Look at detected hands: their places, their pictures, and the joints found, (n, 21, 2) px."""
        import numpy as np

        from posekit.detection.hand_box import cut_crops
        from posekit.metrics import box_scale, keypoint_errors

        reference = self._hands.reference[rows]
        limit = 0.2 * box_scale(reference)[:, None]
        with np.errstate(invalid="ignore"):
            right = (keypoint_errors(xy, reference) <= limit).sum(axis=1) / np.isfinite(reference[..., 0]).sum(axis=1)
        bound = self._kept[-1][0] if len(self._kept) == _KEPT else np.inf
        for place in np.flatnonzero(right < bound):
            row = int(rows[place])
            crop = cut_crops(pictures[place], self._boxes[[row]], _CELL)[0]
            self._kept.append((float(right[place]), row, crop, xy[place]))
        self._kept = sorted(self._kept, key=lambda kept: kept[:2])[:_KEPT]

    def write(self, path: Path) -> None:
        """Write the sheet, worst first: pairs of the reference and what was found."""
        from posekit.detection.hand_box import crop_from_image, transform_points
        from posekit.view.contact_sheet import contact_sheet
        from posekit.view.overlay import write_caption, write_picture

        path.parent.mkdir(exist_ok=True)
        cells, joints = [], []
        for right, row, crop, xy in self._kept:
            side = "left" if self._hands.left[row] else "right"
            into_crop = crop_from_image(self._boxes[row], _CELL)
            for points, text in (
                (self._hands.reference[row], f"{self._hands.camera[row]} {self._hands.frame[row]} {side}: reference"),
                (xy, f"found, {right:.2f} right"),
            ):
                cell = crop.copy()
                write_caption(cell, text)
                cells.append(cell)
                joints.append(transform_points(into_crop, points))
        write_picture(path, contact_sheet(cells, joints, columns=2 * _PAIRS_IN_A_ROW, cell=_CELL))
