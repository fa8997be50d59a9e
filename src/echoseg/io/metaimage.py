"""MetaImage: a text header (.mhd), pixels appended (LOCAL), in a second file, or in one per frame.

The names of several files follow the header (LIST), or are a pattern with its first number, last
number and step (`frame%03d.raw 1 20 1`).
"""

import itertools
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip
from echoseg.errors import DamagedError, FormatError, Unfit, reason_of
from echoseg.frame_store import each, map_file, map_stream
from echoseg.io.budget import Budget
from echoseg.io.frames import OpenOptions, check_time_axis
from echoseg.io.grey import Decoded, collect
from echoseg.io.header_scale import header_scale, is_time_last
from echoseg.io.label_maps import merge_channels
from echoseg.untrusted import inside

_MAX_LINE, _MAX_LINES, _BLOCK, _MAX_FILES = 2**12, 1000, 2**15, 20_000
_PATTERN = re.compile(r"(.*)(%0?\d{0,2}d)(\S*)\s+(\d{1,6})\s+(\d{1,6})(?:\s+(\d{1,6}))?")
TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_UINT": "u4",
    "MET_INT": "i4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


_DEFAULTS = OpenOptions()


def sniff(head: bytes, path: Path) -> bool:
    """Detect a MetaImage by the fields its header must have."""
    return b"DimSize" in head and b"ElementType" in head and b"=" in head


