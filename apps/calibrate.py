"""``posekit calibrate``: a rig from a board that all cameras filmed, or a rig refined on the people who move in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class CalibrateConfig:
    """Make a rig from a board that the cameras filmed, or refine one on the keypoints of people; with a report.

    posekit calibrate FOLDER --board charuco:4x5:0.054:0.0405:DICT_4X4_1000 --out calibration.toml
    posekit calibrate --refine calibration.toml --keypoints openpose --out refined.toml
    posekit calibrate --board chessboard:9x6:0.025 --draw-board board.pdf
    """

    folder: Annotated[Path | None, tyro.conf.Positional] = None
    """Videos of the board, one per camera; or stills, in a folder per camera or named by camera and number (left01.jpg)."""
    board: str | None = None
    """charuco:COLUMNSxROWS:SQUARE:MARKER:DICTIONARY (squares), chessboard:COLUMNSxROWS:SQUARE (inner corners), or
    aruco:COLUMNSxROWS:MARKER:GAP:DICTIONARY (markers; AprilTags, too); sides in metres."""
    out: Path | None = None
    """The calibration.toml to write."""
    report: Path | None = None
    """Write a report here, an .html file that needs nothing else."""
    json: Path | None = None
    """Write the figures here, too."""
    intrinsics: Path | None = None
    """A camera file whose lenses are kept; only where the cameras stand is solved for."""
    lens: Literal["pinhole5", "pinhole8", "fisheye"] = "pinhole5"
    """Model of the lenses: 5 or 8 coefficients of OpenCV's pinhole, or its fisheye."""
    lenses_only: bool = False
    """Calibrate the lenses and do not ask how the cameras stand to each other."""
    max_moments: int = 600
    """Of long videos, so many moments are looked at, spread evenly; and up to half as many more where views are scarce."""
    time_offsets: Literal["auto", "on", "off"] = "auto"
    """Look for cameras that are out of step, by the motion of the board or, with --refine, of the people. auto: apply what is
    clear and makes the rig fit better, unless a timestamps.csv says when pictures were taken: then only warn."""
    world: Literal["as-is", "board", "points", "people"] = "as-is"
    """What the world is: the first camera (or the given rig's world); the board as it lies on the floor; three marked points;
    or the people of --keypoints, who stand on the floor."""
    world_frame: str | None = None
    """With --world board: the frame or still in which the board lies on the floor; where it lies still longest if not given."""
    points: Path | None = None
    """Marked points (.toml, see README): for --world points, and for a known distance, which gives the scale."""
    bone: tuple[str, str, float] | None = None
    """A bone of known length, which gives the scale: two joints of --keypoints and metres, as left_hip left_knee 0.43."""
    draw_board: Path | None = None
    """Draw --board here to print it, at true size (.pdf or .png), and do nothing else."""
    refine: Path | None = None
    """The rig to refine on --keypoints: any camera file that posekit knows (see `posekit convert --help`)."""
    keypoints: Path | None = None
    """2D keypoints of people, as `posekit triangulate` takes them."""
    free: Literal["pose", "focal", "all"] = "pose"
    """With --refine, what may move: where the cameras stand; their focal lengths, too; or also the principal point, k1, k2."""
    skeleton: str | None = None
    """Order of the keypoints' joints, where the files do not say it; told by the joints' number and places if not given."""
    fps: float | None = None
    """Frames per second, where neither the keypoints nor videos beside them say it."""


def main(config: CalibrateConfig) -> None:
    """Run the command."""
    from posekit.errors import PosekitError

    if config.draw_board is not None:
        _draw(config)
        return
    if (config.folder is None) == (config.refine is None):
        raise PosekitError("calibrate: takes either a FOLDER in which a board was filmed, or --refine RIG, see --help")
    _check(config)
    if config.refine is not None:
        from posekit.apps.calibrate_people import refine

        refine(config)
    else:
        from posekit.apps.calibrate_boards import calibrate

        calibrate(config)


def _draw(config: CalibrateConfig) -> None:
    from posekit.apps.checks import require_places
    from posekit.calibration.boards.board import parse_board
    from posekit.calibration.boards.drawing import draw_board
    from posekit.errors import PosekitError

    if config.board is None or config.draw_board is None:
        raise PosekitError("--draw-board: which? name it by --board")
    require_places((config.draw_board,), ())
    width, height = draw_board(parse_board(config.board), config.draw_board)
    print(
        f"{config.draw_board}: a page of {1000 * width:.0f} x {1000 * height:.0f} mm; print it at 100 %, measure a square, "
        "and give --board what you measured"
    )


def _check(config: CalibrateConfig) -> None:
    """Say before the work what cannot be."""
    from posekit.apps.checks import require_places, require_positive
    from posekit.apps.provenance import record_path
    from posekit.errors import PosekitError

    if config.out is None:
        raise PosekitError("--out: is missing: the calibration.toml to write")
    inputs = (config.refine, config.keypoints, config.intrinsics, config.points)
    require_places((config.out, record_path(config.out), config.json, config.report), inputs)
    if config.out.suffix.lower() != ".toml":
        raise PosekitError(f"{config.out}: a rig is written as .toml (`posekit convert` makes others of it)")
    if config.report is not None and config.report.suffix.lower() not in (".html", ".htm"):
        raise PosekitError(f"{config.report}: the report is an .html file")
    require_positive("--fps", config.fps)
    if config.max_moments < 3:
        raise PosekitError(f"--max-moments: {config.max_moments} are too few, 3 or more were expected")
    for option, why in _mistakes(config):
        raise PosekitError(f"{option}: {why}")


def _mistakes(config: CalibrateConfig) -> Iterator[tuple[str, str]]:
    """Options that are missing, and options that would be ignored, and why."""
    refining = config.refine is not None
    people = refining or config.world == "people" or config.bone is not None
    if not refining and config.board is None:
        yield "--board", "is missing; which board was filmed? such as --board chessboard:9x6:0.025"
    if people and config.keypoints is None:
        yield "--keypoints", "is missing: the people's 2D keypoints, as `posekit triangulate` takes them"
    if config.world == "points" and config.points is None:
        yield "--world points", "takes the marked points by --points FILE.toml"
    if config.world == "board" and refining:
        yield "--world board", "takes a FOLDER in which the board was filmed, not --refine"
    if config.world_frame is not None and config.world != "board":
        yield "--world-frame", "is of --world board only"
    if config.keypoints is not None and not people:
        yield "--keypoints", "take part with --refine, --world people and --bone only"
    if config.lenses_only and (config.intrinsics or config.points or config.bone or config.world != "as-is"):
        yield "--lenses-only", "leaves nothing to do for --intrinsics, --world, --points and --bone"
    if config.intrinsics is not None and config.lens != "pinhole5":
        yield "--lens", f"is {config.lens}, but --intrinsics says what the lenses are"
    if refining:
        for option in ("board", "intrinsics", "lenses_only"):
            if getattr(config, option):
                yield f"--{option.replace('_', '-')}", "is of a FOLDER in which a board was filmed, not of --refine"
        if config.lens != "pinhole5":
            yield "--lens", "is of a FOLDER in which a board was filmed; --free all lets lenses move with --refine"
    elif config.free != "pose":
        yield "--free", "is of --refine only"
