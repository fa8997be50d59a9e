"""The content of `report.json`: units in the keys, a schema version on top.

Measured values are the records of `echoseg.measure` and `echoseg.quality` themselves.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field

from echoseg.clip import ClipWarning
from echoseg.inference.analysis import Analysis
from echoseg.inference.ef_statement import EfStatement
from echoseg.inference.reading import Reading
from echoseg.measure.biplane import BiplaneMeasurement
from echoseg.measure.measurement import THOUSANDTH, FrozenModel, Measurement, Tenth
from echoseg.measure.reference import HEART_FAILURE_2021, NORMAL_RANGES, EfGrade, NormalRange
from echoseg.quality.reliability import ClipReliability
from echoseg.quality.view import ViewPrediction

M = TypeVar("M", Measurement, BiplaneMeasurement)
SCHEMA_VERSION = "2"
DISCLAIMER = "Research use only, not a medical device."
WITHHELD = {"gls_percent": "gls_unreliable_percent", "heart_rate_bpm": "heart_rate_unreliable_bpm"}
"""Values withheld with an unreliable EF, and the fields that hold what was measured."""

_NOT_COLUMNS = {"method", "gls_method", "ef_grade", "beats", "smoothed"}


class Software(FrozenModel):
    """The software that made the report."""

    name: Literal["echoseg"] = "echoseg"
    version: str


class Model(FrozenModel):
    """The network that made the masks.

    `backend` is what computed it, and its precision, such as `openvino f32`.
    """

    name: str
    sha256: str
    licence: str
    backend: str = ""


class Input(FrozenModel):
    """The analyzed clip: the file's name without its folder, and nothing about the patient.

    `spacing_mm` is the pixel spacing that the numbers rest on, null when unknown or rejected.
    `frame_indices` are the frames of the file, from 0, that were measured where only two have
    masks, ED before ES; then `num_frames` is 2, and every other frame number counts in these two.
    `study` is a hash of the Study Instance UID and `acquired_on` the day of the acquisition, ISO
    8601; both are empty where the file does not state them, and with --private.
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
    frame_indices: tuple[int, ...] = ()
    study: str = ""
    acquired_on: str = ""


class Report(FrozenModel):
    """All of `report.json`.

    `model`, `reliability` and `predicted_view` are null for masks from another tool. `ef_reliable`
    is false when a warning says not to rely on the EF, nor on any other value of `results`, and
    null when that was not assessed. An
    unreliable EF, its beats', class and interval are null, as are strain and heart rate; what was
    measured is `ef_unreliable_percent`, `results.gls_unreliable_percent` and
    `results.heart_rate_unreliable_bpm`. `analyzed_on` is a day, ISO 8601. `ef_reason` is why
    there is no reliable EF, empty when there is one.
    """

    schema_version: Literal["2"] = SCHEMA_VERSION
    disclaimer: str = DISCLAIMER
    software: Software
    model: Model | None
    input: Input
    results: Measurement
    ef_reliable: bool | None
    ef_reason: str = ""
    ef_unreliable_percent: Tenth = None
    reliability: ClipReliability | None
    predicted_view: ViewPrediction | None
    normal_ranges: dict[str, NormalRange]
    warnings: tuple[ClipWarning, ...]
    notes: tuple[ClipWarning, ...]
    analyzed_on: str = ""
    reading: Reading | None = None
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each file of the folder as it was written; that of `report.json` is of its text
    with this one value left empty."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of every `report.json` of this version, as in `docs/report.schema.json`."""
    return Report.model_json_schema(mode="serialization")


def build_report(analysis: Analysis) -> Report:
    """Collect the report of an analysis."""
    clip, card, ef = analysis.clip, analysis.model, analysis.ef
    reliability = analysis.reliability
    if reliability is not None and ef.interval is None:
        reliability = reliability.model_copy(update={"interval": None})
    return Report(
        software=Software(version=version("echoseg")),
        model=card
        and Model(
            name=card.name, sha256=card.sha256, licence=card.licence, backend=analysis.backend
        ),
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
            frame_indices=clip.source_frames,
            study=clip.study,
            acquired_on=clip.acquired_on,
        ),
        results=stated(analysis.measurement, ef),
        **statement_fields(ef, analysis.ef_reliable),
        reliability=reliability,
        predicted_view=analysis.predicted_view,
        warnings=analysis.warnings,
        notes=analysis.notes,
        analyzed_on=analysis.analyzed_on,
        reading=analysis.reading,
    )


