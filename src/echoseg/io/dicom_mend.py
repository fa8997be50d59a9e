"""DICOM objects whose header misstates how their pixels are stored.

`mend` corrects what is missing or what the pixels show to be wrong: a transfer syntax, tables of
frame offsets (PS3.5 A.4), 4:2:2 sampling and the colour space of uncompressed frames (PS3.3
C.7.6.3.1.2). Elements are changed in memory, never in the file.
"""

import io
import struct
from typing import Any

import numpy as np

from echoseg.clip import ClipWarning
from echoseg.io.dicom_fragments import ITEM, first_of_frames, list_items
from echoseg.io.dicom_time import read_number

_EMPTY_TABLE = ITEM + bytes(4)
_GREY_CHROMA, _CHROMA_RANGE, _MIN_BRIGHT = 128, 12, 32
_PIXEL_NUMBERS = "SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation".split()
_MIN_FRACTION, _MAX_GREY_FRACTION = 0.9, 0.5


def mend(dataset: Any) -> tuple[ClipWarning, ...]:
    """Correct elements that prevent decoding the pixels, and report which.

    Args:
        dataset: With `PixelData` as a seekable binary file.
    """
    notes = _mend_syntax(dataset) + _mend_missing(dataset)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return notes + _mend_offsets(dataset)
    notes += _mend_planes(dataset)
    _mend_sampling(dataset)
    return notes + _mend_colour_space(dataset)


def _mend_missing(dataset: Any) -> tuple[ClipWarning, ...]:
    """Elements of the Image Pixel module that are missing, by the others (PS3.3 C.7.6.3)."""
    space = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    stated = {name: read_number(dataset, name) for name in _PIXEL_NUMBERS}
    samples = int(stated["SamplesPerPixel"] or (3 if space.startswith(("RGB", "YBR")) else 1))
    bits = int(stated["BitsStored"] or stated["BitsAllocated"] or 8)
    known = {
        "PhotometricInterpretation": space or ("RGB" if samples == 3 else "MONOCHROME2"),
        "SamplesPerPixel": samples,
        "BitsAllocated": 8 if bits <= 8 else 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
    }
    missing = [name for name, value in stated.items() if value is None]
    missing += [] if space else ["PhotometricInterpretation"]
    for name in [*missing, "PhotometricInterpretation"]:
        setattr(dataset, name, known[name])
    if not missing:
        return ()
    assumed = ", ".join(f"{name} {known[name]}" for name in missing)
    message = f"The file lacks elements that say how its pixels are stored: {assumed} is assumed."
    return (ClipWarning(code="assumed_pixels", message=message),)


