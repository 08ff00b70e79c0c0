"""Work in chunks, several at a time."""

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


#: Chunks of fewer rows are not made smaller for the sake of threads: their time goes into calling.
_SMALLEST_CHUNK = 512


def even_slices(total: int, largest: int, device: torch.device) -> list[slice]:
    """Cut rows into chunks of one size, at most `largest`, as many as keep all threads of `map_chunks` busy to the end."""
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    count = max(-(-total // largest), 1)
    count = min(-(-count // threads) * threads, max(total // _SMALLEST_CHUNK, count))
    bounds = [total * chunk // count for chunk in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]


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
