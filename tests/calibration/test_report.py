import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posekit.calibration.boards.board import parse_board
from posekit.calibration.lenses.intrinsics import LensCalibration
from posekit.calibration.people.refinement import Refinement, RigFigures
from posekit.calibration.report.figures import CalibrationFigures, measure_calibration, shared_moments
from posekit.calibration.report.page import (
    calibration_sections,
    lens_sections,
    number,
    record_section,
    words_section,
    write_report,
)
from posekit.calibration.report.pictures import Mark, coverage_map, error_map, histogram, nice_step
from posekit.calibration.report.refinement import refinement_sections, refinement_summary
from posekit.calibration.report.scene import draw_scene
from posekit.calibration.rigs.calibration import RigCalibration
from posekit.calibration.rigs.placed_boards import PlacedBoards, board_residuals
from posekit.calibration.rigs.uncertainty import RigUncertainty
from posekit.calibration.world.frame import WorldFrame, transform_rig, world_from_board
from posekit.camera import Camera, Rig
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras
from posekit.geometry.alignment import Similarity
from scenes import ring_rig

BOARD = parse_board("charuco:5x7:0.05:0.035:DICT_4X4_50")


def calibrated(cameras: int, moments: int) -> tuple[RigCalibration, CalibrationFigures]:
    """A calibration that found the truth, and its figures without anything held out."""
    rig = ring_of_cameras(cameras)
    rig = Rig((replace(rig.cameras[0], time_offset_s=0.004), *rig.cameras[1:]), rig.source)
    film = film_board(rig, BOARD, moments, seed=1)
    boards = PlacedBoards(film.board_rotation, film.board_translation, np.zeros((moments, 6)))
    sigma = {"fx": 1.25, "k1": 0.0021}
    pose = np.zeros((cameras, 6, 6))
    pose[1:] = np.diag([0.001**2] * 3 + [0.004**2] * 3)
    uncertainty = RigUncertainty(pose, (sigma,) * cameras, np.full(cameras, 0.0003), 0.3, 1.0)
    residual = board_residuals(rig, film.views, boards)
    calibration = RigCalibration(
        rig, film.views, boards, 0.3, residual, film.views.seen, uncertainty, {}, shared_moments(film.views)
    )
    return calibration, measure_calibration(rig, film.views, residual, film.views.seen, None)


@cache
def small() -> tuple[RigCalibration, CalibrationFigures]:
    return calibrated(3, 30)