def _mend_syntax(dataset: Any) -> tuple[ClipWarning, ...]:
    """Without a meta header: what was parsed, or what the first fragment shows."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if dataset.file_meta.get("TransferSyntaxUID"):
        return ()
    is_implicit, is_little = dataset.original_encoding
    uid = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    if not is_little:
        uid = UID("1.2.840.10008.1.2.2")
    if _peek(dataset, 4) == ITEM:
        uid = UID(_syntax_of(_first_fragment(dataset)))
    dataset.file_meta.TransferSyntaxUID = uid
    message = f"The file does not say how it is encoded; it was read as {uid.name}."
    return (ClipWarning(code="assumed_syntax", message=message),)


def _peek(dataset: Any, size: int) -> bytes:
    dataset.PixelData.seek(0)
    content = dataset.PixelData.read(size)
    dataset.PixelData.seek(0)
    return content


def _first_fragment(dataset: Any) -> bytes:
    """Begin of the first item that is not an offset table."""
    head = _peek(dataset, 2**16)
    if head[8:10] in (b"\xff\xd8", b"\xff\x4f"):
        return head[8:]
    return head[16 + struct.unpack("<I", head[4:8])[0] :]


def _syntax_of(fragment: bytes) -> str:
    """UID of the transfer syntax of a compressed frame, by its first bytes."""
    from pydicom import uid

    if fragment[:2] == b"\xff\x4f":
        return uid.JPEG2000
    if fragment[:2] != b"\xff\xd8":
        return uid.MPEG4HP41 if fragment[:3] in (b"\0\0\0", b"\0\0\x01") else uid.RLELossless
    kinds = {0xC1: uid.JPEGExtended12Bit, 0xC3: uid.JPEGLossless, 0xF7: uid.JPEGLSNearLossless}
    place = 2
    while place + 4 < len(fragment) and fragment[place] == 0xFF:
        if fragment[place + 1] in (*kinds, 0xC0):  # start of frame
            return kinds.get(fragment[place + 1], uid.JPEGBaseline8Bit)
        place += 2 + int.from_bytes(fragment[place + 2 : place + 4], "big")
    return uid.JPEGBaseline8Bit


def _mend_offsets(dataset: Any) -> tuple[ClipWarning, ...]:
    """Set offset tables that point beside the frames aside: frames are then found by fragments."""
    pixels = dataset.PixelData
    head = _peek(dataset, 8)
    if len(head) < 8 or head[:4] != ITEM:
        return ()
    size = struct.unpack("<I", head[4:])[0]
    has_table = _peek(dataset, 12)[8:] not in (b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xdb")
    first = 8 + size if has_table else 0
    pixels.seek(8)
    table = np.frombuffer(pixels.read(size if has_table else 0)[: size // 4 * 4], "<u4")
    fragments = list_items(pixels, first)
    every, begins = (
        np.array([one.start - first for one in some], np.uint64)
        for some in (fragments, first_of_frames(fragments))
    )
    extended = np.frombuffer(dataset.get("ExtendedOffsetTable", b""), "<u8")
    is_wrong = [_is_wrong(each, every, begins) for each in (table, extended)]
    if is_wrong[1]:
        del dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    if is_wrong[0] or not has_table:
        pixels.seek(first)
        dataset.PixelData = io.BytesIO(_EMPTY_TABLE + pixels.read())
    if not any(is_wrong):
        return ()
    message = "The file's table of frame offsets is wrong; frames were found by their fragments."
    return (ClipWarning(code="offset_table_ignored", message=message),)


def _is_wrong(table: np.ndarray, every: np.ndarray, begins: np.ndarray) -> bool:
    """Whether a table points beside fragments, or omits one with which a frame begins.

    An absent one is right, and so are entries of frames beyond the end of a truncated file.
    """
    if not len(table) or not len(every):
        return False
    present = table[table <= every[-1]]
    is_sorted = bool((np.diff(table.astype(np.int64)) > 0).all())
    return not (is_sorted and np.isin(present, every).all() and np.isin(begins, present).all())


def _mend_planes(dataset: Any) -> tuple[ClipWarning, ...]:
    """Whether colours lie in planes: what is not stated is what gives smooth columns.

    What is stated is wrong where the other way alone makes a grey picture.
    """
    stated = dataset.get("PlanarConfiguration")
    if dataset.get("SamplesPerPixel") != 3 or str(stated) not in ("None", "", "0", "1"):
        return ()
    rows, columns = dataset.Rows, dataset.Columns
    frame = np.frombuffer(_peek(dataset, 3 * rows * columns), np.uint8).astype(int)
    is_known = frame.size == 3 * rows * columns and dataset.get("BitsAllocated") == 8
    dataset.PlanarConfiguration = int(stated or 0)
    if not is_known or (stated not in (None, "") and dataset.PhotometricInterpretation != "RGB"):
        return ()
    ways = [frame.reshape(rows, columns, 3), np.moveaxis(frame.reshape(3, rows, columns), 0, 2)]
    if stated in (None, ""):
        mixed, planes = (abs(np.diff(way, axis=0)).mean() for way in ways)
        dataset.PlanarConfiguration = int(planes < mixed)
        return ()
    grey = [(np.ptp(way, axis=2)[way.max(2) > _MIN_BRIGHT] < _CHROMA_RANGE) for way in ways]
    shares = [float(one.mean()) if one.size else 1.0 for one in grey]
    is_ycbcr = abs(ways[stated][..., 1:] - _GREY_CHROMA).max(2) < _CHROMA_RANGE
    is_wrong = shares[stated] < _MAX_GREY_FRACTION and shares[1 - stated] > _MIN_FRACTION
    if is_ycbcr.mean() > _MIN_FRACTION or not is_wrong:
        return ()
    dataset.PlanarConfiguration = 1 - stated
    message = "The file says the wrong Planar Configuration (0028,0006) of its colours."
    return (ClipWarning(code="wrong_planes", message=message),)


def _mend_sampling(dataset: Any) -> None:
    """Frames that are said to be sampled 4:2:2 and hold every sample are not."""
    size = dataset.PixelData.seek(0, io.SEEK_END)
    dataset.PixelData.seek(0)
    whole = 3 * int(dataset.get("NumberOfFrames", 1) or 1) * dataset.Rows * dataset.Columns
    space = str(dataset.get("PhotometricInterpretation", ""))
    if space.endswith("_422") and size // 2 == whole // 2:
        dataset.PhotometricInterpretation = "YBR_FULL"


def _mend_colour_space(dataset: Any) -> tuple[ClipWarning, ...]:
    """RGB whose second and third channel hover about 128 is YCbCr; YCbCr of equal ones is RGB."""
    from pydicom.pixels.utils import pixel_array

    space = dataset.get("PhotometricInterpretation")
    if space not in ("RGB", "YBR_FULL") or dataset.get("BitsAllocated") != 8:
        return ()
    try:
        frame = pixel_array(dataset, index=0, raw=True).reshape(-1, 3).astype(int)
    except Exception:  # reported when the frames are decoded
        return ()
    chroma = abs(frame[:, 1:] - _GREY_CHROMA).max(1) < _CHROMA_RANGE
    luma = abs(frame[:, 0] - _GREY_CHROMA) < _CHROMA_RANGE
    equal = np.ptp(frame, axis=1) < _CHROMA_RANGE
    if space == "RGB" and chroma.mean() > _MIN_FRACTION and luma.mean() < _MAX_GREY_FRACTION:
        dataset.PhotometricInterpretation = "YBR_FULL"
    elif space == "YBR_FULL" and equal.mean() > _MIN_FRACTION and chroma.mean() < _MIN_FRACTION:
        dataset.PhotometricInterpretation = "RGB"
    else:
        return ()
    message = (
        f"The file says {space}, but its channels look like {dataset.PhotometricInterpretation} "
        "and were read so."
    )
    return (ClipWarning(code="wrong_colour_space", message=message),)