def stated(measurement: M, ef: EfStatement) -> M:
    """What was measured, with the EF and its class as stated: none where it is withheld."""
    changes: dict[str, Any] = {"ef_grade": EfGrade(name=ef.grade) if ef.grade else None}
    if not ef.value:
        changes |= dict.fromkeys(("ef_percent", "ef_sd_points", "ef_unsmoothed_percent"))
        if isinstance(measurement, Measurement):
            names = ["ef_percent", "gls_percent"] + ["heart_rate_bpm"] * (ef.kind == "unreliable")
            update = dict.fromkeys(names)
            changes["beats"] = tuple(beat.model_copy(update=update) for beat in measurement.beats)
    if ef.kind == "unreliable" and isinstance(measurement, Measurement):
        changes["heart_rate_sd_bpm"] = None
        for name, withheld in WITHHELD.items():
            if (value := getattr(measurement, name)) is not None:
                changes |= {name: None, withheld: value}
    if ef.kind == "none":
        changes["refusal"] = ef.reason
    fields = type(measurement).model_fields
    return measurement.model_copy(update={k: v for k, v in changes.items() if k in fields})


def statement_fields(ef: EfStatement, reliable: bool | None) -> dict[str, Any]:
    """Fields of a report that say how far its EF can be relied on, and what it is compared with."""
    return {
        "ef_reliable": None if ef.kind == "none" else reliable,
        "ef_reason": ef.reason,
        "ef_unreliable_percent": ef.unreliable_percent,
        "normal_ranges": NORMAL_RANGES if ef.kind == "plain" else {},
    }


def ef_statement(report: Any) -> EfStatement:
    """What is stated of the EF in the report of a clip or of two views."""
    results, withheld = report.results, report.ef_unreliable_percent
    planes = [report.a4c, report.a2c] if hasattr(report, "a4c") else [report]
    kind = "part_of_beat" if any(one.results.is_part_of_beat for one in planes) else "plain"
    if results.ef_percent is None:
        kind = "none" if withheld is None else "unreliable"
    source = report if hasattr(report, "a4c") else report.reliability
    return EfStatement(
        kind=kind,
        ef_percent=results.ef_percent,
        unreliable_percent=withheld,
        interval=source.interval if source and kind != "none" else None,
        grade=results.ef_grade.name if results.ef_grade else "",
        reason=report.ef_reason,
    )


def registry_row(report: Report) -> dict[str, Any]:
    """Flatten a report to one row of a registry's table; it names no file and no patient.

    The clip is identified by the hash of its bytes. Warnings are their codes, separated by spaces.
    """
    source, grade = report.input, report.results.ef_grade
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
        **report.results.model_dump(exclude=_NOT_COLUMNS),
        "ef_grade": grade.name if grade else "",
        "ef_low_percent": limits.get("low_percent"),
        "ef_high_percent": limits.get("high_percent"),
        "ef_grade_scheme": HEART_FAILURE_2021,
        "warnings": " ".join(warning.code for warning in report.warnings),
        **reliability_columns(report),
    }


def registry_columns() -> dict[str, type]:
    """The columns of `registry_row`, in its order, and what they hold; any value may be missing."""
    measured: dict[str, type] = {}
    for name, field in Measurement.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        measured[name] = next((kind for kind in (bool, int, float) if kind in kinds), str)
    left_out = _NOT_COLUMNS | {n for n, f in Measurement.model_fields.items() if f.exclude}
    source = "input_sha256 software_version schema_version model view predicted_view".split()
    limits = dict.fromkeys(("ef_low_percent", "ef_high_percent"), float)
    return {
        **dict.fromkeys(source, str),
        **{"num_frames": int, "frame_rate_hz": float},
        **{name: kind for name, kind in measured.items() if name not in left_out},
        **{"ef_grade": str, **limits, "ef_grade_scheme": str, "warnings": str},
        **{"ef_reliable": bool, "ef_reason": str, "ef_unreliable_percent": float},
    }


def reliability_columns(report: Any) -> dict[str, Any]:
    """Columns of a registry's row that say how far the EF can be relied on."""
    return {
        "ef_reliable": "" if report.ef_reliable is None else report.ef_reliable,
        "ef_reason": report.ef_reason,
        "ef_unreliable_percent": report.model_dump()["ef_unreliable_percent"],
    }