class Page(HTMLParser):
    """Checks that tags close in order, and gathers texts, table cells and what would be fetched."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.fetched = "", []
        self.cells: list[list[str]] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1][-1] += data


@pytest.fixture
def page(tmp_path: Path) -> Page:
    calibration, figures = small()
    sections = (
        *calibration_sections(calibration, figures),
        words_section("Notes", ("cam_1: <inverted> & mirrored",)),
        record_section("Settings", {"board": "</script><b>", "fps": 30}),
    )
    write_report(tmp_path / "report.html", "Calibration <of> a ring", ("Good & well.",), sections)
    return Page(tmp_path / "report.html")


def test_a_report_stands_alone_and_its_texts_are_escaped(page: Page) -> None:
    assert page.fetched == []
    assert "Calibration <of> a ring" in page.text
    assert "cam_1: <inverted> & mirrored" in page.text
    assert ["board", "</script><b>"] in page.cells


def test_a_report_shows_the_figures(page: Page) -> None:
    calibration, figures = small()
    rows = {row[0]: row[1:] for row in page.cells}
    camera = figures.cameras[1]
    errors = [row for row in page.cells if row[0] == "cam_2" and row[1] == str(camera.fitted.pictures)]
    assert errors[0][3:5] == [f"{camera.fitted.mean_px:.2f}", f"{camera.fitted.median_px:.2f}"]
    lens = next(row for row in page.cells if row[0] == "cam_2" and row[1] == "1280 x 960")
    matrix = calibration.rig.cameras[1].matrix
    assert lens[2:4] == [f"{matrix[0, 0]:.1f} \N{PLUS-MINUS SIGN} 1.2", f"{matrix[1, 1]:.1f}"]
    place = next(row for row in page.cells if row[0] == "cam_2" and row[-2:] == ["6.9", "0.099"])  # times sqrt(3)
    assert place[1] == f"{calibration.rig.cameras[1].centre_world[0]:.3f}"
    assert rows["cam_1"][0] == "4.0 \N{PLUS-MINUS SIGN} 0.3"  # the last table of cameras: time offsets in ms
    shared = [row for row in page.cells if row[1:] == [str(count) for count in figures.shared[2]]]
    assert len(shared) == 1
    assert f"{len(figures.scale.lengths_m)} sides of the board" in page.text


def test_a_report_of_many_cameras_stays_small(tmp_path: Path) -> None:
    calibration, figures = calibrated(31, 60)
    path = tmp_path / "report.html"
    write_report(path, "31 cameras", (), calibration_sections(calibration, figures))
    # What is drawn of a camera does not grow with the moments: bins, cells and at most 400 dots.
    assert path.stat().st_size < 1_000_000
    assert Page(path).text.count("Where corners were seen") == 31


def test_a_report_is_drawn_in_the_world_that_the_rig_was_moved_to() -> None:
    calibration, figures = small()
    labels = [str(frame) for frame in calibration.views.frames]
    with pytest.warns(UserWarning, match="below the floor"):  # the ring stands around the board's place, at its height
        world = world_from_board(
            calibration.rig, BOARD, calibration.boards.rotation, calibration.boards.translation, labels, "3"
        )
    html = next(one.html for one in calibration_sections(calibration, figures, world) if one.title == "The rig")
    data = json.loads(re.search(r'id="scene-data">(.*?)</script>', html).group(1))
    boards = np.array(data["lines"][1])
    outline = BOARD.outline_m * (1, -1, 1)
    # 1 mm: places are written in whole millimetres.
    assert np.abs(boards[3, :4] - outline).max() < 0.0011
    np.testing.assert_allclose(data["labels"], [camera.centre_world for camera in world.rig.cameras], atol=0.0006)


def places_of(html: str) -> dict[str, list[float]]:
    """The table of where the cameras stand: x, y, z (m), and mm and degrees that they are known to."""
    rows = re.findall(r"<tr><th>(cam_\d+)</th>(.*?)</tr>", html)
    return {
        name: [float(cell) if cell != "\N{EN DASH}" else 0.0 for cell in re.findall(r"<td>(.*?)</td>", cells)]
        for name, cells in rows
    }


def test_a_known_length_is_carried_into_the_uncertainties_by_the_cameras_names() -> None:
    """Whatever order, names and number of cameras the world's own rig has."""
    calibration, figures = small()
    pose = calibration.uncertainty.pose.copy()
    pose[2] *= 4
    calibration = replace(calibration, uncertainty=replace(calibration.uncertainty, pose=pose))
    scale = Similarity(np.array(2.5), np.eye(3), np.zeros(3))
    moved = transform_rig(calibration.rig, scale)
    renamed = replace(moved.cameras[1], name="GoPro-2")
    world = WorldFrame(Rig((moved.cameras[2], renamed)), scale, ("Scaled.",), z_up=False)
    sections = {one.title: one.html for one in calibration_sections(calibration, figures, world)}
    places = places_of(sections["The rig"])
    assert list(places) == ["cam_1", "cam_2", "cam_3"]
    # 4 mm along three axes, 2.5 times; the third camera's are twice as large; turns stay.
    assert places["cam_1"][3:] == [0, 0]
    assert places["cam_2"][3:] == [17.3, 0.099]
    assert places["cam_3"][3:] == [34.6, 0.198]
    # 0.5 mm: written in whole millimetres.
    np.testing.assert_allclose(places["cam_3"][:3], 2.5 * calibration.rig.cameras[2].centre_world, atol=5.1e-4)
    assert 'class="floor"' not in sections["The rig"]
    assert "before the known length made the rig 2.5 times as large" in sections["Known lengths, measured again"]


