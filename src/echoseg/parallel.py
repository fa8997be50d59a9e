"""Work on many clips in several processes: results in order, never more waiting than needed.

Each process has a pipe of its own. A pool's shared queues have locks, and a process that ends
while it holds one leaves the others, and the parent, to wait for ever.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

from echoseg.errors import ConfigError, DatasetError

Item = TypeVar("Item")
Result = TypeVar("Result")

LONGEST_END_S = 10.0
"""What a process may take to clean up after it was told to end."""


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
    workers: list[_Worker] = []
    idle: SimpleQueue[_Worker] = SimpleQueue()

    def ask(item: Item) -> Result:
        worker = idle.get()
        try:
            return worker.ask(function, item)
        except _GoneError:
            _terminate(workers)  # nobody waits for the others' results now
            raise
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(jobs)  # one waits for each process
    waiting: deque[Future[Result]] = deque()
    try:
        for _ in range(jobs):
            workers.append(_Worker())
            idle.put(workers[-1])
        for item in items:
            waiting.append(threads.submit(ask, item))
            if len(waiting) > 2 * jobs:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    except _GoneError as error:
        raise DatasetError(
            "a process was ended from outside, often for want of memory; give fewer --jobs than "
            f"{jobs}"
        ) from error
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        _end_all(workers, is_wanted=not waiting)


def _first(waiting: deque[Future[Result]]) -> Result:
    result = waiting[0].result()
    waiting.popleft()  # only now: what is waited for is not done
    return result


class _GoneError(Exception):
    """A process ended before it answered."""


class _Worker:
    """A process that answers one question after another."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        self.process.start()
        theirs.close()  # so that its end is seen when the process ends

    def ask(self, function: Callable[[Item], Result], item: Item) -> Result:
        try:
            self.pipe.send((function, item))
            is_result, answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise _GoneError from error
        if is_result:
            return answer
        raise answer


def _terminate(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()


def _end_all(workers: list[_Worker], *, is_wanted: bool) -> None:
    if is_wanted:
        for worker in workers:
            worker.pipe.close()
    else:  # Ctrl-C, a failure, or nobody wants the rest: nor wait for it
        _terminate(workers)
    end_s = time.monotonic() + LONGEST_END_S
    for worker in workers:
        worker.process.join(max(0.0, end_s - time.monotonic()))
        worker.process.kill()
        worker.process.join()


def _serve(pipe: Any) -> None:
    """Answer until the parent closes its end."""
    leave_signals_to_the_parent()
    while True:
        try:
            function, item = pipe.recv()
        except EOFError:
            return
        answer = _answer(function, item)
        try:
            pipe.send(answer)
        except OSError:
            return
        except Exception as error:  # it cannot be sent, which is known before a byte is
            pipe.send((False, RuntimeError(f"{answer[1]!r} cannot be sent: {error}")))


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


def _answer(function: Callable[[Item], Any], item: Item) -> tuple[bool, Any]:
    """Return whether there is a result, and it or the error; a worker told to end does neither."""
    global _is_working
    try:
        try:
            _is_working = True
            answer = True, function(item)
        finally:
            _is_working = False
    except BaseException as error:
        error.add_note("".join(traceback.format_exception(error)))  # which a pipe leaves out
        answer = False, error
    if _is_ended:
        os._exit(1)
    return answer


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


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch have one thread: another number may sum in another order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
