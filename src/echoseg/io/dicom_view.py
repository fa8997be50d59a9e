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
"""Keyword in CID 12226 -> view; a view's first one is written."""


def view_code(view: View) -> Any:
    """Return a view's code, a `pydicom.sr.coding.Code`; None when it has none."""
    from pydicom.sr.codedict import codes

    keyword = next((keyword for keyword, named in _VIEWS.items() if named == view), None)
    return keyword and getattr(codes.cid12226, keyword)


def read_view(dataset: Any) -> tuple[View, tuple[ClipWarning, ...]]:
    """Return the view an object's code names, and a warning where it names one we have no word for.

    Text such as Series Description is not trusted: machines fill it with presets.
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
    found = Code(value, scheme, meaning)
    for keyword, view in _VIEWS.items():
        if found == getattr(codes.cid12226, keyword):  # SRT's codes are equal to SCT's
            return view, ()
    message = (
        f"the file says that its view is {meaning or 'unnamed'!r} ({scheme} {value}), which is "
        "none that is known here: masks and numbers may mean nothing. Pass --view if that is wrong"
    )
    return View.UNKNOWN, (ClipWarning(code="view_in_file", message=message),)
