"""NRRD, the format of 3D Slicer: images (x, y, t), sequences, segmentations.

Headers are read by pynrrd, pixels here, within the limits of untrusted files. The format is that of
teem (http://teem.sourceforge.net/nrrd/format.html).
"""

import bz2
import io
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echoseg.clip import Clip, ClipWarning, SourceDecision, SourceStatement
from echoseg.errors import DamagedError, FormatError, NotAClipError, Unfit, reason_of
from echoseg.frame_store import each, map_file, map_stream
from echoseg.io.arbitration import decide
from echoseg.io.budget import Budget
from echoseg.io.frames import OpenOptions, check_time_axis
from echoseg.io.grey import collect
from echoseg.io.header_scale import header_scale, is_time_last, stamp_statement
from echoseg.io.slicer import has_segments, merge_segments
from echoseg.untrusted import inside

_MAGIC, _MAX_HEADER_BYTES, _BLOCK = b"NRRD000", 2**22, 2**15
_ENCODINGS = {"raw": "", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_TYPES = {
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i1": ("signed char", "int8", "int8_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPE_OF = {name: kind for kind, names in _TYPES.items() for name in names}
_COLORS = frozenset({"RGB-color", "RGBA-color", "3-color", "4-color"})
_DOMAINS = frozenset({"domain", "space"})
_TO_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3}
_TO_S = {"s": 1.0, "ms": 1e-3}


class _Axes(NamedTuple):
    """Axes of the stored array, fastest first; None where there is none."""

    column: int
    row: int
    time: int | None
    color: int | None
    layer: int | None


def sniff(head: bytes, path: Path) -> bool:
    """Detect NRRD by its first bytes."""
    return head.startswith(_MAGIC)


def read(path: Path, options: OpenOptions) -> Clip:
    """Read a clip of grey levels or colors.

    Raises:
        FormatError: As `load`.
    """
    data, known = load(path, options)
    grey = collect(path, lambda: each(data), options, expected=len(data))
    known["warnings"] += grey.warnings
    return Clip(frames=grey.frames, damaged_frames=grey.damaged, **known)


def load(
    path: Path, options: OpenOptions, *, masks: bool = False
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the values `T H W` as stored, or colors `T H W 3`, and what is known of their clip.

    Args:
        path: The file, or the header of a detached one.
        options: As in `load_clip`; with a frame rate the third axis is time.
        masks: Label maps, which may be a single picture, or segments in layers.

    Raises:
        FormatError: If pynrrd is missing, or the file is broken or of another kind.
        TooLargeError: If it would exceed the limit.
    """
    header, first = read_header(path)
    try:
        sizes, dtype = _layout(header)
        axes = _find_axes(header, sizes)
        other = [side for index, side in enumerate(sizes) if index not in (axes.column, axes.row)]
        Budget(path, options).check(math.prod(other), sizes[axes.row], sizes[axes.column])
        values = _pixels(path, header, first, math.prod(sizes) * dtype.itemsize, options)
    except (KeyError, ValueError, TypeError, IndexError, OSError, EOFError, zlib.error) as error:
        raise FormatError(
            f"{path}: the NRRD header or its data is broken ({reason_of(error)})"
        ) from error
    data = _in_order(values.view(dtype).reshape(sizes[::-1]), axes)
    if has_segments(header):
        if not masks:
            raise NotAClipError(
                f"{path}: this is a segmentation, not the frames of a clip; give the image, or "
                "measure it with `echoseg measure`"
            )
        data = merge_segments(path, header, data)
    if not masks and len(data) == 1:
        raise NotAClipError(f"{path}: a clip needs at least 2 frames, this has 1")
    if not masks and data.ndim == 3 and axes.time is not None and is_time_last(data):
        raise FormatError(
            f"{path}: the axes must be columns, rows and frames, but of this, {sizes}, the first "
            "seems to be time; reorder the axes"
        )
    return data, _known(path, header, axes, len(data), options)


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The fields of a header, and where the pixels begin.

    Raises:
        FormatError: If pynrrd is missing, or it is not a header.
    """
    try:
        import nrrd
    except ImportError:
        raise FormatError(
            f"{path}: NRRD needs pynrrd; pip install 'echoseg[exchange]', or save as NIfTI"
        ) from None
    with path.open("rb") as file:
        head = file.read(_MAX_HEADER_BYTES)
    ends = [at + len(end) for end in (b"\n\n", b"\n\r\n") if (at := head.find(end)) >= 0]
    first = min(ends, default=len(head))
    try:
        return dict(nrrd.read_header(io.BytesIO(head[:first]))), first
    except Exception as error:  # pynrrd raises errors of its own, numpy's and Python's
        raise FormatError(
            f"{path}: the NRRD header is broken ({reason_of(error)}); save it again"
        ) from error


def data_files(path: Path) -> list[Path]:
    """The file, and that of its pixels where they are in another."""
    header = read_header(path)[0]
    name = header.get("data file", header.get("datafile"))
    other = path.parent / str(name)
    return [path, other] if name is not None and other.is_file() else [path]


def _layout(header: dict[str, Any]) -> tuple[list[int], np.dtype]:
    sizes = [int(side) for side in header["sizes"]]
    if len(sizes) != int(header["dimension"]) or min(sizes) < 1 or len(sizes) > 5:
        raise Unfit(f"sizes {sizes} do not fit dimension {header['dimension']}")
    kind = _TYPE_OF.get(" ".join(str(header["type"]).split()))
    if kind is None:
        raise Unfit(f"type must be a number of 1 to 8 bytes, got {str(header['type'])[:40]!r}")
    order = ">" if header.get("endian") == "big" else "<"
    return sizes, np.dtype(order + kind)


def _find_axes(header: dict[str, Any], sizes: list[int]) -> _Axes:
    """Which axis is what, by `kinds`; without them as in NIfTI (x, y, t), sides of 1 left out."""
    kinds = [str(kind) for kind in header.get("kinds", ["domain"] * len(sizes))]
    if len(kinds) != len(sizes):
        raise Unfit(f"kinds has {len(kinds)} values for {len(sizes)} axes")
    color = next((axis for axis, kind in enumerate(kinds) if kind in _COLORS), None)
    others = [axis for axis, kind in enumerate(kinds) if kind not in _DOMAINS and axis != color]
    layer = 0 if others[:1] == [0] and has_segments(header) else None
    sequence = [axis for axis in others if axis != layer]
    domain = [axis for axis in range(len(sizes)) if kinds[axis] in _DOMAINS]
    planes = [axis for axis in domain if sizes[axis] > 1]
    planes = planes if len(planes) > 1 else domain[:2]
    if not sequence and len(planes) == 3:
        sequence = [planes.pop()]
    if len(planes) != 2 or len(sequence) > 1 or (sequence and sequence[0] < planes[1]):
        raise Unfit(f"axes must be columns, rows and time, sizes are {sizes}, kinds {kinds}")
    return _Axes(planes[0], planes[1], sequence[0] if sequence else None, color, layer)


def _pixels(
    path: Path, header: dict[str, Any], first: int, size: int, options: OpenOptions
) -> np.ndarray:
    """The bytes of the pixels."""
    encoding = _ENCODINGS.get(str(header.get("encoding")).lower())
    if encoding is None:
        raise Unfit(
            f"encoding must be raw, gzip or bzip2, got {str(header.get('encoding'))[:40]!r}"
        )
    name = header.get("data file", header.get("datafile"))
    raw = map_file(path)[first:]
    if name is not None:
        if str(name).startswith("LIST") or "%" in str(name):
            raise Unfit("its pixels are in several files; save it as one .nrrd")
        file = inside(path.parent, str(name), allow_outside=options.allow_outside)
        if not file.is_file():
            raise Unfit("the file of pixels that it names is not there")
        raw = map_file(file)
    skipped = int(header.get("byte skip", header.get("byteskip", 0)))
    if int(header.get("line skip", header.get("lineskip", 0))) or (encoding and skipped):
        raise Unfit("skipped lines, or bytes of packed pixels, are not supported; save it again")
    if encoding:
        blocks = _unpacked(raw, encoding)
        raw = map_stream(Budget(path, options).limited(_first(blocks, size)))
    else:
        raw = raw[max(0, len(raw) - size) :] if skipped == -1 else raw[max(0, skipped) :]
    if len(raw) < size:
        raise DamagedError(
            f"{path}: its pixels are cut off: the sizes state {size} bytes, {len(raw)} are there",
            "get a whole copy",
        )
    return raw[:size]


def _unpacked(raw: np.ndarray, encoding: str) -> Iterator[bytes]:
    stream: Any = zlib.decompressobj(31) if encoding == "gzip" else bz2.BZ2Decompressor()
    for at in range(0, len(raw), _BLOCK):
        if stream.eof:
            return
        yield stream.decompress(raw[at : at + _BLOCK].tobytes())


def _first(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    for block in blocks:
        yield block[:size]
        size -= len(block)
        if size <= 0:
            return


def _in_order(data: np.ndarray, axes: _Axes) -> np.ndarray:
    """Slowest axis first -> `T H W`, `T H W C` of colors, `L T H W` of layers."""
    places = [axes.layer, axes.time, axes.row, axes.column, axes.color]
    order = [data.ndim - 1 - place for place in places if place is not None]
    order += [axis for axis in range(data.ndim) if axis not in order]  # sides of 1
    data = np.transpose(data, order)
    data = data.reshape(data.shape[: sum(place is not None for place in places)])
    return data if axes.time is not None else np.expand_dims(data, int(axes.layer is not None))


def _known(
    path: Path, header: dict[str, Any], axes: _Axes, num_frames: int, options: OpenOptions
) -> dict[str, Any]:
    """Spacing, times and warnings."""
    sources, notes = list[SourceDecision](), tuple[ClipWarning, ...]()
    steps = _steps(header)
    pair = None if steps is None else (steps[axes.row], steps[axes.column])
    if steps is not None and pair is not None and all(map(math.isfinite, pair)):
        is_domain = axes.time is not None and math.isfinite(steps[axes.time])
        if is_domain and axes.time is not None and options.fps is None:
            check_time_axis(path, [pair[1], pair[0], steps[axes.time]])
        unit = _space_unit(header)
        scale, notes = header_scale(
            "space directions", pair, unit or "(no unit)", to_mm=_TO_MM.get(unit)
        )
        sources.append(scale)
    times_s = None
    if axes.time is not None and f"axis {axes.time} index values" in header:
        rate, times_s = _times(header, axes.time, num_frames)
        sources.append(rate)
    return {"times_s": times_s, "warnings": notes, "sources": tuple(sources)}


def _steps(header: dict[str, Any]) -> list[float] | None:
    """The step of each axis, NaN where it has none."""
    if "space directions" in header:
        rows = header["space directions"]
        return [
            math.nan if row is None else float(np.linalg.norm(np.asarray(row, float)))
            for row in rows
        ]
    return [float(step) for step in header["spacings"]] if "spacings" in header else None


def _space_unit(header: dict[str, Any]) -> str:
    """The unit of length: stated, or millimetres in the anatomical spaces of Slicer."""
    if stated := [str(unit).strip() for unit in header.get("space units", [])]:
        return stated[0]
    space = str(header.get("space", "")).lower()
    is_anatomical = "left" in space or "right" in space or space[:3] in ("lps", "ras", "las")
    return "mm" if is_anatomical else ""


def _times(
    header: dict[str, Any], axis: int, num_frames: int
) -> tuple[SourceDecision, np.ndarray | None]:
    """What the index of a sequence states of the times of its frames."""
    units = header.get("units", [])
    to_s = _TO_S.get(str(units[axis]).strip()) if axis < len(units) else None
    try:
        stamps = np.array([float(v) for v in str(header[f"axis {axis} index values"]).split()])
    except ValueError:
        stamps = np.array([])
    stated = stamp_statement(stamps * (to_s or 1.0), num_frames)
    if to_s is None:
        stated = SourceStatement(
            origin=stated.origin, value=None, unused_because="without a unit of time"
        )
    is_timed = to_s is not None and stated.value
    return decide("frame_rate_hz", [stated]), (stamps - stamps[0]) * to_s if is_timed else None
