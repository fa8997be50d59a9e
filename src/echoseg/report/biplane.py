"""A study: an A4C and an A2C clip of one heart, paired by view, and their report together."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from echoseg.clip import View
from echoseg.errors import ArgumentError
from echoseg.inference.analysis import Analysis
from echoseg.measure.biplane import Biplane, join_views
from echoseg.measure.reference import HEART_FAILURE_2021, ef_grade
from echoseg.report.schema import (
    DISCLAIMER,
    SCHEMA_VERSION,
    Caution,
    Grade,
    Normal,
    Part,
    Report,
    Software,
    build_report,
    cautions,
    normal_ranges,
    rounded,
)

BIPLANE_METHOD = "biplane method of disks, 20 disks (Lang et al., J Am Soc Echocardiogr 28, 2015)"
_TOKENS = {
    View.A4C: r"a4c|4ch|ap4|ap4c|apical4|4chamber",
    View.A2C: r"a2c|2ch|ap2|ap2c|apical2|2chamber",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two clips of one heart, and the name they share."""

    name: str
    a4c: Path
    a2c: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Both analyses and what they give together."""

    a4c: Analysis
    a2c: Analysis
    biplane: Biplane


def join(a4c: Analysis, a2c: Analysis) -> Study:
    """Return the study of two analysed clips of one heart."""
    biplane = join_views(a4c.measurement, a2c.measurement)
    return Study(a4c=a4c, a2c=a2c, biplane=biplane)


def view_of_name(name: str) -> tuple[View, str]:
    """Return the view that a file's name says, and the name without it."""
    for view, tokens in _TOKENS.items():
        found = re.search(rf"(?<![a-z0-9])(?:{tokens})(?![a-z0-9])", name, re.IGNORECASE)
        if found:
            rest = name[: found.start()] + name[found.end() :]
            return view, re.sub(r"[\s_.-]+", "_", rest).strip("_")
    return View.UNKNOWN, name


def pair_clips(paths: Iterable[Path]) -> tuple[Pair, ...]:
    """Pair files by the view in their names (`x_A4C.dcm`, `x_2CH.avi`, ...), sorted.

    What names no view is left alone. Where one heart is alone in its folder, the rest of the names
    need not agree.

    Raises:
        ArgumentError: If there is no pair, a clip lacks its other view, or a view is there twice.
    """
    found: dict[str, dict[View, Path]] = {}
    named = [(path, *view_of_name(_stem(path))) for path in sorted(paths)]
    named = [one for one in named if one[1] is not View.UNKNOWN]
    alone = sorted(view for _, view, _ in named) == [View.A2C, View.A4C]
    for path, view, rest in named:
        views = found.setdefault(path.parent.name if alone else rest or path.parent.name, {})
        if view in views:
            raise ArgumentError(
                f"one {view} clip a heart is needed, {views[view].name} and {path.name} are two; "
                "give one of them with --a4c and --a2c"
            )
        views[view] = path
    for name, views in found.items():
        if len(views) == 1:
            ((view, path),) = views.items()
            other = View.A2C if view is View.A4C else View.A4C
            raise ArgumentError(
                f"{path.name} ({name or 'no name'}) has no {other} clip beside it; name it alike, "
                "or give both with --a4c and --a2c"
            )
    if not found:
        raise ArgumentError(
            "no clip's name says its view; name them like x_A4C.dcm and x_A2C.dcm, or give both "
            "with --a4c and --a2c"
        )
    return tuple(
        Pair(name=name, a4c=views[View.A4C], a2c=views[View.A2C]) for name, views in found.items()
    )


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.name.split(".")[0]


class BiplaneResults(Part):
    """The numbers of both planes together; `refusal` says why there are none."""

    method: str = BIPLANE_METHOD
    ef_percent: float | None
    ef_grade: Grade | None
    edv_ml: float | None
    esv_ml: float | None
    stroke_volume_ml: float | None
    length_difference_percent: float | None
    refusal: str


class StudyReport(Part):
    """All of a study's `report.json`: the biplane numbers, and the report of each plane."""

    schema_version: Literal["1.3"] = SCHEMA_VERSION
    disclaimer: str = DISCLAIMER
    software: Software
    results: BiplaneResults
    normal_ranges: tuple[Normal, ...]
    a4c: Report
    a2c: Report
    warnings: tuple[Caution, ...]


def build_study_report(study: Study, software_version: str) -> StudyReport:
    """Return the report of a study; its warnings are the pair's own, then those of each plane."""
    found = study.biplane
    a4c, a2c = (build_report(one, software_version) for one in (study.a4c, study.a2c))
    stroke_ml = None
    if found.edv_ml is not None and found.esv_ml is not None:
        stroke_ml = found.edv_ml - found.esv_ml
    ef = found.ef_percent
    each = [
        Caution(code=one.code, message=f"{view}: {one.message}")
        for view, report in ((View.A4C, a4c), (View.A2C, a2c))
        for one in report.warnings
    ]
    return StudyReport(
        software=Software(version=software_version),
        results=BiplaneResults(
            ef_percent=rounded(ef, 1),
            ef_grade=None if ef is None else Grade(name=ef_grade(ef), scheme=HEART_FAILURE_2021),
            edv_ml=rounded(found.edv_ml, 1),
            esv_ml=rounded(found.esv_ml, 1),
            stroke_volume_ml=rounded(stroke_ml, 1),
            length_difference_percent=rounded(found.length_difference_percent, 1),
            refusal=found.refusal,
        ),
        normal_ranges=normal_ranges(),
        a4c=a4c,
        a2c=a2c,
        warnings=(*cautions(found.warnings), *each),
    )


def study_row(report: StudyReport) -> dict[str, Any]:
    """Return a study as one flat row for a registry; it names nobody, clips stand as hashes."""
    results = report.results.model_dump(exclude={"method", "ef_grade"})
    grade = report.results.ef_grade
    return {
        "a4c_sha256": report.a4c.input.sha256,
        "a2c_sha256": report.a2c.input.sha256,
        "software_version": report.software.version,
        "schema_version": report.schema_version,
        "model": report.a4c.model.name if report.a4c.model else "",
        **results,
        "ef_grade": grade.name if grade else "",
        "ef_grade_scheme": HEART_FAILURE_2021,
        "a4c_ef_percent": report.a4c.results.ef_percent,
        "a2c_ef_percent": report.a2c.results.ef_percent,
        "warnings": " ".join(dict.fromkeys(warning.code for warning in report.warnings)),
    }
