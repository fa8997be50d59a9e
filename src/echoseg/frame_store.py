"""Frames of a clip, added one by one: in memory while they are few, else in a temporary file.

A file is mapped, so that the frames are an array all the same. Its pages count as memory of the
process while they are mapped in; `each` lets go of them, and the rest is left to the system.
"""

import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from echoseg.errors import OutputError

MAX_HELD_BYTES = 256 * 2**20
"""Bytes of a clip's frames that are held in memory."""
EACH_BYTES = 32 * 2**20
"""Bytes of a mapped file that `each` holds."""


class FrameStore:
    """Collects arrays of uint8, such as frames `H W` of one size; a context that closes its file.

    Args:
        max_held_bytes: Beyond these it is a file; `MAX_HELD_BYTES` by default.
    """

    def __init__(self, max_held_bytes: int | None = None) -> None:
        self._max_held_bytes = MAX_HELD_BYTES if max_held_bytes is None else max_held_bytes
        self._held = bytearray()  # grows in place
        self._file: Any = None
        self._size: tuple[int, ...] = ()
        self.num_frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()  # its map stays

    def add(self, frame: np.ndarray) -> None:
        """Add a copy of a frame.

        Raises:
            OutputError: If the temporary file cannot be written.
        """
        self._size, data = frame.shape, np.ascontiguousarray(frame).data.cast("B")
        try:
            if self._file is None and len(self._held) + len(data) > self._max_held_bytes:
                self._file = tempfile.TemporaryFile()  # lives as long as its map
                self._file.write(self._held)
                self._held = bytearray()
            if self._file is None:
                self._held += data
            else:
                self._file.write(data)
        except OSError as error:
            raise OutputError(
                f"{tempfile.gettempdir()} cannot hold the frames of a long clip "
                f"({error.strerror}); free some space, or set TMPDIR to a folder that has it"
            ) from error
        self.num_frames += 1

    def array(self) -> np.ndarray:
        """All bytes, `(N,)` uint8, writable; nothing can be added after."""
        if self._file is None:
            return np.frombuffer(self._held, np.uint8)
        self._file.flush()
        return np.memmap(self._file, np.uint8, "r+")

    def frames(self) -> np.ndarray:
        """All frames, `T H W`, as `array`."""
        return self.array().reshape(self.num_frames, *self._size)


def map_file(path: Path) -> np.ndarray:
    """The bytes of a file, `(N,)` uint8, read as they are used; a small one is read at once."""
    is_small = path.stat().st_size <= EACH_BYTES
    return np.fromfile(path, np.uint8) if is_small else np.memmap(path, np.uint8, "c")


def map_stream(blocks: Iterator[bytes]) -> np.ndarray:
    """The bytes of a stream, `(N,)` uint8, in a mapped temporary file unless they are few."""
    with FrameStore(EACH_BYTES) as store:
        for block in blocks:
            store.add(np.frombuffer(block, np.uint8))
        return store.array()


def each(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the frames in order; a mapped file's pages are let go of on the way, and come back."""
    step = max(1, EACH_BYTES // max(1, frames[:1].nbytes))
    for start in range(0, len(frames), step):
        yield from frames[start : start + step]
        release(frames)


def release(frames: np.ndarray) -> None:
    """Let go of the pages of a mapped file; what was written stays in the file."""
    base: Any = frames
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def count_pixels(masks: np.ndarray, value: int) -> np.ndarray:
    """Number of pixels of a value in each of the label maps `T H W`, `(T,)`."""
    return np.array([np.count_nonzero(mask == value) for mask in each(masks)])
