"""What a DICOM object states of itself: numbers, defined terms, and names of what identifies."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.io.describe_words import Header, word
from echoseg.io.dicom_series import series_files
from echoseg.io.quiet import quiet

_NUMBERS = ("AT", "CS", "DS", "FD", "FL", "IS", "SL", "SS", "UI", "UL", "US")
"""Value representations without texts, names and dates."""
_GROUPS = (0x0002, 0x0008, 0x0018, 0x0020, 0x0028)
_CLASSES = ("MediaStorageSOPClassUID", "TransferSyntaxUID", "SOPClassUID")
"""The UIDs of a standard; others are of one study, image or device."""
_MAKERS = {
    "Manufacturer": "GE Philips Siemens Canon Toshiba Hitachi Fujifilm SonoSite Samsung Medison "
    "Mindray Esaote Aloka Acuson Butterfly Terason Zonare Clarius Lumify Vingmed TomTec",
    "ManufacturerModelName": "Vivid LOGIQ Venue Voluson EPIQ iE33 CX50 Affiniti HD11 HD15 Sparq "
    "Sonos Acuson SC2000 Sequoia Cypress Artida Aplio Xario Lisendo MyLab M-Turbo M9 EchoPAC "
    "Edge X-Porte S-Nerve MicroMaxx TITAN Butterfly uSmart Terason",
}
"""Elements of free text, and the names in them that are repeated."""
_SEQUENCES = ("ViewCodeSequence", "SequenceOfUltrasoundRegions", "WaveformSequence",
              "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence",
              "DirectoryRecordSequence")  # fmt: skip
_IDENTITY = re.compile(
    r"Patient|Birth|Institution|Physician|Operator|Perform|Request|Referring|Accession|Station|"
    r"SerialNumber|StudyID|Comments|Description|ProtocolName|Address|Telephone|Insurance|Record|"
    r"Occupation|Ethnic|DeviceUID|Reader|Observer|Admission"
)
_NO_IDENTITY = re.compile(r"PatientOrientation|ImagePosition|^PatientIdentityRemoved$")


def dicom_header(path: Path) -> Header:
    """The elements of an object that hold numbers or defined terms, even when empty or broken."""
    import pydicom

    with quiet():
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        sections = {"elements": _elements(getattr(dataset, "file_meta", {})) | _elements(dataset)}
        sections["elements"] |= {
            name: len(dataset.get(name) or []) for name in _SEQUENCES if name in dataset
        }
        for index, region in enumerate(dataset.get("SequenceOfUltrasoundRegions") or []):
            sections[f"region {index}"] = _elements(region)
        names = {_identity(element) for element in dataset.iterall()}
    return Header(sections, sorted(names - {""}))


def series_header(path: Path) -> Header:
    """The elements of the first file of a series, and the number of files."""
    files = series_files(path)
    header = dicom_header(files[0])
    return Header({"folder": {"files": len(files)}, **header.sections}, header.identity)


def _elements(dataset: Any) -> dict[str, Any]:
    from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag

    rows = {}
    for tag in sorted(dataset.keys()):
        name = keyword_for_tag(tag)
        kind = dictionary_VR(tag) if dictionary_has_tag(tag) else ""
        is_shown = kind in _NUMBERS and (kind != "UI" or name in _CLASSES)
        if tag.group in _GROUPS and tag.elem and (is_shown or name in _MAKERS):
            rows[name] = _text(dataset, tag, name)
    return rows


def _text(dataset: Any, tag: Any, name: str) -> str:
    """The value of an element; a long one by number, ends and extremes."""
    from pydicom.datadict import keyword_for_tag
    from pydicom.uid import UID

    try:
        element = dataset[tag]
        values: list[Any] = list(element.value) if element.VM > 1 else [element.value]
    except Exception:  # pydicom raises many types
        return "not valid"
    if element.VM == 0:
        return "empty"
    if name in _MAKERS:
        words = re.findall(r"[\w-]+", " ".join(map(str, values)).lower())
        known = [maker for maker in _MAKERS[name].split() if maker.lower() in words]
        return " ".join(known) or "another name (not shown)"
    if element.VR == "AT":
        return " ".join(keyword_for_tag(one) or word(one) for one in values)
    if element.VR == "UI":
        uid = UID(str(values[0]))
        is_known = uid.name != uid
        return f"{uid.name} ({uid})" if is_known else uid if uid.is_valid else word(uid)
    if len(values) > 8:
        try:
            numbers = np.asarray(values, float)
        except ValueError:
            return f"{len(values)} values, not all are numbers"
        ends = f"{numbers[0]:g} {numbers[1]:g} ... {numbers[-1]:g}"
        return f"{len(numbers)} values, {ends}, {numbers[1:].min():g} to {numbers[1:].max():g}"
    return word(" ".join(map(str, values)))


def _identity(element: Any) -> str:
    """Name of an element that may identify a patient and is filled; empty of any other."""
    if element.VR == "SQ" or element.is_empty:
        return ""
    if element.tag.is_private:
        return "private elements"
    name = element.keyword
    is_named = element.VR in ("PN", "DA", "DT") or bool(_IDENTITY.search(name))
    return name if is_named and not _NO_IDENTITY.search(name) else ""
