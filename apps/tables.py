"""Tables of figures on the terminal: narrow enough for 80 columns, right-aligned, never cut."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def figures_table(title: str, columns: tuple[str, ...]) -> "Table":
    """Return an empty table."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title_style="bold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def number(value: float | None, digits: int) -> str:
    """Write a figure, or a dash where there is none (None or NaN)."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
