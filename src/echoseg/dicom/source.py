"""The DICOM source of a result: whose patient and study it is, and the object of each frame."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from echoseg.dicom.identity import mend_identity
from echoseg.errors import ArgumentError, FormatError, reason_of
from echoseg.io.dicom_series import series_files
from echoseg.io.formats import content_sha256, find_format, only_file
from echoseg.io.frames import OpenOptions, numbered_row
from echoseg.io.quiet import quiet

_READ = ("dicom", "dicom_series")
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "Rows")


class FrameReference(NamedTuple):
    """One frame of the source.

    Attributes:
        class_uid: SOP Class UID of its object.
        instance_uid: SOP Instance UID of its object.
        number: Referenced Frame Number, from 1; None in an object of one frame.
    """

    class_uid: str
    instance_uid: str
    number: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """The DICOM object, or the objects of one frame each, that a result is of.

    Attributes:
        path: The file or folder.
        header: A `pydicom.Dataset` without pixels, of the first object.
        frames: The references of all its frames, damaged ones too; None where its file is missing.
        series: Series Instance UID of each instance.
        sha256: Hash of the content, as in `Report.input`.
    """

    path: Path
    header: Any
    frames: tuple[FrameReference | None, ...]
    series: dict[str, str]
    sha256: str


def read_source(path: str | Path) -> Source:
    """Read the headers of a result's source.

    Args:
        path: A DICOM file, or a folder of DICOM files of one frame each.

    Raises:
        ArgumentError: If it is not DICOM, or does not state its study.
        FormatError: If it cannot be read.
    """
    import pydicom

    path = only_file(Path(path))
    name = find_format(path)
    if name not in _READ:
        raise ArgumentError(
            f"{path}: the source must be DICOM, whose patient and study the DICOM objects belong "
            f"to, it is {name}; convert it to DICOM first, or leave out --dicom"
        )
    files = [path] if name == "dicom" else series_files(path)
    with quiet():
        try:
            headers = [pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in files]
        except Exception as error:  # pydicom raises many types
            raise FormatError(f"{path}: not a readable DICOM file ({reason_of(error)})") from error
        for header in headers:
            _check_identity(path, header)
        mend_identity(headers[0])
    return Source(
        path=path,
        header=headers[0],
        frames=_references(path, headers),
        series={str(one.SOPInstanceUID): str(one.SeriesInstanceUID) for one in headers},
        sha256=content_sha256(path, name),
    )


def _check_identity(path: Path, header: Any) -> None:
    for name in _NEEDED:
        if not header.get(name):
            raise ArgumentError(
                f"{path}: the source must state {name}, which the DICOM objects refer to; give a "
                "complete DICOM file, or leave out --dicom"
            )
        text = str(header.get(name))
        if name.endswith("UID") and not re.fullmatch(r"[0-9.]{1,64}", text):
            raise ArgumentError(
                f"{path}: {name} must be a UID, digits and points, at most 64 characters; a PACS "
                "would not take objects that refer to it. Mend the file, or leave out --dicom"
            )


def _references(path: Path, headers: list[Any]) -> tuple[FrameReference | None, ...]:
    if len(headers) > 1:
        uids = [(str(one.SOPClassUID), str(one.SOPInstanceUID)) for one in headers]
        frames = [FrameReference(*uid, None) for uid in uids]
        numbers = [int(one.InstanceNumber) for one in headers]
        return tuple(numbered_row(path, frames, numbers, OpenOptions(allow_damaged=True)))
    header = headers[0]
    count = int(header.get("NumberOfFrames") or 1)
    uid = str(header.SOPClassUID), str(header.SOPInstanceUID)
    return tuple(FrameReference(*uid, number + 1) for number in range(count))
