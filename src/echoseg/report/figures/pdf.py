"""`report.pdf`: a clip's or a biplane page, without video, on one A4 sheet by matplotlib."""

import textwrap
from io import BytesIO
from typing import Any

import numpy as np

from echoseg.inference.analysis import Analysis
from echoseg.inference.ef_statement import EfStatement
from echoseg.report.biplane import BiplaneAnalysis, BiplaneReport
from echoseg.report.figures.curve import draw_curve
from echoseg.report.figures.overlay import frame_picture
from echoseg.report.figures.page import biplane_values, measured_values, provenance
from echoseg.report.html import plain_words
from echoseg.report.schema import Report

A4_INCHES = (8.27, 11.69)
NUM_STRIP = 6
"""Number of frames of the beat in the strip."""
INK, DIM, ALERT, PAPER = "#17202a", "#5d6b7a", "#8a4b00", "#fff3e0"
_LINE, _WIDE = 0.0125, 130
"""Height of a line of small text as a fraction of the sheet, and its number of characters."""


def page_pdf(analysis: Analysis, report: Report) -> bytes:
    """Draw the sheet; equal analyses give equal bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=A4_INCHES)
    y = _head(figure, analysis, report)
    y = _alert(figure, report, y)
    y = _stills(figure, analysis, report, y)
    y = _strip(figure, analysis, report, y)
    axes = figure.add_axes((0.10, y - 0.165, 0.82, 0.14))
    draw_curve(axes, analysis, title=False)
    axes.tick_params(labelsize=7)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_fontsize(8)
    _numbers(figure, report, y - 0.215, analysis.ef.caveat)
    _foot(figure, provenance(report, digits=12))
    return _pdf(figure)


def biplane_pdf(analysis: BiplaneAnalysis, report: BiplaneReport, name: str) -> bytes:
    """Draw the sheet of both planes; equal analyses give equal bytes."""
    from matplotlib.figure import Figure

    figure, ef = Figure(figsize=A4_INCHES), analysis.ef
    _title(figure, report.disclaimer, name, ef)
    for index, line in enumerate(textwrap.wrap(plain_words(ef.detail), 120)[:3]):
        _text(figure, 0.925 - 0.0115 * index, line, size=7.5, color=DIM)
    y = _alert(figure, report, 0.885)
    planes = (("A4C", analysis.a4c, report.a4c), ("A2C", analysis.a2c, report.a2c))
    for view, plane, of_plane in planes:
        source = textwrap.shorten(of_plane.input.file_name, 70, placeholder="...")
        _text(figure, y, f"{view}: {source}, {plane.ef.text}", fontweight="bold")
        _stills(figure, plane, of_plane, y - 0.016, (0.05, 0.28, 0.165))
        bottom = y - 0.181
        draw_curve(axes := figure.add_axes((0.68, bottom + 0.03, 0.27, 0.12)), plane, title=False)
        axes.tick_params(labelsize=6)
        y = bottom - 0.02
    sides = (ef, analysis.a4c.ef, analysis.a2c.ef)
    rows = [
        ("", ["biplane", "A4C alone", "A2C alone"]),
        ("Ejection fraction", [one.text.removeprefix("EF ") for one in sides]),
        ("EF interval", [one.interval_span or "none" for one in sides]),
        *((title, values) for title, values, _ in biplane_values(analysis, report)),
    ]
    for index, (title, values) in enumerate(rows):
        _text(figure, y - 0.015 * index, title)
        for place, value in enumerate(values):
            _text(figure, y - 0.015 * index, value, x=0.5 + 0.2 * place, ha="right")
    a2c = f"A2C: input sha256 {report.a2c.input.sha256[:12]}"
    _foot(figure, f"{report.results.method}. {a2c}. A4C: {provenance(report.a4c, digits=12)}")
    return _pdf(figure)


def _pdf(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="pdf", dpi=150, metadata={"CreationDate": None})
    return buffer.getvalue()


def _text(
    figure: Any, y: float, text: str, *, x: float = 0.06, size: float = 8, **style: Any
) -> None:
    style = {"color": INK, "va": "top", "parse_math": False, **style}
    figure.text(x, y, text, fontsize=size, **style)


def _title(figure: Any, disclaimer: str, name: str, ef: EfStatement) -> None:
    name = textwrap.shorten(name, 70, placeholder="...")
    _text(figure, 0.975, disclaimer, size=8, color=ALERT, fontweight="bold")
    _text(figure, 0.955, name, size=13, fontweight="bold")
    style = {"color": INK if ef.kind == "plain" else ALERT, "fontweight": "bold", "ha": "right"}
    _text(figure, 0.958, ef.text, x=0.94, size=17, **style)


def _head(figure: Any, analysis: Analysis, report: Report) -> float:
    """Write the clip's name and the EF; return where the next part begins."""
    ef, beats = analysis.ef, analysis.measurement.beats_text
    _title(figure, report.disclaimer, report.input.file_name or "clip", ef)
    details = [beats]
    if ef.detail and not report.results.refusal:
        details = [*textwrap.wrap(plain_words(ef.detail), 75)[:2], beats]
    for index, line in enumerate(details):
        _text(figure, 0.932 - 0.0115 * index, line, x=0.94, size=7.5, ha="right", color=DIM)
    source = report.input
    rate = f"{source.frame_rate_hz:.4g} Hz" if source.frame_rate_hz else "frame rate unknown"
    scale = "no pixel spacing"
    if source.spacing_mm is not None:
        scale = "{:.3f} x {:.3f} mm per pixel".format(*source.spacing_mm)
    view = "view not stated" if source.view == "unknown" else f"view {source.view} (as stated)"
    size = f"{source.num_frames} frames of {source.columns} x {source.rows}"
    _text(figure, 0.928, f"{view}, {rate}", size=7.5, color=DIM)
    _text(figure, 0.915, f"{size}, {scale}", size=7.5, color=DIM)
    return 0.897


