"""Tables of figures on the terminal or in a file: narrow, right-aligned, not cut."""

import math
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Columns of what is written to a file or a pipe, which has no width of its own: more than any table takes.
_FILE_WIDTH = 10_000


def figures_console() -> "Console":
    """Return where figures are printed: as wide as the terminal, or as COLUMNS says; a file has room for all tables."""
    from rich.console import Console

    # None leaves it to rich, which asks the terminal and COLUMNS.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _FILE_WIDTH
    return Console(markup=False, highlight=False, width=width)


def figures_table(title: str, columns: tuple[str, ...]) -> "Table":
    """Return an empty table; the words of a column's name stand one below the other, for 80 columns to hold the figures."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title_style="bold")
    for column in columns:
        table.add_column(column.replace(" ", "\n"), justify="right", no_wrap=True, vertical="bottom")
    return table


def number(value: float | None, digits: int) -> str:
    """Write a figure, or a dash where there is none (None or NaN)."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
