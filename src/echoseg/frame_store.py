"""Frames of a clip, added one by one: in memory while they are few, else in a temporary file.

A file is mapped, so that the frames are an array all the same. Its pages count as memory of the
process while they are mapped in; `each` lets go of them, and the rest is left to the system.
"""

import mmap
import os
import tempfile
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from echoseg.errors import OutputError

MAX_HELD_BYTES = 384 * 2**20
"""Bytes of a clip's frames that are held in memory."""
_EACH_BYTES = 64 * 2**20


class FrameStore:
    """Collects frames `H W` uint8 of one size; a context that closes its file."""

    def __init__(self) -> None:
        self._held = bytearray()  # grows in place
        self._file: Any = None
        self._shape: tuple[int, ...] = ()
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
        self._shape = frame.shape
        frame = np.ascontiguousarray(frame)
        try:
            if self._file is None and len(self._held) + frame.size > MAX_HELD_BYTES:
                self._file = tempfile.TemporaryFile()  # lives as long as its map
                self._file.write(self._held)
                self._held = bytearray()
            if self._file is not None:
                self._file.write(frame.data)
            else:
                self._held += frame.data
        except OSError as error:
            raise OutputError(
                f"{tempfile.gettempdir()} cannot hold the frames of a long clip "
                f"({error.strerror}); free some space, or set TMPDIR to a folder that has it"
            ) from error
        self.num_frames += 1

    def frames(self) -> np.ndarray:
        """All frames, `T H W`, writable; nothing can be added after."""
        shape = (self.num_frames, *self._shape)
        if self._file is None:
            return np.frombuffer(self._held, np.uint8).reshape(shape)
        self._file.flush()
        return np.memmap(self._file, np.uint8, "r+", shape=shape)


def each(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the frames in order; a mapped file's pages are let go of on the way.

    A frame stays valid: its pages come back when it is used again.
    """
    step = max(1, _EACH_BYTES // max(1, frames[0].nbytes))
    for start in range(0, len(frames), step):
        yield from frames[start : start + step]
        release(frames)


def release(frames: np.ndarray) -> None:
    """Let go of the pages of a mapped file; what was written stays in the file."""
    base = frames
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") and os.name == "posix":
        base.madvise(mmap.MADV_DONTNEED)
