"""NIfTI: clips and label maps as (x, y, t)."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echoseg.clip import Clip, ClipWarning, SourceDecision, SourceStatement
from echoseg.errors import FormatError, NotAClipError, OutputError, reason_of
from echoseg.files import atomic_write
from echoseg.frame_store import each, map_file, map_stream
from echoseg.io.arbitration import decide
from echoseg.io.budget import Budget
from echoseg.io.frames import OpenOptions, check_time_axis
from echoseg.io.grey import collect
from echoseg.io.header_scale import header_scale, is_time_last
from echoseg.io.label_maps import merge_channels
from echoseg.io.quiet import quiet

_DEFAULTS = OpenOptions()


def sniff(head: bytes, path: Path) -> bool:
    """Detect NIfTI-1 and -2 by the header's size, inside gzip too."""
    if head[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as file:
                head = file.read(8)
        except (OSError, EOFError, zlib.error):
            return False
    return head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c")


def read(path: Path, options: OpenOptions) -> Clip:
    """Read a clip; spacing and frame time are used only where the header names their units."""
    data, known = load(path, options)
    grey = collect(path, data.frames, options, expected=len(data.stored))
    clip = Clip(frames=grey.frames, **known)
    return replace(clip, warnings=clip.warnings + grey.warnings)


def header_spacing(path: Path) -> tuple[float, float]:
    """(row, column) pixel spacing as the header states it, in its own unit, if it has one."""
    header = read_header(path)
    return float(header["pixdim"][2]), float(header["pixdim"][1])


class Stored(NamedTuple):
    """Pixels as stored, slowest axis first, the header, uncorrected, and its slope and intercept.

    Scaled pixels are floats of 8 bytes, so a clip is scaled frame by frame.
    """

    stored: np.ndarray
    header: Any
    scaling: tuple[float | None, float | None]

    def scale(self, pixels: np.ndarray) -> np.ndarray:
        """The values of some of the pixels."""
        from nibabel.volumeutils import apply_read_scaling

        return apply_read_scaling(pixels, *self.scaling)

    def frames(self) -> Iterator[np.ndarray]:
        """The values of one frame after another."""
        return map(self.scale, each(self.stored))


def read_array(path: Path) -> tuple[np.ndarray, Any]:
    """Read the values of all pixels, slowest axis first, and the header, uncorrected."""
    data = _read_stored(path)
    return data.scale(data.stored), data.header


def read_header(path: Path) -> Any:
    """The header, uncorrected."""
    return _headers(path)[1]


def _open(path: Path) -> Any:
    with path.open("rb") as file:
        is_compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if is_compressed else path.open("rb")


def _headers(path: Path) -> tuple[Any, Any]:
    """The header checked, which corrects a pixdim that is zero or negative, and uncorrected."""
    from io import BytesIO

    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    with _open(path) as stream:
        start = stream.read(1024)
    is_second = 540 in (start[0] + 256 * start[1], start[3] + 256 * start[2])
    kind = Nifti2Header if is_second else Nifti1Header
    with quiet():
        checked = kind.from_fileobj(BytesIO(start))
        return checked, kind.from_fileobj(BytesIO(start), check=False)


def _read_stored(path: Path, options: OpenOptions = _DEFAULTS) -> Stored:
    known, header = _headers(path)
    shape, first = known.get_data_shape(), known.get_data_offset()
    size, budget = prod(shape) * known.get_data_dtype().itemsize, Budget(path, options)
    budget.check(prod(shape[2:]), *shape[1::-1])
    with _open(path) as stream:
        if isinstance(stream, gzip.GzipFile):  # a byte more: at its end the checksum is compared
            raw = map_stream(budget.limited(_first(stream, first + size + 1)))
        else:
            raw = map_file(path)
    pixels = raw[first : first + size].view(known.get_data_dtype()).reshape(shape[::-1])
    return Stored(pixels, header, known.get_slope_inter())


def _first(stream: Any, num_bytes: int) -> Iterator[bytes]:
    """Yield the first bytes of a stream."""
    while num_bytes > 0 and (block := stream.read(min(2**20, num_bytes))):
        num_bytes -= len(block)
        yield block


def load(path: Path, options: OpenOptions, *, masks: bool = False) -> tuple[Stored, dict[str, Any]]:
    """Read the pixels `T H W`, and times, spacing and warnings of their clip.

    Args:
        path: The file.
        options: As in `load_clip`; with a frame rate the third axis is time.
        masks: Label maps, which may be a single picture, or one-hot.

    Raises:
        FormatError: If the file is broken or not an (x, y, t) volume.
    """
    with path.open("rb") as file:
        head = file.read(348)
    is_first = head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c")
    if is_first and head[344:347] != b"n+1":
        kind = "a NIfTI pair" if head[344:347] == b"ni1" else "an Analyze 7.5 image"
        raise FormatError(
            f"{path}: this is the header of {kind} (.hdr, .img), whose pixels are in another file; "
            "save both as one .nii"
        )
    try:
        pixels, header, scaling = _read_stored(path, options)
    except (OSError, EOFError, ValueError) as error:
        reason = reason_of(error)
        raise FormatError(f"{path}: the NIfTI file is truncated or broken ({reason})") from error
    axes = [index + 1 for index, side in enumerate(pixels.shape[::-1]) if side > 1]
    data = np.squeeze(pixels)
    if masks and data.ndim == 4 and data.dtype.kind in "uif":
        data, channel = merge_channels(path, Stored(data, header, scaling).scale(data))
        scaling = (1, 0)
        del axes[3 - channel]
    data = data[None] if masks and data.ndim == 2 else data
    if data.ndim != 3 or data.dtype.names or data.dtype.kind not in "uif":
        if data.dtype.names:
            raise FormatError(
                f"{path}: the pixels must be grey, these have colours "
                f"({', '.join(data.dtype.names)}); export grey levels, or a video"
            )
        kind = NotAClipError if data.ndim in (2, 4) else FormatError  # a still, volumes in time
        raise kind(f"{path}: a clip must be a grey (x, y, t) volume, this is {data.T.shape}")
    notes: tuple[ClipWarning, ...] = ()
    if len(axes) == 3 and is_time_last(data):
        data, axes = data.T, axes[::-1]
        message = "The file's first axis is time and its last are rows and columns: read as such."
        notes = (ClipWarning(code="axes_reordered", message=message),)
    if len(axes) == 3 and axes[0] < axes[2] and options.fps is None:
        check_time_axis(path, [float(header["pixdim"][axis]) for axis in axes])
    rate, scale, scale_notes = _header_says(header, axes)
    times_s = None if rate.value is None else np.arange(len(data)) / rate.value
    known = {"spacing_mm": scale.value, "times_s": times_s, "sources": (rate, scale)}
    return Stored(data, header, scaling), known | {"warnings": notes + scale_notes}


def _header_says(
    header: Any, axes: list[int]
) -> tuple[SourceDecision, SourceDecision, tuple[ClipWarning, ...]]:
    """What the header states of frame rate and pixel spacing, with warnings of what is not used.

    `axes` are the header's axes of columns, rows and, of a clip, time.
    """
    space, step = (str(unit) for unit in header.get_xyzt_units())
    pixdim = [float(value) for value in header["pixdim"]]
    column_axis, row_axis = [*axes, 1, 2][:2]
    row, column = pixdim[row_axis], pixdim[column_axis]
    to_mm = {"mm": 1.0, "meter": 1000.0, "micron": 1e-3}.get(space)
    scale, notes = header_scale(
        f"pixdim[{row_axis}, {column_axis}]", (row, column), space, to_mm=to_mm
    )
    to_s = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}.get(step)
    time_axis = axes[2] if len(axes) > 2 else 3
    frame, why, rate_hz = pixdim[time_axis], "", None
    if to_s is None or time_axis < 3:
        why = "without a unit of time"
    elif frame > 0:
        rate_hz = 1 / (frame * to_s)
    else:
        why = "not a positive number"
    stated = SourceStatement(
        origin=f"pixdim[{time_axis}]", value=rate_hz, text=f"{frame:g} {step}", unused_because=why
    )
    return decide("frame_rate_hz", [stated]), scale, notes


