"""First bytes of the video containers and raw streams that PyAV decodes."""

import re
from pathlib import Path
from typing import Any

_STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"GIF87a",
    b"GIF89a",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
    b"FLV\x01",
    b"OggS",
    b".RMF",  # RealMedia
    b"\x06\x0e+4",  # MXF
    b"YUV4MPEG2",
    b"DKIF",  # IVF
    b"nut/multimedia container",
    b"\x1f\x07\0",  # DV
    b"\x12\0\x0a",  # AV1
)
_ATOMS = b"ftyp moov mdat wide free skip pnot styp".split()
_MPEG = re.compile(rb"\0{2,}\x01(?:[\xb0\xb3\xba]|[\0-\x1f]\0\0\x01[\x20-\x2f])", re.DOTALL)
"""MPEG-4 Visual, a sequence of MPEG-1 or 2, a program stream (MPG, VOB)."""
_NAL = re.compile(rb"\0{2,}\x01(?:[\x06\x09\x26\x27\x46\x47\x66\x67]|[\x40\x42\x46\x4e]\x01)")
"""H.264 and HEVC: parameter sets, delimiters, messages."""
_MAX_ATOMS = 1000
_PACKETS = (188, 192, 204)
"""Bytes of a transport packet: plain, with a time (M2TS), with error correction."""
_SYNC, _MIN_PACKETS = 0x47, 5
NO_CLOCK = frozenset("h264 hevc m4v mjpeg obu".split())
"""Raw streams whose time stamps PyAV makes up."""
_RAW_STREAMS = NO_CLOCK | {"mpegvideo"}
"""Raw streams whose mean rate PyAV makes up."""


def stated_rate_hz(container: Any, stream: Any) -> float | None:
    """Frame rate that an open container states of a stream, a raw one in its own header.

    That is the timing information of H.264 and HEVC (VUI, ITU-T H.264 E.2.1), which may be absent.
    """
    is_raw = container.format.name in _RAW_STREAMS
    rate = stream.codec_context.framerate if is_raw else stream.average_rate
    return float(rate) if rate else None


def sniff_video(head: bytes) -> bool:
    """Detect a video by its first bytes, at best 2048."""
    return (
        head.startswith(_STARTS)
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head[4:8] in _ATOMS
        or bool(_MPEG.match(head) or _NAL.match(head))
        or any(_is_transport(head, size) for size in _PACKETS)
    )


def _is_transport(head: bytes, size: int) -> bool:
    """Whether every packet begins with the sync byte, from some offset on."""
    marks = [head[start::size] for start in range(size)]
    return any(len(mark) >= _MIN_PACKETS and set(mark) == {_SYNC} for mark in marks)


def lacks_index(path: Path) -> bool:
    """Whether an MP4 or MOV has no `moov` (ISO/IEC 14496-12, 8.2.1), as one that is cut off."""
    with path.open("rb") as file:
        for _ in range(_MAX_ATOMS):
            head = file.read(16)
            if len(head) < 8 or head[4:8] == b"moov" or not head[4:8].isalnum():
                return len(head) < 8
            size = int.from_bytes(head[:4], "big")
            size = int.from_bytes(head[8:], "big") if size == 1 else size
            if size < 8:
                return size == 0  # to the end of the file
            file.seek(min(size - len(head), 2**60), 1)
    return False
