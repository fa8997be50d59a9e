"""`echoseg analyze FOLDER`: a cohort, and `echoseg cohort`: its folder while it runs, and after."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import fail, progress_bar, public, show_backup, show_notice
from echoseg.cli.options import ForceFile, KeepFile, replacing
from echoseg.errors import ConfigError

if TYPE_CHECKING:
    from echoseg.report.cohort import Outcome, RunOptions, Settings

app = typer.Typer(
    name="cohort",
    help="State, tables and failed clips of a cohort's output folder.",
    no_args_is_help=True,
)
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Output folder of a cohort.")]
_MAX_REASONS = 10


@app.callback()
def root() -> None:
    """State, tables and failed clips of a cohort's output folder."""


@app.command()
def status(output: Out) -> None:
    """Show how many clips are done, failed, in work and pending, the rate, and the time left."""
    from echoseg.report.cohort.manage import read_status
    from echoseg.report.cohort.remote import watched

    with watched(output) as folder:
        state = read_status(folder)
    failed = sum(state.failed.values())
    typer.echo(
        f"{state.clips} clips: {state.done} done, {failed} failed, {state.pending} pending, of "
        f"these {state.in_work} in work; files that are not clips: {state.others}"
    )
    if failed:
        kinds = ", ".join(f"{kind} {number}" for kind, number in state.failed.most_common())
        again = f"; to be tried again: {state.retried}" if state.retried else ""
        typer.echo(f"failed by kind: {kinds}{again}")
    for reason, number in state.reasons.most_common(_MAX_REASONS):
        typer.echo(public(f"  {number}: {reason}"))
    if len(state.reasons) > _MAX_REASONS:
        typer.echo(f"  and {len(state.reasons) - _MAX_REASONS} other reasons")
    shards = [name for name in state.running if name != "run"]
    what = f"shards {', '.join(shards)}" if shards else "running"
    if is_remote(output):
        typer.echo("pending clips may be in work: a remote folder does not show what runs")
    elif not state.running:
        typer.echo("not running" + ("; continue with --resume" if state.pending else ""))
    elif state.clips_per_min is None or state.left_s is None:
        typer.echo(f"{what}; no rate yet")
    else:
        typer.echo(f"{what}; {state.clips_per_min:.1f} clips/min, {_duration(state.left_s)} left")


def _duration(time_s: float) -> str:
    minutes = round(time_s / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes else "less than a minute"


@app.command()
def merge(output: Out) -> None:
    """Write the tables of a cohort that was analyzed in shards, when all have ended.

    Exit codes: 0: no clip failed; 1: clips failed or are pending; 2: something runs in the folder.
    """
    from echoseg.report.cohort.manage import merge as merge_cohort
    from echoseg.report.cohort.remote import mirrored

    with mirrored(output) as (folder, _):
        done, pending = merge_cohort(folder)
    _show_outcome(done, output, pending=pending)
    if pending:
        typer.echo("run the shards of pending clips again, then merge")
    if done.failed or pending:
        raise typer.Exit(1)


@app.command()
def retry(
    output: Out,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            help="Only clips that failed for it: clip, timeout, memory, crash, outside, or words "
            "of the reason; repeatable."
        ),
    ] = None,
) -> None:
    """Let the next run try failed clips again; nothing is analyzed yet.

    Continue with the command that began the cohort, and --resume (or the same --shard).
    """
    from echoseg.report.cohort.manage import mark_for_retry
    from echoseg.report.cohort.remote import mirrored

    with mirrored(output) as (folder, mirror):
        marked = mark_for_retry(folder, reason or ())
        if mirror is not None:
            mirror.push(*folder.glob("failures/*.json"))
    kinds = ", ".join(f"{kind} {number}" for kind, number in marked.most_common())
    typer.echo(f"to be tried again: {sum(marked.values())}{kinds and f' ({kinds})'}")
    if not marked:
        fail("no clip failed for such a reason; see echoseg cohort status")
        raise typer.Exit(1)


