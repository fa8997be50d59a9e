"""Which study a DICOM object is of, as a hash, and the day of its acquisition."""

import hashlib
from datetime import date
from typing import Any

_DAYS = ("AcquisitionDate", "ContentDate", "StudyDate")
_NUM_DIGITS = 16


def hash_id(text: str) -> str:
    """What stands for an identifier: the start of its SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_NUM_DIGITS]


def read_study(dataset: Any) -> tuple[str, str]:
    """Hash of the Study Instance UID, and the day in ISO form; empty where they are not stated."""
    uid = _text(dataset, "StudyInstanceUID")
    days = (_iso_day(_text(dataset, name)) for name in _DAYS)
    return hash_id(uid) if uid else "", next(filter(None, days), "")


def _text(dataset: Any, name: str) -> str:
    try:
        return str(dataset.get(name) or "").strip()
    except Exception:  # pydicom parses an element when it is asked for
        return ""


def _iso_day(text: str) -> str:
    """A DICOM date (`20260131`) in ISO form; empty where not one, or a placeholder."""
    try:
        day = date(int(text[:4]), int(text[4:6]), int(text[6:8])) if len(text) == 8 else None
    except ValueError:
        return ""
    return day.isoformat() if day is not None and day.year > 1900 else ""
