"""MetaImage: a text header (.mhd), pixels in a second file (.raw, .zraw) or appended (LOCAL)."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip
from echoseg.errors import FormatError, Unfit, reason_of
from echoseg.frame_store import each, map_file, map_stream
from echoseg.io.budget import Budget
from echoseg.io.frames import OpenOptions, check_time_axis
from echoseg.io.grey import collect
from echoseg.io.header_scale import header_scale
from echoseg.io.label_maps import merge_channels
from echoseg.untrusted import inside

_MAX_LINE, _MAX_LINES, _BLOCK = 2**12, 1000, 2**15
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
            key, separator, value = line.decode("latin-1").partition("=")
            if not separator:
                break
            fields[key.strip()] = value.strip()
        return fields, file.tell()


def data_file(path: Path, *, allow_outside: bool = True) -> Path | None:
    """File that holds the pixels; None when they are in the header's file, or it names no file.

    Raises:
        Unfit: If it is outside the header's folder and may not be.
    """
    name = read_header(path)[0].get("ElementDataFile", "LOCAL")
    if name == "LOCAL":
        return None
    file = inside(path.parent, name, allow_outside=allow_outside)
    return file if file.is_file() else None


def read_array(path: Path, options: OpenOptions = _DEFAULTS) -> tuple[np.ndarray, list[float]]:
    """Read the pixels as stored, slowest axis first, and the spacing, fastest axis first.

    Raises:
        FormatError: If the header or its data is broken.
        TooLargeError: If it would exceed the limit.
    """
    budget = Budget(path, options)
    fields, end = read_header(path)
    try:
        size = [int(value) for value in fields["DimSize"].split()]
        big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
        dtype = np.dtype((">" if big.lower() == "true" else "<") + TYPES[fields["ElementType"]])
        spacing = [float(value) for value in fields.get("ElementSpacing", "").split()]
        if min(size) < 1:
            raise Unfit("a side of it is not positive")
        budget.check(math.prod(size[2:]), *size[1::-1])
        file = data_file(path, allow_outside=options.allow_outside)
        if file is None and fields["ElementDataFile"] != "LOCAL":
            raise Unfit("ElementDataFile must name one file of pixels beside the header")
        raw = map_file(path)[end:] if file is None else map_file(file)
        if fields.get("CompressedData", "False").lower() == "true":
            stream = zlib.decompressobj()
            blocks = (raw[at : at + _BLOCK].tobytes() for at in range(0, len(raw), _BLOCK))
            raw = map_stream(budget.limited(map(stream.decompress, blocks)))
        length, skipped = math.prod(size) * dtype.itemsize, int(fields.get("HeaderSize", "0"))
        raw = raw[skipped:] if skipped >= 0 else raw[-length:]  # -1: the pixels are the last bytes
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
    grey = collect(path, lambda: each(data), options, expected=len(data))
    return Clip(frames=grey.frames, **known | {"warnings": known["warnings"] + grey.warnings})


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
    if len(spacing) == 3 and options.fps is None:
        check_time_axis(path, spacing)
    if len(spacing) < 2:
        return data, {"warnings": ()}
    scale, notes = header_scale("ElementSpacing", (spacing[1], spacing[0]), "mm", to_mm=1.0)
    return data, {"warnings": notes, "sources": (scale,)}
