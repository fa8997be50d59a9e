"""Which values of a report are sent to other systems, with their codes; of SR and FHIR alike.

Of an EF that is not reliable, or not of a whole beat, no number is sent, nor any other number of
the same masks: systems that collect numbers do not read the words beside them.

Codes: PS3.16 CID 12200, 12202 and 12300 (values), 12227 and 12228 (methods), 12226 (views), 12233
(phases). What has no code of a standard has one of this project, with the scheme `99ECHOSEG`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from echoseg.clip import View
from echoseg.inference.analysis import CORRECTED
from echoseg.io.dicom_view import view_code
from echoseg.measure.measurement import Measurement
from echoseg.report.biplane import BiplaneReport
from echoseg.report.schema import Report, ef_statement

OWN_SCHEME = "99ECHOSEG"
_BIPLANE = "biplane"


class Concept(NamedTuple):
    """A code: value, coding scheme, meaning."""

    value: str
    scheme: str
    meaning: str


LV, LA = Concept("87878005", "SCT", "Left ventricle"), Concept("82471001", "SCT", "Left atrium")
ED, ES = Concept("416190007", "SCT", "End diastole"), Concept("416430001", "SCT", "End Systole")
DISKS = Concept("125208", "DCM", "Method of Disks, Single Plane")
BIPLANE_DISKS = Concept("125207", "DCM", "Method of Disks, Biplane")
AREA_LENGTH = Concept("125205", "DCM", "Area-Length Single Plane")
BIPLANE_AREA_LENGTH = Concept("125204", "DCM", "Area-Length Biplane")
MILLILITRES, PERCENT = Concept("ml", "UCUM", "ml"), Concept("%", "UCUM", "%")
CENTIMETRES, SQUARE_CM = Concept("cm", "UCUM", "cm"), Concept("cm2", "UCUM", "cm2")
PER_MINUTE = Concept("/min", "UCUM", "/min")
TITLE = Concept("125200", "DCM", "Adult Echocardiography Procedure Report")
INDETERMINATE = Concept("114011", "DCM", "Value indeterminate")
_PRECOORDINATED = {
    ("ef", View.A4C): ("79993-2", "Left ventricular ejection fraction single plane 4C (MOD)"),
    ("ef", View.A2C): ("79992-4", "Left ventricular ejection fraction single plane 2C (MOD)"),
    ("edv", View.A4C): ("79999-9", "Left ventricular end diastolic volume single plane 4C (MOD)"),
    ("edv", View.A2C): ("79998-1", "Left ventricular end diastolic volume single plane 2C (MOD)"),
    ("esv", View.A4C): ("80004-5", "Left ventricular end systolic volume single plane 4C (MOD)"),
    ("esv", View.A2C): ("80003-7", "Left ventricular end systolic volume single plane 2C (MOD)"),
    ("ef", _BIPLANE): ("79991-6", "Left ventricular ejection fraction biplane (MOD)"),
    ("edv", _BIPLANE): ("79996-5", "Left ventricular end diastolic volume biplane (MOD)"),
    ("esv", _BIPLANE): ("80001-1", "Left ventricular end systolic volume biplane (MOD)"),
    ("lv_length_ed", View.A4C): ("79994-0", "Left ventricular end diastolic length 4C"),
}


_EF = Concept("18043-0", "LN", "Left Ventricular Ejection Fraction by US")
_EDV = Concept("18026-5", "LN", "Left Ventricular End Diastolic Volume")
_ESV = Concept("18148-7", "LN", "Left Ventricular End Systolic Volume")
_STROKE = Concept("90096001", "SCT", "Stroke Volume")
_LENGTH_ED = Concept("18077-8", "LN", "Left Ventricle diastolic major axis")
_LENGTH_ES = Concept("18076-0", "LN", "Left Ventricle systolic major axis")
_AREA_ED = Concept("399109006", "SCT", "Left Ventricular Diastolic Area")
_AREA_ES = Concept("399030000", "SCT", "Left Ventricular Systolic Area")
_LA_VOLUME = Concept("399235004", "SCT", "Left Atrium Systolic Volume")
_RATE = Concept("8867-4", "LN", "Heart rate")
_STRAIN = Concept(
    "contour_strain", OWN_SCHEME, "Shortening of endocardial contour, not speckle tracking"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A value that is sent.

    Attributes:
        key: Short name.
        name: Its code in TID 5200.
        number: In `unit`; None: measured or not, it is withheld.
        unit: UCUM code.
        site: Left ventricle or left atrium.
        phases: Phases it is of, ED before ES; none for a rate.
        method: How it is computed; None where that has no code.
        precoordinated: Its code in TID 5300, which holds view and method; None without one.
    """

    key: str
    name: Concept
    number: float | None
    unit: Concept
    site: Concept = LV
    phases: tuple[Concept, ...] = ()
    method: Concept | None = None
    precoordinated: Concept | None = None


