"""What a DICOM file states of itself, before anything is believed: for `echoseg inspect`.

Values are numbers, codes and names of machines. Of elements that identify a patient, and of texts,
only the names are given, so that the output can be sent with a report of an error.
"""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.errors import reason_of
from echoseg.io.formats import find_format

_NUMBERS = ("AT", "CS", "DS", "FD", "FL", "IS", "SL", "SS", "UI", "UL", "US")
"""Value representations without texts, names and dates."""
_GROUPS = (0x0002, 0x0008, 0x0018, 0x0020, 0x0028)
_MACHINE = ("Manufacturer", "ManufacturerModelName")
_NO_UIDS = re.compile(r"Instance\w*UID|FrameOfReferenceUID|Dimension\w*UID|Implementation")
_IDENTITY = re.compile(
    r"Patient|Birth|Institution|Physician|Operator|Perform|Request|Referring|Accession|Station|"
    r"SerialNumber|StudyID|Comments|Description|ProtocolName|Address|Telephone|Insurance|Record|"
    r"Occupation|Ethnic|DeviceUID|Reader|Observer|Admission"
)
_NO_IDENTITY = re.compile(r"PatientOrientation|ImagePosition|^PatientIdentityRemoved$")


def describe(path: Path) -> dict[str, dict[str, str]]:
    """List what a DICOM file states, section by section; nothing of other formats.

    Raises:
        FormatError: If the file is missing, or of no known format.
        OSError: If it cannot be read.
    """
    import pydicom

    if find_format(path) != "dicom":
        return {}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        regions = dataset.get("SequenceOfUltrasoundRegions") or []
        names = {_identity(element) for element in dataset.iterall()}
        return {
            "elements": _elements(getattr(dataset, "file_meta", {})) | _elements(dataset),
            **{f"region {i}": _elements(region) for i, region in enumerate(regions)},
            "identity (names only)": {"present": ", ".join(sorted(names - {""}))},
        }


def _elements(dataset: Any) -> dict[str, str]:
    """The elements that hold numbers or codes, even when empty or broken."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag

    rows = {}
    for tag in sorted(dataset.keys()):
        name = keyword_for_tag(tag)
        is_number = dictionary_has_tag(tag) and dictionary_VR(tag) in _NUMBERS
        if tag.group in _GROUPS and (is_number or name in _MACHINE) and not _NO_UIDS.search(name):
            rows[name] = _text(dataset, tag)
    return rows


def _text(dataset: Any, tag: Any) -> str:
    """The value of an element; a long one by number, ends and extremes."""
    from pydicom.datadict import keyword_for_tag
    from pydicom.uid import UID

    try:
        element = dataset[tag]
        values: list[Any] = list(element.value) if element.VM > 1 else [element.value]
    except Exception as error:  # no valid number, such as 33,333
        return f"cannot be read: {reason_of(error)}"
    if element.VM == 0:
        return "empty"
    if element.VR == "AT":
        values = [keyword_for_tag(one) or one for one in values]
    elif element.VR == "UI":
        values = [f"{UID(str(one)).name} ({one})" for one in values]
    elif len(values) > 8:
        numbers = np.asarray(values, float)
        ends = f"{numbers[0]:g} {numbers[1]:g} ... {numbers[-1]:g}"
        return f"{len(numbers)} values, {ends}, {numbers[1:].min():g} to {numbers[1:].max():g}"
    return " ".join(" ".join(map(str, values)).split())[:100]


def _identity(element: Any) -> str:
    """Name of an element that may identify a patient and is filled; empty of any other."""
    if element.VR == "SQ" or element.is_empty:
        return ""
    if element.tag.is_private:
        return "private elements"
    name = element.keyword
    is_named = element.VR in ("PN", "DA", "DT") or bool(_IDENTITY.search(name))
    return name if is_named and not _NO_IDENTITY.search(name) else ""