def _alert(figure: Any, report: Report | BiplaneReport, y: float) -> float:
    messages = [plain_words(warning.message) for warning in report.warnings]
    if report.results.refusal:
        messages.insert(0, f"No EF: {plain_words(report.results.refusal)}")
    if not messages:
        return y
    wrapper = textwrap.TextWrapper(_WIDE, initial_indent="- ", subsequent_indent="  ")
    lines = [line for message in messages for line in wrapper.wrap(message)]
    if len(lines) > 14:  # the page and the JSON have all of them
        lines = [*lines[:13], "  ... more in report.html"]
    from matplotlib.patches import Rectangle

    height = _LINE * (len(lines) + 1) + 0.012
    box = Rectangle((0.05, y - height), 0.9, height, color=PAPER, transform=figure.transFigure)
    figure.add_artist(box)
    _text(figure, y - 0.006, "Before you read the numbers", color=ALERT, fontweight="bold")
    for index, line in enumerate(lines, 1):
        _text(figure, y - 0.006 - _LINE * index, line, size=7, color=ALERT)
    return y - height - 0.01


def _picture(
    figure: Any, analysis: Analysis, frame: int, box: tuple[float, ...], name: str
) -> None:
    axes = figure.add_axes(box)
    disks = name.startswith("End")
    axes.imshow(np.asarray(frame_picture(analysis, frame, disks=disks).convert("RGB")))
    axes.set_axis_off()
    axes.set_title(name, fontsize=7, color=DIM, pad=2)


def _stills(
    figure: Any,
    analysis: Analysis,
    report: Report,
    y: float,
    place: tuple[float, float, float] = (0.05, 0.445, 0.235),
) -> float:
    """Draw ED and ES, at (left, width of each, height); return where the next part begins."""
    results, (left, width, height) = report.results, place
    if results.ed_frame is None or results.es_frame is None:
        return y
    ends = (("End of diastole", results.ed_frame), ("End of systole", results.es_frame))
    for index, (name, frame) in enumerate(ends):
        box = (left + (width + 0.01) * index, y - height, width, height - 0.015)
        _picture(figure, analysis, frame, box, f"{name}, frame {frame}")
    return y - height


def _strip(figure: Any, analysis: Analysis, report: Report, y: float) -> float:
    """Draw frames of the marked beat, from ED through ES on; or of the whole clip."""
    results, last = report.results, report.input.num_frames - 1
    first = 0 if results.ed_frame is None else results.ed_frame
    end = last
    if results.es_frame is not None:
        end = min(last, first + max(2 * abs(results.es_frame - first), NUM_STRIP))
    frames = np.linspace(min(first, end), end, NUM_STRIP).round().astype(int)
    width = 0.9 / NUM_STRIP
    for place, frame in enumerate(frames.tolist()):
        box = (0.05 + width * place, y - 0.105, width * 0.97, 0.092)
        _picture(figure, analysis, frame, box, f"{frame}")
    return y - 0.11


def _numbers(figure: Any, report: Report, y: float, caveat: str) -> None:
    rows = measured_values(report)
    columns = ((0.06, "left"), (0.52, "right"), (0.62, "center"), (0.71, "center"), (0.76, "left"))
    ranges = ("normal, men", "women", "source") if report.normal_ranges else ()
    heads = ("", f"measured, {caveat}" if caveat else "measured", *ranges)
    bottom = 0.055
    step = min(0.0118, (y - bottom) / max(len(rows) + 1, 1))
    for (x, align), head in zip(columns, heads, strict=False):
        _text(figure, y, head, x=x, size=6.5, ha=align, color=ALERT if caveat else DIM)
    for index, (name, value, normal) in enumerate(rows, 1):
        cells = [name, value, "", "", ""]
        if normal is not None:
            spans = ("{:.0f} to {:.0f}".format(*limits) for limits in (normal.men, normal.women))
            cells[2:] = [*spans, textwrap.shorten(normal.scheme, 34, placeholder="...")]
        for (x, align), cell in zip(columns, cells, strict=True):
            _text(figure, y - step * index, cell, x=x, size=6.5, ha=align)


def _foot(figure: Any, text: str) -> None:
    for index, line in enumerate(textwrap.wrap(text, 135)[:3]):
        _text(figure, 0.04 - 0.011 * index, line, size=6, color=DIM)
