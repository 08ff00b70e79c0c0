"""Drawn hands from several processes: the same pictures in the same order, whatever their number.

Processes, not threads: drawing is many small steps, between which threads wait for one another.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import fields
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from posekit.datasets.hand_renderer import HandPictures
from posekit.datasets.hand_surface import hand_surface
from posekit.datasets.synthetic_hands import HandBatch, SyntheticHands

Made = TypeVar("Made", HandPictures, HandBatch)


def drawn_hands(
    hands: SyntheticHands, seeds: Sequence[Sequence[int]], count: int, processes: int = 1
) -> Iterator[HandPictures]:
    """Yield `hands.draw(numpy.random.default_rng(seed), count)` for each of the seeds, in their order."""
    return _in_order(_draw, HandPictures, [(hands, tuple(seed), count) for seed in seeds], processes)


def finished_hands(
    hands: SyntheticHands, indices: Sequence[int], count: int, processes: int = 1
) -> Iterator[HandBatch]:
    """Yield `hands.batch(index, count)` for each of the indices, in their order."""
    return _in_order(_finish, HandBatch, [(hands, (index,), count) for index in indices], processes)


_Task = tuple[SyntheticHands, tuple[int, ...], int]
_Arrays = dict[str, np.ndarray]


def _arrays(made: HandPictures | HandBatch) -> _Arrays:
    # Arrays are sent as bytes; tensors would keep a file open each.
    return {f.name: getattr(made, f.name).cpu().numpy() for f in fields(made)}


def _draw(task: _Task) -> _Arrays:
    hands, seed, count = task
    return _arrays(hands.draw(np.random.default_rng(seed), count))


def _finish(task: _Task) -> _Arrays:
    hands, (index,), count = task
    return _arrays(hands.batch(index, count))


def _start() -> None:
    torch.set_num_threads(1)
    hand_surface()


def _in_order(
    function: Callable[[_Task], _Arrays], kind: type[Made], tasks: Sequence[_Task], processes: int
) -> Iterator[Made]:
    def made(arrays: _Arrays) -> Made:
        tensors: dict[str, Tensor] = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return kind(**tensors)

    if processes <= 1:
        for task in tasks:
            yield made(function(task))
        return
    # No copies of this process, which could inherit locks that its threads hold, but of one that has only imported.
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload([__name__])
    waiting: deque[Future[_Arrays]] = deque()
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start) as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(function, task))
                if len(waiting) > 2 * processes:
                    yield made(waiting.popleft().result())
            while waiting:
                yield made(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()
