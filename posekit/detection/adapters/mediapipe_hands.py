"""MediaPipe as the first hand detector: its Tasks API with a model file, or 0.10.21 with the models in its wheel.

Either runs in a process of its own, by this Python or by that of another environment: 0.10.21 needs an older numpy than
posekit does.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import UInt8

from posekit.detection.adapters.found import HANDS_42, FoundHand, keypoints_of_view, pair_hands
from posekit.errors import PosekitError
from posekit.io.files import require_file
from posekit.keypoints import Keypoints2D

_WORKER = Path(__file__).with_name("mediapipe_worker.py")


def detect_hands(
    pictures: Iterable[UInt8[np.ndarray, "H W 3"]],
    camera: str,
    fps: float,
    *,
    model: Path | None = None,
    python: Path | None = None,
    hands: int = 2,
) -> Keypoints2D:
    """Find the hands in the RGB pictures of one camera: (F, 1, P, 42), `HANDS_42`; frames are numbered from 0.

    model, python, hands: as of `MediapipeHands`. Every joint of a hand has the hand's one score as its confidence.
    """
    with MediapipeHands(model=model, python=python, hands=hands) as detector:
        found = [
            pair_hands(detector.detect(picture, round(1000 * frame / fps))) for frame, picture in enumerate(pictures)
        ]
        return keypoints_of_view(found, camera, HANDS_42, fps, f"{detector.name}, {camera}")


class MediapipeHands:
    """A process that finds hands in the pictures of one video, and follows them. Use it in a ``with`` block.

    model: a ``.task`` file of MediaPipe's hand landmarker; None for the models that mediapipe up to 0.10.21 carries.
    python: interpreter of an environment that has mediapipe; None for this one. hands: at most, in a picture.
    name: ``MediaPipe`` and its version, once it runs.

    Raises PosekitError where there is no mediapipe, no model, or the process ends before it should.
    """

    def __init__(self, *, model: Path | None = None, python: Path | None = None, hands: int = 2) -> None:
        if model is not None:
            require_file(model, "a .task file of MediaPipe's hand landmarker")
        if python is not None:
            require_file(python, "the Python interpreter of an environment that has mediapipe")
        self._model = model
        self._python = python
        self._hands = hands
        self._last_milliseconds = -1
        self.name = ""

    def __enter__(self) -> "MediapipeHands":
        # MediaPipe logs much: into a file, where it fills no pipe, to be read if it fails.
        self._errors = tempfile.TemporaryFile()
        arguments = [str(self._hands), *([str(self._model)] if self._model else [])]
        environment = {
            name: value for name, value in os.environ.items() if not self._python or not name.startswith("PYTHON")
        }
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the interpreter that the person named
                [self._python or sys.executable, _WORKER, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
            )
        except OSError as error:
            self._errors.close()
            raise PosekitError(f"{self._python}: cannot be run: {error.strerror}") from None
        try:
            word, _, version = self._answer().partition(" ")
            if word != "ready":
                raise self._ended()
        except BaseException:
            self._close()
            raise
        self.name = f"MediaPipe {version}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def detect(self, picture: UInt8[np.ndarray, "H W 3"], milliseconds: int) -> list[FoundHand]:
        """Find the hands in the next RGB picture; milliseconds: its time in the video, which must not go back."""
        # Two pictures of one millisecond would be an error; the time only tells it how far hands may have moved.
        self._last_milliseconds = max(milliseconds, self._last_milliseconds + 1)
        height, width = picture.shape[:2]
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{width} {height} {self._last_milliseconds}\n".encode())
            self._process.stdin.write(np.ascontiguousarray(picture).data)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        answer = self._answer()
        if not answer:
            raise self._ended()
        return [self._found(label, score, places, (width, height)) for label, score, places in json.loads(answer)]

    def _found(self, label: str, score: float, places: list[list[float]], size: tuple[int, int]) -> FoundHand:
        # The solutions name the hand as if the picture were a mirror's; the Tasks do not, whatever their documentation says:
        # of drawn right hands, 0.10.21's solutions call 19 of 20 "Left", the Tasks of 0.10.5 to 1.2.2 call 17 of 18 "Right".
        left = (label == "Left") is (self._model is not None)
        # 0 is the picture's edge, half a pixel before the centre of the first.
        return FoundHand(np.asarray(places) * size - 0.5, score, left)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def _ended(self) -> PosekitError:
        self._process.wait(timeout=10)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "ended without a word"
        if self._python is not None:
            return PosekitError(f"{self._python}: {last}; it needs: pip install mediapipe==0.10.21")
        return PosekitError(
            f"MediaPipe: {last}: pip install 'posekit[mediapipe]', or name another environment's Python"
        )

    def _close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # which ends it
        self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
