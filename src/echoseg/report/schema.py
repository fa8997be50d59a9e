"""What is written of one clip in `report.json`: units in the keys, a schema version on top."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from echoseg.clip import ClipWarning, Label
from echoseg.inference.analysis import Analysis
from echoseg.measure.measurement import BeatMeasurement, Dimensions, Measurement
from echoseg.measure.reference import HEART_FAILURE_2021, NORMAL_RANGES, ef_grade
from echoseg.metrics.segmentation import area_jitter_percent

if TYPE_CHECKING:  # needs torch
    from echoseg.quality.assess import ClipReliability
    from echoseg.quality.view_classifier import ViewPrediction

SCHEMA_VERSION = "1.3"
DISCLAIMER = "Research use only, not a medical device."
METHOD = "single-plane method of disks, 20 disks (Lang et al., J Am Soc Echocardiogr 28:1-39, 2015)"
STRAIN_METHOD = "shortening of the endocardial contour of the masks; not speckle tracking"


class Part(BaseModel):
    """A piece of a report: what it holds is fixed, finite, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Software(Part):
    """What made the report."""

    name: Literal["echoseg"] = "echoseg"
    version: str


class Model(Part):
    """Which network made the masks."""

    name: str
    sha256: str
    licence: str


class Input(Part):
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


class Beat(Part):
    """One beat; frames count from 0."""

    ed_frame: int
    es_frame: int
    ef_percent: float
    edv_ml: float | None
    esv_ml: float | None
    gls_percent: float | None
    peak_ejection_rate_edv_per_s: float | None
    peak_filling_rate_edv_per_s: float | None


class Grade(Part):
    """A class, and the scheme that names it."""

    name: str
    scheme: str


class Normal(Part):
    """Normal range of one of the results, by the scheme named; men's and women's differ."""

    key: str
    men: tuple[float, float]
    women: tuple[float, float]
    scheme: str


class Results(Part):
    """The clip's numbers, means over its beats; frames count from 0.

    `ed_frame` and `es_frame` are those of the beat nearest the mean. `refusal` says why there is
    no EF. A value that could not be had is null.
    """

    method: str = METHOD
    ed_frame: int | None
    es_frame: int | None
    ef_percent: float | None
    ef_sd_points: float | None
    ef_grade: Grade | None
    ef_unsmoothed_percent: float | None
    num_beats: int
    edv_ml: float | None
    esv_ml: float | None
    stroke_volume_ml: float | None
    edv_area_length_ml: float | None
    esv_area_length_ml: float | None
    fractional_area_change_percent: float | None
    lv_length_ed_mm: float | None
    lv_length_es_mm: float | None
    lv_area_ed_cm2: float | None
    lv_area_es_cm2: float | None
    la_volume_ml: float | None
    wall_thickness_mm: float | None
    lv_mass_g: float | None
    annular_excursion_mm: float | None
    gls_percent: float | None
    gls_method: str = STRAIN_METHOD
    peak_ejection_rate_edv_per_s: float | None
    peak_filling_rate_edv_per_s: float | None
    peak_ejection_rate_ml_per_s: float | None
    peak_filling_rate_ml_per_s: float | None
    heart_rate_bpm: float | None
    refusal: str


class Trust(Part):
    """How far the EF may be believed; see `echoseg.quality`.

    The interval holds the true EF of `interval_level_percent` of clips like those that
    `interval_source` names; null where the weights were never calibrated. `do_not_trust` is null
    then as well.
    """

    ef_low_percent: float | None
    ef_high_percent: float | None
    interval_level_percent: float | None
    interval_source: str
    expected_error_points: float | None
    do_not_trust: bool | None
    entropy: float
    disagreement_percent: float
    wall_segments_unseen: float
    contrast_lacking: float
    lv_outside_sector_percent: float
    lv_area_jitter_percent: float | None


class ViewSeen(Part):
    """Which view the pictures show, as far as a small network can tell; see `echoseg.quality`.

    The first four add up to 100. `mirrored_percent` is how sure it is that left and right are
    exchanged.
    """

    likeliest: str
    a4c_percent: float
    a2c_percent: float
    alax_percent: float
    other_percent: float
    mirrored_percent: float


class Caution(Part):
    """Something a reader of the numbers must know; among the notes, how they were read."""

    code: str
    message: str


