"""Ultrasound multi-frame DICOM.

Scale is decided in `dicom_scale`, time in `dicom_time`. Patient identifiers are not read.
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
from echoseg.io.dicom_count import decide_frames, expect_frames
from echoseg.io.dicom_kind import no_clip_reason
from echoseg.io.dicom_pixels import open_dataset
from echoseg.io.dicom_scale import read_scale
from echoseg.io.dicom_time import read_number, read_times
from echoseg.io.dicom_view import read_view
from echoseg.io.frames import OpenOptions
from echoseg.io.grey import Decoded, collect
from echoseg.io.video import pixels

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
    is_video = _is_video(dataset)
    stated = read_number(dataset, "NumberOfFrames")
    count = expect_frames(dataset, is_video=is_video)
    if not dataset.NumberOfFrames:
        raise FormatError(f"{path}: the file is truncated within its first frame")
    expected: int = 0 if is_video and not dataset.pixels_are_cut else int(count.value or 1)  # type: ignore[arg-type]
    grey = collect(
        path,
        _decoder(path, dataset, expected),
        options,
        expected=expected,
        bits=int(dataset.get("BitsStored", 0)),
    )
    if is_video:
        count = decide_frames(grey.total, stated)
    notes = grey.warnings
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        for frame in each(grey.frames):
            np.subtract(255, frame, out=frame)
        message = "The grey levels were inverted, since the file is MONOCHROME1."
        notes += (ClipWarning(code="inverted_grey", message=message),)
    box, scale, scale_warnings = read_scale(dataset, grey.frames)
    times = read_times(dataset, grey.total, grey.damaged, fps=options.fps)
    view, view_warnings = read_view(dataset) if options.view is None else (options.view, ())
    return Clip(
        frames=grey.frames,
        spacing_mm=scale.value,  # type: ignore[arg-type]
        sector_box=box,
        view=view,
        times_s=times.times_s,
        r_wave_times_s=times.r_wave_times_s,
        damaged_frames=grey.damaged,
        warnings=notes + scale_warnings + view_warnings,
        sources=(times.rate, scale, count, times.heart_rate),
    )


def _decoder(path: Path, dataset: Any, total: int) -> Callable[[], Iterator[Decoded]]:
    """What decodes the frames, grey or RGB, from the first on.

    Raises:
        FormatError: If the file is truncated within its first frame.
    """
    if _is_video(dataset):
        return lambda: _video_frames(path, dataset, total)
    return lambda: _frames(dataset, total)


def _is_video(dataset: Any) -> bool:
    return bool(_VIDEO_SYNTAX.fullmatch(str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))))


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
