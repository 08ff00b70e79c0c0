"""Batches drawn in threads while the device works on the one before."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor

from posekit.training.samples import CropBatch


def drawn_ahead(
    batches: Callable[[int, float], CropBatch],
    first: int,
    end: int,
    fraction: Callable[[int], float],
    threads: int,
) -> Generator[CropBatch, None, None]:
    """Yield the batches of the steps from `first` to before `end`, in order.

    batches: a pure function of a step and the part of the run that is done by then, which is `fraction` of the step. threads:
    so many batches are drawn at once, ahead of the one asked for; with 0 each is drawn when it is asked for.
    """
    if threads == 0:
        for step in range(first, end):
            yield batches(step, fraction(step))
        return
    waiting: deque[Future[CropBatch]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for step in range(first, end):
                waiting.append(pool.submit(batches, step, fraction(step)))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
