"""Pixel data of a DICOM file, read from it part by part; of a truncated file the whole frames."""

import io
import mmap
import tempfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

from echoseg.io.budget import Budget
from echoseg.io.dicom_fragments import list_items
from echoseg.io.frames import OpenOptions

_DEFERRED_BYTES = 2**16
"""Size from which a value is read when it is used."""
_DEFLATED, _EXPLICIT = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.1"
_META_START = 144
"""First byte after the length of the meta information."""
_PIXELS = 0x7FE00010
_UNENDED_PIXELS = (b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff", b"\xe0\x7f\x10\0OW\0\0\xff\xff\xff\xff")
_UNDEFINED = 0xFFFFFFFF
_JPEG_STARTS, _JPEG_ENDS = (b"\xff\xd8", b"\xff\x4f"), (b"\xff\xd9", b"\xff\xd9\0")


class _Part(io.RawIOBase):
    """Bytes `start` to `end` of a file as a file of its own."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._start, self._size = start, max(0, end - start)
        self._file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._size}[whence]
        return self._file.seek(self._start + origin + offset) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer).cast("B") as view:
            return self._file.readinto(view[: max(0, self._size - self.tell())]) or 0

    def close(self) -> None:
        self._file.close()
        super().close()


def open_dataset(path: Path, options: OpenOptions) -> Any:
    """Read a dataset whose Pixel Data, if it has any, is a file that pydicom reads frame by frame.

    Of a truncated file of compressed frames it is the complete ones. `pixels_are_cut` of the
    dataset says whether the file is truncated.
    """
    import pydicom

    inflated = _inflated(path, options)
    path = path if inflated is None else Path(inflated.name)
    dataset = pydicom.dcmread(path, force=True, defer_size=_DEFERRED_BYTES)
    raw: Any
    if inflated is not None:
        dataset.inflated = inflated  # lives as long as what is read from it
    raw = dataset.get_item(_PIXELS, keep_deferred=True)
    if raw is None:  # pydicom may have dropped the elements before it too
        if (span := _whole_frames(path)) is None:
            return dataset
        dataset, kind = pydicom.dcmread(path, force=True, stop_before_pixels=True), "OB"
        dataset.pixels_are_cut = True
    elif raw.value is not None:
        dataset.PixelData = io.BytesIO(raw.value)
        dataset.pixels_are_cut = raw.length != _UNDEFINED and len(raw.value) < raw.length
        return dataset
    else:
        kind, size = raw.VR or "OW", path.stat().st_size
        end = size if raw.length == _UNDEFINED else min(size, raw.value_tell + raw.length)
        span = raw.value_tell, end
        dataset.pixels_are_cut = raw.length != _UNDEFINED and end - raw.value_tell < raw.length
    dataset.add_new(_PIXELS, kind, io.BufferedReader(_Part(path, *span)))
    return dataset


def _inflated(path: Path, options: OpenOptions) -> Any:
    """A temporary file of a deflated object, not deflated; None of another object."""
    from pydicom.filereader import read_file_meta_info
    from pydicom.filewriter import write_file_meta_info

    with path.open("rb") as file:
        head = file.read(_META_START)
        if head[128:132] != b"DICM" or head[132:138] != b"\2\0\0\0UL":
            return None
        meta: Any = read_file_meta_info(path)
        if str(meta.get("TransferSyntaxUID", "")) != _DEFLATED:
            return None
        file.seek(_META_START + int.from_bytes(head[-4:], "little"))
        meta.TransferSyntaxUID = _EXPLICIT
        whole: Any = tempfile.NamedTemporaryFile()
        whole.write(head[:132])
        write_file_meta_info(whole, meta, enforce_standard=False)
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        blocks = map(stream.decompress, iter(partial(file.read, 2**15), b""))
        for block in Budget(path, options).limited(blocks):
            whole.write(block)
        whole.flush()
        return whole


def _whole_frames(path: Path) -> tuple[int, int] | None:
    """Start and end in the file of the complete frames of compressed pixel data without an end.

    Such pixels have no length but end with a delimiter, and pydicom omits them where it is missing.
    None when the file has no complete frame, or is of another kind.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        start = max(raw.rfind(mark) for mark in _UNENDED_PIXELS)
        if start < 0:
            return None
        start += len(_UNENDED_PIXELS[0])
        with _Part(path, start, len(raw)) as pixels:
            items = list_items(pixels)[1:]  # the first is the table of frame offsets
        frames = [start + one.end for one in items if start + one.end <= len(raw)]
        if items and items[0].begin[:2] in _JPEG_STARTS:  # frames of many fragments
            frames = [end for end in frames if raw[end - 3 : end].endswith(_JPEG_ENDS)]
        return (start, frames[-1]) if frames else None
