from dataclasses import replace
from pathlib import Path

import pytest

from posekit.apps.calibrate import CalibrateConfig
from posekit.apps.calibrate_world import check_world
from posekit.calibration.world.marked_points import MarkedPoints
from posekit.errors import PosekitError

CAMERAS = ("left", "right")
VIEWS = {"left": (1.0, 2.0), "right": (3.0, 4.0)}
POINTS = MarkedPoints(dict.fromkeys(("origin", "x", "plane"), VIEWS), (("origin", "x"), 1.0), "points.toml")
CONFIG = CalibrateConfig(folder=Path("boards"), world="points", points=Path("points.toml"))


def test_points_that_name_what_is_there_pass() -> None:
    check_world(CONFIG, POINTS, CAMERAS, None)
    check_world(CONFIG, replace(POINTS, distance=(("left", "plane"), 1.0)), CAMERAS, None)


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (
            replace(POINTS, pixels={**POINTS.pixels, "x": {"lefft": (1.0, 2.0), "right": (3.0, 4.0)}}),
            "no camera 'lefft'",
        ),
        (replace(POINTS, pixels={"origin": VIEWS, "x": VIEWS}), r"\[points.plane\]: is missing"),
        (replace(POINTS, distance=(("origin", "xx"), 1.0)), "'xx' is neither a marked point nor a camera"),
    ],
)
def test_points_that_name_what_is_not_there_are_refused(points: MarkedPoints, told: str) -> None:
    with pytest.raises(PosekitError, match=told):
        check_world(CONFIG, points, CAMERAS, None)
