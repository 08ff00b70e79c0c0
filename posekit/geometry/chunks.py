"""Work in chunks, several at a time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def map_chunks(work: Callable[[Chunk], Result], chunks: Iterable[Chunk], device: torch.device) -> list[Result]:
    """Return ``[work(chunk) for chunk in chunks]``, on a CPU with a thread for every chunk in work.

    torch's own threads share out each operation and wait for each other after it: hundreds of times a chunk. Threads that each
    take a whole chunk never wait, and meet the same caches again. As many work as torch has threads, each with one of its own.
    """
    waiting = list(chunks)
    threads = min(torch.get_num_threads(), len(waiting))
    if threads < 2 or device.type != "cpu":
        return [work(chunk) for chunk in waiting]
    before = torch.get_num_threads()
    try:
        # Told to each thread, for the setting is a thread's own; told to this one in the end, for a part of it is everyone's.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, waiting))
    finally:
        torch.set_num_threads(before)
