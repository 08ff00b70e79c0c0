"""Several processes training one model, each on its own device, started by torchrun or from here."""

import contextlib
import datetime
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_end
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from posekit.errors import PosekitError

#: One process draws the training data while the others wait for it, which may take long.
_PATIENCE = datetime.timedelta(hours=24)

#: Seconds between two looks at what the processes tell.
_PAUSE = 0.1

Given = TypeVar("Given")
Told = TypeVar("Told")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is. rank: 0 for the first, which alone writes files and shows progress."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes, the same in each."""
        if self.count == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.count

    def share(self, *tensors: Tensor) -> None:
        """Overwrite tensors by those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def share_text(self, text: str) -> str:
        """Return the first process's text."""
        if self.count == 1:
            return text
        told: list[str] = [text]
        distributed.broadcast_object_list(told, 0)
        return told[0]

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.count > 1:
            distributed.barrier()


#: What each of several processes does: with what all are given, as which of them, on its device; it may tell on its way.
Work = Callable[[Given, Processes, torch.device, Callable[[Told], None]], Result]


@contextlib.contextmanager
def joined_processes(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun has started, if it has; yield which one this is and its device.

    device: "cpu" or "cuda", of which each process of a machine takes the one of its own number. Raises PosekitError where there
    is no such device.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    require_devices(device, local + 1, "--device")
    mine = torch.device(device, local) if device == "cuda" else torch.device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes(), mine
        return
    if device == "cuda":
        torch.cuda.set_device(mine)
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size()), mine
    finally:
        distributed.destroy_process_group()


def require_devices(device: str, count: int, option: str) -> None:
    """Raise PosekitError where a machine has fewer than `count` CUDA devices, and they are what `option` asks for."""
    if device == "cuda" and torch.cuda.device_count() < count:
        raise PosekitError(
            f"{option}: found {torch.cuda.device_count()} CUDA devices, expected {count} or more; use {option} cpu"
        )


def run_together(
    work: Work[Given, Told, Result], given: Given, count: int, device: str, on_told: Callable[[Told], None]
) -> Result:
    """Run `work` in `count` processes of this machine, joined as torchrun joins those it starts; return the first's result.

    work: a function of a module, since other processes import it. device: as in `joined_processes`. on_told: is called here
    with what the first process tells. The processes share this one's threads of torch, and end when it does, however it ends.

    Raises the PosekitError of a process, and one where a process was ended from outside.
    """
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    # "spawn": CUDA cannot be used in a fork.
    context = multiprocessing.get_context("spawn")
    messages = context.SimpleQueue()
    threads = max(1, torch.get_num_threads() // count)
    members, givers = [], []
    try:
        for rank in range(count):
            receiver, giver = context.Pipe(duplex=False)
            taking_part = (rank, count, store.port, device, threads, messages, work, receiver)
            members.append(context.Process(target=_take_part, args=taking_part, daemon=True))
            givers.append(giver)
            members[-1].start()
            receiver.close()
        # Only now: a process takes it when it has loaded torch, which all of them do at the same time.
        for giver in givers:
            with contextlib.suppress(BrokenPipeError):  # it has ended already
                giver.send(given)
        for kind, content in _messages_until_all_ended(members, messages):
            if kind == "told":
                on_told(content)
            elif kind == "mistake":
                raise PosekitError(content)
            else:
                result: Result = content
        return result
    finally:
        for member in members:
            if member.pid is not None:
                member.kill()
                member.join()


def _messages_until_all_ended(members: Sequence[SpawnProcess], messages: Any) -> Iterator[tuple[str, Any]]:
    """Yield what processes say, until the last has ended as it should."""
    running = list(members)
    while running:
        wait_for_end([member.sentinel for member in running], _PAUSE)
        running = [member for member in members if member.exitcode is None]
        # What a process said before it ended is known by now.
        while not messages.empty():
            yield messages.get()
        codes = [member.exitcode or 0 for member in members]
        if min(codes) < 0:
            raise PosekitError(
                "training: one of its processes was ended from outside, perhaps for want of memory; fewer processes need less"
            )
        if any(codes):
            raise RuntimeError("a training process failed; its own message stands above")


def _take_part(
    rank: int,
    count: int,
    port: int,
    device: str,
    threads: int,
    messages: Any,
    work: Work[Given, Told, Result],
    receiver: Any,
) -> None:
    """Be one of the processes of `run_together`."""
    end_with_parent()
    # A terminal interrupts all of its processes; the parent is to end this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    given: Given = receiver.recv()
    # As torchrun sets it; the store is the parent's, which has found a free port.
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }

    def tell(content: Told) -> None:
        if rank == 0:
            messages.put(("told", content))

    try:
        with joined_processes(device) as (processes, mine):
            result = work(given, processes, mine, tell)
    except PosekitError as error:
        messages.put(("mistake", str(error)))
        return
    if rank == 0:
        messages.put(("result", result))


def end_with_parent() -> None:
    """End this process, from now on, with the one that began it: a killed parent cannot say so to those who wait for it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait_for_end([sentinel])
    os._exit(1)
