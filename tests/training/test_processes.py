"""Processes that train together, started from here: what they give back, and that none is left over."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootstrap_processes import alive, end_in, fail_in
from posekit.errors import PosekitError
from posekit.training.processes import require_devices, run_together


def test_a_mistake_of_any_process_is_told_and_the_others_end():
    with pytest.raises(PosekitError, match=r"^process 1: found a mistake, expected none$"):
        run_together(fail_in, 1, 2, "cpu", print)


def test_a_process_that_is_ended_from_outside_is_one_line():
    with pytest.raises(PosekitError, match="one of its processes was ended from outside"):
        run_together(end_in, 1, 2, "cpu", print)


PARENT = """
import signal
import sys
# A shell has its background jobs ignore interrupts, and tests may be one.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {tests!r})
from bootstrap_processes import tell_and_sleep
from posekit.training.processes import run_together
if __name__ == "__main__":
    run_together(tell_and_sleep, {folder!r}, 2, "cpu", print)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_parent(tmp_path, how):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(begun := [p for p in tmp_path.glob("*.begun") if p.read_text()]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(how)
    parent.wait(timeout=60)
    assert len(begun) == 2
    members = [int(path.read_text()) for path in begun]
    while any(map(alive, members)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, members))


def test_fewer_devices_than_processes_is_one_line():
    with pytest.raises(PosekitError, match=r"--training-device: found \d+ CUDA devices, expected 99 or more"):
        require_devices("cuda", 99, "--training-device")
    require_devices("cpu", 99, "--training-device")
