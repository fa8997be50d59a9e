"""The reports of a clip and of a biplane analysis as pages, each in one file."""

from html import escape

from echoseg.clip import View
from echoseg.inference.analysis import Analysis
from echoseg.measure.reference import NormalRange
from echoseg.report.biplane import BiplaneAnalysis, BiplaneReport
from echoseg.report.figures import content
from echoseg.report.figures.content import Content
from echoseg.report.figures.overlay import picture_size
from echoseg.report.html import quantity, render
from echoseg.report.schema import Report, build_report

DEFAULT_RATE_HZ = 30.0
"""Frame rate of the overlay of a clip without times."""


def clip_content(analysis: Analysis, report: Report) -> Content:
    """The report of a clip."""
    name = report.input.file_name or "clip"
    beats = analysis.measurement.beats_text
    return {
        "title": f"Left ventricle: {name}",
        "disclaimer": report.disclaimer,
        "facts": content.facts(report),
        "ef": content.statement(analysis.ef, "Ejection fraction", beats=beats),
        "keys": content.key_values(analysis, report),
        "reading": content.reading_lines(report),
        "reader": report.reading.reader if report.reading else "",
        "read_on": report.reading.read_on if report.reading else "",
        "alerts": content.alerts(report.warnings, report.results.refusal),
        "planes": [content.plane(analysis, report)],
        "values": content.value_table(analysis, report),
        "notes": content.notes(analysis, report),
        "provenance": content.provenance(report),
    }


def page_html(analysis: Analysis, parts: Content, video: str = "") -> str:
    """Render a clip's page from its content, with its overlay (its address) where given."""
    width, height = picture_size(analysis)
    overlay = {
        "address": video,
        "rate_hz": analysis.clip.frame_rate_hz or DEFAULT_RATE_HZ,
        "num_frames": analysis.clip.num_frames,
        "shape": f"{width} / {height}",
    }
    return render("report.html", overlay=overlay if video else None, links=False, **parts)


def notebook_html(analysis: Analysis) -> str:
    """The page without its video, in a frame that keeps its style from the notebook's."""
    page = page_html(analysis, clip_content(analysis, build_report(analysis)))
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


def _biplane_table(analysis: BiplaneAnalysis, report: BiplaneReport) -> Content:
    """Values of both planes, A4C and A2C, where their EF is stated, and normal ranges."""
    sides = (
        (analysis.ef, report.results),
        (analysis.a4c.ef, report.a4c.results),
        (analysis.a2c.ef, report.a2c.results),
    )
    ranges: dict[str, NormalRange] = report.normal_ranges
    rows = [
        ["Ejection fraction", *(content.ef_row(ef) for ef, _ in sides)],
        ["EF interval", *(content.keep_units(ef.interval_span or "none") for ef, _ in sides)],
    ]
    rows[0] += content.range_cells(ranges.get("ef_percent"))
    rows[1] += ["", ""]
    for title, key, unit in _BIPLANE_VALUES:
        values = [quantity(getattr(one, key, None), unit) if ef.value else "" for ef, one in sides]
        rows.append([title, *values, *content.range_cells(ranges.get(key))])
    return {"caveat": "", **content.ranged(ranges, ["biplane", "A4C alone", "A2C alone"], rows)}


def biplane_content(analysis: BiplaneAnalysis, report: BiplaneReport, name: str) -> Content:
    """The report of both planes of a heart."""
    planes = (
        (View.A4C, analysis.a4c, report.a4c),
        (View.A2C, analysis.a2c, report.a2c),
    )
    source = report.a4c
    head = [
        ["Study", source.input.study],
        ["Heart", name],
        ["Acquired", source.input.acquired_on],
        ["Analyzed", source.analyzed_on],
        ["Software", dict(content.facts(source))["Software"]],
    ]
    origins = " ".join(f"{view}: {content.provenance(one)}" for view, _, one in planes)
    return {
        "title": f"Left ventricle, biplane: {name}",
        "disclaimer": report.disclaimer,
        "facts": [row for row in head if row[1]],
        "ef": content.statement(analysis.ef, "Ejection fraction, biplane"),
        "keys": [],
        "reading": [f"{view}: {line}" for view, _, one in planes
                    for line in content.reading_lines(one)],
        "reader": source.reading.reader if source.reading else "",
        "read_on": source.reading.read_on if source.reading else "",
        "alerts": content.alerts(report.warnings, report.results.refusal),
        "planes": [content.plane(plane, one, str(view)) for view, plane, one in planes],
        "values": _biplane_table(analysis, report),
        "notes": [],
        "provenance": f"{report.results.method}. {origins}",
    }  # fmt: skip


def biplane_page_html(parts: Content) -> str:
    """Render a biplane page; it links to the page of each plane in the folders next to it."""
    return render("report.html", overlay=None, links=True, **parts)
