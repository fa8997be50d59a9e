"""A DICOM header without what identifies a patient, made anew from a list of what may stay.

Not what is listed in PS3.15 Table E.1-1 is removed, but all that is not listed here: text, dates,
private elements, overlays, unknown elements. Numbers are read and written anew, codes of views are
replaced by those of PS3.16, other words must be of a list. UIDs are replaced by keyed hashes, so
that the objects of a study stay together. What results satisfies the Basic Application Level
Confidentiality Profile with the Clean Pixel Data Option (PS3.15 E.1, E.2, E.3.1).
"""

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from echoseg.io.dicom_time import read_numbers
from echoseg.io.dicom_view import read_view, view_code
from echoseg.private import Pseudonyms

_NUMBERS = ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate",
            "ActualFrameDuration", "EffectiveDuration", "FrameDelay", "StartTrim", "StopTrim",
            "HeartRate", "RWaveTimeVector", "PreferredPlaybackSequencing", "PixelAspectRatio",
            "PixelSpacing", "UltrasoundColorDataPresent", "SeriesNumber", "InstanceNumber",
            "LossyImageCompressionRatio")  # fmt: skip
_WORDS = {
    "BodyPartExamined": {"HEART"},
    "LossyImageCompression": {"00", "01"},
    "LossyImageCompressionMethod": {
        "ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_13818_2", "ISO_14496_10", "ISO_23008_2"
    },
    "Modality": {"US", "IVUS", "XC", "OT", "ES"},
}  # fmt: skip
"""Words that may stay, by keyword."""
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_POINTERS = {0x00181063: "FrameTime", 0x00181065: "FrameTimeVector"}
_VENDORS = ("GE", "Philips", "Siemens", "Canon", "Toshiba", "Samsung", "Medison", "Mindray",
            "Esaote", "Hitachi", "Aloka", "SonoSite", "Fujifilm", "Acuson", "echoseg")  # fmt: skip
_IMAGE_TYPES = {
    "ORIGINAL",
    "DERIVED",
    "PRIMARY",
    "SECONDARY",
    "TTE",
    "TEE",
    "INTRACARDIAC",
    "STRESS",
}
_REGION_VRS = ("US", "UL", "SS", "SL", "FD", "FL")
_EMPTY = ("PatientBirthDate", "PatientSex", "ReferringPhysicianName", "StudyDate", "StudyTime",
          "AccessionNumber", "StudyID", "PatientOrientation", "SeriesNumber", "InstanceNumber",
          "Laterality")  # fmt: skip
"""Elements of type 2: present, without a value."""
_METHODS = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
}
"""PS3.16 CID 7050."""


def clean_header(source: Any, names: Pseudonyms) -> Any:
    """A new dataset with what may stay of an object's header; pixels and their description lack.

    Args:
        source: The object, whose pixels are not read.
        names: Their key makes UIDs and the patient's pseudonym.
    """
    from pydicom.dataset import Dataset

    clean = Dataset()
    for keyword in _EMPTY:
        setattr(clean, keyword, "")
    for keyword in _NUMBERS:
        _copy_numbers(clean, source, keyword)
    for keyword, words in _WORDS.items():
        if (word := _text(source, keyword)) in words:
            setattr(clean, keyword, word)
    _copy_image_type(clean, source)
    _copy_pointer(clean, source)
    clean.Manufacturer = _vendor(_text(source, "Manufacturer"))
    regions = source.get("SequenceOfUltrasoundRegions") or []
    if regions:
        clean.SequenceOfUltrasoundRegions = [_clean_region(region) for region in regions]
    if code := view_code(read_view(source)[0]):
        clean.ViewCodeSequence = [_code(code.value, code.scheme_designator, code.meaning)]
    identify(clean, source, names)
    return clean


def removed_keywords(source: Any, clean: Any) -> tuple[list[str], int]:
    """Names of the filled elements, at any depth, that a clean header lacks or changes.

    Returns:
        Keywords of public elements in alphabetical order, and the number of private elements.
    """
    remaining = {(element.tag, str(element.value)) for element in clean.iterall()}
    keywords, num_private = set(), 0
    for element in source.iterall():
        if element.tag.is_private:
            num_private += 1
        elif element.VR != "SQ" and element.tag.group < 0x7F00 and not element.is_empty:
            if (element.tag, str(element.value)) not in remaining:
                keywords.add(element.keyword or f"({element.tag.group:04X},{element.tag.elem:04X})")
    return sorted(keywords), num_private


