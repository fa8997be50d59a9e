"""Check a copy of a data set: every clip is opened and measured.

An issue is a missing or broken file, or an inconsistent clip: a labeled frame without LV cavity, a
cavity larger at ES than at ED, frames of one grey level, the same frames under two names.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from echoseg.clip import NOT_AS_LISTED, Annotation, Clip, Label
from echoseg.data.dataset import Dataset
from echoseg.data.records import Issue, IssueKind, Record
from echoseg.errors import EchosegError
from echoseg.parallel import parallel_map

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFacts:
    """Measurements of one clip."""

    name: str
    patient: str
    view: str
    split: str
    quality: str
    num_frames: int
    rows: int
    columns: int
    spacing_mm: tuple[float, float] | None
    frame_rate_hz: float | None
    labelled_frames: int
    labels: tuple[int, ...]
    es_before_ed: bool
    ef_percent: float | None
    grey_mean: float
    grey_sd: float
    frames_sha256: str
    warnings: tuple[str, ...]
    inconsistencies: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkup:
    """The result of `check`: facts of each clip, and all issues."""

    dataset: Dataset
    facts: tuple[ClipFacts, ...]
    issues: tuple[Issue, ...]

    @property
    def is_complete(self) -> bool:
        """Whether all issues are known defects of the release."""
        return all(issue.kind is IssueKind.KNOWN for issue in self.issues)

    def counts(self) -> dict[str, dict[str, int]]:
        """Numbers of clips per split, view and quality, and of issues per kind."""
        named = {
            "split": Counter(fact.split or "none" for fact in self.facts),
            "view": Counter(fact.view for fact in self.facts),
            "quality": Counter(fact.quality or "unknown" for fact in self.facts),
            "issue": Counter(str(issue.kind) for issue in self.issues),
            "warning": Counter(code for fact in self.facts for code in fact.warnings),
        }
        return {name: dict(sorted(counter.items())) for name, counter in named.items()}

    def numbers(self) -> dict[str, dict[str, float]]:
        """Number, minimum, median and maximum of the measurements, where they are known."""
        values = {
            "frames": [fact.num_frames for fact in self.facts],
            "rows": [fact.rows for fact in self.facts],
            "columns": [fact.columns for fact in self.facts],
            "row_mm": [fact.spacing_mm[0] for fact in self.facts if fact.spacing_mm],
            "column_mm": [fact.spacing_mm[1] for fact in self.facts if fact.spacing_mm],
            "frame_rate_hz": [f.frame_rate_hz for f in self.facts if f.frame_rate_hz is not None],
            "labelled_frames": [fact.labelled_frames for fact in self.facts],
            "ef_percent": [f.ef_percent for f in self.facts if f.ef_percent is not None],
            "grey_mean": [fact.grey_mean for fact in self.facts],
            "grey_sd": [fact.grey_sd for fact in self.facts],
        }
        return {name: _range(known) for name, known in values.items() if known}

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "dataset": self.dataset.name,
            "is_complete": self.is_complete,
            "clips": len(self.facts),
            "patients": len({fact.patient for fact in self.facts}),
            "es_before_ed": sum(fact.es_before_ed for fact in self.facts),
            "counts": self.counts(),
            "numbers": self.numbers(),
            "notes": list(self.dataset.notes),
            "issues": [asdict(issue) for issue in self.issues],
            "facts": [asdict(fact) for fact in self.facts],
        }


def _range(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = (float(value) for value in np.percentile(values, (0, 50, 100)))
    return {"n": len(values), "min": low, "median": middle, "max": high}


def check(
    dataset: Dataset, *, jobs: int = 1, progress: Progress = lambda done, total: None
) -> Checkup:
    """Open every clip of a data set, measure it and look for issues."""
    facts, issues = [], list(dataset.issues)
    first_with: dict[str, ClipFacts] = {}
    total = len(dataset.records)
    for index, outcome in enumerate(parallel_map(_inspect, dataset.records, jobs)):
        progress(index + 1, total)
        if isinstance(outcome, Issue):
            issues.append(outcome)
            continue
        reasons = list(outcome.inconsistencies)
        first = first_with.setdefault(outcome.frames_sha256, outcome)
        if first is not outcome:
            reasons.append(f"its frames are those of {first.name}")
        issues += [
            Issue(place=outcome.name, kind=IssueKind.INCONSISTENT, reason=reason)
            for reason in reasons
        ]
        facts.append(outcome)
    return Checkup(dataset=dataset, facts=tuple(facts), issues=tuple(issues))


def _inspect(record: Record) -> ClipFacts | Issue:
    """Measure one clip, or say why it cannot be read."""
    try:
        clip, annotation = record.load()
    except EchosegError as error:
        return Issue(place=record.name, kind=IssueKind.BROKEN, reason=str(error))
    labels: tuple[int, ...] = ()
    if annotation is not None:
        labels = tuple(np.unique(annotation.masks[list(annotation.labelled_frames)]).tolist())
    return ClipFacts(
        name=record.name,
        patient=record.patient,
        view=str(record.view),
        split=record.split,
        quality=record.quality,
        num_frames=clip.num_frames,
        rows=clip.size[0],
        columns=clip.size[1],
        spacing_mm=clip.spacing_mm,
        frame_rate_hz=clip.frame_rate_hz,
        labelled_frames=len(annotation.labelled_frames) if annotation else 0,
        labels=labels,
        es_before_ed=_es_before_ed(annotation),
        ef_percent=annotation.ef_percent if annotation else None,
        grey_mean=round(float(clip.frames.mean()), 3),
        grey_sd=round(float(clip.frames.std()), 3),
        frames_sha256=hashlib.sha256(clip.frames.tobytes()).hexdigest(),
        warnings=tuple(warning.code for warning in clip.warnings),
        inconsistencies=tuple(_inconsistencies(clip, annotation)),
    )


def _es_before_ed(annotation: Annotation | None) -> bool:
    if annotation is None or annotation.ed_frame is None or annotation.es_frame is None:
        return False
    return annotation.es_frame < annotation.ed_frame


def _inconsistencies(clip: Clip, annotation: Annotation | None) -> list[str]:
    """Reasons why a clip cannot be right, one line each."""
    reasons = []
    if clip.frames.min() == clip.frames.max():
        reasons.append(f"every pixel has the grey level {clip.frames.min()}")
    reasons += [each.message for each in clip.warnings if each.code == NOT_AS_LISTED]
    if annotation is None:
        return reasons
    areas = (annotation.masks == Label.LV_CAVITY).sum((1, 2))
    empty = [frame for frame in annotation.labelled_frames if not areas[frame]]
    if empty:
        reasons.append(f"the mask of frame {empty[0]} has no LV cavity ({len(empty)} such frames)")
    phases = (annotation.ed_frame, annotation.es_frame)
    if None not in phases and set(phases) <= set(annotation.labelled_frames):
        ed, es = (int(areas[frame]) for frame in phases if frame is not None)
        if ed < es:
            reasons.append(f"the cavity has {ed} pixels at ED and {es} at ES, which is more")
    return reasons
