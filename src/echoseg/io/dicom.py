"""Ultrasound multi-frame DICOM.

Scale is decided in `dicom_scale`, time in `dicom_time`. Patient identifiers are not kept.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip, ClipWarning, SourceDecision
from echoseg.errors import FormatError, NotAClipError, reason_of
from echoseg.frame_store import FrameStore, each
from echoseg.io.budget import Budget
from echoseg.io.dicom_count import decide_frames, expect_frames
from echoseg.io.dicom_ecg import read_ecg
from echoseg.io.dicom_frames import decoder, is_video, pixel_aspect, stream_statement
from echoseg.io.dicom_kind import identity_warnings, modality_warnings, no_clip_reason
from echoseg.io.dicom_mend import mend
from echoseg.io.dicom_pixels import open_dataset
from echoseg.io.dicom_scale import RegionBoxes, read_scale
from echoseg.io.dicom_study import read_study
from echoseg.io.dicom_time import read_number, read_times
from echoseg.io.dicom_view import read_view
from echoseg.io.frames import OpenOptions
from echoseg.io.grey import Decoded, collect
from echoseg.io.picture import needs_stretch, square, square_geometry, square_size, stretch_warning
from echoseg.io.quiet import quiet

_MAX_FIRST_ELEMENT = 0x70
_MAX_ASPECT_DIFFERENCE = 0.03


_DEFAULTS = OpenOptions()


def sniff(head: bytes, path: Path) -> bool:
    """Detect DICOM by its preamble, or without one by its first elements, of group 0002 or 0008."""
    if head[128:132] == b"DICM":
        return True
    group, element = head[:2], int.from_bytes(head[2:4], "little")
    if group not in (b"\x02\0", b"\x08\0") or element > _MAX_FIRST_ELEMENT:
        return False
    is_explicit = head[4:6].isalpha() and head[4:6].isupper()
    length = int.from_bytes(head[6:8] if is_explicit else head[4:8], "little")
    return head[8 + length : 10 + length] == group or element in (0, 1)


def read(path: Path, options: OpenOptions) -> Clip:
    """Read a multi-frame ultrasound object."""
    with quiet():
        return _read(path, options)


def open_object(
    path: Path, options: OpenOptions = _DEFAULTS, *, is_timed: bool = False
) -> tuple[Any, tuple[ClipWarning, ...], SourceDecision]:
    """Open an object that may be a clip, mended where its header misstates its pixels.

    Args:
        path: The file.
        options: With the limit.
        is_timed: The user states the frame rate.

    Returns:
        The object, what was mended, and the decision on the number of frames.

    Raises:
        FormatError: If it is broken or has no pixels; `NotAClipError` if it is of another kind,
            `TooLargeError` if it states more than the limit.
    """
    from pydicom.errors import InvalidDicomError

    try:
        dataset = open_dataset(path, options)
        reason = no_clip_reason(dataset, is_timed=is_timed)
    except (InvalidDicomError, OSError, ValueError, KeyError, AttributeError) as error:
        raise FormatError(f"{path}: not a readable DICOM file ({reason_of(error)})") from error
    if reason:
        raise NotAClipError(f"{path}: {reason}")
    if "PixelData" not in dataset:
        raise FormatError(
            f"{path}: the DICOM object has no pixels; it is not a clip, or the file is truncated "
            "within its first frame"
        )
    notes = mend(dataset)
    count = expect_frames(dataset, is_video=is_video(dataset))
    if not dataset.NumberOfFrames:
        raise FormatError(f"{path}: the file is truncated within its first frame")
    rows, columns = (int(read_number(dataset, name) or 0) for name in ("Rows", "Columns"))
    size = square_size(rows, columns, pixel_aspect(dataset))
    Budget(path, options).check(max(1, expected_frames(dataset, count)), *size)
    return dataset, notes, count


def expected_frames(dataset: Any, count: SourceDecision) -> int:
    """Number of frames to decode; 0 where only the decoder of a video knows it."""
    number: Any = count.value or 1
    return 0 if is_video(dataset) and not dataset.pixels_are_cut else int(number)


def _read(path: Path, options: OpenOptions) -> Clip:
    dataset, notes, count = open_object(path, options, is_timed=options.fps is not None)
    expected = expected_frames(dataset, count)
    clip = read_dataset(path, dataset, options, decoder(path, dataset, expected), expected)
    if is_video(dataset):
        stated: Any = next(
            (one.value for one in count.statements if one.origin.startswith("Num")), None
        )
        count = decide_frames(len(clip.frames) + len(clip.damaged_frames), stated)
    return replace(clip, warnings=notes + clip.warnings, sources=(*clip.sources, count))


def read_dataset(
    path: Path,
    dataset: Any,
    options: OpenOptions,
    decode: Callable[[], Iterable[Decoded]],
    expected: int,
) -> Clip:
    """Decode frames, and read what an object states of them.

    Args:
        path: For messages.
        dataset: The object, after `mend`.
        options: As in `load_clip`.
        decode: Starts decoding from the first frame.
        expected: Number of frames; 0: unknown.
    """
    grey = collect(
        path,
        decode,
        options,
        expected=expected,
        bits=int(dataset.get("BitsStored", 0)),
    )
    notes = modality_warnings(dataset) + identity_warnings(dataset) + grey.warnings
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        for frame in each(grey.frames):
            np.subtract(255, frame, out=frame)
        message = "The grey levels were inverted, since the file is MONOCHROME1."
        notes += (ClipWarning(code="inverted_grey", message=message),)
    boxes, scale, scale_warnings = read_scale(dataset, grey.frames)
    aspect, rate_hz = stream_statement(dataset)
    aspect = pixel_aspect(dataset) or aspect
    frames, scale, boxes, square_warnings = _square(aspect, grey.frames, scale, boxes)
    times = read_times(dataset, grey.total, grey.damaged, fps=options.fps, stream_rate_hz=rate_hz)
    view, view_warnings = read_view(dataset) if options.view is None else (options.view, ())
    study, acquired_on = read_study(dataset)
    return Clip(
        frames=frames,
        study=study,
        acquired_on=acquired_on,
        spacing_mm=scale.value,  # type: ignore[arg-type]
        sector_box=boxes.tissue,
        trace_boxes=boxes.traces,
        view=view,
        times_s=times.times_s,
        r_wave_times_s=times.r_wave_times_s,
        ecg=read_ecg(dataset, times.start_s),
        damaged_frames=grey.damaged,
        warnings=notes + scale_warnings + square_warnings + view_warnings,
        sources=(times.rate, scale, times.heart_rate),
    )


def _square(
    aspect: float | None, frames: np.ndarray, scale: SourceDecision, boxes: RegionBoxes
) -> tuple[np.ndarray, SourceDecision, RegionBoxes, tuple[ClipWarning, ...]]:
    """Make pixels square where the file says they are not; a scale that says so weighs more."""
    if aspect is None or not needs_stretch(aspect):
        return frames, scale, boxes, ()
    spacing_mm: Any = scale.value
    by_scale = spacing_mm[1] / spacing_mm[0] if spacing_mm else aspect
    if abs(by_scale / aspect - 1) > _MAX_ASPECT_DIFFERENCE:
        message = (
            f"The file says that its pixels are {aspect:.3g} times as wide as high, its scale that "
            f"they are {by_scale:.3g} times as wide: the scale is taken, and frames stay as stored."
        )
        note = ClipWarning(code="contradicted_pixel_aspect", message=message)
        return frames, scale, boxes, (note,)
    size = frames.shape[1], frames.shape[2]
    statements = tuple(
        replace(one, value=square_geometry(one.value, None, size, aspect)[0])
        if isinstance(one.value, tuple)
        else one
        for one in scale.statements
    )
    tissue, *traces = (
        square_geometry(None, box, size, aspect)[1] for box in (boxes.tissue, *boxes.traces)
    )
    boxes = RegionBoxes(tissue, tuple(filter(None, traces)))
    store = FrameStore()
    for frame in each(frames):
        store.add(square(frame, aspect))
    return store.frames(), replace(scale, statements=statements), boxes, stretch_warning(aspect)
