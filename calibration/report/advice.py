"""What is weak in a calibration, and what to film again, in sentences for the person who filmed it."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from posekit.calibration.report.figures import CalibrationFigures, CameraFigures, turn_sigma_rad
from posekit.calibration.report.lists import listed, phrases
from posekit.calibration.report.weak_links import weak_links
from posekit.calibration.rigs.calibration import RigCalibration
from posekit.calibration.world.frame import WorldFrame

#: A person reads so many sentences.
_MOST_SENTENCES = 6

#: So many cameras that are not in the rig are told by a sentence of their own.
_MOST_UNLINKED = 2

#: A camera with fewer pictures of the board than this is weakly held, whatever the others have.
_FEW_PICTURES = 15

#: A lens that was looked for in fewer pictures than this fits them, whatever it is.
_LENS_PICTURES = 5

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

#: Sides that come out this share too long or too short; a known distance that has them so, beside the board's own.
_SCALE_OFF, _SCALES_DISAGREE = 0.003, 0.01

#: Uncertainties (one standard deviation) of a camera's direction (degrees) and place (as a share of the way to the others).
_LOOSE_DEGREES, _LOOSE_SHARE = 0.1, 0.005

#: Cameras are out of step that fire this part of a frame apart, and so many standard deviations; and where nobody knows how
#: long a frame is, this many seconds: a quarter of a frame at 30 per second.
_OUT_OF_STEP_FRAMES, _OUT_OF_STEP_SIGMAS, _OUT_OF_STEP_S = 0.25, 5.0, 1 / 120

#: Mean errors up to which a rig is called good, and usable, in pictures 1280 px wide; 95 % of the corners of every camera of a
#: good one are within the latter.
_GOOD_PX, _USABLE_PX = 1.0, 2.5

#: Of a good rig all places are known to this share of their distance from the first camera (one standard deviation).
_GOOD_SHARE = 0.01

_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "middle", "right")


def verdict(
    figures: CalibrationFigures,
    calibration: RigCalibration,
    world: WorldFrame | None = None,
    *,
    out_of_step: bool = False,
) -> str:
    """The whole calibration in a few sentences.

    world: what the rig was moved to after that, which may have given it its scale. It is called good or usable by errors in
    moments that it was not made from; where there are none for a camera, or its lens was looked for in fewer than five
    pictures, it is said that this could not be checked. It is not good where more than a few of one camera's corners fit
    badly, or where a camera's place is known to no better than a hundredth of its distance. out_of_step: cameras are known to
    be out of step, and the rig does not allow for it: held-out moments, where the board is placed anew, hardly show what that
    does to it.
    """
    judged = figures.heldout or figures.fitted
    width = float(np.mean([camera.size[0] for camera in calibration.rig.cameras]))
    error = judged.mean_px * 1280 / width
    unchecked = list(_unchecked(figures, calibration))
    of = "that were not used for it" if figures.heldout else "that it was made from"
    if out_of_step:
        told = f"Do not use this rig as it is, for its cameras are out of step: corners {of}"
    elif error > _USABLE_PX:
        told = f"The calibration is poor: corners {of}"
    elif figures.heldout is None:
        told = f"The calibration could not be checked, for no moments could be spared: corners {of}"
    elif unchecked:
        told = f"The calibration could not be checked as a whole: {phrases(unchecked)}. Corners {of}"
    else:
        worst = max(camera.fitted.p95_px for camera in figures.cameras) * 1280 / width
        good = error <= _GOOD_PX and worst <= _USABLE_PX and _largest_share(calibration) <= _GOOD_SHARE
        told = f"The calibration is {'good' if good else 'usable'}: corners {of}"
    told += f" lie {judged.mean_px:.2f} px from where the rig has them, on average, in pictures {width:.0f} px wide."
    scale = figures.scale
    if np.isfinite(scale.mean_m):
        told += (
            f" The board's sides of {1000 * scale.side_m:.4g} mm are measured as {1000 * scale.mean_m:.2f} mm, "
            f"{1000 * scale.mean_absolute_error_m:.2f} mm off on average."
        )
    return " ".join((told, *_scales_that_disagree(figures, world)))


def _largest_share(calibration: RigCalibration) -> float:
    """The worst known camera's standard deviation of its place, as a share of its distance from the first one."""
    sigma = np.linalg.norm(calibration.uncertainty.position_sigma_m, axis=-1)
    centres = np.stack([camera.centre_world for camera in calibration.rig.cameras])
    away = np.linalg.norm(centres - centres[0], axis=-1)
    return float((sigma[1:] / np.maximum(away[1:], 1e-9)).max(initial=0.0))


