"""The peer of a benchmark: another library in an environment of its own, which runs when it is told to."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError

#: Runs in the interpreter of aniposelib-pytorch, which knows nothing of posekit.
ANIPOSELIB = Path(__file__).with_name("bench_peer.py")


class Peer:
    """A process that does one work for every `run`, and sleeps in between. Use it in a ``with`` block.

    work: as the script's WORKS call it. write_input: puts what it needs into a folder. name: of the library, once it runs.
    script: what the peer's interpreter runs, which answers as bench_peer.py does.
    Raises PosekitError, with what the process last said, where it does not start or ends before it should.
    """

    def __init__(
        self,
        python: Path,
        work: str,
        threads: int,
        write_input: Callable[[Path], None],
        script: Path = ANIPOSELIB,
    ) -> None:
        self._python = python
        self._script = script
        self._work = work
        self._threads = threads
        self._write_input = write_input
        self.name = ""

    def __enter__(self) -> "Peer":
        self._folder = tempfile.TemporaryDirectory()
        self._errors = (Path(self._folder.name) / "errors.txt").open("w+b")
        try:
            self._write_input(Path(self._folder.name))
            self._process = self._start()
            # Written once the other library is imported and has all that it works on.
            self.name = self._answer("ready")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _start(self) -> "subprocess.Popen[str]":
        import os

        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        # Its threads must not spin while posekit is timed.
        environment |= {"OMP_NUM_THREADS": str(self._threads), "OMP_WAIT_POLICY": "PASSIVE"}
        try:
            return subprocess.Popen(  # noqa: S603  # the interpreter that the person named
                [self._python, self._script, self._folder.name, self._work],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env=environment,
            )
        except OSError as error:
            raise PosekitError(f"--peer: {self._python} cannot be run: {error.strerror}") from None

    def run(self) -> float:
        """Do the work once and return the seconds that it took."""
        return float(self._ask("run"))

    def found(self) -> dict[str, NDArray[np.float64]]:
        """Return what the last run found."""
        self._ask("save")
        with np.load(Path(self._folder.name) / "output.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def _ask(self, what: str) -> str:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer(what)

    def _answer(self, to: str) -> str:
        assert self._process.stdout is not None
        word, _, answer = self._process.stdout.readline().strip().partition(" ")
        if word != to:
            raise self._ended()
        return answer

    def _ended(self) -> PosekitError:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return PosekitError(f"--peer: {self._python}: {lines[-1] if lines else 'ended without a word'}")

    def _close(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            process.stdin.close()  # which ends it
            process.stdout.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._errors.close()
        self._folder.cleanup()
