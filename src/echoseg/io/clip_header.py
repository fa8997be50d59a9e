"""What a file's header states before it is decoded: whether it may be a clip, and whose it is."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from echoseg.clip import View
from echoseg.errors import FormatError
from echoseg.io import hdf5, image_folder, zarr_store
from echoseg.io.dicom_kind import no_clip_reason
from echoseg.io.dicom_study import hash_id
from echoseg.io.dicom_view import read_view
from echoseg.io.formats import FORMATS, find_format
from echoseg.io.images import is_picture
from echoseg.io.quiet import quiet
from echoseg.untrusted import inside

_SUFFIXES = frozenset(".avi .mp4 .mov .gif .nii .gz .mhd .dcm .dicom".split())
"""Suffixes that name a clip, whatever the content."""
MASKS_SUFFIX = "_masks.nii.gz"
"""What the file of a clip's masks is named after the clip's."""
_TEXTS = frozenset({".csv", ".txt", ".json", ".md", ".pdf", ".cfg", ".raw", ".zraw", ".html"})
"""Suffixes of other files that lie next to clips."""
_MAX_RECORDS = 20_000
_NO_PATIENT = re.compile(
    r"\W*(anon(ymi[sz]ed|ymous)?|unknown|none|null|n/?a|test|removed|patient|[0x]*)\W*",
    re.IGNORECASE,
)
"""Patient IDs that de-identification leaves, which many patients share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipHeader:
    """Why a file is not a clip, hashes of its patient and study, and its view; empty if unknown."""

    no_clip_reason: str = ""
    patient: str = ""
    study: str = ""
    view: View = View.UNKNOWN
    is_picture: bool = False
    """Whether it is a GIF, or another file of pictures."""


def is_clip_name(path: PurePath) -> bool:
    """Whether a file may be a clip by its name: not masks, tables or texts beside clips."""
    return not (path.name.endswith(MASKS_SUFFIX) or path.suffix.lower() in _TEXTS)


def read_clip_header(path: Path) -> ClipHeader:
    """Read the header of a file, or of a folder of frames, without decoding a picture."""
    try:
        name = find_format(path)
    except (FormatError, OSError):
        is_named = path.suffix.lower() in _SUFFIXES  # a broken clip, whose loading says why
        return ClipHeader(
            no_clip_reason="" if is_named else "the content is not of a clip's format"
        )
    with quiet():
        try:
            if name == "image_folder":
                return ClipHeader(no_clip_reason=image_folder.no_clip_reason(path))
            if name == "dicom_series":
                header = _dicom_header(FORMATS[name].files(path)[0])
                return replace(header, no_clip_reason="")
            if name == "hdf5":
                return ClipHeader(patient=_patient("", hdf5.subject_id(path).strip()))
            if name == "zarr":
                reason = zarr_store.no_clip_reason(path)
                patient = _patient("", zarr_store.subject_id(path).strip())
                return ClipHeader(no_clip_reason=reason, patient=patient)
            if name == "dicom":
                return _dicom_header(path)
            with path.open("rb") as file:
                head = file.read(16)
            return ClipHeader(is_picture=head.startswith(b"GIF8") or is_picture(head))
        except Exception:  # pydicom raises many types; loading the clip says what is broken
            return ClipHeader()


def _dicom_header(path: Path) -> ClipHeader:
    import pydicom

    dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    reason = no_clip_reason(dataset)
    if "DirectoryRecordSequence" in dataset:
        reason += _missing_files(path.parent, dataset.DirectoryRecordSequence)
    patient, issuer, study = (
        str(dataset.get(name) or "").strip()
        for name in ("PatientID", "IssuerOfPatientID", "StudyInstanceUID")
    )
    return ClipHeader(
        no_clip_reason=reason,
        patient=_patient(issuer, patient),
        study=hash_id(study) if study else "",
        view=read_view(dataset)[0],
    )


def _missing_files(folder: Path, records: Iterable[Any]) -> str:
    """How many of the files that a DICOMDIR lists are not there; empty where all are."""
    listed = [record.get("ReferencedFileID") for record in itertools.islice(records, _MAX_RECORDS)]
    names = ["/".join([one] if isinstance(one, str) else map(str, one)) for one in listed if one]
    missing = [name for name in names if not inside(folder, name, allow_outside=True).is_file()]
    if not missing:
        return ""
    return f"; {len(missing)} of the {len(names)} files that it lists are not there"


def _patient(issuer: str, patient: str) -> str:
    return "" if _NO_PATIENT.fullmatch(patient) else hash_id(f"{issuer}|{patient}")