def advice(
    figures: CalibrationFigures, calibration: RigCalibration, world: WorldFrame | None = None
) -> tuple[str, ...]:
    """Sentences on what is weak and what to film again, what weighs most first, six at most; empty where nothing is."""
    told = (
        *_on_unlinked(calibration),
        *_on_the_check(figures, calibration),
        *weak_links(figures.shared, calibration.rig.names),
        *_on_outliers(figures, calibration),
        *_on_lengths(figures),
        *_on_chance(figures),
        *_on_predictions(figures),
        *_on_errors(figures),
        *_on_pictures(figures),
        *_on_places(calibration, world),
        *_on_edges(figures),
        *_on_step(calibration),
        *_on_coverage(figures),
    )
    return told[:_MOST_SENTENCES]


def _of_the_others(values: Sequence[float]) -> NDArray[np.float64]:
    """For each value, the median of the others."""
    return np.array([np.median(np.delete(values, n)) if len(values) > 1 else np.nan for n in range(len(values))])


def _unchecked(figures: CalibrationFigures, calibration: RigCalibration) -> Iterator[str]:
    """Cameras of which the held-out moments do not say whether they are right, and why."""
    for c, camera in enumerate(figures.cameras):
        pictures = int(calibration.used[:, c].any(axis=-1).sum())
        if calibration.uncertainty.lens_sigma[c] and pictures < _LENS_PICTURES:
            yield f"the lens of {camera.name} rests on {pictures} pictures"
        elif camera.heldout is None or not camera.heldout.corners:
            yield f"{camera.name} saw the board in no held-out moment"


def _on_unlinked(calibration: RigCalibration) -> Iterator[str]:
    unlinked = list(calibration.unlinked.items())
    for name, why in unlinked[:_MOST_UNLINKED]:
        yield f"{name} is not in the rig: it {why}."
    others = [name for name, _ in unlinked[_MOST_UNLINKED:]]
    if others:
        yield f"{listed(others)} {'are' if len(others) > 1 else 'is'} not in the rig, either."


def _on_the_check(figures: CalibrationFigures, calibration: RigCalibration) -> Iterator[str]:
    """What held-out moments could not tell."""
    if figures.heldout is None:
        why = figures.not_held_out.removeprefix(f"{calibration.views.source}: ")
        yield f"Nothing could be held out to check the rig{': ' if why else ''}{why}."
        return
    told = list(_unchecked(figures, calibration))
    if told:
        yield (
            f"Not checked by held-out moments: {phrases(told)}. Film more of the board "
            f"{'there' if len(told) > 1 else 'in front of it'}, near and far and tilted."
        )


def _on_outliers(figures: CalibrationFigures, calibration: RigCalibration) -> Iterator[str]:
    """Cameras many of whose corners were not believed."""
    bad = sorted((c for c in figures.cameras if c.outlier_share > _MANY_OUTLIERS), key=lambda c: -c.outlier_share)
    if not bad:
        return
    shares = listed([f"{100 * camera.outlier_share:.0f} % of {camera.name}'s" for camera in bad])
    if calibration.boards.rates.any() or _out_of_step(calibration):
        yield (
            f"{shares} corners do not fit: pictures were not taken at one time, and their times may be wrong, or the board "
            "moved too fast for them; hold it still in every place."
        )
    else:
        yield (
            f"{shares} corners do not fit: pictures blurred by motion, a bent board, or a camera out of step; move the board "
            "more slowly."
        )


