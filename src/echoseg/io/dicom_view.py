"""The view that a DICOM object names: View Code Sequence (PS3.16 CID 12226), SCT or older SRT."""

from typing import Any

from echoseg.clip import ClipWarning, View

_VIEWS = {
    "ApicalFourChamber": View.A4C,
    "ApicalTwoChamber": View.A2C,
    "ApicalLongAxis": View.ALAX,
    "ParasternalLongAxis": View.PLAX,
    "ParasternalShortAxis": View.PSAX,
    "ParasternalShortAxisAtTheAorticValveLevel": View.PSAX,
    "ParasternalShortAxisAtTheLevelOfTheMitralChords": View.PSAX,
    "ParasternalShortAxisAtTheMitralValveLevel": View.PSAX,
    "ParasternalShortAxisAtThePapillaryMuscleLevel": View.PSAX,
}
"""Keyword in CID 12226 -> view; the first of a view is written."""


def view_code(view: View) -> Any:
    """Code of a view, a `pydicom.sr.coding.Code`; None when it has none."""
    from pydicom.sr.codedict import codes

    keyword = next((keyword for keyword, named in _VIEWS.items() if named == view), None)
    return keyword and getattr(codes.cid12226, keyword)


def _standard_name(value: str, scheme: str) -> str:
    """The name of a view's code in PS3.16 CID 12226; the file's own texts are never repeated."""
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    for known in codes.cid12226.concepts.values():
        if known == Code(value, scheme, ""):
            return f"{known.meaning!r} ({known.scheme_designator} {known.value})"
    return "a code that is not of PS3.16 CID 12226"


def read_view(dataset: Any) -> tuple[View, tuple[ClipWarning, ...]]:
    """Read the view from the object's code, with a warning where the code is unknown.

    Text such as Series Description is not used: machines fill it with presets.
    """
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    sequence = dataset.get("ViewCodeSequence")
    if not sequence:
        return View.UNKNOWN, ()
    item = sequence[0]
    value, scheme, meaning = (
        str(item.get(name, "")) for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    )
    code = Code(value, scheme, meaning)
    for keyword, view in _VIEWS.items():
        if code == getattr(codes.cid12226, keyword):  # SRT's codes are equal to SCT's
            return view, ()
    name = _standard_name(value, scheme)
    message = (
        f"The file gives an unknown view, {name}: masks and numbers may be invalid. Give "
        "--view (view) if the file is wrong."
    )
    return View.UNKNOWN, (ClipWarning(code="view_in_file", message=message),)