class Report(Part):
    """All of `report.json`; `model` is null where the masks were given."""

    schema_version: Literal["1.3"] = SCHEMA_VERSION
    disclaimer: str = DISCLAIMER
    software: Software
    model: Model | None
    input: Input
    results: Results
    trust: Trust | None
    view_seen: ViewSeen | None
    beats: tuple[Beat, ...]
    normal_ranges: tuple[Normal, ...]
    warnings: tuple[Caution, ...]
    notes: tuple[Caution, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema that every `report.json` of this `SCHEMA_VERSION` obeys."""
    return Report.model_json_schema(mode="serialization")


def rounded(value: float | None, digits: int) -> float | None:
    """Return a value as it is printed; None where there is none."""
    return None if value is None or not math.isfinite(value) else round(value, digits)


def build_report(analysis: Analysis, software_version: str) -> Report:
    """Return the report of an analysis; values are rounded to a tenth of a unit or finer."""
    clip, found, model = analysis.clip, analysis.measurement, analysis.model
    return Report(
        software=Software(version=software_version),
        model=model and Model(name=model.name, sha256=model.sha256, licence=model.licence),
        input=Input(
            # names that are no UTF-8 reach Python as lone surrogates, which JSON cannot hold
            file_name=Path(clip.source).name.encode("utf-8", "replace").decode("utf-8"),
            sha256=clip.source_sha256,
            format=clip.format_name,
            num_frames=clip.num_frames,
            rows=clip.size[0],
            columns=clip.size[1],
            frame_rate_hz=rounded(clip.frame_rate_hz, 3),
            spacing_mm=found.spacing_mm,
            view=str(clip.view),
            damaged_frames=clip.damaged_frames,
        ),
        results=_results(found),
        trust=analysis.reliability and _trust(analysis.reliability, analysis.masks),
        view_seen=analysis.predicted_view and _view_seen(analysis.predicted_view),
        beats=tuple(Beat(**_rounded_fields(beat)) for beat in found.beats),
        normal_ranges=normal_ranges(),
        warnings=cautions(analysis.warnings),
        notes=cautions(analysis.notes),
    )


def normal_ranges() -> tuple[Normal, ...]:
    """Return every normal range there is, by key."""
    return tuple(
        Normal(key=key, men=normal.men, women=normal.women, scheme=normal.scheme)
        for key, normal in NORMAL_RANGES.items()
    )


def _results(found: Measurement) -> Results:
    ef = found.ef_percent
    ejection = _mean(beat.peak_ejection_rate_edv_per_s for beat in found.beats)
    filling = _mean(beat.peak_filling_rate_edv_per_s for beat in found.beats)
    return Results(
        ed_frame=found.ed_frame,
        es_frame=found.es_frame,
        ef_percent=rounded(ef, 1),
        ef_sd_points=rounded(found.ef_sd_points, 1),
        ef_grade=None if ef is None else Grade(name=ef_grade(ef), scheme=HEART_FAILURE_2021),
        ef_unsmoothed_percent=rounded(found.ef_unsmoothed_percent, 1),
        num_beats=len(found.beats),
        edv_ml=rounded(found.edv_ml, 1),
        esv_ml=rounded(found.esv_ml, 1),
        gls_percent=rounded(found.gls_percent, 1),
        peak_ejection_rate_edv_per_s=rounded(ejection, 2),
        peak_filling_rate_edv_per_s=rounded(filling, 2),
        peak_ejection_rate_ml_per_s=rounded(_times(ejection, found.edv_ml), 1),
        peak_filling_rate_ml_per_s=rounded(_times(filling, found.edv_ml), 1),
        heart_rate_bpm=rounded(found.heart_rate_bpm, 1),
        refusal=found.refusal,
        **_rounded_fields(found.dimensions),
    )


def _trust(found: "ClipReliability", masks: np.ndarray) -> Trust:
    interval = found.interval
    areas = (masks == Label.LV_CAVITY).sum((1, 2))
    jitter = area_jitter_percent(areas) if len(areas) > 2 and areas.any() else None
    return Trust(
        ef_low_percent=rounded(interval and interval.low_percent, 1),
        ef_high_percent=rounded(interval and interval.high_percent, 1),
        interval_level_percent=rounded(interval and interval.level_percent, 1),
        interval_source=interval.source if interval else "",
        expected_error_points=rounded(interval and interval.expected_error_points, 1),
        do_not_trust=interval and bool(interval.distrust),
        entropy=round(found.doubts.entropy, 3),
        disagreement_percent=round(found.doubts.disagreement_percent, 1),
        wall_segments_unseen=round(found.doubts.segments_unseen, 1),
        contrast_lacking=round(found.doubts.contrast_lacking, 2),
        lv_outside_sector_percent=round(found.outside_percent, 1),
        lv_area_jitter_percent=rounded(jitter, 1),
    )


def _view_seen(found: "ViewPrediction") -> ViewSeen:
    percents = {
        f"{name.lower()}_percent": round(100 * share, 1) for name, share in found.shares.items()
    }
    return ViewSeen(
        likeliest=found.likeliest, mirrored_percent=round(100 * found.flipped_share, 1), **percents
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _times(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other


def _rounded_fields(row: BeatMeasurement | Dimensions) -> dict[str, Any]:
    """Return the fields of a row; whole numbers stay, rates keep a digit more."""
    return {
        key: rounded(value, 2 if key.endswith("_per_s") else 1)
        if isinstance(value, float)
        else value
        for key, value in asdict(row).items()
    }


def registry_row(report: Report) -> dict[str, Any]:
    """Return a report as one flat row for a registry's table; no name of file or patient.

    The clip is known by the hash of its bytes. Warnings are their codes, separated by spaces.
    """
    source = report.input
    results = report.results.model_dump(exclude={"method", "gls_method", "ef_grade"})
    grade, trust = report.results.ef_grade, report.trust
    return {
        "input_sha256": source.sha256,
        "software_version": report.software.version,
        "schema_version": report.schema_version,
        "model": report.model.name if report.model else "",
        "view": source.view,
        "view_seen": report.view_seen.likeliest if report.view_seen else "",
        "num_frames": source.num_frames,
        "frame_rate_hz": source.frame_rate_hz,
        **results,
        "ef_grade": grade.name if grade else "",
        "ef_low_percent": trust.ef_low_percent if trust else None,
        "ef_high_percent": trust.ef_high_percent if trust else None,
        "ef_grade_scheme": HEART_FAILURE_2021,
        "warnings": " ".join(warning.code for warning in report.warnings),
    }


def cautions(told: tuple[ClipWarning, ...]) -> tuple[Caution, ...]:
    """Return warnings or notes as a report holds them."""
    return tuple(Caution(code=one.code, message=one.message) for one in told)