def _on_lengths(figures: CalibrationFigures) -> Iterator[str]:
    scale = figures.scale
    off = scale.median_m / scale.side_m - 1
    if abs(off) > _SCALE_OFF:
        yield (
            f"The board's sides are measured {100 * abs(off):.1f} % too {'long' if off > 0 else 'short'}: the cameras do not "
            "agree on it; were its lengths measured on the print, is it flat, are the cameras in step?"
        )


def _scales_that_disagree(figures: CalibrationFigures, world: WorldFrame | None) -> Iterator[str]:
    """How long the board's sides are by a known distance."""
    times = 1.0 if world is None else float(world.world_from_old.scale)
    if abs(times - 1) > _SCALES_DISAGREE:
        side = 1000 * figures.scale.side_m
        yield (
            f"By the known length that gave the rig its scale they are {times * side:.4g} mm, {100 * abs(times - 1):.0f} % "
            f"{'longer' if times > 1 else 'shorter'} than --board says: measure both again."
        )


def _on_chance(figures: CalibrationFigures) -> Iterator[str]:
    """Errors that are larger where the rig was not made."""
    for held_out, which in ((figures.heldout, "every fourth moment"), (figures.heldout_block, "a block of time")):
        if held_out is not None and held_out.mean_px > _MUCH_LARGER * figures.fitted.mean_px + _NEGLIGIBLE_PX:
            yield (
                f"Held out, {which} has errors of {held_out.mean_px:.2f} px, {figures.fitted.mean_px:.2f} px where it is used: "
                "there is too little to tell the cameras from chance; film more, all over the volume."
            )
            return


def _on_predictions(figures: CalibrationFigures) -> Iterator[str]:
    """Cameras that the others tell badly."""
    told = [(c.name, c.predicted.median_px) for c in figures.cameras if c.predicted is not None and c.predicted.corners]
    told.sort(key=lambda camera: -camera[1])
    usual = _of_the_others([median for _, median in told])
    bad = [n for n, (_, median) in enumerate(told) if median > max(3 * usual[n], _BADLY_PREDICTED_PX)]
    if bad:
        off = listed([f"{told[n][1]:.1f} px off in {told[n][0]}" for n in bad])
        yield (
            f"Boards placed by the other cameras are {off} (median), {usual[bad[0]]:.1f} px in others: film more boards that "
            f"it shares with {'two cameras' if len(told) > 2 else 'the other'}."
        )


def _on_errors(figures: CalibrationFigures) -> Iterator[str]:
    """Cameras that are worse than the others."""
    medians = np.array([camera.fitted.median_px for camera in figures.cameras])
    usual = _of_the_others(medians.tolist())
    bad = [c for c in np.argsort(-medians) if medians[c] > _MUCH_LARGER * usual[c] + _NEGLIGIBLE_PX]
    if bad:
        off = listed([f"{medians[c]:.2f} px in {figures.cameras[c].name}" for c in bad])
        yield (
            f"Errors are {off} (median), {usual[bad[0]]:.2f} px in others: is it in focus, in step with them, and its lens of "
            "the kind that was asked for?"
        )


def _on_pictures(figures: CalibrationFigures) -> Iterator[str]:
    """Cameras that saw little of the board."""
    pictures = {camera.name: camera.fitted.pictures for camera in figures.cameras}
    usual = float(np.median(list(pictures.values())))
    few = sorted(
        (name for name in pictures if pictures[name] < max(_FEW_PICTURES, 0.25 * usual)), key=pictures.__getitem__
    )
    again = "again, near and far and tilted."
    if len(pictures) == 2:  # what they share is less still, and said already
        return
    if usual < _FEW_PICTURES:
        yield f"Cameras have {usual:.0f} pictures of the board as a rule: film {_FEW_PICTURES} or more for each, near and far."
    elif few:
        told = listed([f"{name} has {pictures[name]}" for name in few])
        yield f"Few pictures of the board, where cameras have {usual:.0f} as a rule: {told}. Film it there {again}"


