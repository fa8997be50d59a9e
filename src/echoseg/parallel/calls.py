"""Calls of any function in one other process: for files that may end the process that opens them.

It stands apart from what calls it, so that the process imports no more than the functions need.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from echoseg.parallel import Limits, WorkerPool

Item = TypeVar("Item")
Result = TypeVar("Result")


class CallEach(Protocol):
    """Calls a function with each item, in order."""

    def __call__(
        self, function: Callable[[Item], Result], items: list[Item], if_lost: Result
    ) -> list[Result]:
        """Return the results; `if_lost` is that of an item which ended the process."""
        ...


@contextmanager
def calls_elsewhere(limits: Limits | None) -> Iterator[CallEach]:
    """Start one process for many calls; it is started again when an item has ended it.

    Args:
        limits: Time and memory of one call. None: the calls are made in this process.
    """
    if limits is None:
        yield lambda function, items, if_lost: list(map(function, items))
        return
    pool = WorkerPool(_call, 1, limits=limits, on_loss=lambda call, loss: call[2])
    is_finished = False
    try:
        yield lambda function, items, if_lost: [
            future.result() for future in [pool.submit((function, i, if_lost)) for i in items]
        ]
        is_finished = True
    finally:
        pool.close(is_finished=is_finished)


def _call(call: tuple[Callable[[Item], Result], Item, Result]) -> Result:
    function, item, _ = call
    return function(item)