def test_a_board_s_velocity_is_said_to_be_fitted_where_it_is() -> None:
    calibration, figures = small()
    moving = replace(calibration.boards, rates=np.ones((30, 6)))
    for one, expected in ((calibration, False), (replace(calibration, boards=moving), True)):
        html = next(section.html for section in calibration_sections(one, figures) if section.title == "Errors")
        assert ("its velocity: 12 numbers per moment" in html) == expected
        assert ("with only the board fitted there (its pose); " in html) != expected


def test_a_refined_rig_is_drawn_in_its_new_world() -> None:
    rig = ring_rig(3)
    similarity = Similarity(
        np.array(2.0), Rotation.from_rotvec((0.7, -1.1, 2.0)).as_matrix(), np.array((1.0, 2.0, 3.0))
    )
    world = WorldFrame(transform_rig(rig, similarity), similarity, ("The world is theirs.",))
    for given, floor in ((None, False), (world, True), (replace(world, z_up=False), False)):
        html = refinement_sections(refinement_of(rig), rig, given)[-1].html
        expected = rig if given is None else world.rig
        # 0.5 mm: written in whole millimetres.
        for camera, place in zip(expected.cameras, places_of(html).values(), strict=True):
            np.testing.assert_allclose(place, camera.centre_world, atol=5.1e-4)
        assert ('class="floor"' in html) == floor
        assert ("The world is theirs." in html) == (given is not None)
        if floor:
            data = json.loads(re.search(r'id="scene-data">(.*?)</script>', html).group(1))
            np.testing.assert_allclose(data["labels"], [c.centre_world for c in expected.cameras], atol=6e-4)


def test_a_scene_is_upright_however_the_rig_stands() -> None:
    """The first camera's frame, turned on its side or not, is drawn with the cameras' pictures the right way up."""
    rig = ring_rig(4)
    turn = Rotation.from_rotvec((0.7, -1.1, 2.0)).as_matrix()
    for one in (rig, transform_rig(rig, Similarity(np.array(1.0), turn, np.zeros(3)))):
        html = draw_scene(one, np.zeros((0, 4, 3)), z_up=False)
        data = json.loads(re.search(r'id="scene-data">(.*?)</script>', html).group(1))
        heights = np.array(data["labels"])[:, 2]
        expected = np.array([camera.centre_world[2] for camera in rig.cameras])
        # The ring's cameras look up and down a little, so that their mean up is off by a few degrees: 5 % of 9 m.
        np.testing.assert_allclose(heights - heights.mean(), expected - expected.mean(), atol=0.5)


