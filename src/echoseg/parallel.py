"""Work in several processes: results in order, bounded memory, a clean end after any stop.

`loky` runs the processes and notices those that die. Added here: workers leave Ctrl-C to the
parent, clean up when they are stopped, and end with the parent, even if that is killed.
"""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from echoseg.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_CLEANUP_S = 10.0
"""Time that a stopped worker has to clean up before it is killed."""
_IDLE_TIMEOUT_S = 60.0


def check_jobs(jobs: int) -> int:
    """Limit a number of processes to the number of CPUs.

    Raises:
        ConfigError: If it is below 1.
    """
    if not isinstance(jobs, int) or jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs!r}")
    return min(jobs, os.cpu_count() or 1)


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int = 1
) -> Iterator[Result]:
    """Yield `function(item)` of each item in order; the results do not depend on `jobs`.

    Function, items and results must be picklable. At most two results per process wait to be
    taken. When the caller stops early, or an item fails, the other workers are stopped.

    Raises:
        DatasetError: If a worker process was killed.
    """
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    items = list(items)
    jobs = min(jobs, len(items))
    if jobs < 2:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(
        jobs, timeout=_IDLE_TIMEOUT_S, initializer=_begin_worker, initargs=(os.getpid(),)
    )
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(_run, function, item))
            pending[-1].add_done_callback(partial(_stop_after_a_stop, pool))
            if len(pending) > 2 * jobs:
                yield _next(pending)
        while pending:
            yield _next(pending)
    except (BrokenProcessPool, _StoppedError) as error:
        raise DatasetError(
            f"a worker process was killed, often because memory ran out; use fewer jobs than {jobs}"
        ) from error
    finally:
        _shut_down(pool, pending)


def _next(pending: deque[Future[Result]]) -> Result:
    result = pending[0].result()
    pending.popleft()  # only now: an interrupted wait leaves it pending
    return result


def _stop_after_a_stop(pool: "ProcessPoolExecutor", future: Future[Result]) -> None:
    """Do not wait for the results of other workers once one was stopped from outside."""
    if not future.cancelled() and isinstance(future.exception(), _StoppedError):
        _stop_workers(pool)


def _stop_workers(pool: "ProcessPoolExecutor") -> None:
    for process in list((pool._processes or {}).values()):
        process.terminate()


def _shut_down(pool: "ProcessPoolExecutor", pending: Iterable[Future[Result]]) -> None:
    if not pending:
        pool.shutdown()
        return
    for future in pending:
        future.cancel()
    _stop_workers(pool)
    killer = threading.Timer(MAX_CLEANUP_S, pool.shutdown, kwargs={"kill_workers": True})
    killer.daemon = True
    killer.start()
    pool.shutdown()
    killer.cancel()


class _StoppedError(BaseException):
    """A worker was stopped by a signal; `except Exception` does not catch it."""


_is_working = _is_stopping = False
"""State of this process, if it is a worker."""


def _begin_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    if hasattr(os, "setpgid"):  # not on Windows
        os.setpgid(0, 0)  # signals to the whole group reach the parent only
        threading.Thread(target=_end_with_the_parent, args=(parent,), daemon=True).start()


def _run(function: Callable[[Item], Result], item: Item) -> Result:
    global _is_working
    if _is_stopping:
        raise _StoppedError
    try:
        _is_working = True
        return function(item)
    finally:
        _is_working = False


def _stop(number: int, frame: object) -> None:
    """Leave the item through every `finally`, so that nothing half-written stays."""
    global _is_stopping
    _is_stopping = True
    signal.signal(number, signal.SIG_IGN)
    if _is_working:  # else the pool's locks might be held
        raise _StoppedError


def _end_with_the_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread: another number of threads may sum in another order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
