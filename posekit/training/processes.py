"""Several processes training one model, each on its own device, started by torchrun."""

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from posekit.errors import PosekitError

#: One process draws the training data while the others wait for it, which may take long.
_PATIENCE = datetime.timedelta(hours=24)


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


@contextlib.contextmanager
def joined_processes(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun has started, if it has; yield which one this is and its device.

    device: "cpu" or "cuda", of which each process of a machine takes the one of its own number. Raises PosekitError where there
    is no such device.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda" and torch.cuda.device_count() <= local:
        raise PosekitError(
            f"--device: found {torch.cuda.device_count()} CUDA devices, expected {local + 1} or more; use --device cpu"
        )
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