def write_masks(
    path: str | Path,
    masks: np.ndarray,
    spacing_mm: tuple[float, float] | None,
    frame_interval_s: float | None,
) -> None:
    """Write label maps `T H W` uint8 as (x, y, t); unknown units are written as unknown."""
    from nibabel.nifti1 import Nifti1Image
    from nibabel.openers import ImageOpener

    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    pixels = np.broadcast_to(np.zeros(1, masks.dtype), masks.shape[::-1])  # for the header's shape
    image = Nifti1Image(pixels, np.diag([column_mm, row_mm, 1.0, 1.0]))
    image.header["pixdim"][1:4] = column_mm, row_mm, frame_interval_s or 1.0
    image.header.set_xyzt_units(
        "mm" if spacing_mm else "unknown", "sec" if frame_interval_s else "unknown"
    )
    image.header.set_slope_inter(1, 0)
    with atomic_write(path) as unfinished, ImageOpener(str(unfinished), "wb") as file:
        image.header.write_to(file)
        file.write(bytes(image.header.get_data_offset() - file.tell()))
        for mask in each(masks):  # one by one
            file.write(mask.tobytes())


def write_clip(path: str | Path, clip: Clip) -> None:
    """Write a clip's frames as (x, y, t), with spacing and frame time where they are known.

    Raises:
        OutputError: If the file cannot be written or the frames are not evenly spaced in time.
    """
    try:
        rate_hz = clip.even_frame_rate_hz()
    except ValueError as error:
        raise OutputError(f"{path}: {error}") from error
    write_masks(path, clip.frames, clip.spacing_mm, 1 / rate_hz if rate_hz else None)
