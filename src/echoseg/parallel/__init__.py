"""Work in several processes: results in order, bounded memory, a clean end after any stop.

Each process has a pipe of its own and does one item at a time, so one that dies, hangs or grows
takes no other item with it. Functions and items are pickled by `cloudpickle`, so a network defined
in a notebook can be sent.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import cloudpickle

from echoseg.errors import ConfigError, DatasetError
from echoseg.parallel.worker import GB, MAX_CLEANUP_S, Limits, Loss, Worker

Item = TypeVar("Item")
Result = TypeVar("Result")

WATCH_INTERVAL_S = 0.1
"""Time between two looks at the time and memory of the workers."""
_STARTING = Limits(timeout_s=600.0, memory_gb=float("inf"))
_MAX_STARTS = 3


def check_jobs(jobs: int) -> int:
    """Limit a number of processes to the number of CPUs.

    Raises:
        ConfigError: If it is below 1.
    """
    if not isinstance(jobs, int) or jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs!r}")
    return min(jobs, os.cpu_count() or 1)


def parallel_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int = 1,
    *,
    limits: Limits | None = None,
    on_loss: Callable[[Item, Loss], Result] | None = None,
    prepare: Callable[[], object] | None = None,
) -> Iterator[Result]:
    """Yield `function(item)` of each item in order; the results do not depend on `jobs`.

    At most two results per process wait to be taken. When the caller stops early, or an item
    fails, the other workers are stopped. One job without limits runs in this process.

    Args:
        function: Picklable, as are items and results.
        items: What it is called with.
        jobs: Number of worker processes.
        limits: Time and memory of one item; a worker that exceeds them is stopped.
        on_loss: Called in a thread of this process for an item whose worker died or was stopped,
            which gives that item's result.
        prepare: Called once in each worker before its first item, outside the limits.

    Raises:
        DatasetError: If a worker died and there is no `on_loss`, or if workers cannot be started.
    """
    items = list(items)
    jobs = min(jobs, len(items))
    if jobs < 1 or (jobs == 1 and limits is None):
        yield from map(function, items)
        return
    pool = WorkerPool(function, jobs, limits=limits, on_loss=on_loss, prepare=prepare)
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(item))
            if len(pending) > 2 * jobs:
                yield _next(pending)
        while pending:
            yield _next(pending)
    except CancelledError:
        raise DatasetError(
            f"a worker process was killed, often because memory ran out; use fewer jobs than {jobs}"
        ) from None
    finally:
        pool.close(is_finished=not pending)


def _next(pending: deque[Future[Result]]) -> Result:
    result = pending[0].result()
    pending.popleft()  # only now: an interrupted wait leaves it pending
    return result


class WorkerPool:
    """Worker processes that stay, each driven by a thread; one more thread watches them all.

    Args:
        function: As in `parallel_map`, as are the others.
        jobs: Number of worker processes.
        limits: Time and memory of one item.
        on_loss: Gives the result of an item whose worker was lost.
        prepare: Called once in each worker.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        jobs: int,
        *,
        limits: Limits | None = None,
        on_loss: Callable[..., Any] | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self._task = cloudpickle.dumps((function, prepare))
        self._limits, self._on_loss = limits or Limits.none(), on_loss
        self._threads = ThreadPoolExecutor(jobs)
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._is_stopping, self._closed = False, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, item: Any) -> Future[Any]:
        """Do an item; the result of one that was stopped by `stop` is a `CancelledError`."""
        return self._threads.submit(self._run, item)

    def _run(self, item: Any) -> Any:
        data = cloudpickle.dumps(item)
        worker = self._take()
        outcome = worker.call(data, self._limits)
        if isinstance(outcome, Loss):
            self._forget(worker)
            if self._is_stopping:
                raise CancelledError
            if self._on_loss is None:
                self.stop()
                raise CancelledError
            return self._on_loss(item, outcome)
        with self._lock:
            self._idle.append(worker)
        return outcome()

    def _take(self) -> Worker:
        """An idle worker, or a new one: also where an idle one has kept much memory."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is not None:
            if worker.is_alive() and worker.added_bytes() < self._limits.memory_gb * GB / 2:
                return worker
            self._forget(worker)
        return self._start(_MAX_STARTS)

    def _start(self, tries: int) -> Worker:
        with self._lock:
            if self._is_stopping:
                raise CancelledError
            worker = Worker()
            self._workers.add(worker)
        outcome = worker.call(self._task, _STARTING)
        if not isinstance(outcome, Loss):
            try:
                outcome()
            except BaseException:
                self._forget(worker)
                raise
            worker.begin_counting()
            return worker
        self._forget(worker)
        if tries > 1 or self._is_stopping:
            return self._start(tries - 1)
        raise DatasetError(f"worker processes end before they begin to work: {outcome.reason}")

    def _forget(self, worker: Worker) -> None:
        worker.kill()
        worker.end()
        with self._lock:
            self._workers.discard(worker)

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_INTERVAL_S):
            for worker in self._snapshot():
                worker.check()

    def _snapshot(self) -> list[Worker]:
        with self._lock:
            return list(self._workers)

    def stop(self) -> None:
        """Stop all workers; those that still clean up after a while are killed."""
        with self._lock:
            self._is_stopping = True
        for worker in self._snapshot():
            worker.stop(MAX_CLEANUP_S)

    def close(self, *, is_finished: bool) -> None:
        """Return when all workers have ended, by themselves or stopped."""
        if not is_finished:
            self.stop()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._snapshot():
            worker.end()
        self._closed.set()


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let torch use `number` threads; another number may sum in another order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


__all__ = ["Limits", "Loss", "WorkerPool", "check_jobs", "parallel_map", "torch_threads"]