def read_header(path: Path) -> tuple[dict[str, str], int]:
    """Fields up to ElementDataFile, which is the last, and where they end."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(_MAX_LINES):
            if "ElementDataFile" in fields or not (line := file.readline(_MAX_LINE)):
                break
            key, separator, value = line.decode("utf-8", "surrogateescape").partition("=")
            if not separator:
                break
            fields[key.strip()] = value.strip()
        return fields, file.tell()


def data_files(path: Path, *, allow_outside: bool = True) -> list[Path]:
    """Files that hold the pixels, in order; none when they are in the header's file.

    Raises:
        Unfit: If one is outside the header's folder and may not be, or there are too many.
    """
    fields, end = read_header(path)
    name = fields.get("ElementDataFile", "LOCAL")
    names = [name]
    if name == "LOCAL":
        return []
    if name.split()[:1] == ["LIST"]:
        with path.open("rb") as file:
            file.seek(end)
            lines = file.read(_MAX_LINES * _MAX_LINE).decode("utf-8", "surrogateescape")
        names = [line.strip() for line in lines.splitlines() if line.strip()]
    elif match := _PATTERN.fullmatch(name):
        first, last, step = int(match[4]), int(match[5]), int(match[6] or 1)
        numbers = range(first, last + 1, max(1, step))
        names = [match[1] + match[2] % one + match[3] for one in numbers[: _MAX_FILES + 1]]
    if not 0 < len(names) <= _MAX_FILES:
        raise Unfit(f"it must name 1 to {_MAX_FILES} files of pixels")
    return [inside(path.parent, one, allow_outside=allow_outside) for one in names]


def _pixel_bytes(path: Path, end: int, options: OpenOptions, *, packed: bool) -> list[np.ndarray]:
    """The bytes of each file of pixels; of zlib streams those of all together, unpacked.

    Args:
        path: The header's file.
        end: Where its header ends.
        options: As in `read_array`.
        packed: Whether each file is a zlib stream.
    """
    files = data_files(path, allow_outside=options.allow_outside)
    missing = [number for number, file in enumerate(files, 1) if not file.is_file()]
    if missing:
        raise Unfit(f"file {missing[0]} of the {len(files)} of pixels that it names is not there")
    parts = list(map(map_file, files)) if files else [map_file(path)[end:]]
    if not packed:
        return parts
    blocks = itertools.chain.from_iterable(map(_unpacked, parts))
    return [map_stream(Budget(path, options).limited(blocks))]


def _unpacked(raw: np.ndarray) -> Iterator[bytes]:
    stream = zlib.decompressobj()
    for at in range(0, len(raw), _BLOCK):
        yield stream.decompress(raw[at : at + _BLOCK].tobytes())


def read_array(path: Path, options: OpenOptions = _DEFAULTS) -> tuple[np.ndarray, list[float]]:
    """Read the pixels as stored, slowest axis first, and the spacing, fastest axis first.

    Of a file that is cut off these are the whole pictures, where the options allow that.

    Raises:
        FormatError: If the header or its data is broken; a `DamagedError` if it is cut off.
        TooLargeError: If it would exceed the limit.
    """
    budget = Budget(path, options)
    fields, end = read_header(path)
    try:
        size = [int(value) for value in fields["DimSize"].split()]
        big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
        dtype = np.dtype((">" if big.lower() == "true" else "<") + TYPES[fields["ElementType"]])
        spacing = [float(value) for value in fields.get("ElementSpacing", "").split()]
        if fields.get("BinaryData", "True").lower() == "false":
            raise Unfit("its pixels are text, BinaryData = False; save it as binary")
        if not fields["ElementDataFile"] or min(size) < 1:
            raise Unfit("a side of it is not positive, or it names no pixels")
        budget.check(math.prod(size[2:]), *size[1::-1])
        packed = fields.get("CompressedData", "False").lower() == "true"
        parts = _pixel_bytes(path, end, options, packed=packed)
        if math.prod(size[2:]) % len(parts):
            raise Unfit(f"it names {len(parts)} files of pixels for {math.prod(size[2:])} frames")
        part_bytes = math.prod(size) * dtype.itemsize // len(parts)
        skipped = int(fields.get("HeaderSize", "0"))  # -1: the pixels are the last bytes
        for index, raw in enumerate(parts):
            parts[index] = raw[skipped:][:part_bytes] if skipped >= 0 else raw[-part_bytes:]
        raw = parts[0] if len(parts) == 1 else map_stream(part.tobytes() for part in parts)
        length, frame_bytes = (math.prod(n) * dtype.itemsize for n in (size, size[:2]))
        is_cut = len(raw) < length
        if is_cut and (not options.allow_damaged or len(parts) > 1 or len(raw) < frame_bytes):
            raise DamagedError(
                f"{path}: its pixels are cut off: DimSize states {length} bytes, {len(raw)} are "
                "there",
                "get a whole copy, or pass --allow-damaged (allow_damaged) to use the whole frames "
                "of a clip in one file",
            )
        if is_cut:
            length = len(raw) - len(raw) % frame_bytes
            size = [*size[:2], length // frame_bytes]
        data = raw[:length].view(dtype)
        channels = int(fields.get("ElementNumberOfChannels", "1"))
    except (KeyError, ValueError, OSError, zlib.error) as error:
        raise FormatError(
            f"{path}: the MetaImage header or its data is broken ({reason_of(error)})"
        ) from error
    size = [side for side in size if side > 1] if len(size) > 3 else size
    if channels != 1:
        raise FormatError(f"{path}: images must be grey, ElementNumberOfChannels is {channels}")
    return data.reshape(size[::-1]), spacing


def read(path: Path, options: OpenOptions) -> Clip:
    """Read a clip stored as (x, y, t); the third ElementSpacing has no unit and is not a time."""
    data, known = load(path, options)
    total = math.prod(int(side) for side in read_header(path)[0]["DimSize"].split()[2:])

    def decode() -> Iterator[Decoded]:
        yield from each(data)
        yield from itertools.repeat(DamagedError("the file is cut off"), total - len(data))

    grey = collect(path, decode, options, expected=total)
    known["warnings"] += grey.warnings
    return Clip(frames=grey.frames, damaged_frames=grey.damaged, **known)


def load(
    path: Path, options: OpenOptions, *, masks: bool = False
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the values `T H W` as stored, and spacing and warnings of their clip.

    Args:
        path: The header's file.
        options: As in `load_clip`; with a frame rate the third axis is time.
        masks: Label maps, which may be a single picture, or one-hot.

    Raises:
        FormatError: If the file is broken or not an (x, y, t) volume.
    """
    data, spacing = read_array(path, options)
    if masks and data.ndim == 4:
        data = merge_channels(path, data)[0]
    data = data[None] if masks and data.ndim == 2 else data
    if data.ndim != 3:
        raise FormatError(
            f"{path}: a clip must be grey and (x, y, t), DimSize is {list(data.shape[::-1])}"
        )
    if not masks and is_time_last(data):
        raise FormatError(
            f"{path}: DimSize must be columns, rows and frames, but of this, "
            f"{list(data.shape[::-1])}, the first seems to be time; reorder the axes"
        )
    if len(spacing) == 3 and options.fps is None:
        check_time_axis(path, spacing)
    if len(spacing) < 2:
        return data, {"warnings": ()}
    scale, notes = header_scale("ElementSpacing", (spacing[1], spacing[0]), "mm", to_mm=1.0)
    return data, {"warnings": notes, "sources": (scale,)}
