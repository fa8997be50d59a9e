"""The loop of a worker process: items come on standard input, answers go to standard output."""

import contextlib
import gc
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pickle import loads
from typing import IO, Any

import cloudpickle

_HEADER_BYTES = 8
_OOM_SCORE = "300"
"""Makes the kernel end a worker rather than its parent when memory runs out."""


def send(stream: IO[bytes] | None, data: bytes) -> None:
    """Write a message: its length, then its bytes."""
    assert stream is not None
    stream.write(len(data).to_bytes(_HEADER_BYTES, "big"))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes] | None) -> bytes:
    """Read a message.

    Raises:
        EOFError: If the other side has ended, also within the message.
    """
    assert stream is not None
    header = stream.read(_HEADER_BYTES)
    length = int.from_bytes(header, "big")
    data = stream.read(length) if len(header) == _HEADER_BYTES else b""
    if len(header) < _HEADER_BYTES or len(data) < length:
        raise EOFError
    return data


class _StoppedError(BaseException):
    """The worker was stopped by a signal; `except Exception` does not catch it."""


_is_working = _is_stopping = False


def serve(parent: int) -> None:
    """Do the items that arrive, until the parent closes the pipe or ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a library prints must not get between the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)
    if hasattr(os, "getppid"):
        threading.Thread(target=_end_with_the_parent, args=(parent,), daemon=True).start()
    function: Callable[[Any], Any] | None = None

    def begin(task: tuple[Callable[[Any], Any], Callable[[], object] | None]) -> None:
        nonlocal function
        function, prepare = task
        if prepare is not None:
            prepare()
        gc.freeze()  # modules and model stay: no collection needs to look at them again

    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            data = receive(requests)
            answer = _answer(function or begin, data)
            send(answers, answer)


def _answer(function: Callable[[Any], Any], data: bytes) -> bytes:
    """The pickled outcome of an item: (True, result) or (False, exception)."""
    global _is_working
    try:
        _is_working = True
        result = function(loads(data))
        _is_working = False
        return cloudpickle.dumps((True, result))
    except Exception as error:
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        return _pickled_error(error)
    except _StoppedError:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # the parent sees from it that it was stopped
        raise
    finally:
        _is_working = False


def _pickled_error(error: Exception) -> bytes:
    try:
        data = cloudpickle.dumps((False, error))
        loads(data)  # some exceptions can be written and not read
        return data
    except Exception:
        return cloudpickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _stop(number: int, frame: object) -> None:
    """Leave the item through every `finally`, so that nothing half-written stays."""
    global _is_stopping
    if _is_stopping:
        return
    _is_stopping = True
    if not _is_working:
        os._exit(128 + number)
    raise _StoppedError


def _end_with_the_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
