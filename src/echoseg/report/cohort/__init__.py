"""Analyze many clips; resumable after any interruption.

    OUT/manifest.json       which clips, and how they are analyzed; written first
    OUT/NAME/...            one result folder per clip, written atomically
    OUT/failures/NAME.json  why a clip has no result, and the hash of its file
    OUT/.begun/NAME.json    a clip is in work, or was when the run was killed
    OUT/results.csv         one row per clip, OUT/failures.csv one per failure, OUT/not_clips.csv
                            one per file that is something else; written last, also by a run that
                            is interrupted
    OUT/audit.jsonl         what was done when and by whom, see `echoseg.audit`
    OUT/.shards/I-of-N/     lock and audit log of a shard, where several runs share the work

The tables are made from the folders, in the manifest's order, and hold no times: a run that was
killed and resumed ends in the same bytes as one that was not. A result belongs to the hash of its
clip: a clip whose file changed is refused, one that failed is tried again.

Clips are read and analyzed in worker processes only, so what a clip does to its process costs that
clip. Those that were in work when a run was killed come last in the next.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from echoseg.errors import OutputError
from echoseg.files import ResumableFolder, SameFolder, remove_document
from echoseg.inference.analyzer import choose_device
from echoseg.inference.backends.select import AUTO, check_backend, select_backend
from echoseg.parallel import parallel_map
from echoseg.report.cohort.clips import FoundClips, find_clips, is_clip, list_clips
from echoseg.report.cohort.engine import engine_map
from echoseg.report.cohort.folder import (
    AUDIT,
    DEFAULT_OPTIONS,
    FAILURES,
    FAILURES_TABLE,
    MANIFEST,
    OTHERS_TABLE,
    RESULTS_TABLE,
    Cohort,
    Entry,
    Failure,
    RunOptions,
    Settings,
    begun_path,
    not_done,
    plan,
    read_begun,
    read_outcome,
)
from echoseg.report.cohort.remote import Mirror
from echoseg.report.cohort.shard import Shard, check_no_shard_runs
from echoseg.report.cohort.tables import Outcome, read_rows, readable_outcome, write_tables
from echoseg.report.cohort.work import Work, analyze_entry

Progress = Callable[[int, int], None]
VARYING = ("entries", "others")
SHARD_WAIT_S = 600.0
"""How long a shard waits for others that begin."""


def run_cohort(
    clips: dict[str, Path],
    settings: Settings,
    out: Path,
    options: RunOptions = DEFAULT_OPTIONS,
    progress: Progress = lambda done, total: None,
    mirror: Mirror | None = None,
) -> Outcome:
    """Analyze every clip that is not done, then write the tables.

    Args:
        clips: From `find_clips`.
        settings: How the clips are analyzed.
        out: The output folder.
        options: How it is run.
        progress: Called with (clips done, all clips).
        mirror: Stores what is written in `out`, see `remote.mirrored`.

    Raises:
        ConfigError: If `out` holds a cohort without `options.resume`, or one of other settings, or
            a clip's file has changed.
        ModelError: If the model cannot be loaded; before the first clip.
        OutputError: If `out` holds other files, is in use, or cannot be written.
    """
    check_backend(settings.backend)
    folder = ResumableFolder(out, MANIFEST, Cohort, "a cohort")
    shard = options.shard
    with contextlib.ExitStack() as whole, contextlib.ExitStack() as own:
        place = whole.enter_context(folder.locked(SHARD_WAIT_S if shard else 0.0))
        is_resumed = options.resume or shard is not None
        held = folder.read() if is_resumed else None
        settings = with_backend(settings, held)
        cohort = plan(clips, settings, held, out)
        folder.check(cohort, resume=is_resumed, varying=VARYING)
        if shard:
            own.enter_context(shard.locked(out))
        else:
            check_no_shard_runs(out)
        entries = [entry for entry in cohort.entries if shard is None or shard.owns(entry.clip)]
        left = [] if shard else not_done(out, entries, options)
        folder.begin(cohort, resume=is_resumed, varying=VARYING)
        (out / FAILURES).mkdir(exist_ok=True)
        if shard:
            whole.close()  # the others begin
            left = not_done(out, entries, options)
        if mirror is not None:
            mirror.push(out / MANIFEST)
        work = Work(
            settings=settings,
            out=out,
            options=options,
            place=place,
            inputs=getattr(clips, "remote", None),
            mirror=mirror,
        )
        with contextlib.nullcontext() if shard else _tables_if_interrupted(cohort, place):
            _analyze_all(work, entries, left, progress)
        place.check()
        if shard:
            return read_rows(cohort.model_copy(update={"entries": entries}), out).outcome()
        outcome = write_tables(cohort, out)
        return replace(outcome, audit_sha256=work.log("tables", out / RESULTS_TABLE))


def _analyze_all(
    work: Work, entries: Sequence[Entry], left: Sequence[Entry], progress: Progress
) -> None:
    """Analyze the clips that are left, those last that were in work when a run was killed."""
    notes = {entry.name: read_begun(work.out, entry) for entry in entries}
    tries = {name: note.tries if note else 0 for name, note in notes.items()}
    if any(tries.values()):
        known = {record.result_sha256 for record in work.audit_log.records()}
        for entry in (entry for entry in entries if tries[entry.name]):
            work.log_found(entry, known)
    done = len(entries) - len(left)
    progress(done, len(entries))
    left = sorted(left, key=lambda entry: tries[entry.name])
    for index, _ in enumerate(_results(work, left), done + 1):
        progress(index, len(entries))


def _results(work: Work, left: Sequence[Entry]) -> Iterator[None]:
    """Analyze clips, on the cluster or in local processes; yield as often as one has ended."""
    options = work.options
    if options.engine is None:
        yield from parallel_map(
            work,
            left,
            options.jobs,
            limits=options.limits,
            on_loss=work.lose,
            prepare=work.prepare,
        )
        return
    for entry in engine_map(work, left, options.engine):
        work.log_found(entry)
        yield
    for entry in left:  # a process of a lost worker may have noted a clip again after its end
        remove_document(begun_path(work.out, entry))


@contextlib.contextmanager
def _tables_if_interrupted(cohort: Cohort, place: SameFolder) -> Iterator[None]:
    """Write the tables after Ctrl-C and errors too, unless no clip has been analyzed."""
    try:
        yield
    except BaseException:
        out = place.path
        with contextlib.suppress(OutputError):
            place.check()
            if any(readable_outcome(out, entry) for entry in cohort.entries):
                write_tables(cohort, out)
        raise


def with_backend(settings: Settings, held: Cohort | None = None) -> Settings:
    """Replace the backend `auto`: by that of the resumed cohort, else by the fastest."""
    if settings.backend != AUTO:
        return settings
    if held is not None:
        backend = held.settings.backend
    elif choose_device(settings.device) != "cpu":
        backend = "torch"
    else:
        backend = select_backend(settings.model, num_threads=1).backend
    return settings.model_copy(update={"backend": backend})


__all__ = [
    "AUDIT",
    "FAILURES_TABLE",
    "MANIFEST",
    "OTHERS_TABLE",
    "RESULTS_TABLE",
    "Cohort",
    "Entry",
    "Failure",
    "FoundClips",
    "Outcome",
    "Progress",
    "RunOptions",
    "Settings",
    "Shard",
    "analyze_entry",
    "find_clips",
    "is_clip",
    "list_clips",
    "not_done",
    "read_outcome",
    "run_cohort",
    "with_backend",
    "write_tables",
]
