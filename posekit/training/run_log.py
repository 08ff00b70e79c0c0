"""What a training run tells while it runs: a file of JSON lines, and TensorBoard's event files."""

import importlib
import json
from pathlib import Path
from typing import Any

from posekit.errors import PosekitError
from posekit.io.files import write_whole


def require_tensorboard() -> None:
    """Raise PosekitError where TensorBoard's package is not installed."""
    try:
        importlib.import_module("torch.utils.tensorboard")
    except ImportError as error:
        raise PosekitError(
            "--log: TensorBoard's package is not installed: pip install 'posekit[tensorboard]'"
        ) from error


class RunLog:
    """Writes the history of a run.

    losses: file that holds one JSON object for every report. tensorboard: folder of event files. first_step: where the run
    goes on from; what TensorBoard's files hold beyond it, from before a kill, is taken back.

    Raises PosekitError where TensorBoard is asked for and not installed.
    """

    def __init__(self, losses: Path | None, tensorboard: Path | None, first_step: int = 0) -> None:
        self._losses = losses
        self._writer: Any = None
        if tensorboard is not None:
            require_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(tensorboard), purge_step=first_step or None)

    def report(self, history: list[dict[str, float]]) -> None:
        """Write a history whose last entry is new."""
        if self._losses is not None:
            with write_whole(self._losses) as temporary:
                temporary.write_text("".join(json.dumps(entry) + "\n" for entry in history), encoding="utf-8")
        if self._writer is not None:
            entry = history[-1]
            for name, value in entry.items():
                if name != "step":
                    self._writer.add_scalar(name, value, int(entry["step"]))
            self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
