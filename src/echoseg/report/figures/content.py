"""What a report says, in words: the same content for the page and for the PDF."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from echoseg.clip import ClipWarning
from echoseg.inference.analysis import CORRECTED, Analysis
from echoseg.inference.ef_statement import EfStatement
from echoseg.measure.measurement import BeatMeasurement, Measurement
from echoseg.measure.reference import HEART_FAILURE_2021, NormalRange
from echoseg.report.figures.curve_svg import curve_svg, describe
from echoseg.report.figures.ef_scale import ef_scale_svg
from echoseg.report.figures.overlay import frame_picture
from echoseg.report.html import keep_units, plain_words, quantity
from echoseg.report.schema import Report

Content = dict[str, Any]
"""Texts, tables and drawings by name; JSON types, and bytes of JPEG."""
_EF_VALUE = (("Ejection fraction, disks", "ef_percent", "%", 0),)
_VALUES: tuple[tuple[str, str, str, int], ...] = (
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
    ("Peak filling rate", "peak_filling_rate_edv_per_s", "EDV/s", 1),
)
"""Title, field of `Measurement`, unit, digits."""
_LEFT_OUT = {
    "premature": "premature beat",
    "after_premature": "after a premature beat",
    "reader": "left out by the reader",
}


def statement(ef: EfStatement, name: str, *, beats: str = "") -> Content:
    """The headline: number, interval, class, reliability, or why there is none."""
    lines = []
    if ef.kind == "part_of_beat":
        lines.append(
            f"{ef.value} between the largest and the smallest volume seen, which are not those of "
            "one whole heartbeat"
        )
    if ef.interval:
        lines.append(f"{ef.interval_name} {ef.interval_span}")
    if ef.grade:
        lines.append(f"class: {ef.grade}")
    if beats:
        lines.append(f"measured in {beats}")
    checked = "reliability checked: no reason against this EF was found"
    if ef.kind == "plain":
        lines.append(checked if ef.interval else "reliability not checked: no interval, no class")
    return {
        "name": name,
        "headline": keep_units(ef.headline),
        "is_plain": ef.kind == "plain",
        "lines": list(map(keep_units, lines)),
        "reason": keep_units(plain_words(ef.reason)) if ef.kind == "unreliable" else "",
        "scale": ef_scale_svg(ef),
        "words": f"{ef.text}, {ef.interval_name} {ef.interval_span}",
    }


def key_values(analysis: Analysis, report: Report) -> list[list[str]]:
    """Name and value of what is read first beside the EF."""
    results, ef = report.results, analysis.ef
    rows = []
    if ef.value:
        missing = "none" if report.input.spacing_mm else "none without a scale"
        rows += [
            ["End-diastolic volume", quantity(results.edv_ml, "ml", missing)],
            ["End-systolic volume", quantity(results.esv_ml, "ml", missing)],
        ]
        if results.ef_sd_points is not None:
            sd = quantity(results.ef_sd_points, "points", digits=1)
            rows.append(["EF, SD over the beats", sd])
    return [*rows, ["Heart rate", quantity(results.heart_rate_bpm, "bpm", "unknown")]]


def facts(report: Report) -> list[list[str]]:
    """Whose clip it is, of when, and by what software: the head of the report."""
    source, reading, model = report.input, report.reading, report.model
    predicted = report.predicted_view
    view = "not stated" if source.view == "unknown" else source.view
    if predicted is not None:
        mirrored = ", mirrored" if predicted.is_mirrored else ""
        view = f"{view} (automatic check: {predicted.view}{mirrored})"
    rate = f", {source.frame_rate_hz:.4g} Hz" if source.frame_rate_hz else ""
    size = f"{source.num_frames} of {source.columns} x {source.rows}{rate}"
    scale = "none"
    if source.spacing_mm:
        scale = "{:.3f} x {:.3f} mm per pixel (row x column)".format(*source.spacing_mm)
    origin = "masks from another tool"
    if model is not None:
        origin = f"network {model.name} {model.sha256[:12]}"
    elif reading is not None and reading.network:
        origin = f"network {reading.network} {reading.network_sha256[:12]}, corrected by reader"
    elif any(note.code == CORRECTED for note in report.notes):
        origin = "masks corrected by reader"
    rows = [
        ["Study", source.study],
        ["Clip", source.file_name],
        ["Acquired", source.acquired_on],
        ["View", view],
        ["Frames", size],
        ["Scale", scale],
        ["Analyzed", report.analyzed_on],
        ["Software", f"echoseg {report.software.version}, {origin}"],
    ]
    return [[name, keep_units(value)] for name, value in rows if value]


def reading_lines(report: Report) -> list[str]:
    """What the reader says, and what the network itself had stated; none for an unread clip."""
    reading = report.reading
    if reading is None:
        corrected = any(note.code == CORRECTED for note in report.notes)
        return ["Corrected by reader."] if corrected else []
    day = f" on {reading.read_on}" if reading.read_on else ", not signed yet"
    decision = f": {reading.decision}" if reading.decision else ""
    reason = f" ({reading.reason})" if reading.reason else ""
    lines = [f"Read by {reading.reader}{day}{decision}{reason}."]
    if reading.is_corrected:
        own = "; ".join(filter(None, (reading.network_ef.text, reading.network_ef.detail)))
        lines.append(f"Corrected by reader. The network's own result: {keep_units(own)}.")
    return lines


def alerts(warnings: Sequence[ClipWarning], refusal: str) -> list[str]:
    """What is to be read with the numbers, in words for a clinician."""
    texts = [f"No EF: {plain_words(refusal)}"] if refusal else []
    texts += [text for one in warnings if (text := plain_words(one.message))]
    return list(map(keep_units, texts))


def beat_table(analysis: Analysis, report: Report) -> Content | None:
    """Every beat with its volumes, EF and rate, left out or not, then mean and SD."""
    results, ef = report.results, analysis.ef
    if not results.beats:
        return None
    scaled = report.input.spacing_mm is not None
    columns: list[tuple[str, str, str, int]] = [
        *([("EF", "ef_percent", "%", 0)] if ef.value else []),
        *([("EDV", "edv_ml", "ml", 0), ("ESV", "esv_ml", "ml", 0)] if scaled else []),
        *([("heart rate", "heart_rate_bpm", "bpm", 0)] if ef.kind != "unreliable" else []),
        *([("contour strain", "gls_percent", "%", 1)] if ef.value else []),
    ]

    def cells(one: BeatMeasurement | Measurement) -> list[str]:
        return [quantity(getattr(one, key), unit, "", digits) for _, key, unit, digits in columns]

    rows = [
        {
            "cells": [str(number), str(beat.ed_frame), str(beat.es_frame), *cells(beat)],
            "note": _LEFT_OUT.get(beat.left_out, str(beat.left_out)),
        }
        for number, beat in enumerate(results.beats, 1)
    ]
    deviations = {
        "ef_percent": ("ef_sd_points", "points"),
        "edv_ml": ("edv_sd_ml", "ml"),
        "esv_ml": ("esv_sd_ml", "ml"),
        "heart_rate_bpm": ("heart_rate_sd_bpm", "bpm"),
    }
    of_sd = []
    for _, key, _, _ in columns:
        name, unit = deviations.get(key, ("", ""))
        of_sd.append(quantity(getattr(results, name, None), unit, digits=1))
    means = [["mean", "", "", *cells(results)], ["SD", "", "", *of_sd]]
    return {
        "columns": ["beat", "ED frame", "ES frame", *(name for name, *_ in columns)],
        "rows": rows,
        "means": means if len(results.beats) > 1 and any(cells(results)) else [],
        "caveat": ef.caveat,
    }


def range_cells(normal: NormalRange | None) -> list[str]:
    """Normal range for men and for women as texts; empty where there is none."""
    limits = (normal.men, normal.women) if normal else ()
    return ["{:.0f} to {:.0f}".format(*pair) for pair in limits] or ["", ""]


def value_table(analysis: Analysis, report: Report) -> Content | None:
    """Everything that was measured, with normal ranges where the EF is stated."""
    rows = [
        [title, quantity(value, unit, digits=digits), *range_cells(report.normal_ranges.get(key))]
        for title, key, unit, digits in (*_EF_VALUE[analysis.ef.kind != "plain" :], *_VALUES)
        if (value := getattr(report.results, key)) is not None
    ]
    if not rows:
        return None
    caveat = analysis.ef.caveat or ("" if analysis.ef.value else "of contours without an EF")
    return {"caveat": caveat, **ranged(report.normal_ranges, ["measured"], rows)}


def ranged(
    ranges: dict[str, NormalRange], columns: list[str], rows: list[list[str]]
) -> dict[str, Any]:
    """Columns and rows with those of the normal ranges, or without them where there is none."""
    if not ranges:
        return {"columns": columns, "rows": [row[: len(columns) + 1] for row in rows], "source": ""}
    schemes = "; ".join(dict.fromkeys(one.scheme for one in ranges.values()))
    source = f"Normal ranges: {schemes}."
    return {"columns": [*columns, "normal, men", "women"], "rows": rows, "source": source}


def ef_row(ef: EfStatement) -> str:
    """An EF in a table: the number, or the words in its place."""
    part = ", part of a beat" if ef.kind == "part_of_beat" else ""
    return keep_units(f"{ef.value or ef.headline}{part}")


def notes(analysis: Analysis, report: Report) -> list[str]:
    """How the numbers were computed, in words for a clinician."""
    texts = [plain_words(note.message) for note in report.notes if note.code != CORRECTED]
    if analysis.ef.interval:
        texts.append(f"The EF interval is calibrated on {analysis.ef.interval.source}.")
    if analysis.ef.grade:
        texts.append(f"EF class: {HEART_FAILURE_2021}, as far as the interval allows.")
    return [keep_units(text) for text in texts if text]


def provenance(report: Report) -> str:
    """Software, model, hashes and method in one sentence."""
    model = "masks from another tool"
    if report.model is not None:
        model = (
            f"model {report.model.name} ({report.model.licence}), "
            f"weights sha256 {report.model.sha256[:16]}"
        )
    return (
        f"echoseg {report.software.version}, {model}, input sha256 "
        f"{report.input.sha256[:16]}. {report.results.method}."
    )


def stills(analysis: Analysis) -> list[Content]:
    """Caption, alternative text and JPEG of ED and ES, with the long axis and the disks."""
    measurement, pictures = analysis.measurement, []
    ends = (("ED", "end of diastole", measurement.ed_frame),
            ("ES", "end of systole", measurement.es_frame))  # fmt: skip
    for phase, name, frame in ends:
        if frame is not None:
            buffer = BytesIO()
            frame_picture(analysis, frame, disks=True).save(buffer, "JPEG", quality=88)
            words = f"Frame {frame} at {name} with contours, long axis, annulus and disks"
            caption = f"{phase}, frame {frame}"
            pictures.append({"caption": caption, "alt": words, "jpeg": buffer.getvalue()})
    return pictures


def plane(analysis: Analysis, report: Report, view: str = "") -> Content:
    """Pictures, curve and beats of one clip."""
    return {
        "view": view,
        "facts": facts(report) if view else [],
        "ef": statement(analysis.ef, view),
        "stills": stills(analysis),
        "curve": curve_svg(analysis),
        "words": describe(analysis),
        "has_interval": bool(analysis.ef.kind == "plain" and analysis.ef.interval),
        "beats": beat_table(analysis, report),
    }
