"""``posekit bootstrap --plan``: how many cameras a lab needs, before it films anything."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.bootstrap.plan import PlanSettings


_MOST_CAMERAS = 100


@dataclass(frozen=True)
class PlanConfig:
    """Print how many cameras a lab needs, before it films anything.

    A camera sees a joint now and then, and the detector then has it right as often as its PCK says. Points need 3 views that
    agree (2 where there are but 2 or 3 cameras); views may also agree by accident, on a false point.
    """

    pck: tuple[float, ...] = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9)
    """How often the detector has a joint that the camera sees right, within --threshold."""
    views: tuple[int, ...] = (2, 3, 4, 6, 8, 12, 16, 31)
    """Numbers of cameras."""
    visibility: float = 0.7
    """How often a camera sees a joint: other fingers, the body and what is held hide it."""
    threshold: float = 0.2
    """Within what share of the hand's size B views must agree, and the PCK counts a joint as right."""
    min_views: int | None = None
    """Views that must agree; as in the rounds, 3, or 2 where there are but 2 or 3 cameras, if not given."""
    finger: float = 0.6
    """How much the joints of a finger are right and wrong together: 0 each by itself, 1 all or none."""
    right: float = 0.95
    """Asked for: so many of the points right."""
    false: float = 0.01
    """Asked for: at most so many of them false."""
    most: int = 64
    """Do not look for more cameras than this."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: PlanConfig) -> None:
    """Run the command."""
    from posekit.apps.checks import require_places
    from posekit.apps.tables import figures_console
    from posekit.io.files import write_json

    require_places((config.json,), ())
    figures = plan_figures(config)
    if config.json:
        write_json(config.json, figures)
    _print(figures_console(), figures, config)


def plan_figures(config: PlanConfig) -> dict[str, Any]:
    """Compute a row for every PCK: the chances with each number of cameras, and the cameras that are needed."""
    from posekit.bootstrap.plan import PlanSettings, PlanTarget

    _check(config)
    settings = PlanSettings(
        threshold=config.threshold,
        visibility=config.visibility,
        min_views=config.min_views,
        finger_together=config.finger,
    )
    target = PlanTarget(config.right, config.false)
    return {
        "points": [_row(pck, config, settings, target, finger=False) for pck in config.pck],
        "fingers": [_row(pck, config, settings, target, finger=True) for pck in config.pck],
    }


def _check(config: PlanConfig) -> None:
    from posekit.errors import PosekitError

    if not config.pck or not config.views:
        raise PosekitError("--plan: --pck and --views need one number or more")
    for option in ("visibility", "finger", "right", "false"):
        if not 0 <= getattr(config, option) <= 1:
            raise PosekitError(f"--{option}: {getattr(config, option):g} was given, 0 to 1 was expected")
    if not 2 <= config.most <= _MOST_CAMERAS:
        raise PosekitError(f"--most: {config.most} was given, 2 to {_MOST_CAMERAS} was expected")
    for pck in config.pck:
        if not 0 <= pck <= 1:
            raise PosekitError(f"--pck: {pck:g} was given, a probability from 0 to 1 was expected")
    for views in config.views:
        if not 2 <= views <= _MOST_CAMERAS:
            raise PosekitError(f"--views: {views} was given, 2 to {_MOST_CAMERAS} cameras were expected")


def _row(pck: float, config: PlanConfig, settings: "PlanSettings", target: Any, *, finger: bool) -> dict[str, Any]:
    from posekit.bootstrap.plan import cameras_needed, finger_chances, point_chances

    chances_of = finger_chances if finger else point_chances
    needed = cameras_needed(pck, target, settings, finger=finger, most=config.most)
    chances = [chances_of(pck, views, settings) for views in config.views]
    return {
        "pck": pck,
        "views": list(config.views),
        "right": [one.right for one in chances],
        "false": [one.false for one in chances],
        "cameras_needed": needed.cameras if needed else None,
    }


def _print(console: Any, figures: dict[str, Any], config: PlanConfig) -> None:
    from posekit.apps.tables import figures_table

    agree = config.min_views or "3 (of 2 or 3 cameras, 2)"
    for what, one in (("points", "a point"), ("fingers", "a whole finger")):
        table = figures_table(f"% of {what} right / false, by cameras", ("PCK", *map(str, config.views), "needed*"))
        for row in figures[what]:
            cells = [f"{100 * r:.0f}/{_percent(f)}" for r, f in zip(row["right"], row["false"], strict=True)]
            table.add_row(f"{row['pck']:g}", *cells, str(row["cameras_needed"] or f">{config.most}"))
        console.print(table)
        console.print(f"* cameras for {one}: {config.right:.0%} right, at most {config.false:.1%} false\n")
    console.print(
        f"Supposed: a camera sees a joint {config.visibility:.0%} of the time; {agree} views must agree within "
        f"{config.threshold:g} B; wrong detections lie anywhere in the hand's box. What a detector gets wrong in all "
        "views alike, such as one finger for its neighbour, no number of cameras cures.",
        soft_wrap=True,
    )


def _percent(share: float) -> str:
    """Write a small share in percent, without saying 0 of what is not."""
    percent = 100 * share
    return f"{percent:.0f}" if percent >= 0.95 else f"{percent:.1f}" if percent >= 0.05 else "<.1"