def test_the_script_draws_what_was_drawn_without_it(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run the script with")
    calibration, figures = small()
    path = tmp_path / "report.html"
    write_report(path, "a ring", (), calibration_sections(calibration, figures))
    (tmp_path / "run.js").write_text(_RUN)
    done = subprocess.run([node, str(tmp_path / "run.js"), str(path)], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    # Places are written in whole millimetres, and a pixel is some 10 mm: 0.1 px, and 0.1 px of rounding.
    assert result["worst"] < 0.3
    assert result["label"] == re.search(r'<text class="scale"[^>]*>(.*?)</text>', path.read_text()).group(1)
    assert result["turned"] > 5


_RUN = """
const html = require("fs").readFileSync(process.argv[2], "utf8");
const part = pattern => html.match(pattern)[1];
const element = given => ({ given, now: {}, setAttribute(name, value) { this.now[name] = value; } });
const svg = part(/(<svg id="scene".*?<\\/svg>)/s);
const drawn = [...svg.matchAll(/<path class="([^"]+)" d="([^"]*)"/g)];
const paths = drawn.filter(match => match[1] !== "scale").map(match => element(match[2]));
const names = [...svg.matchAll(/<text class="name" x="([^"]+)" y="([^"]+)"/g)].map(match => element(`${match[1]} ${match[2]}`));
const bar = element(""), label = {}, handlers = {};
const scene = {
  querySelectorAll: what => what.startsWith("path") ? paths : names,
  querySelector: what => what.startsWith("path") ? bar : label,
  addEventListener: (name, handler) => { handlers[name] = handler; },
  setPointerCapture() {},
};
const content = { textContent: part(/id="scene-data">(.*?)<\\/script>/s) };
global.document = { getElementById: id => id === "scene" ? scene : content };
eval(part(/<\\/script><script>(.*?)<\\/script>/s));
const numbers = text => text.match(/-?[\\d.]+/g).map(Number);
const difference = (one, other) => {
  const [first, second] = [numbers(one), numbers(other)];
  if (first.length !== second.length) throw new Error("another number of points");
  return Math.max(...first.map((value, n) => Math.abs(value - second[n])));
};
handlers.dblclick();
const worst = Math.max(
  ...paths.map(path => difference(path.given, path.now.d)),
  ...names.map(name => difference(name.given, `${name.now.x} ${name.now.y}`)),
);
handlers.pointerdown({ clientX: 0, clientY: 0, pointerId: 1 });
const said = label.textContent;
handlers.pointermove({ clientX: 50, clientY: 20 });
const turned = difference(paths.at(-1).given, paths.at(-1).now.d);
console.log(JSON.stringify({ worst, turned, label: said }));
"""


def test_figures_are_written_without_a_negative_nought() -> None:
    assert [number(value, 3) for value in (-0.0004, -0.0006, 1.0, float("nan"))] == [
        "0.000",
        "-0.001",
        "1.000",
        "\N{EN DASH}",
    ]


def bars_of(svg: str, css: str = "bar") -> list[float]:
    return [
        float(height) for height in re.findall(r"v-([\d.]+)h", re.search(rf'class="{css}" d="([^"]*)"', svg).group(1))
    ]


def test_a_histogram_counts() -> None:
    values = np.array([0.1] * 4 + [0.9] * 2 + [7.0, np.nan])
    svg = histogram(values, 0, 1, "px", (Mark(0.5, "a < b"),))
    # 136 px for the fullest bar; 0.9 and what is beyond are in different bars.
    assert bars_of(svg) == [136.0, 68.0, 34.0]
    assert ElementTree.fromstring(svg).findall("text")[0].text == "a < b"
    assert bars_of(histogram(np.zeros(0), 0, 1, "px", ()) + '<path class="bar" d=""/>') == []


def test_a_map_of_errors_shows_the_usual_residual_of_a_cell() -> None:
    """Five corners in one cell of a picture 1200 px wide, four of them 2 px to the right: 300 / 1200 of 20 times that."""
    corners = np.full((5, 2), 450.0)
    residual = np.array([(2.0, 0.0)] * 4 + [(0.0, 90.0)])
    svg = error_map(corners, residual, (1200, 900), 1.0, 20.0)
    arrow = re.search(r'class="arrows" d="M([\d.]+) ([\d.]+)l([-\d.]+) ([-\d.]+)', svg)
    assert [float(value) for value in arrow.groups()] == [112.5, 112.5, 10.0, 0.0]
    assert re.findall(r'opacity="([\d.]+)"', svg) == ["0.94"]  # the darkest: the mean error is 19.6 px
    assert len(re.findall("opacity", coverage_map(corners, np.eye(9, 12, dtype=np.int64), (1200, 900)))) == 9


@pytest.mark.parametrize(("about", "step"), [(0.13, 0.2), (0.2, 0.2), (3.0, 5.0), (700.0, 1000.0)])
def test_steps_are_round_numbers(about: float, step: float) -> None:
    assert nice_step(about) == pytest.approx(step)


def refinement_of(rig: Rig, **more: Any) -> Refinement:
    figures = [
        RigFigures(median, 1.2 * median, 900, found, dict.fromkeys(rig.names, median), (median,))
        for median, found in ((14.2, 880), (9.3, 890), (14.0, 880), (9.0, 895))
    ]
    values: dict[str, Any] = {"rig": rig, "improved": True, "held_out": np.arange(100) % 5 == 0, **more}
    return Refinement(values["rig"], values["improved"], *figures, values["held_out"])


def test_a_refinement_is_told_before_and_after(tmp_path: Path) -> None:
    given = ring_rig(3)
    camera = given.cameras[1]
    moved = replace(camera, translation=camera.translation + np.array((0, 0.012, 0)))
    refinement = refinement_of(Rig((given.cameras[0], moved, given.cameras[2]), given.source))
    assert refinement_summary(refinement).startswith(
        "The rig fits the people better by 35 %: in 20 held-out frames of 100"
    )
    path = tmp_path / "report.html"
    write_report(path, "Refined", (refinement_summary(refinement),), refinement_sections(refinement, given))
    cells = Page(path).cells
    assert ["cam_2", "14.20", "9.30", "14.00", "9.00"] in cells
    assert ["cam_2", "12", "0.00", "1.0000"] in cells
    assert ["points found", "880 of 900", "890 of 900", "880 of 900", "895 of 900"] in cells
    assert "left as it is" in refinement_summary(refinement_of(given, improved=False))


def test_lenses_alone_are_told_without_a_rig() -> None:
    """The pictures that a lens was fitted to, with the board placed in each by itself."""
    views, rig = small()[0].views, small()[0].rig
    used = views.seen[:, 1] & (np.arange(30) < 20)[:, None]
    lens = LensCalibration(
        camera=rig.cameras[1],
        model="pinhole5",
        rms_px=0.42,
        mean_px=0.4,
        noise_px=0.3,
        sigma={"fx": 1.25},
        used=used,
        chosen=np.arange(30),
        refused=np.array([28, 29]),
        warnings=(),
    )
    errors, camera, lenses = lens_sections(views, {"cam_2": lens})
    row = re.findall(r"<td>(.*?)</td>", errors.html)
    pictures = int(used.any(axis=1).sum())
    assert row[:2] == [str(pictures), str(used.sum())]
    # 24 corners in one picture, of whose 48 coordinates 6 are taken up by the board's pose; 10 % for some 200 errors.
    assert float(row[2]) == pytest.approx(0.3 * np.sqrt(np.pi / 2 * 42 / 48), rel=0.1)
    assert "rms 0.420 px. Pictures that fit no lens: 2." in camera.html
    assert f"{rig.cameras[1].matrix[0, 0]:.1f} \N{PLUS-MINUS SIGN} 1.2" in lenses.html


def test_a_fisheye_has_four_coefficients_in_the_table() -> None:
    calibration, figures = small()
    camera = calibration.rig.cameras[0]
    fisheye = Camera(
        camera.name,
        camera.size,
        camera.matrix,
        [0.1, 0.02, 0.003, 0.0004],
        camera.rotation,
        camera.translation,
        fisheye=True,
    )
    rig = Rig((fisheye, *calibration.rig.cameras[1:]))
    sections = calibration_sections(replace(calibration, rig=rig), figures)
    html = next(one.html for one in sections if one.title == "Lenses")
    heads, first, *_ = re.findall(r"<tr>(.*?)</tr>", html)
    assert re.findall(r"<th>(.*?)</th>", heads)[6:] == ["k1", "k2", "p1", "p2", "k3", "k4"]
    assert re.findall(r"<td>(.*?)</td>", first)[5:] == [
        "0.1000 \N{PLUS-MINUS SIGN} 0.0021",
        "0.0200",
        "\N{EN DASH}",
        "\N{EN DASH}",
        "0.0030",
        "0.0004",
    ]
