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
from echoseg.report.schema import Report

OWN_SCHEME = "99ECHOSEG"


class Concept(NamedTuple):
    """A code: value, coding scheme, meaning."""

    value: str
    scheme: str
    meaning: str


LV, LA = Concept("87878005", "SCT", "Left ventricle"), Concept("82471001", "SCT", "Left atrium")
ED, ES = Concept("416190007", "SCT", "End diastole"), Concept("416430001", "SCT", "End Systole")
DISKS = Concept("125208", "DCM", "Method of Disks, Single Plane")
AREA_LENGTH = Concept("125205", "DCM", "Area-Length Single Plane")
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
    ("lv_length_ed", View.A4C): ("79994-0", "Left ventricular end diastolic length 4C"),
}


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


def has_plain_ef(report: Report) -> bool:
    """Whether the EF may be sent as a number."""
    return report.results.ef_percent is not None and not report.results.is_part_of_beat


def sent_values(report: Report) -> tuple[Value, ...]:
    """The values that are sent; of an EF that may not be, it alone and without a number."""
    results, view = report.results, report_view(report)

    def value(key: str, name: Concept, number: float | None, unit: Concept, **rest: Any) -> Value:
        code = _PRECOORDINATED.get((key, view))
        pre = code and Concept(code[0], "LN", code[1])
        number = None if number is None else round(number, 1)
        return Value(key=key, name=name, number=number, unit=unit, precoordinated=pre, **rest)

    def centimetres(millimetres: float | None) -> float | None:
        return None if millimetres is None else millimetres / 10

    ef_name = Concept("18043-0", "LN", "Left Ventricular Ejection Fraction by US")
    if not has_plain_ef(report):
        return (value("ef", ef_name, None, PERCENT, phases=(ED, ES), method=DISKS),)
    strain = Concept(
        "contour_strain", OWN_SCHEME, "Shortening of endocardial contour, not speckle tracking"
    )
    edv, esv = (
        Concept("18026-5", "LN", "Left Ventricular End Diastolic Volume"),
        Concept("18148-7", "LN", "Left Ventricular End Systolic Volume"),
    )
    long_ed, long_es = (
        Concept("18077-8", "LN", "Left Ventricle diastolic major axis"),
        Concept("18076-0", "LN", "Left Ventricle systolic major axis"),
    )
    area_ed, area_es = (
        Concept("399109006", "SCT", "Left Ventricular Diastolic Area"),
        Concept("399030000", "SCT", "Left Ventricular Systolic Area"),
    )
    stroke = Concept("90096001", "SCT", "Stroke Volume")
    atrium = Concept("399235004", "SCT", "Left Atrium Systolic Volume")
    rate = Concept("8867-4", "LN", "Heart rate")
    both, one, two = {"phases": (ED, ES)}, {"phases": (ED,)}, {"phases": (ES,)}
    disks, ml, cm = {"method": DISKS}, MILLILITRES, CENTIMETRES
    la = {"site": LA, "method": AREA_LENGTH}
    length_ed, length_es = map(centimetres, (results.lv_length_ed_mm, results.lv_length_es_mm))
    values = (
        value("ef", ef_name, results.ef_percent, PERCENT, **both, **disks),
        value("edv", edv, results.edv_ml, ml, **one, **disks),
        value("esv", esv, results.esv_ml, ml, **two, **disks),
        value("stroke_volume", stroke, results.stroke_volume_ml, ml, **both, **disks),
        value("lv_length_ed", long_ed, length_ed, cm, **one),
        value("lv_length_es", long_es, length_es, cm, **two),
        value("lv_area_ed", area_ed, results.lv_area_ed_cm2, SQUARE_CM, **one),
        value("lv_area_es", area_es, results.lv_area_es_cm2, SQUARE_CM, **two),
        value("contour_strain", strain, results.gls_percent, PERCENT, **both),
        value("heart_rate", rate, results.heart_rate_bpm, PER_MINUTE),
        value("la_volume", atrium, results.la_volume_ml, ml, **two, **la),
    )
    return tuple(one for one in values if one.number is not None)


def reliability_text(report: Report) -> str:
    """How far the EF can be relied on, in a sentence or two."""
    interval = report.reliability.interval if report.reliability else None
    if has_plain_ef(report) and interval is not None:
        return (
            f"{interval.level_percent:.0f} % interval of the EF: {interval.low_percent:.0f} to "
            f"{interval.high_percent:.0f} %."
        )
    if has_plain_ef(report):
        return "The reliability of the EF was not checked; there is no interval."
    if report.results.ef_percent is not None:
        return "The EF is not of a whole beat; no number is sent."
    withheld = "The EF is not reliable; no number is sent." if report.ef_reliable is False else ""
    return f"{withheld or 'There is no EF.'} {report.ef_reason}".strip()


def origin_text(report: Report) -> str:
    """What made the masks, in a few words."""
    if report.model is not None:
        return f"Masks by network {report.model.name}, not reviewed by a reader."
    if any(note.code == CORRECTED for note in report.notes):
        return "Masks corrected by reader."
    return "Masks of another tool."
