"""Arrays of a Zarr store (formats 2 and 3) that others wrote, each chunk checked before it unpacks.

A codec is a name in the store's own metadata, and some run code or unpack to any size: three are
read, whose streams begin with the size they unpack to. A chunk that is not there counts as black
where others of its frames are, as writers leave out empty ones; else its frames are missing.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.errors import DamagedError, FormatError, TooLargeError, Unfit, reason_of
from echoseg.untrusted import inside, read_bytes, read_json

MAX_CHUNK_BYTES = 2**28
_MAX_CHUNKS = 4096
"""Chunks of one frame."""
_PACKED = "its arrays must be of numbers, packed by blosc, zstd, lz4 or not at all"


class ZarrArray:
    """One array of a store.

    Args:
        path: The store.
        name: Place of the array in it.

    Attributes:
        shape: Its sides.
        chunks: Sides of a chunk.
        num_missing: Chunks that were not there and count as black, after `frames`.

    Raises:
        FormatError: If zarr is missing, or the array's metadata is broken or not of a kind read.
        TooLargeError: If its chunks fill memory.
    """

    def __init__(self, path: Path, name: str) -> None:
        try:
            import zarr
        except ImportError as error:
            raise FormatError(
                f"{path}: Zarr needs zarr, which is not installed; pip install 'echoseg[zarr]'"
            ) from error
        self.num_missing = 0
        try:
            self._store = inside(path, name)
            self._codec = _codec(self._store)
            self._array: Any = zarr.open_array(self._store, mode="r")
            self.shape = tuple(map(int, self._array.shape))
            self.chunks = tuple(map(int, self._array.chunks))
            dtype = np.dtype(self._array.dtype)
            if dtype.kind not in "uif" or not self.shape:
                raise Unfit(_PACKED)
        except Exception as error:  # zarr raises many types
            reason = reason_of(error)
            raise FormatError(f"{path}: an array of the Zarr store is broken ({reason})") from error
        self._chunk_bytes = math.prod(self.chunks) * dtype.itemsize
        self._across = [math.ceil(n / c) for n, c in zip(self.shape, self.chunks, strict=True)][1:]
        if self._chunk_bytes > MAX_CHUNK_BYTES or math.prod(self._across) > _MAX_CHUNKS:
            raise TooLargeError(
                f"{path}: its chunks must be at most {MAX_CHUNK_BYTES / 2**20:g} MiB, and "
                f"{_MAX_CHUNKS} per frame; write it with a chunk per frame"
            )

    def frames(self) -> Iterator[np.ndarray | Exception]:
        """Yield what lies along the first axis; an exception in place of what cannot be read."""
        self.num_missing = 0
        for index, start in enumerate(range(0, self.shape[0], self.chunks[0])):
            stop = min(start + self.chunks[0], self.shape[0])
            try:
                self._check(index)
                yield from self._array[start:stop]
            except Exception as error:  # codecs raise many types
                yield from itertools.repeat(error, stop - start)

    def values(self, max_values: int) -> np.ndarray:
        """All values of a short array.

        Raises:
            Unfit: If it has more, or cannot be read.
        """
        if math.prod(self.shape) > max_values:
            raise Unfit(f"it has more than {max_values} values")
        parts = list(self.frames())
        if broken := [one for one in parts if isinstance(one, Exception)]:
            raise Unfit(reason_of(broken[0]))
        return np.array(parts)

    def _check(self, index: int) -> None:
        """Refuse the chunks of one step along the first axis before one is unpacked."""
        places = list(itertools.product([index], *map(range, self._across)))
        num_missing = 0
        for place in places:
            key = self._array.metadata.encode_chunk_key(place)
            try:
                content = read_bytes(inside(self._store, key), MAX_CHUNK_BYTES)
            except FileNotFoundError:
                num_missing += 1
                continue
            if _stated_bytes(self._codec, content) != self._chunk_bytes:
                raise DamagedError("a chunk does not unpack to the size of the others")
        if num_missing == len(places):
            raise DamagedError("its chunk is missing")
        self.num_missing += num_missing


def _codec(folder: Path) -> str:
    """What packs the chunks, by the metadata alone; "" where nothing does."""
    is_second = (folder / ".zarray").exists()
    meta = read_json(inside(folder, ".zarray" if is_second else "zarr.json"))
    if is_second:
        codecs = [*(meta.get("filters") or []), meta.get("compressor")]
        names, chunk = [one["id"] for one in codecs if one is not None], meta["chunks"]
    else:
        first, *codecs = meta["codecs"]
        names = [one["name"] for one in codecs]
        chunk = meta["chunk_grid"]["configuration"]["chunk_shape"]
        if first["name"] != "bytes":
            raise Unfit(_PACKED)
    name = names[0] if len(names) == 1 else ""
    # newer versions of zarr take a side of 0 for 1
    if len(names) > 1 or name not in ("", "blosc", "zstd", "lz4") or min(chunk) < 1:
        raise Unfit(_PACKED)
    return name


def _stated_bytes(codec: str, content: bytes) -> int:
    """What a chunk unpacks to by its first bytes; -1 where they do not say."""
    if codec == "blosc":  # version, version of the codec, flags, type size, size
        return int.from_bytes(content[4:8], "little") if len(content) >= 16 else -1
    if codec == "lz4":
        return int.from_bytes(content[:4], "little")
    if codec != "zstd":
        return len(content)
    return _zstd_bytes(content)


def _zstd_bytes(content: bytes) -> int:
    """What one Zstandard frame that fills `content` unpacks to (RFC 8878, 3.1.1); else -1."""
    if content[:4] != b"\x28\xb5\x2f\xfd" or len(content) < 9:
        return -1
    descriptor = content[4]
    is_single, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    num_bytes = (is_single, 2, 4, 8)[descriptor >> 6]
    at = 5 + (1 - is_single) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(content[at : at + num_bytes], "little") + 256 * (num_bytes == 2)
    at, is_last = at + num_bytes, 0
    while not is_last and at < len(content):
        block = int.from_bytes(content[at : at + 3], "little")
        is_last, is_repeated = block & 1, block >> 1 & 3 == 1
        at += 3 + (1 if is_repeated else block >> 3)
    is_whole = is_last and at + 4 * has_checksum == len(content)
    return size if num_bytes and is_whole else -1


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes of a store's root; empty where it has none.

    Raises:
        ValueError: If they are not JSON, or too large.
    """
    third, second = path / "zarr.json", path / ".zattrs"
    document = read_json(inside(path, third.name)) if third.exists() else {}
    if not third.exists() and second.exists():
        document = {"attributes": read_json(inside(path, second.name))}
    attributes = document.get("attributes") if isinstance(document, dict) else None
    return attributes if isinstance(attributes, dict) else {}
