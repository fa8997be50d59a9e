"""Frames of a DICOM object, in every encoding that pydicom and PyAV decode."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.errors import DamagedError, FormatError, reason_of
from echoseg.io.budget import MAX_FRAME_PIXELS
from echoseg.io.containers import stated_rate_hz
from echoseg.io.grey import Decoded
from echoseg.io.picture import Picture

_VIDEO_SYNTAX = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.10\d(\.1)?")
"""MPEG-2, MPEG-4 AVC and HEVC, `.1` where their stream may be cut into fragments (PS3.5 A.4)."""


def decoder(path: Path, dataset: Any, total: int) -> Callable[[], Iterator[Decoded]]:
    """What decodes the frames, grey or RGB, from the first on.

    Args:
        path: For messages.
        dataset: After `dicom_mend.mend`.
        total: Expected number of frames.
    """
    if is_video(dataset):
        return lambda: _video_frames(path, dataset, total)
    decode = _frame_decoder(dataset)

    def frames() -> Iterator[Decoded]:
        for index in range(total):
            try:
                yield decode(index)
            except Exception as error:  # decoders raise many types; the frame is reported
                yield error

    return frames


def pixel_aspect(dataset: Any) -> float | None:
    """Width of a pixel in heights, by Pixel Aspect Ratio (0028,0034)."""
    try:
        height, width = map(float, dataset.get("PixelAspectRatio") or (0, 0))
    except (TypeError, ValueError):  # an odd value costs no frames
        return None
    return width / height if height > 0 and width > 0 else None


def stream_statement(dataset: Any) -> tuple[float | None, float | None]:
    """Width of a pixel in heights, and frame rate, as a video inside states them."""
    import av
    from av.error import FFmpegError

    if not is_video(dataset):
        return None, None
    try:
        with av.open(io.BytesIO(_stream(dataset)), "r") as container:
            stream = container.streams.video[0]
            aspect, rate_hz = stream.sample_aspect_ratio, stated_rate_hz(container, stream)
    except (FFmpegError, IndexError):  # reported when the frames are decoded
        return None, None
    return float(aspect) if aspect else None, rate_hz


def is_video(dataset: Any) -> bool:
    """Whether the pixels are one stream of video."""
    return bool(_VIDEO_SYNTAX.fullmatch(str(dataset.file_meta.TransferSyntaxUID)))


def _stream(dataset: Any) -> bytes:
    """The fragments joined, without the offset table."""
    from pydicom.encaps import generate_fragments

    dataset.PixelData.seek(0)
    fragments = list(generate_fragments(dataset.PixelData))
    return b"".join(fragments[1:] or fragments)


def _video_frames(path: Path, dataset: Any, expected: int) -> Iterator[Decoded]:
    """Decode MPEG-2, MPEG-4 or HEVC: the fragments joined are one stream."""
    import av
    from av.error import FFmpegError

    total = 0
    try:
        with av.open(io.BytesIO(_stream(dataset)), "r") as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
            for picture in container.decode(stream):
                yield Picture(picture).pixels()
                total += 1
    except FFmpegError as error:
        reason = reason_of(error)
        raise FormatError(f"{path}: the video inside cannot be decoded ({reason})") from error
    for _ in range(total, expected):
        yield DamagedError("the video inside ends before it")


def _frame_decoder(dataset: Any) -> Callable[[int], np.ndarray]:
    """What decodes one frame by its index: grey `H W` of any integer type, or RGB `H W 3` uint8."""
    from pydicom.pixels.utils import pixel_array

    space = dataset.get("PhotometricInterpretation")
    bits = int(dataset.get("BitsStored") or 8)
    is_partial = space == "YBR_PARTIAL_422" and not (
        dataset.file_meta.TransferSyntaxUID.is_encapsulated
    )
    if is_partial:  # the same samples in the same order
        dataset.PhotometricInterpretation = "YBR_FULL_422"
    palette = _palette(dataset) if space == "PALETTE COLOR" else None

    def decode(index: int) -> np.ndarray:
        frame = pixel_array(dataset, index=index, raw=is_partial)
        if is_partial:
            frame = _to_rgb(frame)
        if palette is not None:
            table, first = palette
            return table[np.clip(frame.astype(np.int64) - first, 0, len(table) - 1)]
        if frame.dtype == np.uint16 and frame.ndim == 3:
            return (frame >> (bits - 8)).astype(np.uint8)
        if frame.dtype == np.uint8 and bits < 8:
            return (frame.astype(np.uint16) * 255 // (2**bits - 1)).clip(0, 255).astype(np.uint8)
        return frame

    return decode


def _to_rgb(partial: np.ndarray) -> np.ndarray:
    """RGB of YCbCr of partial range: luma 16 to 235, chroma 16 to 240 (ITU-R BT.601)."""
    from pydicom.pixels.processing import convert_color_space

    low, scale = np.array([16, 128, 128]), np.array([255 / 219, 255 / 224, 255 / 224])
    full = (partial.astype(np.float32) - low) * scale + (0, 128, 128)
    return convert_color_space(np.rint(full).clip(0, 255).astype(np.uint8), "YBR_FULL", "RGB")


def _palette(dataset: Any) -> tuple[np.ndarray, int]:
    """Colours `N 3` uint8 of the pixel values from the first on, which is returned too.

    Entries of 16 bits may hold 8 or 12: the largest of them decides.
    """
    from pydicom.pixels.processing import apply_color_lut

    size, first, _ = map(int, dataset.RedPaletteColorLookupTableDescriptor)
    size = size or 2**16
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTableData"
        if data := dataset.get(name):  # without the byte that makes the length even
            setattr(dataset, name, data[: len(data) // size * size])
    table = apply_color_lut(np.arange(first, first + size), dataset)[:, :3]
    highest = int(table.max())
    bits = 8 if highest < 2**8 else 12 if highest < 2**12 else 16
    return (table >> (bits - 8)).astype(np.uint8), first
