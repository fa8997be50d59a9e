"""The limit of decoded bytes: by what a header states before decoding, and while decoding.

A clip counts as frames x pixels, a compressed file as what it unpacks to. A frame counts as one of
256 x 256 pixels at least, a damaged one too, so that the number of frames is limited as well.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from echoseg.errors import TooLargeError
from echoseg.io.frames import OpenOptions

MAX_FRAME_PIXELS = 2**25
"""Pixels of the largest frame: a little more than 8K video."""
MIN_FRAME_BYTES = 2**16
_WAY_OUT = "export a shorter or smaller clip, or raise --max-decoded (max_decoded_gib)"


class Budget:
    """Counts what is decoded of one clip.

    Args:
        path: For messages.
        options: With the limit.
        min_frame_bytes: What a frame counts as at least.
    """

    def __init__(
        self, path: Path, options: OpenOptions, min_frame_bytes: int = MIN_FRAME_BYTES
    ) -> None:
        self._path, self._limit_gib = path, options.max_decoded_gib
        self._min_frame_bytes = min_frame_bytes
        self._max_bytes, self._used = int(self._limit_gib * 2**30), 0

    def check(self, num_frames: float, rows: float, columns: float) -> None:
        """Refuse what a header states.

        Raises:
            TooLargeError: If a frame, or all together, are larger than the limit.
        """
        pixels = rows * columns
        if pixels > MAX_FRAME_PIXELS:
            raise TooLargeError(
                f"{self._path}: a frame may have {MAX_FRAME_PIXELS:,} pixels, these have "
                f"{rows:,.0f} x {columns:,.0f}; export the clip at the size of the screen"
            )
        if num_frames * max(pixels, self._min_frame_bytes) > self._max_bytes:
            floor = self._min_frame_bytes
            why = f", where one counts as {floor:,} pixels or more" if pixels < floor else ""
            raise TooLargeError(
                f"{self._path}: {num_frames:,.0f} frames of {rows:,.0f} x {columns:,.0f} pixels "
                f"are more than the limit of {self._limit_gib:g} GiB{why}; {_WAY_OUT}"
            )

    def add(self, rows: int, columns: int) -> None:
        """Count a decoded frame; of a damaged one both sides are 0.

        Raises:
            TooLargeError: If it exceeds the limit.
        """
        self._used += max(rows * columns, self._min_frame_bytes)
        if self._used > self._max_bytes:
            raise self._exceeded()

    def limited(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on the blocks of an unpacked file.

        Raises:
            TooLargeError: If they exceed the limit.
        """
        num_bytes = 0
        for block in blocks:
            num_bytes += len(block)
            if num_bytes > self._max_bytes:
                raise self._exceeded()
            yield block

    def _exceeded(self) -> TooLargeError:
        limit = f"the limit of {self._limit_gib:g} GiB"
        return TooLargeError(f"{self._path}: decoded it is more than {limit}; {_WAY_OUT}")
