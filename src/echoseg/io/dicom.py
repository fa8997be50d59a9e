"""Ultrasound multi-frame DICOM.

Scale comes from the Sequence of Ultrasound Regions (PS3.3 C.8.5.5) and from nothing else; time
from the Frame Increment Pointer, then Cine Rate, then Recommended Display Frame Rate. Patient
identifiers are not read.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip, ClipWarning
from echoseg.errors import DamagedError, FormatError, NotAClipError
from echoseg.frame_store import each
from echoseg.io.dicom_kind import no_clip_reason
from echoseg.io.dicom_pixels import keep_whole_frames, open_dataset
from echoseg.io.dicom_view import read_view
from echoseg.io.frames import OpenOptions, file_scale
from echoseg.io.grey import Decoded, collect
from echoseg.io.video import pixels

_TISSUE, _TWO_D, _CENTIMETRE = 1, 1, 3
_VIDEO_SYNTAX = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.10\d")


def sniff(head: bytes, path: Path) -> bool:
    """Detect DICOM by its preamble, or by a first element of group 0002 or 0008 without one."""
    return head[128:132] == b"DICM" or (
        head[:2] in (b"\x02\x00", b"\x08\x00") and head[2:4] in (b"\0\0", b"\x05\0", b"\x08\0")
    )


def read(path: Path, options: OpenOptions) -> Clip:
    """Read a multi-frame ultrasound object."""
    with warnings.catch_warnings():
        # pydicom warns of misspelt character sets and padding, which do not matter here
        warnings.simplefilter("ignore")
        return _read(path, options)


def _read(path: Path, options: OpenOptions) -> Clip:
    from pydicom.errors import InvalidDicomError

    try:
        dataset = open_dataset(path)
        reason = no_clip_reason(dataset, is_timed=options.fps is not None)
    except (InvalidDicomError, OSError, ValueError, KeyError, AttributeError) as error:
        raise FormatError(f"{path}: not a readable DICOM file ({error})") from error
    if reason:
        raise NotAClipError(f"{path}: {reason}")
    if "PixelData" not in dataset:
        raise FormatError(
            f"{path}: the DICOM object has no pixels; it is not a clip, or the file is truncated "
            "within its first frame"
        )
    expected = max(1, int(dataset.get("NumberOfFrames", 1) or 1))
    grey = collect(
        path,
        _decoder(path, dataset, expected),
        options,
        expected=expected,
        bits=int(dataset.get("BitsStored", 0)),
    )
    notes = grey.warnings
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        for frame in each(grey.frames):
            np.subtract(255, frame, out=frame)
        message = "The grey levels were inverted, since the file is MONOCHROME1."
        notes += (ClipWarning(code="inverted_grey", message=message),)
    spacing_mm, box, scale_warnings = _scale(dataset)
    view, view_warnings = read_view(dataset) if options.view is None else (options.view, ())
    return Clip(
        frames=grey.frames,
        spacing_mm=spacing_mm,
        sector_box=box,
        view=view,
        times_s=_times(dataset, grey.total, grey.damaged),
        r_wave_times_s=_r_waves(dataset),
        damaged_frames=grey.damaged,
        warnings=notes + scale_warnings + view_warnings,
    )


def _decoder(path: Path, dataset: Any, total: int) -> Callable[[], Iterator[Decoded]]:
    """What decodes the frames, grey or RGB, from the first on.

    Raises:
        FormatError: If the file is truncated within its first frame.
    """
    syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    if _VIDEO_SYNTAX.fullmatch(syntax):
        return lambda: _video_frames(path, dataset, total)
    if syntax and not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        if not keep_whole_frames(dataset):
            raise FormatError(f"{path}: the file is truncated within its first frame")
    return lambda: _frames(dataset, total)


def _frames(dataset: Any, total: int) -> Iterator[Decoded]:
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    for index in range(total):
        try:
            frame = pixel_array(dataset, index=index)
        except Exception as error:  # decoders raise many types; the frame is reported
            yield error
            continue
        if frame.dtype == np.uint16 and frame.ndim == 3:
            frame = (frame >> (int(dataset.BitsStored) - 8)).astype(np.uint8)
        if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
            frame = apply_color_lut(frame, dataset)
            frame = (frame >> 8).astype(np.uint8) if frame.dtype == np.uint16 else frame
        yield frame


def _video_frames(path: Path, dataset: Any, expected: int) -> Iterator[Decoded]:
    """Decode MPEG-2, MPEG-4 or HEVC: the fragments joined are one stream."""
    import av
    from av.error import FFmpegError
    from pydicom.encaps import generate_fragments

    dataset.PixelData.seek(0)
    fragments = list(generate_fragments(dataset.PixelData))
    stream = b"".join(fragments[1:] or fragments)  # the first is the offset table
    total = 0
    try:
        with av.open(io.BytesIO(stream), "r") as container:
            for picture in container.decode(video=0):
                yield pixels(picture)
                total += 1
    except FFmpegError as error:
        raise FormatError(f"{path}: the video inside cannot be decoded ({error})") from error
    for _ in range(total, expected):
        yield DamagedError("the video inside ends before it")


def _scale(
    dataset: Any,
) -> tuple[tuple[float, float] | None, tuple[int, int, int, int] | None, tuple[ClipWarning, ...]]:
    """Read spacing, region box and warnings from the 2-D tissue region.

    A box outside the image means that the pixels were rescaled after the region was written, so
    that the pixel spacing is wrong too and is not used.
    """
    regions = [
        region
        for region in dataset.get("SequenceOfUltrasoundRegions", [])
        if region.get("RegionSpatialFormat") == _TWO_D
        and region.get("RegionDataType") == _TISSUE
        and region.get("PhysicalUnitsXDirection") == _CENTIMETRE
        and region.get("PhysicalUnitsYDirection") == _CENTIMETRE
    ]
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if not regions:
        return None, None, ()
    region = max(regions, key=_area)
    left, top, right, bottom = _box(region)
    if right > columns or bottom > rows or left < 0 or top < 0 or right <= left or bottom <= top:
        message = (
            f"The file's ultrasound region ({left},{top})-({right - 1},{bottom - 1}) exceeds its "
            f"image of {columns} x {rows} pixels: the clip was resized without updating its pixel "
            "spacing, which is ignored. Give spacing_mm (--spacing-mm) if you know it."
        )
        return None, None, (ClipWarning(code="stale_scale", message=message),)
    delta_x, delta_y = (abs(float(region.get(f"PhysicalDelta{axis}") or 0)) for axis in "XY")
    spacing_mm, warnings = file_scale(10 * delta_y, 10 * delta_x)
    return spacing_mm, (top, left, bottom, right), warnings


def _box(region: Any) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a region, half open."""
    return (
        int(region.get("RegionLocationMinX0", 0)),
        int(region.get("RegionLocationMinY0", 0)),
        int(region.get("RegionLocationMaxX1", -1)) + 1,
        int(region.get("RegionLocationMaxY1", -1)) + 1,
    )