def report_view(report: Report) -> View:
    """The view of the clip: as stated, otherwise as predicted."""
    predicted = report.predicted_view
    if report.input.view != View.UNKNOWN or predicted is None or predicted.view not in list(View):
        return View(report.input.view)
    return View(predicted.view)


def view_concept(view: View) -> Concept | None:
    """Code of a view; None where it has none."""
    code = view_code(view)
    return code and Concept(code.value, code.scheme_designator, code.meaning)


def has_plain_ef(report: Report | BiplaneReport) -> bool:
    """Whether the EF may be sent as a number."""
    return ef_statement(report).kind == "plain"


def sent_values(report: Report | BiplaneReport) -> tuple[Value, ...]:
    """The values that are sent; of an EF that may not be, it alone and without a number.

    Of two planes those of both together; each plane has its own.
    """
    is_biplane = isinstance(report, BiplaneReport)
    view = _BIPLANE if is_biplane else report_view(report)
    disks = BIPLANE_DISKS if is_biplane else DISKS

    def value(key: str, name: Concept, number: float | None, unit: Concept, **rest: Any) -> Value:
        code = _PRECOORDINATED.get((key, view))
        pre = code and Concept(code[0], "LN", code[1])
        number = None if number is None else round(number, 1)
        return Value(key=key, name=name, number=number, unit=unit, precoordinated=pre, **rest)

    results, both, one, two = report.results, (ED, ES), (ED,), (ES,)
    if not has_plain_ef(report):
        return (value("ef", _EF, None, PERCENT, phases=both, method=disks),)
    atrium = BIPLANE_AREA_LENGTH if is_biplane else AREA_LENGTH
    volumes = (
        value("ef", _EF, results.ef_percent, PERCENT, phases=both, method=disks),
        value("edv", _EDV, results.edv_ml, MILLILITRES, phases=one, method=disks),
        value("esv", _ESV, results.esv_ml, MILLILITRES, phases=two, method=disks),
        value(
            "stroke_volume", _STROKE, results.stroke_volume_ml, MILLILITRES, phases=both,
            method=disks,
        ),
    )  # fmt: skip
    la_volume = value(
        "la_volume", _LA_VOLUME, results.la_volume_ml, MILLILITRES, phases=two, site=LA,
        method=atrium,
    )  # fmt: skip
    others = ()
    if isinstance(results, Measurement):
        length_ed, length_es = map(_centimetres, (results.lv_length_ed_mm, results.lv_length_es_mm))
        others = (
            value("lv_length_ed", _LENGTH_ED, length_ed, CENTIMETRES, phases=one),
            value("lv_length_es", _LENGTH_ES, length_es, CENTIMETRES, phases=two),
            value("lv_area_ed", _AREA_ED, results.lv_area_ed_cm2, SQUARE_CM, phases=one),
            value("lv_area_es", _AREA_ES, results.lv_area_es_cm2, SQUARE_CM, phases=two),
            value("contour_strain", _STRAIN, results.gls_percent, PERCENT, phases=both),
            value("heart_rate", _RATE, results.heart_rate_bpm, PER_MINUTE),
        )
    return tuple(one for one in (*volumes, *others, la_volume) if one.number is not None)


def _centimetres(millimetres: float | None) -> float | None:
    return None if millimetres is None else millimetres / 10


def reliability_text(report: Report | BiplaneReport) -> str:
    """How far the EF can be relied on, in a sentence or two."""
    ef = ef_statement(report)
    if ef.kind == "plain" and ef.interval is not None:
        return f"{ef.interval_name} of the EF: {ef.interval_span}."
    if ef.kind == "plain":
        return "The reliability of the EF was not checked; there is no interval."
    if ef.kind == "part_of_beat" and ef.ef_percent is not None:
        return "The EF is not of a whole beat; no number is sent."
    withheld = "The EF is not reliable; no number is sent." if report.ef_reliable is False else ""
    return f"{withheld or 'There is no EF.'} {report.ef_reason}".strip()


def origin_text(report: Report | BiplaneReport) -> str:
    """What made the masks, in a few words."""
    planes = [report.a4c, report.a2c] if isinstance(report, BiplaneReport) else [report]
    model = planes[0].model
    if model is not None:
        return f"Masks by network {model.name}, not reviewed by a reader."
    if any(note.code == CORRECTED for plane in planes for note in plane.notes):
        return "Masks corrected by reader."
    return "Masks of another tool."
