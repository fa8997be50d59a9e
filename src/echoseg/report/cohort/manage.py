"""A cohort's folder while it is worked in, and after: its state, its tables, what is tried again.

The clips themselves are not needed, nor a network.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from echoseg.audit import AuditLog
from echoseg.errors import ConfigError, OutputError
from echoseg.files import ResumableFolder, is_locked
from echoseg.report.cohort.folder import (
    AUDIT,
    MANIFEST,
    RESULTS_TABLE,
    Cohort,
    Entry,
    Failure,
    begun_path,
    failure_path,
    read_outcome,
)
from echoseg.report.cohort.shard import check_no_shard_runs, running_shards, shard_logs
from echoseg.report.cohort.tables import Outcome, write_tables
from echoseg.report.cohort.work import log_event
from echoseg.report.writer import MARK

CLIP = "clip"
KINDS = (CLIP, "timeout", "memory", "crash", "outside")
"""Why a clip failed: `clip` is what was found in its file, the others are of its process."""
RATE_WINDOW_S = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """State of a cohort; of the clips, `in_work` are among `pending`.

    Attributes:
        clips: Number of clips, without files that are something else.
        done: Clips with a result.
        failed: Failed clips by kind, see `KINDS`.
        reasons: Failed clips by reason.
        retried: Failed clips that the next run tries again.
        pending: Clips without an outcome.
        in_work: Clips that were begun and have not ended.
        others: Files that are not clips.
        running: What works in the folder: `run`, or names of shards.
        clips_per_min: Outcomes per minute in the last ten minutes; None where nothing runs, or
            nothing has ended in them.
        left_s: Time that the pending clips take at that rate; None likewise.
    """

    clips: int
    done: int
    failed: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    pending: int = 0
    in_work: int = 0
    others: int = 0
    running: tuple[str, ...] = ()
    clips_per_min: float | None = None
    left_s: float | None = None


def read_cohort(out: Path) -> Cohort:
    """The manifest of a cohort's folder.

    Raises:
        ConfigError: If there is none.
        OutputError: If it is damaged, or of another kind of result.
    """
    cohort = ResumableFolder(out, MANIFEST, Cohort, "a cohort").read() if out.is_dir() else None
    if cohort is None:
        raise ConfigError(
            f"{out} must be the output folder of a cohort, it has no {MANIFEST}; give the -o of "
            "echoseg analyze"
        )
    return cohort


def read_status(out: Path) -> Status:
    """The state of a cohort, also while it is worked in; nothing is written.

    Raises:
        ConfigError: If `out` is not a cohort's folder.
        OutputError: If its manifest cannot be read.
    """
    cohort = read_cohort(out)
    failed, reasons, ends_s = Counter[str](), Counter[str](), []
    done = others = retried = in_work = 0
    for entry in cohort.entries:
        end_s, failure = _end_of(out, entry)
        if end_s is None:
            in_work += begun_path(out, entry).exists()
            continue
        ends_s.append(end_s)
        if failure is None:
            done += 1
        elif not failure.is_clip:
            others += 1
        else:
            failed[kind_of(failure)] += 1
            reasons[failure.reason] += 1
            retried += failure.retry
    pending = len(cohort.entries) - len(ends_s)
    running = (*["run"] * is_locked(out), *running_shards(out))
    now_s = time.time()
    recent = [end_s for end_s in ends_s if end_s > now_s - RATE_WINDOW_S]
    has_rate = bool(running) and len(recent) > 1
    rate = 60 * len(recent) / max(now_s - min(recent), 1.0) if has_rate else None
    return Status(
        clips=len(cohort.entries) - others,
        others=others + len(cohort.others), done=done, failed=failed, reasons=reasons,
        retried=retried, pending=pending, in_work=in_work, running=running,
        clips_per_min=rate, left_s=60 * pending / rate if rate else None,
    )  # fmt: skip


def _end_of(out: Path, entry: Entry) -> tuple[float | None, Failure | None]:
    """When a clip ended, and its failure; a result is not opened."""
    with suppress(OSError):
        return (out / entry.name / MARK).stat().st_mtime, None
    try:
        end_s = failure_path(out, entry).stat().st_mtime
    except OSError:
        return None, None
    try:
        outcome = read_outcome(out, entry)
    except OutputError:
        outcome = Failure(clip=entry.clip, reason="its failure cannot be read", kind="outside")
    return end_s, outcome if isinstance(outcome, Failure) else None


def kind_of(failure: Failure) -> str:
    """Why a clip failed, one of `KINDS`."""
    return failure.kind or CLIP


@contextmanager
def _alone(out: Path) -> Iterator[Cohort]:
    """Hold a cohort's folder, in which nothing runs.

    Raises:
        ConfigError: If it is not a cohort's folder.
        OutputError: If something runs in it.
    """
    read_cohort(out)
    with ResumableFolder(out, MANIFEST, Cohort, "a cohort").locked():
        check_no_shard_runs(out)
        yield read_cohort(out)


def merge(out: Path) -> tuple[Outcome, int]:
    """Write the tables of a cohort whose shards have ended, as one run would have written them.

    The audit log of each shard is entered in that of the cohort, by the hash of its last line.

    Returns:
        What the tables hold, and how many clips have no outcome yet.

    Raises:
        ConfigError: If `out` is not a cohort's folder.
        OutputError: If something runs in it, or the tables cannot be written.
    """
    with _alone(out) as cohort:
        log = AuditLog(out / AUDIT)
        known = {record.input_sha256 for record in log.records()}
        for path in shard_logs(out):
            last = [record.sha256 for record in AuditLog(path).records()][-1:]
            if last and last[0] not in known:
                log_event(log, "shard", cohort.settings, path, last[0])
        outcome = write_tables(cohort, out)
        pending = sum(_end_of(out, entry)[0] is None for entry in cohort.entries)
        sha256 = log_event(log, "tables", cohort.settings, out / RESULTS_TABLE)
        return replace(outcome, audit_sha256=sha256), pending


def mark_for_retry(out: Path, reasons: Collection[str] = ()) -> Counter[str]:
    """Let the next run try failed clips again; until then their failures stay.

    Args:
        out: The cohort's folder.
        reasons: Kinds of failure, or parts of the reasons that are stated; none: all.

    Returns:
        How many clips of each kind.

    Raises:
        ConfigError: If `out` is not a cohort's folder.
        OutputError: If something runs in it, or a failure cannot be written.
    """
    marked = Counter[str]()
    with _alone(out) as cohort:
        for entry in cohort.entries:
            if (out / entry.name / MARK).exists():
                continue
            _, failure = _end_of(out, entry)
            if failure is None or not failure.is_clip or not _is_meant(failure, reasons):
                continue
            failure.model_copy(update={"retry": True}).write(failure_path(out, entry))
            marked[kind_of(failure)] += 1
    return marked


def _is_meant(failure: Failure, reasons: Collection[str]) -> bool:
    kinds, texts = set(reasons) & set(KINDS), set(reasons) - set(KINDS)
    return not reasons or kind_of(failure) in kinds or any(t in failure.reason for t in texts)
