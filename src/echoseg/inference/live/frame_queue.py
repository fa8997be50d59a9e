"""Queue of frames for the network: the newest is used, older ones are dropped and counted."""

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FrameQueue(Generic[Item]):
    """Connects the thread that fetches frames with the one that segments them.

    Args:
        drop: Hold only the newest frame; otherwise `put` blocks at `capacity` frames, and none is
            lost.
        capacity: Maximum length when nothing is dropped.
    """

    def __init__(self, *, drop: bool, capacity: int = 8) -> None:
        self.dropped = 0
        self._drop, self._capacity = drop, capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item, *, is_last: bool = False) -> bool:
        """Add a frame; False when the queue is closed.

        The last item, which reports the end, does not replace a waiting frame.
        """
        with self._changed:
            if self._drop and is_last:
                pass
            elif self._drop:
                self.dropped += len(self._items)
                self._items.clear()
            else:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, timeout_s: float) -> Item | None:
        """The next frame; None when none arrives in time, or the queue is over."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items) or self._closed, timeout_s)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Accept no more frames; those waiting can still be fetched."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether it is closed and empty."""
        with self._changed:
            return self._closed and not self._items
