"""The pages of a clip and of a biplane analysis, each in one file."""

from html import escape
from io import BytesIO

from echoseg.clip import View
from echoseg.inference.analysis import Analysis
from echoseg.measure.reference import HEART_FAILURE_2021, NormalRange
from echoseg.report.biplane import BiplaneAnalysis, BiplaneReport
from echoseg.report.figures.curve import curve_png
from echoseg.report.figures.overlay import frame_picture
from echoseg.report.html import quantity, render
from echoseg.report.schema import Report, build_report

_VALUES: tuple[tuple[str, str, str, int], ...] = (
    ("Ejection fraction", "ef_percent", "%", 0),
    ("SD of EF over the beats", "ef_sd_points", "points", 1),
    ("End-diastolic volume, disks", "edv_ml", "ml", 0),
    ("End-systolic volume, disks", "esv_ml", "ml", 0),
    ("Stroke volume", "stroke_volume_ml", "ml", 0),
    ("End-diastolic volume, area-length", "edv_area_length_ml", "ml", 0),
    ("End-systolic volume, area-length", "esv_area_length_ml", "ml", 0),
    ("LV length at ED", "lv_length_ed_mm", "mm", 0),
    ("LV length at ES", "lv_length_es_mm", "mm", 0),
    ("LV area at ED", "lv_area_ed_cm2", "cm\u00b2", 1),
    ("LV area at ES", "lv_area_es_cm2", "cm\u00b2", 1),
    ("Fractional area change", "fractional_area_change_percent", "%", 0),
    ("Longitudinal strain of the contour (not speckle tracking)", "gls_percent", "%", 1),
    ("Mitral annular excursion", "annular_excursion_mm", "mm", 1),
    ("Left atrial volume at ES, one plane", "la_volume_ml", "ml", 0),
    ("Mean wall thickness at ED", "wall_thickness_mm", "mm", 1),
    ("LV mass, estimate from one plane", "lv_mass_g", "g", 0),
    ("Peak ejection rate", "peak_ejection_rate_edv_per_s", "EDV/s", 1),
    ("Peak ejection rate", "peak_ejection_rate_ml_per_s", "ml/s", 0),
    ("Peak filling rate", "peak_filling_rate_edv_per_s", "EDV/s", 1),
    ("Peak filling rate", "peak_filling_rate_ml_per_s", "ml/s", 0),
    ("Heart rate", "heart_rate_bpm", "bpm", 0),
)
"""Title, field of `Measurement`, unit, digits."""


def measured_values(report: Report) -> list[tuple[str, str, NormalRange | None]]:
    """Title, value with unit, and normal range of everything that was measured."""
    return [
        (title, quantity(value, unit, digits=digits), report.normal_ranges.get(key))
        for title, key, unit, digits in _VALUES
        if (value := getattr(report.results, key)) is not None
    ]


def provenance(report: Report, digits: int = 16) -> str:
    """Software, model, hashes and method in one sentence."""
    model = "masks from another tool"
    if report.model is not None:
        model = (
            f"model {report.model.name} ({report.model.licence}), "
            f"weights sha256 {report.model.sha256[:digits]}"
        )
    return (
        f"echoseg {report.software.version}, {model}, input sha256 "
        f"{report.input.sha256[:digits]}. {report.results.method}."
    )


def page_html(analysis: Analysis, report: Report, curve: bytes, video: str = "") -> str:
    """Render a clip's page, with its curve (PNG) or, where given, its overlay (its address)."""
    return render(
        "clip.html",
        title=report.input.file_name or "clip",
        report=report,
        ef=analysis.ef,
        beats=analysis.measurement.beats_text,
        scheme=HEART_FAILURE_2021,
        values=measured_values(report),
        stills=_stills(analysis),
        curve=curve,
        video=video,
        provenance=provenance(report),
    )


def _stills(analysis: Analysis) -> list[tuple[str, bytes]]:
    """Caption and JPEG of ED and ES, with the long axis and the disks."""
    measurement, stills = analysis.measurement, []
    for phase, frame in (("ED", measurement.ed_frame), ("ES", measurement.es_frame)):
        if frame is not None:
            buffer = BytesIO()
            frame_picture(analysis, frame, disks=True).save(buffer, "JPEG", quality=88)
            stills.append((f"{phase}, frame {frame}", buffer.getvalue()))
    return stills


def notebook_html(analysis: Analysis) -> str:
    """The page without its video, in a frame that keeps its style from the notebook's."""
    page = page_html(analysis, build_report(analysis), curve_png(analysis))
    attributes = f'style="width: 100%; height: 640px; border: 0" title="{escape(repr(analysis))}"'
    return f'<iframe {attributes} srcdoc="{escape(page)}"></iframe>'


_BIPLANE_VALUES = (
    ("End-diastolic volume", "edv_ml", "ml"),
    ("End-systolic volume", "esv_ml", "ml"),
    ("Stroke volume", "stroke_volume_ml", "ml"),
    ("Left atrial volume at ES", "la_volume_ml", "ml"),
    ("LV length at ED", "lv_length_ed_mm", "mm"),
    ("Heart rate", "heart_rate_bpm", "bpm"),
)


def biplane_values(
    analysis: BiplaneAnalysis, report: BiplaneReport
) -> list[tuple[str, list[str], NormalRange | None]]:
    """Title, values of both planes, A4C and A2C, where their EF is stated, and normal range."""
    sides = (
        (analysis.ef, report.results),
        (analysis.a4c.ef, report.a4c.results),
        (analysis.a2c.ef, report.a2c.results),
    )
    return [
        (
            title,
            [quantity(getattr(one, key, None), unit) if ef.value else "" for ef, one in sides],
            report.normal_ranges.get(key),
        )
        for title, key, unit in _BIPLANE_VALUES
    ]


def biplane_page_html(analysis: BiplaneAnalysis, report: BiplaneReport, name: str) -> str:
    """Render a biplane page; it links to the page of each plane in the folders next to it."""
    rows = biplane_values(analysis, report)
    planes = [
        {
            "view": view,
            "file_name": plane_report.input.file_name,
            "ef": plane.ef,
            "stills": _stills(plane),
            "curve": curve_png(plane),
            "provenance": provenance(plane_report),
        }
        for view, plane, plane_report in (
            (View.A4C, analysis.a4c, report.a4c),
            (View.A2C, analysis.a2c, report.a2c),
        )
    ]
    return render(
        "biplane.html", title=name, report=report, ef=analysis.ef, rows=rows, planes=planes
    )
