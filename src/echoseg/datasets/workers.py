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
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DatasetError(
            "a process was ended from outside, often for want of memory; give fewer --jobs than "
            f"{jobs}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def leave_signals_to_the_parent() -> None:
    """Let one process answer what is sent to all of them, and end with it.

    Ctrl-C, or a signal to the whole group, would otherwise end a worker in the middle of a result,
    for whose rest the parent then waits for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "setpgid"):  # not on Windows
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
