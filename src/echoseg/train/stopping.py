"""Signals that end a training: they wait for the end of a step, so that it is saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupt_requested() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C, or a scheduler's SIGTERM, wait for the end of a step; the same again does not.

    Where it stopped the run, SIGTERM is sent on, so that the process ends as it would have.
    """
    received: list[int] = []

    def request(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, before[number])

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()  # a thread is not asked
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    before = {n: handler for n, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, request)
    try:
        try:
            yield lambda: bool(received)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    except KeyboardInterrupt:
        if signal.SIGTERM in received:
            signal.raise_signal(signal.SIGTERM)
        raise
