"""Is a copy of a data set whole? Every clip is opened, measured, and told of.

A issue is a file that is missing or broken, or a clip that is odd: a border that the annotation
promises and no mask has, a cavity that is larger at ES than at ED, a picture of one grey, the same
frames under two names.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from echoseg.clip import NOT_AS_LISTED, Annotation, Clip, Label
from echoseg.data.records import Dataset, Issue, IssueKind, Record
from echoseg.errors import EchosegError
from echoseg.parallel import parallel_map

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFacts:
    """What was measured on one clip."""

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
    odd: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkup:
    """A whole data set, looked at: its facts clip by clip, and everything that is wrong."""

    dataset: Dataset
    facts: tuple[ClipFacts, ...]
    issues: tuple[Issue, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all that is here can be used; the release's known quirks do not count."""
        return all(issue.kind is IssueKind.KNOWN for issue in self.issues)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many clips there are by split, view and quality, and issues by kind."""
        named = {
            "split": Counter(fact.split or "none" for fact in self.facts),
            "view": Counter(fact.view for fact in self.facts),
            "quality": Counter(fact.quality or "not told" for fact in self.facts),
            "issue": Counter(str(issue.kind) for issue in self.issues),
            "warning": Counter(code for fact in self.facts for code in fact.warnings),
        }
        return {name: dict(sorted(counter.items())) for name, counter in named.items()}

    def numbers(self) -> dict[str, dict[str, float]]:
        """Return number, least, median and most of what was measured, where it is known."""
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
        return {name: _range(found) for name, found in values.items() if found}

    def as_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "dataset": self.dataset.name,
            "is_whole": self.is_whole,
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
    return {"n": len(values), "least": low, "median": middle, "most": high}


def check(
    dataset: Dataset, *, jobs: int = 1, progress: Progress = lambda done, total: None
) -> Checkup:
    """Open every clip of a data set and tell what it holds and what is wrong with it."""
    facts, issues = [], list(dataset.issues)
    seen: dict[str, ClipFacts] = {}
    total = len(dataset.records)
    for index, found in enumerate(parallel_map(_look, dataset.records, jobs)):
        progress(index + 1, total)
        if isinstance(found, Issue):
            issues.append(found)
            continue
        odd = list(found.odd)
        first = seen.setdefault(found.frames_sha256, found)
        if first is not found:
            odd.append(f"its frames are those of {first.name}")
        issues += [
            Issue(place=found.name, kind=IssueKind.INCONSISTENT, reason=reason) for reason in odd
        ]
        facts.append(found)
    return Checkup(dataset=dataset, facts=tuple(facts), issues=tuple(issues))


def _look(record: Record) -> ClipFacts | Issue:
    """Return what one clip holds, or why it cannot be read."""
    try:
        clip, known = record.load()
    except EchosegError as error:
        return Issue(place=record.name, kind=IssueKind.BROKEN, reason=str(error))
    labels: tuple[int, ...] = ()
    if known is not None:
        labels = tuple(np.unique(known.masks[list(known.labelled_frames)]).tolist())
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
        labelled_frames=len(known.labelled_frames) if known else 0,
        labels=labels,
        es_before_ed=_es_before_ed(known),
        ef_percent=known.ef_percent if known else None,
        grey_mean=round(float(clip.frames.mean()), 3),
        grey_sd=round(float(clip.frames.std()), 3),
        frames_sha256=hashlib.sha256(clip.frames.tobytes()).hexdigest(),
        warnings=tuple(warning.code for warning in clip.warnings),
        odd=tuple(_odd(clip, known)),
    )


def _es_before_ed(known: Annotation | None) -> bool:
    if known is None or known.ed_frame is None or known.es_frame is None:
        return False
    return known.es_frame < known.ed_frame


def _odd(clip: Clip, known: Annotation | None) -> list[str]:
    """Return what cannot be true of a clip of a heart, one line each."""
    found = []
    if clip.frames.min() == clip.frames.max():
        found.append(f"every pixel has the grey level {clip.frames.min()}")
    found += [each.message for each in clip.warnings if each.code == NOT_AS_LISTED]
    if known is None:
        return found
    areas = (known.masks == Label.LV_CAVITY).sum((1, 2))
    empty = [frame for frame in known.labelled_frames if not areas[frame]]
    if empty:
        found.append(f"the mask of frame {empty[0]} holds no LV cavity ({len(empty)} such frames)")
    phases = (known.ed_frame, known.es_frame)
    if None not in phases and set(phases) <= set(known.labelled_frames):
        ed, es = (int(areas[frame]) for frame in phases if frame is not None)
        if ed < es:
            found.append(f"the cavity has {ed} pixels at ED and {es} at ES, which is more")
    return found
