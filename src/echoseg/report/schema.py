"""The content of `report.json`: units in the keys, a schema version on top.

Measured values are the records of `echoseg.measure` and `echoseg.quality` themselves.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from echoseg.clip import ClipWarning
from echoseg.inference.analysis import Analysis
from echoseg.measure.measurement import THOUSANDTH, FrozenModel, Measurement
from echoseg.measure.reference import HEART_FAILURE_2021, NORMAL_RANGES, NormalRange
from echoseg.quality.reliability import ClipReliability
from echoseg.quality.view import ViewPrediction

SCHEMA_VERSION = "2"
DISCLAIMER = "Research use only, not a medical device."


class Software(FrozenModel):
    """The software that made the report."""

    name: Literal["echoseg"] = "echoseg"
    version: str


class Model(FrozenModel):
    """The network that made the masks."""

    name: str
    sha256: str
    licence: str


class Input(FrozenModel):
    """The analyzed clip: the file's name without its folder, and nothing about the patient.

    `spacing_mm` is the pixel spacing that the numbers rest on, null when unknown or rejected.
    """

    file_name: str
    sha256: str
    format: str
    num_frames: int
    rows: int
    columns: int
    frame_rate_hz: Annotated[float | None, THOUSANDTH]
    spacing_mm: tuple[float, float] | None
    view: str
    damaged_frames: tuple[int, ...]


class Report(FrozenModel):
    """All of `report.json`.

    `model`, `reliability` and `predicted_view` are null for masks from another tool. `ef_reliable`
    is false when a warning says not to rely on the EF, and null when that was not assessed.
    """

    schema_version: Literal["2"] = SCHEMA_VERSION
    disclaimer: str = DISCLAIMER
    software: Software
    model: Model | None
    input: Input
    results: Measurement
    ef_reliable: bool | None
    reliability: ClipReliability | None
    predicted_view: ViewPrediction | None
    normal_ranges: dict[str, NormalRange] = NORMAL_RANGES
    warnings: tuple[ClipWarning, ...]
    notes: tuple[ClipWarning, ...]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of every `report.json` of this version, as in `docs/report.schema.json`."""
    return Report.model_json_schema(mode="serialization")


def build_report(analysis: Analysis) -> Report:
    """Collect the report of an analysis."""
    clip, card = analysis.clip, analysis.model
    return Report(
        software=Software(version=version("echoseg")),
        model=card and Model(name=card.name, sha256=card.sha256, licence=card.licence),
        input=Input(
            # names that are not UTF-8 reach Python as lone surrogates, which JSON cannot hold
            file_name=Path(clip.source).name.encode("utf-8", "replace").decode("utf-8"),
            sha256=clip.source_sha256,
            format=clip.format_name,
            num_frames=clip.num_frames,
            rows=clip.size[0],
            columns=clip.size[1],
            frame_rate_hz=clip.frame_rate_hz,
            spacing_mm=analysis.measurement.spacing_mm,
            view=str(clip.view),
            damaged_frames=clip.damaged_frames,
        ),
        results=analysis.measurement,
        ef_reliable=analysis.ef_reliable,
        reliability=analysis.reliability,
        predicted_view=analysis.predicted_view,
        warnings=analysis.warnings,
        notes=analysis.notes,
    )


def registry_row(report: Report) -> dict[str, Any]:
    """Flatten a report to one row of a registry's table; it names no file and no patient.

    The clip is identified by the hash of its bytes. Warnings are their codes, separated by spaces.
    """
    source, grade = report.input, report.results.ef_grade
    not_columns = {"method", "gls_method", "ef_grade", "beats", "smoothed"}
    interval = report.reliability.interval if report.reliability else None
    limits = interval.model_dump() if interval else {}
    return {
        "input_sha256": source.sha256,
        "software_version": report.software.version,
        "schema_version": report.schema_version,
        "model": report.model.name if report.model else "",
        "view": source.view,
        "predicted_view": report.predicted_view.view if report.predicted_view else "",
        "num_frames": source.num_frames,
        "frame_rate_hz": report.input.model_dump()["frame_rate_hz"],
        **report.results.model_dump(exclude=not_columns),
        "ef_grade": grade.name if grade else "",
        "ef_low_percent": limits.get("low_percent"),
        "ef_high_percent": limits.get("high_percent"),
        "ef_grade_scheme": HEART_FAILURE_2021,
        "warnings": " ".join(warning.code for warning in report.warnings),
        "ef_reliable": "" if report.ef_reliable is None else report.ef_reliable,
    }
