"""The report of a run: what it says against the files, with alarms and without, of whole runs and of older ones."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bootstrap_run_folder import ALARM, LABELLED, NAMES, write_run
from posekit.bootstrap.pages.curves import Curve, chart
from posekit.bootstrap.pages.round_tables import geometry_share
from posekit.bootstrap.pages.run_files import RunFiles
from posekit.bootstrap.pages.sheets import LabelledRound, reason_counts
from posekit.bootstrap.pages.words import rig_figures
from posekit.bootstrap.report import Filmed, write_run_report
from posekit.errors import PosekitError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(made):
    return write_run_report(made.folder, Filmed(made.capture, made.rig), render=False).read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    return next(part for part in page.split("<section>") if f"<h2>{title}" in part)


def rows(html: str) -> list[list[str]]:
    found = re.findall(r"<tr>(.*?)</tr>", html)
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in found]


def test_the_rounds_table_has_the_figures_of_every_round(page):
    table = rows(section(page, "Rounds"))
    first = next(row for row in table if row[:2] == ["0", "all"])
    second = next(row for row in table if row[:2] == ["1", "all"])
    assert first[2:] == ["0", "\N{EN DASH}", "200", "30", "10", "600", "4.50", "0.500"]
    assert second[2:] == ["9", "\N{EN DASH}", "200", "30", "18", "600", "4.50", "0.700"]
    assert sum(row[1:2] == ["held out"] for row in table) == 2
    assert "10 of 30 crops before, 18 of 30 after" in page
    assert section(page, "Rounds").count("<svg") == 3  # there are no curves over thresholds in these files


def test_yield_by_camera_and_joint_counts_the_labels(made, page):
    cameras = {row[0]: row[1:] for row in rows(section(page, "Yield of round 1, by camera"))}
    # One label of each of three hands in every camera; camera <b> lacked one of them, camera top had one elsewhere.
    assert cameras["&lt;b&gt;"][:4] == ["3", "63", "21", "0"]
    assert cameras["side"][:4] == ["3", "63", "0", "0"]
    assert cameras["top"][:4] == ["3", "63", "0", "21"]
    assert cameras["all"][:4] == ["9", "189", "21", "21"]
    assert cameras["all"][5] == "7.5"
    joints = {row[0]: row[1:] for row in rows(section(page, "Yield of round 1, by joint"))}
    assert len(joints) == 22  # and the heading
    assert joints["index 4"][:4] == ["9", "100 %", "1", "1"]
    assert joints["index 4"][5] == "3.0"
    assert "Of 189 label joints 21 lie more than 0.2 B" in page


def test_sheets_show_labels_with_camera_frame_and_why(page):
    new = section(page, "New labels of round 1")
    assert new.count("<figure>") == len(LABELLED) * len(NAMES)
    assert "top, frame 3<br>right hand: 21 joints, 21 moved" in new
    corrected = section(page, "Labels that corrected the detector")
    assert corrected.count("<figure>") == 2
    assert "&lt;b&gt;, frame 1<br>right hand: 21 joints, not detected" in corrected


def test_whose_a_label_is_is_said_where_there_are_several_people(made):
    labels = RunFiles(made.folder).rounds[1].labels
    assert labels is not None
    assert labels.instance(0) == labels.part[0].replace("_", " ")
    several = replace(labels, person=np.arange(len(labels)) % 2)
    assert several.instance(1) == f"{labels.part[1].replace('_', ' ')} of person 1"


def test_the_detection_is_drawn_into_the_crop_where_it_belongs_also_for_mirrored_hands(made):
    run = RunFiles(made.folder)
    labelled = LabelledRound.of(run.rounds[1], run.rounds[0])
    from posekit.bootstrap.pages.sheets import _affine
    from posekit.detection.hand_box import transform_points

    for n in range(len(labelled.labels)):
        joints, in_crop = labelled.labels.joints_px[n], labelled.labels.joints_crop_px[n]
        found = _affine(joints, in_crop)
        assert np.allclose(transform_points(found, joints), in_crop, atol=1e-6)
        assert abs(np.linalg.det(found[:, :2])) == pytest.approx(1.5**2)
        # Two joints do not tell a mirror from a turn, three of a hand do.
        assert np.sign(np.linalg.det(found[:, :2])) == (-1 if labelled.labels.part[n] == "left_hand" else 1)


def test_rejected_frames_are_counted_and_shown_with_their_reason(page):
    html = section(page, "Frames that round 1 did not learn from")
    table = rows(html)
    assert table[0] == [
        "frames with a 3D instance",
        "chosen",
        "few inliers",
        "held out",
        "not the best of its window",
        "velocity",
    ]
    assert table[1:] == [
        ["left hand of person 0", "1", "0", "0", "1", "0"],
        ["right hand of person 0", "2", "1", "1", "0", "1"],
    ]
    # That others were better, or that a frame is held out, is no fault.
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    assert sorted(re.sub("^.*?, ", "", caption) for caption in captions) == [
        "frame 0<br>right hand: velocity",
        "frame 2<br>right hand: few inliers",
    ]


def test_without_alarms_it_says_so_and_without_gates_that_it_does_not_know(made, tmp_path):
    assert "No round has written down what its gates say" in (made.folder / "report.html").read_text()
    quiet = write_run(tmp_path, gates={"alarms": [], "excluded_cameras": [], "excluded_joints": []})
    page = write_run_report(quiet.folder).read_text()
    assert "No alarm in any round" in page
    assert "has no gates.json" not in page


def test_alarms_are_told_once_with_their_rounds_and_names_are_no_html(tmp_path):
    gates = {"alarms": [ALARM], "excluded_cameras": ["<b>"], "excluded_joints": ["index_4"], "remarks": ["two cameras"]}
    loud = write_run(tmp_path, gates=gates)
    page = write_run_report(loud.folder).read_text()
    told = section(page, "What the gates say")
    assert re.findall("<li>(.*?)</li>", told) == [
        "Alarm: camera &#x27;&lt;b&gt;&#x27; has moved since it was calibrated (rounds 0 and 1)",
        "Left out of triangulation and labels: camera &lt;b&gt;. (rounds 0 and 1)",
        "Left out of triangulation and labels: joint index_4. (rounds 0 and 1)",
        "Not to be judged: two cameras (rounds 0 and 1)",
    ]
    assert "<b>" not in page


def test_the_page_fetches_nothing(page):
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "http" not in page.replace("http-equiv", "")
    assert "<b>" not in page
    assert page.count("<figure>") == page.count("</figure>")


def test_what_older_runs_lack_is_said(tmp_path):
    old = write_run(tmp_path, selection=False)
    for number in (0, 1):
        (old.folder / f"round_{number}" / "seconds.json").unlink()
    (old.folder / "round_2").mkdir()
    page = write_run_report(old.folder).read_text()
    assert "has not written down what became of every frame" in page
    assert "No round has written down how long its steps took" in page
    absent = section(page, "What is not here")
    assert "Round 1 has no gates.json and no seconds.json and no selection.json" in absent
    assert "Round 2 is not finished" in absent
    assert "Whether the rig was refined is not written down" in page


def test_a_round_that_was_not_kept_is_said_and_the_result_is_the_one_before(tmp_path):
    worse = write_run(tmp_path)
    path = worse.folder / "round_1" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "kept": False}))
    page = write_run_report(worse.folder).read_text()
    assert "1 round, of which round 1 was not kept; 9 labels made. The result is that of round 0." in page
    assert "1 (not kept)" in page


def test_a_run_of_which_only_round_0_is_done_has_a_report_and_one_of_which_nothing_is_has_none(made, tmp_path):
    shutil.copytree(made.folder / "round_0", tmp_path / "run" / "round_0")
    page = write_run_report(tmp_path / "run", Filmed(made.capture, made.rig)).read_text()
    assert "this is what the run starts from" in page
    assert "No round has made labels yet" in page
    with pytest.raises(PosekitError, match="no finished round"):
        write_run_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("selection.json", "{"), ("selection.json", "{}"), ("metrics.json", "[1]"), ("gates.json", "null")],
)
def test_a_damaged_file_is_one_line(tmp_path, name, content):
    broken = write_run(tmp_path)
    (broken.folder / "round_1" / name).write_text(content)
    with pytest.raises(PosekitError, match=f"{name}: is damaged"):
        write_run_report(broken.folder)


def test_the_rig_and_the_share_of_geometry(made, tmp_path, page):
    assert geometry_share(RunFiles(made.folder)) == pytest.approx(1 / 25)
    assert "4.0 % of the rounds' time was geometry" in page
    shutil.copytree(made.folder, tmp_path / "run")
    refined = {"rig": "refined", "residual_px": 9.0, "heldout_median_px_before": 8.25, "heldout_median_px_after": 2.5}
    (tmp_path / "run" / "rig.json").write_text(json.dumps(refined))
    figures = rig_figures(RunFiles(tmp_path / "run"))
    assert figures["rig"] == "refined"
    assert figures["threshold_px"] == 7.5
    assert figures["rig_residual_px"] == 1.25
    told = section(write_run_report(tmp_path / "run").read_text(), "The rig")
    assert "from 8.25 to 2.50 px" in told
    assert "within 7.5 px" in told


def test_reasons_are_counted_by_instance():
    selection = [
        {"person": 1, "part": "subject", "frames": [{"chosen": True, "reason": None}, {"chosen": False, "reason": "x"}]}
    ]
    assert reason_counts(selection) == {"subject of person 1": {"chosen": 1, "x": 1}}


def test_a_chart_places_its_points_and_leaves_gaps():
    assert chart([Curve("nothing", (0.0, 1.0), (None, None))], "round", "px") == ""
    svg = chart([Curve("a <line>", (0.0, 1.0, 2.0), (0.0, None, 1.0))], "round", "PCK", highest=1.0, whole_x=True)
    line = re.search(r'class="line look-0" d="([^"]*)"', svg).group(1)
    assert line == "M34.0 160.0M284.0 0.0"  # lower left, then upper right of 250 x 160 px; nothing joins them
    assert "a &lt;line&gt;" in svg


def test_in_3d_it_is_drawn_as_lines_where_it_is_not_rendered(page):
    html = section(page, "In 3D, after round 1")
    assert html.count("<figure>") == 2
    assert html.count("<path") == 40  # twenty bones of each hand
    assert "right hand of person 0, frame 0: 21 of 21 points" in html


def test_curves_over_thresholds_true_labels_and_what_the_round_says_of_cameras_and_joints_are_shown(tmp_path):
    run = write_run(tmp_path)
    for number in (0, 1):
        path = run.folder / f"round_{number}" / "metrics.json"
        metrics = json.loads(path.read_text())
        curve = {"thresholds_b": [0.1, 0.2], "pck": [0.25, 0.5 + 0.2 * number]}
        metrics |= {
            "heldout_pck_curve": curve,
            "heldout_frames": {**metrics["heldout_frames"], "heldout_pck_curve": None},
            "true_labels": {"pck": 0.5 + 0.25 * number, "median_px": None},
            "per_camera": {"<b>": {"heldout_pck": 0.125, "heldout_joints": 77}, "side": {"heldout_pck": None}},
            "per_joint": {"index_4": {"points": 6}},
        }
        path.write_text(json.dumps(metrics))
    page = write_run_report(run.folder).read_text()
    rounds = section(page, "Rounds")
    assert rounds.count("<svg") == 4  # of held-out frames there is no such curve
    assert "true labels</text>" in rounds
    table = rows(rounds)
    assert ["true labels pck", "0.500", "0.750"] in table
    assert not any("curve" in cell for row in table for cell in row)
    cameras = rows(section(page, "Yield of round 1, by camera"))
    assert cameras[0][-2:] == ["PCK@0.2B", "joints"]
    assert cameras[1][0] == "&lt;b&gt;"
    assert cameras[1][-2:] == ["0.125", "77"]
    assert cameras[2][-2:] == ["\N{EN DASH}", "\N{EN DASH}"]
    joints = {row[0]: row for row in rows(section(page, "Yield of round 1, by joint"))}
    assert joints["index 4"][-1] == "6"
