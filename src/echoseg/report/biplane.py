"""Biplane analysis: an A4C and an A2C clip of one heart, and their report."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from echoseg.clip import ClipWarning, View
from echoseg.inference.analysis import Analysis
from echoseg.inference.ef_statement import EfStatement, state_ef
from echoseg.measure.biplane import BiplaneMeasurement, combine_views
from echoseg.measure.measurement import FrozenModel, Tenth
from echoseg.measure.reference import HEART_FAILURE_2021, NormalRange
from echoseg.quality.conformal import (
    BIPLANE,
    Calibration,
    ef_interval,
    load_calibration,
    mean_uncertainty,
)
from echoseg.quality.reasons import interval_too_wide
from echoseg.quality.reliability import EfInterval
from echoseg.report.schema import (
    DISCLAIMER,
    SCHEMA_VERSION,
    Report,
    Software,
    build_report,
    reliability_columns,
    stated,
    statement_fields,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class BiplaneAnalysis:
    """The analyses of the two clips of one heart."""

    a4c: Analysis
    a2c: Analysis

    @cached_property
    def biplane(self) -> BiplaneMeasurement:
        """The values of both planes together."""
        return combine_views(self.a4c.measurement, self.a2c.measurement)

    @cached_property
    def _calibration(self) -> Calibration | None:
        """That of the network; None for masks from another tool."""
        model = self.a4c.model
        if model is None or model.path == Path():
            return None
        return load_calibration(model.path, model.sha256)

    @cached_property
    def interval(self) -> EfInterval | None:
        """Calibrated interval of the biplane EF; None without an EF or a calibration."""
        parts, calibration = (self.a4c.reliability, self.a2c.reliability), self._calibration
        if self.biplane.ef_percent is None or None in parts or calibration is None:
            return None
        return ef_interval(
            self.biplane.ef_percent,
            mean_uncertainty([one.uncertainty for one in parts if one]),
            calibration,
            view=BIPLANE,
            is_part_of_beat=any(one.measurement.is_part_of_beat for one in (self.a4c, self.a2c)),
        )

    @property
    def _too_wide(self) -> tuple[str, ...]:
        limits = self._calibration and self._calibration.limits
        return () if limits is None else interval_too_wide(self.interval, limits)

    @property
    def ef_reliable(self) -> bool | None:
        """False if the EF of a plane, or of both, is not reliable; None if it was not assessed."""
        planes = (self.a4c.ef_reliable, self.a2c.ef_reliable)
        return False if False in planes or self._too_wide else None if None in planes else True

    @property
    def ef(self) -> EfStatement:
        """What may be stated of the biplane EF: no more than each plane allows."""
        planes = {View.A4C: self.a4c.ef, View.A2C: self.a2c.ef}
        reasons = [f"{view}: {ef.reason}" for view, ef in planes.items() if ef.reason]
        reasons += self._too_wide
        has_none = any(ef.kind == "none" for ef in planes.values())
        return state_ef(
            None if has_none else self.biplane.ef_percent,
            reliable=self.ef_reliable,
            reason=self.biplane.refusal or " ".join(reasons),
            interval=self.interval,
            is_part_of_beat=any(ef.kind == "part_of_beat" for ef in planes.values()),
        )


class BiplaneReport(FrozenModel):
    """All of a biplane `report.json`: the values of both planes together, and each one's report.

    `warnings` are the pair's own, then those of each plane.
    """

    schema_version: Literal["2"] = SCHEMA_VERSION
    disclaimer: str = DISCLAIMER
    software: Software
    results: BiplaneMeasurement
    ef_reliable: bool | None
    ef_reason: str = ""
    ef_unreliable_percent: Tenth = None
    interval: EfInterval | None = None
    normal_ranges: dict[str, NormalRange]
    a4c: Report
    a2c: Report
    warnings: tuple[ClipWarning, ...]
    files: dict[str, str] = Field(default_factory=dict)
    """As in `Report`, with the files of both planes' folders."""


def build_biplane_report(analysis: BiplaneAnalysis) -> BiplaneReport:
    """Collect the report of a biplane analysis."""
    a4c, a2c = build_report(analysis.a4c), build_report(analysis.a2c)
    of_planes = [
        ClipWarning(code=warning.code, message=f"{view}: {warning.message}")
        for view, report in ((View.A4C, a4c), (View.A2C, a2c))
        for warning in report.warnings
    ]
    return BiplaneReport(
        software=a4c.software,
        results=stated(analysis.biplane, analysis.ef),
        **statement_fields(analysis.ef, analysis.ef_reliable),
        interval=analysis.ef.interval,
        a4c=a4c,
        a2c=a2c,
        warnings=(*analysis.biplane.warnings, *of_planes),
    )


def biplane_row(report: BiplaneReport) -> dict[str, Any]:
    """Flatten a report to one row of a registry's table; clips are identified by hashes."""
    grade = report.results.ef_grade
    planes = {"a4c": report.a4c, "a2c": report.a2c}
    limits = report.interval.model_dump() if report.interval else {}
    return {
        **{f"{name}_sha256": plane.input.sha256 for name, plane in planes.items()},
        "software_version": report.software.version,
        "schema_version": report.schema_version,
        "model": report.a4c.model.name if report.a4c.model else "",
        **report.results.model_dump(exclude={"method", "ef_grade"}),
        "ef_grade": grade.name if grade else "",
        "ef_grade_scheme": HEART_FAILURE_2021,
        "ef_low_percent": limits.get("low_percent"),
        "ef_high_percent": limits.get("high_percent"),
        **{
            f"{name}_ef_percent": plane.results.model_dump()["ef_percent"]
            for name, plane in planes.items()
        },
        "warnings": " ".join(dict.fromkeys(warning.code for warning in report.warnings)),
        **reliability_columns(report),
    }
