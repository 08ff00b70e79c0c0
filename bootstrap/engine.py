"""Where a round's tasks run: in this process, in processes of this machine, or on a Ray cluster.

A task computes with one thread of torch wherever it runs, since more would add up in another order; so the results do not
depend on the engine, on the number of processes, or on who is done first.
"""

import contextlib
import importlib
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args

import torch

from posekit.errors import PosekitError, PosekitWarning
from posekit.training.processes import end_with_parent

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")

#: What a task does: with what all tasks share, and with its own.
Work = Callable[[Shared, Task], Result]

EngineName = Literal["auto", "here", "processes", "ray"]
ENGINE_NAMES: tuple[str, ...] = get_args(EngineName)

#: Processes begin with loading torch, which takes seconds; with so few cores, threads are as fast.
_FEW_CORES = 4


class Engine(Protocol):
    """Runs tasks that depend on nothing but what they are given."""

    def run(
        self, work: Work[Shared, Task, Result], shared: Shared, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Yield (place of the task, its result) as tasks end, in any order.

        work: a function of a module, since other processes import it. A task's PosekitError ends the run, the tasks that were
        not begun are dropped; its PosekitWarnings are given here.
        """
        ...


@dataclass(frozen=True)
class HereEngine:
    """Runs tasks in this process. workers: tasks at a time, each in a thread; None for as many as there are cores."""

    workers: int | None = None

    def run(
        self, work: Work[Shared, Task, Result], shared: Shared, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Run them; see `Engine`."""
        with _one_thread_of_torch():
            pool = ThreadPoolExecutor(min(self.workers or usable_cores(), len(tasks) or 1))
            with _ended(pool):
                waiting = {pool.submit(work, shared, task): place for place, task in enumerate(tasks)}
                while waiting:
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield waiting.pop(future), future.result()


@dataclass(frozen=True)
class ProcessEngine:
    """Runs tasks in processes of this machine, one task and one thread each. workers: how many; None for one per core."""

    workers: int | None = None

    def run(
        self, work: Work[Shared, Task, Result], shared: Shared, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Run them; see `Engine`."""
        if not tasks:
            return
        count = min(self.workers or usable_cores(), len(tasks))
        # "spawn": a fork would take over locks that the parent's threads hold.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(count, context, initializer=_begin_worker, initargs=(shared,))
        with _ended(pool):
            try:
                # Few at a time: pending tasks are copied, and results should be taken up before more are made.
                places = iter(enumerate(tasks))
                waiting: dict[Future[_Outcome[Result]], int] = {}
                while True:
                    for place, task in places:
                        waiting[pool.submit(_work_in_worker, work, task)] = place
                        if len(waiting) >= 2 * count:
                            break
                    if not waiting:
                        return
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield waiting.pop(future), future.result().told()
            except BrokenProcessPool:
                raise PosekitError(
                    "--engine processes: a worker process was ended from outside, perhaps for want of memory; fewer --workers "
                    "need less"
                ) from None


@dataclass(frozen=True)
class RayEngine:
    """Runs tasks on a Ray cluster, one core each.

    address: of the cluster ("auto" for the one that this machine is part of); None starts one on this machine, unless
    RAY_ADDRESS names one or the program is connected to one already. All nodes need posekit, and the videos at the same path.
    workers: cores of the cluster that is started here; None for all.

    Raises PosekitError where Ray is not installed or there is no such cluster.
    """

    address: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        _ray()

    def run(
        self, work: Work[Shared, Task, Result], shared: Shared, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Run them; see `Engine`."""
        ray = _ray()
        with self._connected(ray):
            remote = ray.remote(num_cpus=1, max_retries=3)(_work_anywhere)
            everyone = ray.put(shared)
            # The tasks themselves are small; the results lie in the cluster's memory until they are taken up here.
            waiting = {remote.remote(work, everyone, task): place for place, task in enumerate(tasks)}
            try:
                while waiting:
                    done, _ = ray.wait(list(waiting), num_returns=1)
                    for reference in done:
                        yield waiting.pop(reference), ray.get(reference).told()
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, PosekitError):
                    raise PosekitError(str(error.cause)) from None
                raise
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                raise PosekitError(f"--engine ray: a worker was lost: {str(error).splitlines()[0]}") from None
            finally:
                for reference in waiting:
                    ray.cancel(reference)

    @contextlib.contextmanager
    def _connected(self, ray: Any) -> Iterator[None]:
        if ray.is_initialized():
            yield
            return
        address = self.address or os.environ.get("RAY_ADDRESS")
        cores = None if address else self.workers or usable_cores()
        try:
            # Its own messages would stand between posekit's progress bars.
            ray.init(address, num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            where = address or "on this machine"
            raise PosekitError(f"--engine ray: no cluster {where}: {str(error).splitlines()[0]}") from None
        try:
            yield
        finally:
            ray.shutdown()


def make_engine(name: EngineName = "auto", workers: int | None = None, address: str | None = None) -> Engine:
    """Return the engine of a name; auto is threads of this process where there are few cores, else processes.

    workers: tasks at a time; None for one per core. address: of a Ray cluster.
    Raises PosekitError for an unknown name, for an address that no Ray is asked for, and where Ray is not installed.
    """
    if workers is not None and workers < 1:
        raise PosekitError(f"--workers: {workers} was given, 1 or more was expected")
    if address is not None and name != "ray":
        raise PosekitError(f"--ray-address: {address} is the address of a Ray cluster, which takes --engine ray")
    if name == "auto":
        name = "here" if (workers or usable_cores()) <= _FEW_CORES else "processes"
    if name == "here":
        return HereEngine(workers)
    if name == "processes":
        return ProcessEngine(workers)
    if name == "ray":
        return RayEngine(address, workers)
    raise PosekitError(f"--engine: '{name}' was given, one of {', '.join(ENGINE_NAMES)} was expected")


def usable_cores() -> int:
    """Processor cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


@dataclass(frozen=True)
class _Outcome(Generic[Result]):
    """A task's result and what it warned of, on its way from another process."""

    result: Result
    warned: tuple[str, ...]

    def told(self) -> Result:
        """Give the warnings here; return the result."""
        for message in self.warned:
            warnings.warn(PosekitWarning(message), stacklevel=3)
        return self.result


def _work_anywhere(work: Work[Shared, Task, Result], shared: Shared, task: Task) -> _Outcome[Result]:
    """Do a task in a process that does nothing else at the time."""
    torch.set_num_threads(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PosekitWarning)
        result = work(shared, task)
    return _Outcome(result, tuple(str(one.message) for one in caught))


class _Worker:
    """What a worker process has been given for all its tasks."""

    shared: Any = None


def _begin_worker(shared: Any) -> None:
    _Worker.shared = shared
    end_with_parent()


def _work_in_worker(work: Work[Any, Task, Result], task: Task) -> _Outcome[Result]:
    return _work_anywhere(work, _Worker.shared, task)


@contextlib.contextmanager
def _ended(pool: ThreadPoolExecutor | ProcessPoolExecutor) -> Iterator[None]:
    """Drop what was not begun when the work ends early, and wait for the rest."""
    try:
        yield
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _one_thread_of_torch() -> Iterator[None]:
    """Threads that begin meanwhile compute with one thread of torch each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ray() -> Any:
    # Read when Ray is loaded: without it, Ray sends what it was used for to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise PosekitError("--engine ray: Ray is not installed; pip install 'posekit[ray]' installs it") from None
