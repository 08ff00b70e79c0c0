"""Progress on the terminal: what is being done, how far, how fast, how long still."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function (what, done, total) that shows one bar for each kind of work, on stderr.

    Where stderr is no terminal it gets a plain line at every tenth of the work, 10 s apart or more.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f}/s")

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            # What follows a comma changes while the work goes on; it belongs to the same bar.
            kind = what.split(",", maxsplit=1)[0]
            if kind in tasks and progress.tasks[tasks[kind]].finished and done < total:
                del tasks[kind]  # the same kind of work again, in the next round: a new bar
            if kind not in tasks:
                tasks[kind] = progress.add_task(what, total=total)
            progress.update(tasks[kind], description=what, completed=done, total=total)

        yield show


def _plain_lines(console: "Console") -> Callable[[str, int, int], None]:
    """Return the same for a log file."""
    shown: dict[str, tuple[int, float]] = {}

    def show(what: str, done: int, total: int) -> None:
        kind = what.split(",", maxsplit=1)[0]
        tenth, now = 10 * done // max(total, 1), time.monotonic()
        before, when = shown.get(kind, (-1, -math.inf))
        if tenth != before and (now - when > 10 or done == total):
            shown[kind] = (tenth, now)
            console.print(f"{what}: {done} of {total}", highlight=False)

    return show
