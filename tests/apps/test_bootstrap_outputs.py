"""What the command shows of a run: figures, table, pictures, report and review page, and how it refuses bad decisions."""

import io
import json
from types import SimpleNamespace

import cv2
import pytest
from rich.console import Console

from bootstrap_run_folder import ALARM, write_run
from posekit.apps.bootstrap_outputs import print_figures, run_figures, write_outputs, write_pictures, write_round_report
from posekit.apps.main import main
from posekit.errors import PosekitWarning


def history_of(run) -> list[dict]:
    return [json.loads((run.folder / f"round_{n}" / "metrics.json").read_text()) for n in (0, 1)]


def printed(figures: dict, run) -> str:
    console = Console(markup=False, highlight=False, width=80, record=True, file=io.StringIO())
    print_figures(console, figures, run.folder)
    return console.export_text()


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path, gates={"alarms": [ALARM]})


def test_figures_and_table_say_threshold_rig_kept_rounds_alarms_and_geometry(run):
    (run.folder / "rig.json").write_text(json.dumps({"rig": "refined"}))
    figures = run_figures(history_of(run), run.folder)
    assert figures["rounds_kept"] == [0, 1]
    assert figures["rig"]["threshold_px"] == 7.5
    assert figures["alarms"] == {0: [ALARM], 1: [ALARM]}
    assert figures["geometry_share"] == pytest.approx(1 / 25)
    text = " ".join(printed(figures, run).split())
    assert "views agree within 7.5 px" in text
    assert "the rig is refined on people, nine joints in ten lie within 1.25 px on it" in text
    assert "rounds kept: 0, 1" in text
    assert "not kept" not in text
    assert text.count("alarm: camera '<b>' has moved since it was calibrated") == 1
    assert "geometry took 4.0 % of the time" in text


def test_the_labels_are_those_of_the_last_round_that_was_kept(run):
    before, after = history_of(run)
    history = [before, {**after, "labels": 40}, {**after, "labels": 50}, {**after, "labels": 70, "kept": False}]
    assert run_figures(history, run.folder)["labels"] == 50
    assert run_figures([before], run.folder)["labels"] == 0


def test_a_round_that_was_not_kept_is_not_the_result(run):
    history = history_of(run)
    history[1] = {**history[1], "kept": False, "crops_detected": 3}
    figures = run_figures(history, run.folder)
    assert figures["crops_detected_after"] == 10
    assert figures["rounds_not_kept"] == [1]
    assert "rounds kept: 0; not kept: 1" in printed(figures, run)


def test_the_picture_of_the_labels_names_camera_frame_and_part(run):
    write_pictures(run.folder)
    sheet = cv2.imread(str(run.folder / "round_1" / "labels.png"))
    assert not (run.folder / "round_0" / "labels.png").exists()
    # Captions are white on a dark band at the upper edge of every cell.
    assert sheet is not None
    assert (sheet[:8, :200].max(axis=-1) > 200).any()


def test_report_and_review_are_written_where_they_are_asked_for(run):
    start = SimpleNamespace(capture=run.capture, rig=run.rig)
    told = []
    write_outputs(run.folder, start, lambda *step: told.append(step), report=False, review=True)
    assert (run.folder / "review.html").is_file()
    assert not (run.folder / "report.html").exists()
    assert told[-1] == ("cutting pictures for the review", 9, 9)


def test_a_round_writes_its_report_and_the_first_rounds_of_a_run_taken_up_do_not(run):
    start = SimpleNamespace(capture=run.capture, rig=run.rig)
    write_round_report(run.folder, start, 0)
    assert not (run.folder / "report.html").exists()
    write_round_report(run.folder, start, 1)
    assert (run.folder / "report.html").is_file()


def test_a_report_that_cannot_be_written_does_not_end_the_run(run):
    (run.folder / "round_1" / "gates.json").write_text("{")
    with pytest.warns(PosekitWarning, match=r"report of round 1 could not be written.*gates.json: is damaged"):
        write_round_report(run.folder, SimpleNamespace(capture=run.capture, rig=run.rig), 1)


def test_bad_decisions_are_one_line_before_anything_is_read_or_written(tmp_path, capsys):
    (tmp_path / "review.json").write_text('{"schema": "posekit.review/2"}')
    arguments = ["bootstrap", str(tmp_path / "capture"), "--out", str(tmp_path / "run"), "--decisions"]
    assert main([*arguments, str(tmp_path / "review.json")]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "posekit.review/2" in error
    assert not (tmp_path / "run").exists()
