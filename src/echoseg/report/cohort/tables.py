"""The tables of a cohort, made from the results and failures in its folder."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echoseg.errors import OutputError
from echoseg.files import csv_text, write_table
from echoseg.report.cohort.folder import (
    FAILURES,
    FAILURES_TABLE,
    OTHERS_TABLE,
    RESULTS_TABLE,
    Cohort,
    Entry,
    Failure,
    read_begun,
    read_outcome,
)
from echoseg.report.schema import Report, registry_row

FAILURE_COLUMNS, OTHER_COLUMNS = ("clip", "reason"), ("file", "reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Numbers of clips, failures, other files, and results without EF or with an unreliable one."""

    clips: int
    failed: int
    others: int
    without_ef: int
    unreliable: int
    backups: tuple[Path, ...] = ()
    """Where tables were moved that were not as echoseg wrote them."""
    audit_sha256: str = ""
    """Hash of the last record of the audit log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Rows of the three tables, and numbers of results without EF or with an unreliable one."""

    results: list[dict[str, Any]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)
    without_ef: int = 0
    unreliable: int = 0

    def outcome(self, backups: Iterable[Path | None] = ()) -> Outcome:
        """Their numbers; `backups` are where edited tables were moved."""
        return Outcome(
            clips=len(self.results) + len(self.failures),
            failed=len(self.failures),
            others=len(self.others),
            without_ef=self.without_ef,
            unreliable=self.unreliable,
            backups=tuple(filter(None, backups)),
        )


def read_rows(cohort: Cohort, out: Path) -> Rows:
    """Read the results and failures of a cohort's folder.

    Clips that an interrupted run left without an outcome are among the failures.
    """
    results, failures, without_ef, unreliable = [], [], 0, 0
    others = list(cohort.others.items())
    for entry in cohort.entries:
        outcome = readable_outcome(out, entry)
        if outcome is None:
            failures.append((entry.clip, _unfinished(out, entry)))
        elif isinstance(outcome, Failure):
            (failures if outcome.is_clip else others).append((outcome.clip, outcome.reason))
        else:
            is_withheld = outcome.ef_unreliable_percent is not None
            unreliable += is_withheld
            without_ef += outcome.results.ef_percent is None and not is_withheld
            results.append({"clip": entry.clip, "folder": entry.name, **registry_row(outcome)})
    return Rows(
        results=results,
        failures=failures,
        others=sorted(others),
        without_ef=without_ef,
        unreliable=unreliable,
    )


def write_tables(cohort: Cohort, out: Path) -> Outcome:
    """Write the tables from the results and failures in the folder, and of what is not a clip.

    Raises:
        OutputError: If they cannot be written.
    """
    rows = read_rows(cohort, out)
    columns = rows.results[0] if rows.results else ["clip", "folder"]
    tables = {
        RESULTS_TABLE: csv_text(columns, map(dict.values, rows.results)),
        FAILURES_TABLE: csv_text(FAILURE_COLUMNS, rows.failures),
        OTHERS_TABLE: csv_text(OTHER_COLUMNS, rows.others),
    }
    return rows.outcome([write_table(out / name, text) for name, text in tables.items()])


def readable_outcome(out: Path, entry: Entry) -> Report | Failure | None:
    """As `read_outcome`; what cannot be read, such as another's file in its place, is a failure."""
    try:
        return read_outcome(out, entry)
    except OutputError:
        reason = (
            f"its result, or failure, cannot be read; move {entry.name} or {FAILURES}/{entry.name}"
            ".json and --resume (resume) to try it again"
        )
        return Failure(clip=entry.clip, reason=reason, kind="outside")


def _unfinished(out: Path, entry: Entry) -> str:
    begun = read_begun(out, entry)
    when = "before its turn" if begun is None else f"while it was in work (try {begun.tries})"
    return f"not analyzed, the run ended {when}; continue with --resume (resume)"