@app.command()
def export(
    output: Out,
    table: Annotated[
        Path | None, typer.Option("-o", "--output", help="NAME.parquet or NAME.xlsx.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="SQLite or PostgreSQL database, as an SQLAlchemy URL.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the cohort in the database (default: its folder's).")
    ] = None,
    force: ForceFile = False,
    keep: KeepFile = False,
) -> None:
    """Write the results for R, Excel, pandas or SQL, with numbers as numbers."""
    from echoseg.report.cohort.export import write_database, write_file
    from echoseg.report.cohort.manage import read_cohort
    from echoseg.report.cohort.remote import mirrored
    from echoseg.report.cohort.tables import read_rows

    if (table is None) == (database_url is None):
        raise ConfigError("give -o NAME.parquet or NAME.xlsx, or --database-url, one of them")
    with mirrored(output) as (folder, _):
        rows = read_rows(read_cohort(folder), folder)
    if table is not None:
        backup = write_file(rows, table, replacing(force, keep))
        typer.echo(public(f"{table}: {len(rows.results)} results"))
        show_backup(backup)
    if database_url is not None:
        write_database(rows, database_url, name or output.resolve().name)
        typer.echo(
            f"{len(rows.results)} rows in table results, {len(rows.failures)} in failures, "
            f"{len(rows.others)} in not_clips"
        )


def run_cohort(
    clips: Sequence[Path], options: dict[str, Any], output: Path, run_options: dict[str, Any]
) -> None:
    """Analyze a cohort and exit with the exit code.

    Raises:
        EchosegError: If it cannot be started or resumed.
    """
    from echoseg.cli.analyze import write_all_dicom
    from echoseg.remote import Remote
    from echoseg.report import cohort
    from echoseg.report.cohort.remote import find_remote_clips, mirrored

    settings, how = cohort_settings(options, run_options)
    _check_remote(clips, output, options, how)
    if names := options["names"]:
        for folder in clips:
            names.hide_folder(folder)
    remote = Remote.parse(clips[0])
    sources = find_remote_clips(remote, output) if remote else cohort.find_clips(clips, output)
    sources = sources.hidden(names) if names else sources
    with progress_bar("cohort" if names else output.name, "clips") as update:
        with mirrored(output, how.shard) as (place, mirror):
            done = cohort.run_cohort(sources, settings, place, how, update, mirror)
    _show_outcome(done, output, how.shard is None)
    without = write_all_dicom(output, list(sources.values())) if options["dicom"] else 0
    if done.failed or without or not (done.clips or how.shard):
        raise typer.Exit(1)


def _check_remote(
    clips: Sequence[Path], output: Path, options: dict[str, Any], how: "RunOptions"
) -> None:
    """Check what cannot be combined with remote clips or a remote output folder.

    Raises:
        ConfigError: If an option does not apply to them.
    """
    if is_remote(*clips) and len(clips) > 1:
        raise ConfigError("give one remote folder, or local clips; not several, nor both")
    if options["dicom"] and is_remote(*clips, output):
        raise ConfigError("--dicom does not apply to remote folders; leave it out")
    if how.engine and is_remote(output):
        raise ConfigError(
            "--engine needs an output folder that all machines share; give one, or use --shard"
        )


def _show_outcome(
    done: "Outcome", folder: Path, has_tables: bool = True, *, pending: int = 0
) -> None:
    """Print the numbers of a cohort or shard, and where its tables are.

    Pending clips are among the failed ones of `done`, whose table says so.
    """
    from echoseg.cli.analyze import count_efs
    from echoseg.remote import Remote
    from echoseg.report import cohort

    output = Remote.parse(folder) or folder
    typer.echo(
        count_efs(
            done.clips,
            withheld=done.unreliable,
            none=done.without_ef,
            failed=done.failed - pending,
            pending=pending,
        )
    )
    if not has_tables:
        typer.echo(public(f"when all shards have ended: echoseg cohort merge {output}"))
        return
    tables = (cohort.RESULTS_TABLE, cohort.FAILURES_TABLE, cohort.OTHERS_TABLE)
    others = f"files that are not clips: {done.others}; tables in {output}: {', '.join(tables)}"
    typer.echo(public(others))
    typer.echo(f"audit log: {cohort.AUDIT}, last hash {done.audit_sha256}")
    for backup in done.backups:
        show_backup(backup)


def cohort_settings(
    options: dict[str, Any], run_options: dict[str, Any]
) -> tuple["Settings", "RunOptions"]:
    """How the clips of a cohort or study are analyzed, and it is run; prints the model's notice.

    Raises:
        EchosegError: If an option does not apply, or there is no such model.
    """
    from echoseg.parallel import check_jobs
    from echoseg.report.cohort import RunOptions, Settings
    from echoseg.weights.card import find_checkpoint, read_card

    if run_options.get("shard") and options["dicom"]:
        raise ConfigError("--dicom does not apply to --shard; run echoseg dicom afterwards")
    if options["force"]:
        raise ConfigError("--force does not apply to a cohort or study; choose another -o")
    card = read_card(find_checkpoint(options["model"]))
    settings = Settings(
        model=options["model"],
        model_sha256=card.sha256,
        private=options["names"] is not None,
        **options["open_options"],
        **{
            name: options[name]
            for name in ("device", "backend", "smoothing", "force_view", "pdf", "pages")
        },
    )
    run_options = {"jobs": os.cpu_count() or 1} | run_options
    run_options["jobs"] = check_jobs(run_options["jobs"])
    show_notice(card)
    return settings, RunOptions(**run_options)


def given_options(
    jobs: int | None,
    resume: bool,
    retry_failed: bool,
    clip_timeout: float | None,
    clip_memory: float | None,
) -> dict[str, Any]:
    """The options of a cohort that are given."""
    limits = {"timeout_s": clip_timeout, "memory_gb": clip_memory}
    options: dict[str, Any] = dict(
        jobs=jobs,
        resume=resume or retry_failed or None,
        retry_failed=retry_failed or None,
        limits={name: value for name, value in limits.items() if value is not None} or None,
    )
    return {name: value for name, value in options.items() if value is not None}


def given_shard(shard: str | None, study: Path | None) -> dict[str, Any]:
    """The shard, where one is given.

    Raises:
        ConfigError: If it is not one, or of a study.
    """
    if shard is None:
        return {}
    from echoseg.report.cohort import Shard

    if study is not None:
        raise ConfigError("--shard does not apply to --study; give CLIPS")
    return {"shard": Shard.parse(shard)}


def given_engine(
    engine: str | None, scheduler: str | None, jobs: int | None, study: Path | None
) -> dict[str, Any]:
    """The cluster, where one is given.

    Raises:
        ConfigError: If it is not one, or does not go with the other options.
    """
    if engine is None and scheduler is None:
        return {}
    from echoseg.report.cohort.folder import Engine

    if engine != "dask":
        raise ConfigError(f"--engine must be dask, got {engine}; leave it out for local processes")
    if study is not None or jobs is not None:
        raise ConfigError(
            "--engine does not apply to --study, nor with --jobs: the cluster has its own workers"
        )
    return {"engine": Engine(scheduler=scheduler or "")}


def is_remote(*paths: Path) -> bool:
    """Whether a path is the address of a remote folder."""
    from echoseg.remote import Remote

    return any(Remote.parse(path) for path in paths)