def _area(region: Any) -> int:
    left, top, right, bottom = _box(region)
    return (right - left) * (bottom - top)


def _times(dataset: Any, total: int, damaged: tuple[int, ...]) -> np.ndarray | None:
    """Times of the frames that were decoded; None when the file does not give them."""
    times_s = _all_times(dataset, total)
    if times_s is None or (np.diff(times_s) <= 0).any():
        return None
    times_s = np.delete(times_s, list(damaged))
    return times_s - times_s[0]


def _all_times(dataset: Any, total: int) -> np.ndarray | None:
    vector = dataset.get("FrameTimeVector")
    if vector is not None and total > 1 and len(np.atleast_1d(vector)) == total:
        return np.cumsum(np.atleast_1d(vector).astype(float)) / 1000
    frame_ms = float(dataset.get("FrameTime") or 0)
    if frame_ms > 0:
        return np.arange(total) * frame_ms / 1000
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        rate_hz = float(dataset.get(name) or 0)
        if rate_hz > 0:
            return np.arange(total) / rate_hz
    return None


def _r_waves(dataset: Any) -> tuple[float, ...]:
    vector = dataset.get("RWaveTimeVector")
    if vector is None or vector == "":
        return ()
    return tuple(float(value) / 1000 for value in np.atleast_1d(vector))