def _on_places(calibration: RigCalibration, world: WorldFrame | None) -> Iterator[str]:
    """Cameras whose place or direction is known badly."""
    times = 1.0 if world is None else float(world.world_from_old.scale)
    centres = times * np.stack([camera.centre_world for camera in calibration.rig.cameras])
    extent = float(np.linalg.norm(centres[:, None] - centres, axis=-1).max())
    uncertainty = calibration.uncertainty.scaled(times)
    place = np.linalg.norm(uncertainty.position_sigma_m, axis=-1)
    turn = np.degrees(np.linalg.norm(turn_sigma_rad(uncertainty), axis=-1))
    # How many times as loose as is worth a word.
    loose = np.maximum(turn / _LOOSE_DEGREES, place / (_LOOSE_SHARE * extent))
    worst = [c for c in np.argsort(-loose) if loose[c] > 1]
    if worst:
        names = calibration.rig.names
        known = phrases([f"{names[c]} to {1000 * place[c]:.1f} mm and {turn[c]:.2f} degrees" for c in worst])
        yield (
            f"Known loosely beside {calibration.reference} (one standard deviation): {known}. Film more boards that "
            f"{'both' if len(names) == 2 else 'they and others'} see, and nearer ones."
        )


def _on_edges(figures: CalibrationFigures) -> Iterator[str]:
    """Lenses that are worse towards the edge."""
    bad = []
    for camera in figures.cameras:
        inner, outer = camera.inner, camera.outer
        enough = min(inner.corners, outer.corners) >= _ENOUGH_CORNERS
        if enough and outer.median_px > _MUCH_LARGER * inner.median_px + _NEGLIGIBLE_PX:
            bad.append(f"{camera.name} from {inner.median_px:.2f} to {outer.median_px:.2f} px")
    if bad:
        yield (
            f"Errors grow towards the picture's edge (median): {phrases(bad)}. The lens bends more than its model; try one "
            "with more coefficients, or fisheye."
        )


def _out_of_step(calibration: RigCalibration) -> list[int]:
    """Cameras that do not fire together with the first one, the latest and earliest first."""
    fps = calibration.views.fps
    offsets = np.array([camera.time_offset_s for camera in calibration.rig.cameras])
    sigma = np.nan_to_num(calibration.uncertainty.time_offset_sigma_s)
    least = _OUT_OF_STEP_FRAMES / fps if fps else _OUT_OF_STEP_S
    late = (np.abs(offsets) >= least) & (np.abs(offsets) > _OUT_OF_STEP_SIGMAS * sigma)
    return [int(c) for c in np.argsort(-np.abs(offsets)) if late[c]]


def _on_step(calibration: RigCalibration) -> Iterator[str]:
    """Cameras that do not fire together."""
    fps = calibration.views.fps
    told = []
    for c in _out_of_step(calibration):
        camera = calibration.rig.cameras[c]
        offset = camera.time_offset_s
        frames = f" ({abs(offset) * fps:.2f} frames)" if fps else ""
        told.append(f"{camera.name} {1000 * abs(offset):.0f} ms{frames} {'after' if offset > 0 else 'before'}")
    if told:
        yield f"Out of step with {calibration.reference}, which the rig allows for: {phrases(told)} it."


def _on_coverage(figures: CalibrationFigures) -> Iterator[str]:
    """Parts of pictures in which no corner was seen."""
    missing = [f"{camera.name} at the {where}" for camera in figures.cameras if (where := _never_reached(camera))]
    if missing:
        yield f"Lenses are not measured where no corner was seen: {phrases(missing)}. Carry the board there."


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
