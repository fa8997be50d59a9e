"""The tables of a cohort, made from the results and failures in its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

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


def write_tables(
    cohort: Cohort, out: Path, others: Mapping[str, str] = MappingProxyType({})
) -> Outcome:
    """Write the tables from the results and failures in the folder, and of what is not a clip.

    Clips that an interrupted run left without an outcome are among the failures.

    Raises:
        OutputError: If they cannot be written.
    """
    rows, failures, without_ef, unreliable = [], [], 0, 0
    passed_over = list(others.items())
    for entry in cohort.entries:
        outcome = readable_outcome(out, entry)
        if outcome is None:
            failures.append((entry.clip, _unfinished(out, entry)))
        elif isinstance(outcome, Failure):
            (failures if outcome.is_clip else passed_over).append((outcome.clip, outcome.reason))
        else:
            is_withheld = outcome.ef_unreliable_percent is not None
            unreliable += is_withheld
            without_ef += outcome.results.ef_percent is None and not is_withheld
            rows.append({"clip": entry.clip, "folder": entry.name, **registry_row(outcome)})
    tables = {
        RESULTS_TABLE: csv_text(rows[0] if rows else ["clip", "folder"], map(dict.values, rows)),
        FAILURES_TABLE: csv_text(("clip", "reason"), failures),
        OTHERS_TABLE: csv_text(("file", "reason"), sorted(passed_over)),
    }
    backups = [write_table(out / name, text) for name, text in tables.items()]
    return Outcome(
        clips=len(rows) + len(failures),
        failed=len(failures),
        others=len(passed_over),
        without_ef=without_ef,
        unreliable=unreliable,
        backups=tuple(filter(None, backups)),
    )


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
