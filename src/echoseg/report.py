"""What is written of one clip in `report.json`: units in the keys, a schema version on top."""

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from echoseg.analysis import Analysis
from echoseg.clip import ClipWarning

SCHEMA_VERSION = "1.0"
DISCLAIMER = "Research use only, not a medical device."
METHOD = "single-plane method of disks, 20 disks (Lang et al., J Am Soc Echocardiogr 28:1-39, 2015)"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Software(_Part):
    """What made the report."""

    name: Literal["echoseg"] = "echoseg"
    version: str


class Model(_Part):
    """Which network made the masks."""

    name: str
    sha256: str
    licence: str


class Input(_Part):
    """What was analysed; the file's name without its folder, and nothing of the patient.

    `spacing_mm` is the scale that the numbers rest on, null when it is unknown or was refused.
    """

    file_name: str
    sha256: str
    format: str
    num_frames: int
    rows: int
    columns: int
    frame_rate_hz: float | None
    spacing_mm: tuple[float, float] | None
    view: str
    damaged_frames: tuple[int, ...]


class Results(_Part):
    """The clip's numbers; frames count from 0. `refusal` says why there is no EF."""

    method: str = METHOD
    ed_frame: int | None
    es_frame: int | None
    ef_percent: float | None
    edv_ml: float | None
    esv_ml: float | None
    heart_rate_bpm: float | None
    refusal: str


class Caution(_Part):
    """Something a reader of the numbers must know; among the notes, how they were read."""

    code: str
    message: str


class Report(_Part):
    """All of `report.json`."""

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    disclaimer: str = DISCLAIMER
    software: Software
    model: Model
    input: Input
    results: Results
    warnings: tuple[Caution, ...]
    notes: tuple[Caution, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema that every `report.json` of this `SCHEMA_VERSION` obeys."""
    return Report.model_json_schema(mode="serialization")


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def build_report(analysis: Analysis, software_version: str) -> Report:
    """Return the report of an analysis; values are rounded to a tenth of a unit or finer."""
    clip, found, model = analysis.clip, analysis.measurement, analysis.model
    return Report(
        software=Software(version=software_version),
        model=Model(name=model.name, sha256=model.sha256, licence=model.licence),
        input=Input(
            # names that are no UTF-8 reach Python as lone surrogates, which JSON cannot hold
            file_name=Path(clip.source).name.encode("utf-8", "replace").decode("utf-8"),
            sha256=clip.source_sha256,
            format=clip.format_name,
            num_frames=clip.num_frames,
            rows=clip.size[0],
            columns=clip.size[1],
            frame_rate_hz=_rounded(clip.frame_rate_hz, 3),
            spacing_mm=found.spacing_mm,
            view=str(clip.view),
            damaged_frames=clip.damaged_frames,
        ),
        results=Results(
            ed_frame=found.ed_frame,
            es_frame=found.es_frame,
            ef_percent=_rounded(found.ef_percent, 1),
            edv_ml=_rounded(found.edv_ml, 1),
            esv_ml=_rounded(found.esv_ml, 1),
            heart_rate_bpm=_rounded(found.heart_rate_bpm, 1),
            refusal=found.refusal,
        ),
        warnings=_cautions(analysis.warnings),
        notes=_cautions(analysis.notes),
    )


def _cautions(told: tuple[ClipWarning, ...]) -> tuple[Caution, ...]:
    return tuple(Caution(code=one.code, message=one.message) for one in told)
