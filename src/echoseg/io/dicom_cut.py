"""Truncated DICOM files: the frames that are complete are recovered."""

from pathlib import Path
from typing import Any

_UNENDED_PIXELS = (b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff", b"\xe0\x7f\x10\0OW\0\0\xff\xff\xff\xff")
_ITEM, _END = b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0"
_JPEG_STARTS, _JPEG_ENDS = (b"\xff\xd8", b"\xff\x4f"), (b"\xff\xd9", b"\xff\xd9\0")


def mended(path: Path) -> bytes | None:
    """End a file of compressed frames after its last complete one.

    Such pixels have no length but end with a delimiter, and pydicom omits them where it is missing.
    None when the file has no complete frame, or is of another kind.
    """
    raw = path.read_bytes()
    start = max(raw.rfind(mark) for mark in _UNENDED_PIXELS)
    if start < 0:
        return None
    place = start + len(_UNENDED_PIXELS[0])
    ends = []
    while raw[place : place + 4] == _ITEM:
        place += 8 + int.from_bytes(raw[place + 4 : place + 8], "little")
        ends.append(place)
    frames = [end for end in ends[1:] if end <= len(raw)]  # the first item is the offset table
    if ends and raw[ends[0] + 8 : ends[0] + 10] in _JPEG_STARTS:  # a frame may have many fragments
        frames = [end for end in frames if raw.endswith(_JPEG_ENDS, 0, end)]
    return raw[: frames[-1]] + _END + bytes(4) if frames else None


def keep_whole_frames(dataset: Any) -> int:
    """Shorten uncompressed pixels to the complete frames, and return their number."""
    from pydicom.pixels.utils import get_expected_length

    total = int(dataset.get("NumberOfFrames", 1) or 1)
    frame_bytes = get_expected_length(dataset) // total
    pixels = dataset.PixelData or b""
    complete = len(pixels) // frame_bytes
    if complete < total:
        dataset.PixelData, dataset.NumberOfFrames = pixels[: complete * frame_bytes], complete
    return complete
