"""Patient and study of a source, as every object of its results repeats them.

Identifiers and names stay as they are, right or wrong, since a PACS matches by them; elements of
another type than the dictionary's get the right one. Other values that break the rules of their
type are left out, as dates of old files are unless they can be read.
"""

import contextlib
import copy
from collections.abc import Sequence
from typing import Any

_PATIENT = (
    "PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex "
    "PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence"
).split()
_STUDY = (
    "StudyInstanceUID StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName "
    "StudyDescription PatientAge PatientSize PatientWeight"
).split()
_EMPTY = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID "
    "AccessionNumber ReferringPhysicianName"
).split()
"""Type 2: present, and empty where the source lacks them (PS3.3 C.7.1.1, C.7.2.1)."""
_CHECKED = ("AS", "CS", "DA", "DS", "TM")
"""Types whose values say nothing where they break their rules."""


def add_identity(dataset: Any, header: Any) -> None:
    """Add patient and study of a source's header to a `pydicom.Dataset`."""
    for name in (*_PATIENT, *_STUDY):
        if name in header:
            dataset.add(copy.deepcopy(header[name]))
        elif name in _EMPTY:
            setattr(dataset, name, "")


def mend_identity(header: Any) -> None:
    """Mend patient and study of a header in place, and decode its texts."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    _declare_utf8(header)
    with contextlib.suppress(Exception):  # texts of an unknown character set stay as they are
        header.decode()
    for name in (*_PATIENT, *_STUDY):
        tag = tag_for_keyword(name) or 0
        vr = dictionary_VR(tag)
        if name not in header or vr == "SQ":
            continue
        try:
            element = header[name]
            old = _text(element.value, vr)
        except Exception:  # pydicom raises many types for values that it cannot convert
            old, element = "", None
        new = _mended(vr, old)
        if not new and name not in _EMPTY:
            del header[name]
        elif element is None or element.VR != vr or element.VM > 1 or new != old:
            header.add_new(tag, vr, new)


def _text(value: Any, vr: str) -> str:
    """A value as one text; several values with the backslash that was between them."""
    if isinstance(value, bytes):
        value = value.decode("latin-1").rstrip("\0 ")
    if vr != "PN" and isinstance(value, Sequence) and not isinstance(value, str):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)


def _mended(vr: str, text: str) -> str:
    """A value that follows the rules of its type, where it is one that says nothing otherwise."""
    if vr not in _CHECKED or _is_valid(vr, text):
        return text
    plain = text.strip().translate({ord(mark): None for mark in ".:"})  # as in ACR-NEMA
    return plain if vr in ("DA", "TM") and _is_valid(vr, plain) else ""


def _is_valid(vr: str, text: str) -> bool:
    from pydicom import config
    from pydicom.valuerep import validate_value

    try:
        validate_value(vr, text, config.RAISE)
    except ValueError:
        return False
    return True


def _declare_utf8(header: Any) -> None:
    """Declare UTF-8 where no known character set is stated and the name is in no other."""
    from pydicom.charset import python_encoding

    stated = header.get("SpecificCharacterSet") or ""
    values = [stated] if isinstance(stated, str) else list(stated)
    name = header.get_item("PatientName") if "PatientName" in header else None
    raw = getattr(name, "value", None)
    if any(one and one in python_encoding for one in values) or not isinstance(raw, bytes):
        return
    try:
        is_utf8 = not raw.isascii() and bool(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return
    if is_utf8:
        header.SpecificCharacterSet = "ISO_IR 192"
        header.read_encoding = ["utf-8"]