def _text(dataset: Any, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip()
    except Exception:  # pydicom parses an element when it is asked for
        return ""


def _copy_numbers(clean: Any, source: Any, keyword: str) -> None:
    """Copy an element that holds numbers only; what is not a number is left out."""
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import DS

    numbers, _ = read_numbers(source, keyword)
    if not numbers:
        return
    vr = dictionary_VR(keyword)
    convert = (lambda n: DS(n, auto_format=True)) if vr == "DS" else float if vr[0] == "F" else int
    values = [convert(number) for number in numbers]
    setattr(clean, keyword, values if len(values) > 1 else values[0])


def _copy_image_type(clean: Any, source: Any) -> None:
    """Image Type: value 1 is DERIVED, since pixels change; words of a list, and the flags."""
    values = _text(source, "ImageType").strip("[]").replace("'", "").replace("\\", ",").split(",")
    values = [value.strip().upper() for value in values]
    remaining = [value if value in _IMAGE_TYPES else "" for value in values[1:3]]
    flags = values[3] if len(values) > 3 and re.fullmatch(r"[0-9A-F]{4}", values[3]) else ""
    primary, mode = (*remaining, "", "")[:2]
    clean.ImageType = ["DERIVED", primary or "PRIMARY", *([mode, flags] if mode or flags else [])]


def _copy_pointer(clean: Any, source: Any) -> None:
    try:
        keyword = _POINTERS.get(int(source.get("FrameIncrementPointer") or 0))
    except (TypeError, ValueError):
        keyword = None
    present = [name for name in (keyword, *_POINTERS.values()) if name and name in clean]
    if present:
        clean.FrameIncrementPointer = next(t for t, name in _POINTERS.items() if name == present[0])


def _vendor(text: str) -> str:
    """The vendor's name in our own letters; empty where it is not known."""
    return next((v for v in _VENDORS if re.search(rf"\b{v}\b", text, re.IGNORECASE)), "")


_KINDS = {
    "PN": "names of persons", "UI": "UIDs", "SQ": "sequences",
    **dict.fromkeys(("DA", "TM", "DT", "AS"), "dates, times and ages"),
    **dict.fromkeys(("LO", "SH", "LT", "ST", "UC", "UT", "CS", "AE", "UR"), "texts and codes"),
}  # fmt: skip
"""What a value representation (VR) holds."""


def summarize(keywords: Sequence[str], num_private: int) -> str:
    """What was removed or replaced, by kind and number, in words."""
    from pydicom.datadict import dictionary_VR

    kinds: dict[str, int] = {}
    for keyword in keywords:
        try:
            kind = _KINDS.get(dictionary_VR(keyword), "numbers and others")
        except (KeyError, ValueError):  # of no keyword
            kind = "numbers and others"
        kinds[kind] = kinds.get(kind, 0) + 1
    if num_private:
        kinds["private elements"] = num_private
    return ", ".join(f"{kind}: {number}" for kind, number in sorted(kinds.items()))


def _clean_region(region: Any) -> Any:
    """A region's elements that are binary numbers."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
    from pydicom.dataset import Dataset

    clean = Dataset()
    for tag in region.keys():
        if dictionary_has_tag(tag) and dictionary_VR(tag) in _REGION_VRS:
            _copy_numbers(clean, region, keyword_for_tag(tag))
    return clean


def _code(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def identify(clean: Any, source: Any, names: Pseudonyms) -> None:
    """Add the class, pseudonyms, new UIDs, and what says that the object is de-identified."""
    from pydicom.uid import UID

    for keyword in (*_UIDS[:2], *(name for name in _UIDS[2:] if name in source)):
        # objects without a UID are of no study but their own
        old = _text(source, keyword) or f"{keyword} of {_text(source, 'SOPInstanceUID')}"
        setattr(clean, keyword, UID(names.uid(old)))
    if "FrameOfReferenceUID" in clean:
        clean.PositionReferenceIndicator = ""
    clean.SOPClassUID = source.SOPClassUID
    clean.SOPInstanceUID = UID(names.uid(_text(source, "SOPInstanceUID")))
    patient = "|".join(_text(source, name) for name in ("IssuerOfPatientID", "PatientID"))
    subject = f"subject-{names.digest('patient', patient)}" if patient != "|" else ""
    clean.PatientID, clean.PatientName = subject, f"{subject}^" if subject else ""
    clean.PatientIdentityRemoved = "YES"
    clean.LongitudinalTemporalInformationModified = "REMOVED"
    clean.BurnedInAnnotation = "NO"
    clean.DeidentificationMethod = [
        f"echoseg {version('echoseg')}",
        *(f"PS3.15 {name}" for name in _METHODS.values()),
    ]
    clean.DeidentificationMethodCodeSequence = [
        _code(value, "DCM", meaning) for value, meaning in _METHODS.items()
    ]
