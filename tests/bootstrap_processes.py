"""What the tests of the bootstrap let other processes do; here, so that these can import it."""

import os
import signal
import time
import warnings
from pathlib import Path

import torch

from posekit.bootstrap.round_training import RoundTraining, _train_together
from posekit.errors import PosekitError, PosekitWarning
from posekit.training.processes import Processes


def scaled(shared: float, task: int) -> tuple[float, int]:
    """Return the task times what is shared, and the threads that torch has; 7 is odd, 13 a mistake."""
    if task == 13:
        raise PosekitError("task 13: found 13, expected anything else")
    if task == 7:
        warnings.warn(PosekitWarning("task 7 is odd"), stacklevel=2)
    time.sleep(0.01 * (task % 3))
    return shared * task, torch.get_num_threads()


def end_this_process(shared: None, task: int) -> None:
    os._exit(9)


def tell_and_wait(folder: str, task: int) -> None:
    (Path(folder) / f"{task}.begun").write_text(str(os.getpid()))
    time.sleep(300)


def fail_in(rank: int, processes: Processes, device: torch.device, tell) -> None:
    """Make a mistake in one process while the others wait for it."""
    if processes.rank == rank:
        raise PosekitError(f"process {rank}: found a mistake, expected none")
    processes.wait()


def end_in(rank: int, processes: Processes, device: torch.device, tell) -> None:
    """End one process as the system does where there is no memory left; the others wait for it."""
    if processes.rank == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def tell_and_sleep(folder: str, processes: Processes, device: torch.device, tell) -> None:
    tell_and_wait(folder, processes.rank)


def weights_of_all(job: RoundTraining, processes: Processes, device: torch.device, tell) -> list[bytes]:
    """Train a round's part; return the weights of every process."""
    found: list = [None] * processes.count
    torch.distributed.all_gather_object(found, _train_together(job, processes, device, tell)[0])
    return found


def alive(process: int) -> bool:
    """Whether a process of this number is at work."""
    try:
        # A process that ended stays as a zombie until its new parent looks.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_rounds(folder: Path, out: Path, die_at: int) -> None:
    """Run a round of `write_small_capture`'s in this process; kill it in the middle of writing its `die_at`-th file, if not 0.

    The number of files that it wrote is left in ``out.files``.
    """
    from posekit.bootstrap.engine import HereEngine
    from posekit.bootstrap.rounds import bootstrap
    from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
    from posekit.calibration.formats import read_rig
    from posekit.capture import Capture
    from posekit.detection.hand_detector import HandDetector
    from posekit.io.files import remove_unfinished
    from posekit.keypoints import Keypoints2D
    from posekit.models.hand_networks import light_hand_cpm

    written, really = 0, os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written == die_at:
            os.kill(os.getpid(), signal.SIGKILL)  # before the file has its name
        really(descriptor)

    os.fsync = fsync
    torch.set_num_threads(1)
    torch.manual_seed(0)
    start = BootstrapInput(
        Capture.open(folder),
        read_rig(folder / "calibration.toml"),
        Keypoints2D.load(folder / "keypoints2d.h5"),
        HandDetector(light_hand_cpm()),
    )
    out.mkdir(exist_ok=True)
    remove_unfinished(out)
    settings = BootstrapSettings(rounds=1, steps=4, batch_size=2, initial_samples=16, checkpoint_steps=1)
    warnings.simplefilter("ignore", PosekitWarning)  # a round of four steps is no better than none
    bootstrap(start, out, settings, engine=HereEngine(1))
    out.with_suffix(".files").write_text(str(written))


#: An open hand: degrees from the middle finger, and the lengths of the bones from the wrist on, metres.
FINGERS = {
    "thumb": (50, 0.035, 0.045, 0.033, 0.028),
    "index": (14, 0.092, 0.042, 0.026, 0.022),
    "middle": (0, 0.090, 0.046, 0.030, 0.023),
    "ring": (-12, 0.086, 0.043, 0.029, 0.023),
    "little": (-24, 0.082, 0.034, 0.021, 0.020),
}


def write_small_capture(folder: Path) -> None:
    """Write four small videos of noise, and the true keypoints of a person with hands in them."""
    import numpy as np

    from posekit.calibration.formats.aniposelib import write_aniposelib
    from posekit.camera import Rig
    from posekit.io.video import write_video
    from scenes import PERSON, looking_camera, observe, walk

    hand = np.array((0.36, 0.14, 0.95))
    angles = (0.2, 1.5, 2.9, 4.4)
    centres = [hand + 1.5 * np.array((np.cos(a), np.sin(a), 0.3)) for a in angles]
    rig = Rig(tuple(looking_camera(f"cam_{c}", centre, hand, 250, (160, 120)) for c, centre in enumerate(centres)))
    people = walk(6, (0, 0), (0.05, 0))
    # The scene's hands are no hands: fingers lie in each other, which the gates would notice.
    for side in ("left", "right"):
        wrist = people[:, PERSON.index(f"{side}_hand_wrist")]
        for finger, (degrees, *bones) in FINGERS.items():
            turn = np.radians(degrees)
            away = np.array((0.0, np.sin(turn), -np.cos(turn)))
            for k, reach in enumerate(np.cumsum(bones), start=1):
                people[:, PERSON.index(f"{side}_{finger}_{k}")] = wrist + reach * away
    scene = observe(rig, [people], noise_px=0.2, skeleton=PERSON)
    (folder / "videos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in rig.names:
        frames = rng.integers(0, 255, (6, 120, 160, 3), dtype=np.uint8)
        write_video(folder / "videos" / f"{name}.mp4", 30, frames)
    write_aniposelib(folder / "calibration.toml", rig)
    scene.keypoints.save(folder / "keypoints2d.h5")
