"""A de-identified DICOM clip: `header.clean_header`, and frames that are black outside the sector.

Frames are decoded, blanked and compressed again without loss (JPEG 2000 Lossless), one by one:
inside the sector every pixel is what it was.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip
from echoseg.deidentify.header import clean_header, identify, removed_keywords
from echoseg.deidentify.sector import sector_mask
from echoseg.errors import FormatError
from echoseg.files import atomic_write
from echoseg.io import dicom_writer
from echoseg.io.dicom import expected_frames, open_object
from echoseg.io.dicom_frames import decoder, stream_statement
from echoseg.io.dicom_series import series_files
from echoseg.io.dicom_time import read_times
from echoseg.io.formats import source_sha256
from echoseg.private import Pseudonyms

_LOSSY = {
    "1.2.840.10008.1.2.4.5": "ISO_10918_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.100": "ISO_13818_2",
    "1.2.840.10008.1.2.4.101": "ISO_13818_2",
    "1.2.840.10008.1.2.4.107": "ISO_23008_2",
    "1.2.840.10008.1.2.4.108": "ISO_23008_2",
    "1.2.840.10008.1.2.4.10": "ISO_14496_10",
}
"""Transfer syntaxes with loss, by their begin, and their method (PS3.3 C.7.6.1.1.5)."""
_LOSSLESS_JPEG = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")


def clean_dicom(path: Path, out: Path, mask: np.ndarray, names: Pseudonyms) -> dict[str, Any]:
    """Write the de-identified copy of a clip.

    Args:
        path: The object.
        out: The new file.
        mask: `H W` bool, the sector on the clip's own grid.
        names: The key of UIDs and pseudonyms.

    Returns:
        What was removed: `removed` keywords, and the number of `private_elements`.

    Raises:
        EchosegError: If a frame cannot be decoded, or is of a kind that cannot be written.
        OutputError: If the file cannot be written.
    """
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless
    from pydicom.valuerep import DS

    source, _, count = open_object(path, is_timed=True)
    syntax = str(source.file_meta.TransferSyntaxUID)
    _add_uid(source, path)
    clean = clean_header(source, names)
    keywords, num_private = removed_keywords(source, clean)
    is_inverted = source.get("PhotometricInterpretation") == "MONOCHROME1"
    bits = int(source.get("BitsStored") or 8)
    encoded, first = [], None
    for frame in _frames(path, source, expected_frames(source, count)):
        blank = 2**bits - 1 if is_inverted else 0
        inside = sector_mask(mask, frame.shape[:2])
        frame = np.where(inside if frame.ndim == 2 else inside[..., None], frame, blank)
        first = frame if first is None else first
        encoded.append(_encode(frame.astype(first.dtype), bits))
    if first is None:
        raise FormatError(f"{path}: no frame can be decoded")
    _describe_pixels(clean, first, bits, is_inverted=is_inverted)
    clean.NumberOfFrames = len(encoded)
    rate_hz = stream_statement(source)[1]
    if (
        rate_hz
        and read_times(source, len(encoded), (), stream_rate_hz=rate_hz).rate.value == rate_hz
    ):
        clean.FrameTime = DS(1000 / rate_hz, auto_format=True)  # the copy has no stream to say it
        clean.FrameIncrementPointer = 0x00181063
    method = next((m for begin, m in _LOSSY.items() if syntax.startswith(begin)), "")
    if method and syntax not in _LOSSLESS_JPEG:  # what was lost stays lost
        clean.LossyImageCompression = "01"
        clean.LossyImageCompressionMethod = clean.get("LossyImageCompressionMethod") or method
    clean.file_meta = FileMetaDataset()
    clean.file_meta.TransferSyntaxUID = JPEG2000Lossless
    clean.PixelData = encapsulate(encoded)
    clean["PixelData"].is_undefined_length = True
    with atomic_write(out) as partial:
        dcmwrite(partial, clean, enforce_file_format=True)
    return {"removed": keywords, "private_elements": num_private}


def write_series(path: Path, out: Path, clip: Clip, names: Pseudonyms) -> None:
    """Write a folder of pictures as one object, under the pseudonym of its patient and study.

    Args:
        path: The folder; its first file tells patient and study.
        out: The new file.
        clip: The cleaned frames with their times.
        names: The key of UIDs and pseudonyms.

    Raises:
        OutputError: If the file cannot be written.
    """
    from pydicom import dcmwrite

    copy = dicom_writer.make_dataset(out, clip, pseudonym="ANONYMOUS")
    source = _first_header(path)
    source.SOPClassUID = copy.SOPClassUID
    _add_uid(source, path)
    identify(copy, source, names)
    with atomic_write(out) as partial:
        dcmwrite(partial, copy, enforce_file_format=True)


def _add_uid(source: Any, path: Path) -> None:
    """Give an object without a UID one of its content, or all such copies would be one object."""
    if not source.get("SOPInstanceUID"):
        source.SOPInstanceUID = f"2.25.{int(source_sha256(path)[:32], 16)}"


def _first_header(path: Path) -> Any:
    from pydicom import dcmread

    return dcmread(series_files(path)[0], force=True, stop_before_pixels=True)


def removed_of_series(path: Path, copy: Path) -> dict[str, Any]:
    """What a copy lacks of the first header of a folder of pictures, as `clean_dicom` says it.

    Args:
        path: The folder.
        copy: DICOM, or a file that states nothing but pixels, their scale and times.
    """
    from pydicom import dcmread

    source = _first_header(path)
    clean = source.group_dataset(0x0028)
    if copy.suffix == ".dcm":
        clean = dcmread(copy, stop_before_pixels=True)
    keywords, num_private = removed_keywords(source, clean)
    return {"removed": keywords, "private_elements": num_private}


def _frames(path: Path, source: Any, count: int) -> Iterator[np.ndarray]:
    for index, frame in enumerate(decoder(path, source, count)()):
        if isinstance(frame, Exception):
            raise FormatError(
                f"{path}: frame {index} cannot be decoded, so the clip is not copied; repair it"
            ) from frame
        if frame.dtype not in (np.uint8, np.uint16):
            raise FormatError(
                f"{path}: pixels must be unsigned whole numbers of 8 or 16 bits, got {frame.dtype}"
            )
        yield frame


def _encode(frame: np.ndarray, bits: int) -> bytes:
    """A frame as a JPEG 2000 codestream, without loss."""
    from pydicom.pixels.encoders.base import get_encoder
    from pydicom.uid import JPEG2000Lossless

    is_colour = frame.ndim == 3
    allocated = frame.dtype.itemsize * 8
    return get_encoder(JPEG2000Lossless).encode(
        np.ascontiguousarray(frame),
        rows=frame.shape[0],
        columns=frame.shape[1],
        samples_per_pixel=3 if is_colour else 1,
        bits_allocated=allocated,
        bits_stored=8 if is_colour else min(bits, allocated),
        pixel_representation=0,
        photometric_interpretation="YBR_RCT" if is_colour else "MONOCHROME2",
        number_of_frames=1,
        planar_configuration=0,
    )


def _describe_pixels(clean: Any, frame: np.ndarray, bits: int, *, is_inverted: bool) -> None:
    clean.Rows, clean.Columns = frame.shape[:2]
    clean.BitsAllocated = frame.dtype.itemsize * 8
    clean.BitsStored = 8 if frame.ndim == 3 else min(bits, clean.BitsAllocated)
    clean.HighBit, clean.PixelRepresentation = clean.BitsStored - 1, 0
    clean.SamplesPerPixel = 3 if frame.ndim == 3 else 1
    clean.PhotometricInterpretation = "MONOCHROME1" if is_inverted else "MONOCHROME2"
    if frame.ndim == 3:
        clean.PhotometricInterpretation, clean.PlanarConfiguration = "YBR_RCT", 0
