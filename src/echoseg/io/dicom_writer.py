"""Write ultrasound multi-frame DICOM of an anonymous patient.

The pixel spacing goes into the Sequence of Ultrasound Regions (PS3.3 C.8.5.5), times into
Frame Time or Frame Time Vector with the pointer to it (C.7.6.5, C.7.6.6). Identifiers are hashes
of the content: the same clip gives the same object.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip
from echoseg.errors import ArgumentError, OutputError
from echoseg.files import atomic_write
from echoseg.io.dicom_view import view_code

_EVEN_S = 1e-6
"""Times within this of an even interval are written as one Frame Time."""


def write(path: str | Path, clip: Clip, *, pseudonym: str = "ANONYMOUS") -> None:
    """Write a clip as an Ultrasound Multi-frame Image of an anonymous patient.

    The pixels are uncompressed 8-bit grey. A clip without spacing gets no region, so it reads back
    uncalibrated. Clips of one pseudonym are one study.

    Args:
        path: The file.
        clip: Its times must be known; the region's box is its `sector_box`, or the whole image.
        pseudonym: Patient ID and name; it must not identify the patient.

    Raises:
        ArgumentError: If `pseudonym` is out of range.
        OutputError: If the times are unknown or PATH cannot be written.
    """
    from pydicom import dcmwrite

    dataset = make_dataset(path, clip, pseudonym=pseudonym)
    with atomic_write(path) as partial:
        dcmwrite(partial, dataset, enforce_file_format=True)


def make_dataset(path: str | Path, clip: Clip, *, pseudonym: str) -> Any:
    """The object that `write` writes, a `pydicom.Dataset` with its pixels; PATH is only named.

    Raises:
        ArgumentError: If `pseudonym` is out of range.
        OutputError: If the times are unknown.
    """
    from pydicom.dataset import Dataset

    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", pseudonym):
        raise ArgumentError(
            f"pseudonym must be 1 to 60 letters, digits, '_', '.' or '-', got {pseudonym!r}"
        )
    if clip.times_s is None:
        raise OutputError(
            f"{path}: a multi-frame DICOM object needs frame times, which this clip lacks; set its "
            "times_s"
        )
    dataset = Dataset()
    _identify(dataset, clip, pseudonym)
    _describe(dataset, clip)
    _add_times(dataset, clip)
    _add_region(dataset, clip)
    _add_pixels(dataset, clip.frames)
    return dataset


def hash_uid(*parts: bytes | str) -> Any:
    """An identifier, a `pydicom.uid.UID`, that is a hash of its parts: equal for equal parts."""
    from pydicom.uid import UID

    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    # 2.25. and a 128-bit number: PS3.5 B.2
    return UID(f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}")


def _identify(dataset: Any, clip: Clip, pseudonym: str) -> None:
    """Add patient, study, series and object; unknown fields stay empty."""
    from pydicom.uid import UltrasoundMultiFrameImageStorage

    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = hash_uid(
        pseudonym,
        clip.frames.tobytes(),
        repr((clip.frames.shape, clip.spacing_mm, clip.sector_box, clip.r_wave_times_s)),
        np.asarray(clip.times_s, float).tobytes(),
        f"{clip.view} None",  # as in former versions, so that the same clip keeps its UID
    )
    dataset.StudyInstanceUID = hash_uid("study", pseudonym)
    dataset.SeriesInstanceUID = hash_uid("series", pseudonym, clip.view)
    dataset.PatientID, dataset.PatientName = pseudonym, f"{pseudonym}^"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "written by echoseg without any patient's data"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.ReferringPhysicianName = ""
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = ""
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", 1, 1
    dataset.PatientOrientation = ""
    dataset.Manufacturer = "echoseg"


def _describe(dataset: Any, clip: Clip) -> None:
    """Add the image type, and the view where it has a code."""
    from pydicom.dataset import Dataset

    dataset.Modality, dataset.BodyPartExamined = "US", "HEART"
    dataset.ImageType = ["DERIVED", "PRIMARY", "TTE", "0001"]
    if code := view_code(clip.view):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
        item.CodeMeaning = code.meaning
        dataset.ViewCodeSequence = [item]


def _add_times(dataset: Any, clip: Clip) -> None:
    """Add Frame Time for even intervals, else Frame Time Vector; R waves when known."""
    from pydicom.valuerep import DS

    def as_ms(time_s: float) -> Any:
        return DS(float(time_s) * 1000, auto_format=True)

    times_s = np.asarray(clip.times_s, float) - float(np.asarray(clip.times_s)[0])
    interval_s = times_s[-1] / max(1, clip.num_frames - 1)
    dataset.NumberOfFrames = clip.num_frames
    if np.abs(times_s - np.arange(clip.num_frames) * interval_s).max() < _EVEN_S:
        dataset.FrameTime = as_ms(interval_s)
        dataset.FrameIncrementPointer = 0x00181063
    else:
        dataset.FrameTimeVector = [as_ms(step) for step in np.diff(times_s, prepend=0.0)]
        dataset.FrameIncrementPointer = 0x00181065
    if clip.r_wave_times_s:
        dataset.RWaveTimeVector = [as_ms(time_s) for time_s in clip.r_wave_times_s]


def _add_region(dataset: Any, clip: Clip) -> None:
    """Add one region, 2-D tissue in centimetres, unless the clip has no spacing."""
    from pydicom.dataset import Dataset

    if clip.spacing_mm is None:
        return
    top, left, bottom, right = clip.sector_box or (0, 0, *clip.size)
    region = Dataset()
    region.RegionSpatialFormat = region.RegionDataType = 1
    region.RegionFlags = 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = right - 1, bottom - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = clip.spacing_mm[1] / 10, clip.spacing_mm[0] / 10
    dataset.SequenceOfUltrasoundRegions = [region]


def _add_pixels(dataset: Any, frames: np.ndarray) -> None:
    """Add uncompressed pixels, their description and the transfer syntax."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset.Rows, dataset.Columns = frames.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    raw = frames.tobytes()
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OB"
