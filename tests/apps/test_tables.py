"""Tables of figures: nothing in them is cut."""

import io
import sys

from rich.console import Console

from posekit.apps.tables import figures_console, figures_table

ROW = ("round 2, not kept", "0.825", "0.910", "0.931", "0.900", "1260/1260", "10.2")
COLUMNS = ("", "all", "held-out frames", "held-out cameras", "both", "3D points", "median mm")


def test_words_of_a_name_stand_below_each_other_and_leave_room_for_figures(capsys):
    table = figures_table("against the truth", COLUMNS)
    table.add_row(*ROW)
    Console(width=80, file=sys.stdout).print(table)
    printed = capsys.readouterr().out
    assert all(figure in printed for figure in ROW)
    assert "…" not in printed


def test_a_file_has_room_for_any_table(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.delenv("COLUMNS", raising=False)
    table = figures_table("", tuple(f"PCK@{n}" for n in range(60)))
    table.add_row(*(f"0.{n:04d}" for n in range(60)))
    figures_console().print(table)
    assert "…" not in file.getvalue()
    assert all(f"0.{n:04d}" in file.getvalue() for n in range(60))
