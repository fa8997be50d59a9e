"""Work on many clips in several processes: results in order, never more waiting than needed."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from echoseg.errors import ConfigError, DatasetError

Item = TypeVar("Item")
Result = TypeVar("Result")


def check_jobs(jobs: int) -> int:
    """Return a number of processes, no more than there are processors.

    Raises:
        ConfigError: If it is below 1.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}")
    return min(jobs, os.cpu_count() or 1)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int = 1
) -> Iterator[Result]:
    """Yield `function(item)` of each item in order; what is yielded does not depend on `jobs`.

    Processes are started afresh, since torch's threads do not outlive a fork; function and items
    must be such as can be sent to one.

    Raises:
        DatasetError: If a process was ended from outside.
    """
    items = list(items)
    jobs = min(jobs, len(items))
    if jobs < 2:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=leave_signals_to_the_parent,
    )
    waiting: deque[Future[Result]] = deque()
    others = set(multiprocessing.active_children())
    try:
        for item in items:
            waiting.append(pool.submit(_work, function, item))
            if len(waiting) > 2 * jobs:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    except (BrokenProcessPool, _EndedError) as error:
        raise DatasetError(
            "a process was ended from outside, often for want of memory; give fewer --jobs than "
            f"{jobs}"
        ) from error
    finally:
        if waiting:  # Ctrl-C, a failure, or nobody wants the rest: nor wait for it
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
        pool.shutdown(cancel_futures=True)


def _first(waiting: deque[Future[Result]]) -> Result:
    result = waiting[0].result()
    waiting.popleft()  # only now: what is waited for is not done
    return result


class _EndedError(BaseException):
    """A worker was told to end; no `except Exception` keeps it from cleaning up."""


def leave_signals_to_the_parent() -> None:
    """Let one process answer what is sent to all of them, and end with it.

    Ctrl-C, or a signal to the whole group, would otherwise end a worker in the middle of a result,
    for whose rest the parent then waits for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    if hasattr(os, "setpgid"):  # not on Windows
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


_is_working = _is_ended = False
"""Of this process, if it is a worker."""


def _work(function: Callable[[Item], Result], item: Item) -> Result:
    global _is_working
    if _is_ended:  # one more was in the queue
        raise _EndedError("a worker was told to end")
    _is_working = True
    try:
        return function(item)
    finally:
        _is_working = False


def _end(number: int, frame: object) -> None:
    """Leave through every `finally`, so that nothing half-written stays; once is enough."""
    global _is_ended
    signal.signal(number, signal.SIG_IGN)
    if not _is_working:
        os._exit(1)
    _is_ended = True
    raise _EndedError("a worker was told to end")


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
