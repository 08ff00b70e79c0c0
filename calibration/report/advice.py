"""What is weak in a calibration, and what to film again, in sentences for the person who filmed it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from posekit.calibration.report.figures import CalibrationFigures, CameraFigures
from posekit.calibration.rigs.calibration import RigCalibration

#: A camera with fewer pictures of the board than this is weakly held, whatever the others have.
_FEW_PICTURES = 15

#: Two parts of a rig that share fewer moments than this are weakly linked.
_FEW_SHARED = 15

#: Errors so many times as large as another's are worth a word.
_MUCH_LARGER = 1.6

#: Errors (px) that are too small to be worth one, however they compare.
_NEGLIGIBLE_PX = 0.15

#: So many corners tell the errors of a part of the picture.
_ENOUGH_CORNERS = 50

#: Boards placed by the other cameras are off by more than this (px) in a picture before it is worth a word.
_BADLY_PREDICTED_PX = 2.0

#: More corners than this share that are not believed say that something is wrong with the pictures.
_MANY_OUTLIERS = 0.05

#: Sides that come out this share too long or too short.
_SCALE_OFF = 0.003

#: Uncertainties (one standard deviation) of a camera's direction (degrees) and place (as a share of the way to the others).
_LOOSE_DEGREES, _LOOSE_SHARE = 0.1, 0.005

#: Cameras that fire within this time (s) of each other are in step.
_IN_STEP_S = 0.004

#: Mean errors up to which a rig is called good, and usable, in pictures 1280 px wide.
_GOOD_PX, _USABLE_PX = 1.0, 2.5

_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "middle", "right")


def verdict(figures: CalibrationFigures, calibration: RigCalibration) -> str:
    """The whole calibration in one sentence or two."""
    judged = figures.heldout or figures.fitted
    width = float(np.mean([camera.size[0] for camera in calibration.rig.cameras]))
    error = judged.mean_px * 1280 / width
    word = "good" if error <= _GOOD_PX else "usable" if error <= _USABLE_PX else "poor"
    of = "that were not used for it" if figures.heldout else "that it was made from (too few moments to hold any out)"
    sentence = (
        f"The calibration is {word}: corners {of} lie {judged.mean_px:.2f} px from where the rig has them, on average, in "
        f"pictures {width:.0f} px wide."
    )
    scale = figures.scale
    if np.isfinite(scale.mean_m):
        sentence += (
            f" The board's sides of {1000 * scale.side_m:.4g} mm are measured as {1000 * scale.mean_m:.2f} mm, "
            f"{1000 * scale.mean_absolute_error_m:.2f} mm off on average."
        )
    return sentence


def advice(figures: CalibrationFigures, calibration: RigCalibration) -> tuple[str, ...]:
    """Sentences on what is weak and what to film again, what weighs most first; empty where nothing is."""
    return (
        *(f"{name} is not in the rig: it {why}." for name, why in calibration.unlinked.items()),
        *_on_links(figures, calibration.rig.names),
        *_on_pictures(figures),
        *_on_errors(figures),
        *_on_places(calibration),
        *_on_step(calibration),
        *_on_the_whole(figures),
    )


def _on_links(figures: CalibrationFigures, names: tuple[str, ...]) -> Iterator[str]:
    """Links that alone hold two parts of the rig together, and hold them by few moments."""
    shared = figures.shared - np.diag(np.diag(figures.shared))
    for a, b in np.argwhere(np.triu(shared) > 0):
        count = shared[a, b]
        if count >= _FEW_SHARED:
            continue
        without = shared.copy()
        without[a, b] = without[b, a] = 0
        part = _reached(without, int(a))
        if part[b]:
            continue
        lone = names[a] if part.sum() == 1 else names[b] if (~part).sum() == 1 else None
        other = names[b] if lone == names[a] else names[a]
        if lone is not None:
            yield (
                f"{lone} hangs on {other} alone, by {count} moments in which both saw the board: film the board again where "
                f"{lone} and others see it at once."
            )
        else:
            groups = " and ".join(
                ", ".join(name for name, at in zip(names, side, strict=True) if at) for side in (part, ~part)
            )
            yield (
                f"Only {count} moments that {names[a]} and {names[b]} share hold {groups} together: film the board again where "
                "cameras of both groups see it at once."
            )


def _reached(links: NDArray[np.int64], start: int) -> NDArray[np.bool_]:
    reached = np.zeros(len(links), dtype=bool)
    reached[start] = True
    for _ in range(len(links)):
        reached = reached | (links[reached] > 0).any(axis=0)
    return reached


def _on_pictures(figures: CalibrationFigures) -> Iterator[str]:
    """Cameras that saw little of the board, or in a part of the picture only."""
    usual = float(np.median([camera.fitted.pictures for camera in figures.cameras]))
    for camera in figures.cameras:
        pictures = camera.fitted.pictures
        if pictures < max(_FEW_PICTURES, 0.25 * usual):
            yield (
                f"{camera.name} has {pictures} pictures of the board, where cameras have {usual:.0f} as a rule: film "
                "the board in "
                "front of it again, near and far and tilted."
            )
        if camera.outlier_share > _MANY_OUTLIERS:
            yield (
                f"{100 * camera.outlier_share:.0f} % of {camera.name}'s corners do not fit: pictures blurred by motion, a bent "
                "board, or a camera out of step; move the board more slowly."
            )
    missing = [f"{camera.name} at the {where}" for camera in figures.cameras if (where := _never_reached(camera))]
    if missing:
        yield (
            f"Parts of pictures that no corner was seen in, so that the lens is not measured there: "
            f"{'; '.join(missing)}. Carry the "
            "board there."
        )


def _never_reached(camera: CameraFigures) -> str:
    """The ninths of the picture that no corner was seen in, in words; whole rows and columns are sides."""
    ninths = camera.coverage.reshape(3, camera.coverage.shape[0] // 3, 3, -1).sum(axis=(1, 3))
    empty = ninths == 0
    words = [_ROWS[row] for row in range(3) if empty[row].all()]
    words += [_COLUMNS[column] for column in range(3) if empty[:, column].all()]
    for row, column in np.argwhere(empty):
        if not empty[row].all() and not empty[:, column].all():
            words.append(f"{_ROWS[row]} {_COLUMNS[column]}".replace("middle middle", "middle"))
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)


def _on_errors(figures: CalibrationFigures) -> Iterator[str]:
    """Cameras that are worse than the others, or than they seem."""
    usual = float(np.median([camera.fitted.median_px for camera in figures.cameras]))
    told = [c.predicted.median_px for c in figures.cameras if c.predicted is not None and c.predicted.corners]
    predicted = float(np.median(told)) if told else np.nan
    for camera in figures.cameras:
        own = camera.fitted
        if own.median_px > _MUCH_LARGER * usual + _NEGLIGIBLE_PX:
            yield (
                f"{camera.name}'s errors are {own.median_px / usual:.1f} times those of the others ({own.median_px:.2f} "
                "px, median): "
                "is it in focus, in step with the others, and its lens of the kind that was asked for?"
            )
        inner, outer = camera.inner, camera.outer
        enough = min(inner.corners, outer.corners) >= _ENOUGH_CORNERS
        if enough and outer.median_px > _MUCH_LARGER * inner.median_px + _NEGLIGIBLE_PX:
            yield (
                f"{camera.name}'s errors grow towards the edge of its picture, from {inner.median_px:.2f} to "
                f"{outer.median_px:.2f} px "
                "(median): its lens bends more than the model of it; try one with more coefficients, or fisheye."
            )
        if camera.predicted is not None and camera.predicted.median_px > max(3 * predicted, _BADLY_PREDICTED_PX):
            yield (
                f"{camera.name} is told badly by the others: boards placed without it are "
                f"{camera.predicted.median_px:.1f} px off in "
                f"its picture (median), {predicted:.1f} px in the others'; film more boards that it shares with two cameras."
            )


def _on_places(calibration: RigCalibration) -> Iterator[str]:
    """Cameras whose place or direction is known badly."""
    centres = np.stack([camera.centre_world for camera in calibration.rig.cameras])
    extent = float(np.linalg.norm(centres[:, None] - centres, axis=-1).max())
    loose = []
    for camera, covariance in zip(calibration.rig.cameras, calibration.uncertainty.pose, strict=True):
        sigma = np.sqrt(np.diag(covariance).clip(min=0))
        turn, place = float(np.degrees(sigma[:3].max())), float(sigma[3:].max())
        if turn > _LOOSE_DEGREES or place > _LOOSE_SHARE * extent:
            loose.append(f"{camera.name} to {1000 * place:.0f} mm and {turn:.2f} degrees")
    if loose:
        yield (
            f"Where cameras stand, beside {calibration.reference}, is known loosely (one standard deviation): "
            f"{'; '.join(loose)}. Film "
            "more boards, and nearer ones, that they share with others."
        )


def _on_step(calibration: RigCalibration) -> Iterator[str]:
    """Cameras that do not fire together."""
    fps = calibration.views.fps
    for camera in calibration.rig.cameras:
        offset = camera.time_offset_s
        if abs(offset) > _IN_STEP_S:
            frames = f", {abs(offset) * fps:.2f} frames" if fps else ""
            yield (
                f"{camera.name} is out of step: it takes its pictures {1000 * abs(offset):.0f} ms{frames} "
                f"{'after' if offset > 0 else 'before'} {calibration.reference}."
            )


def _on_the_whole(figures: CalibrationFigures) -> Iterator[str]:
    """Held-out errors, and lengths."""
    if figures.not_held_out:
        yield f"Nothing could be held out to check the rig: {figures.not_held_out}."
    for held_out, which in ((figures.heldout, "every fourth moment"), (figures.heldout_block, "a block of time")):
        if held_out is not None and held_out.mean_px > _MUCH_LARGER * figures.fitted.mean_px + _NEGLIGIBLE_PX:
            yield (
                f"Held out, {which} has errors of {held_out.mean_px:.2f} px, {figures.fitted.mean_px:.2f} px where it "
                "is used: there "
                "is too little to tell the cameras from chance; film more of the board, all over the volume."
            )
    scale = figures.scale
    off = scale.median_m / scale.side_m - 1
    if abs(off) > _SCALE_OFF:
        yield (
            f"The board's sides are measured {100 * abs(off):.1f} % too {'long' if off > 0 else 'short'}: the cameras "
            "do not agree on "
            "it; are the board's lengths those that were printed, is it flat, and are the cameras in step?"
        )
