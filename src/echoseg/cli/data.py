"""`echoseg data`: check a data set, and prepare a cache of it for training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import one_line, progress_bar, show_backup
from echoseg.cli.options import AllowOutside, ForceFile, KeepFile, replacing

if TYPE_CHECKING:
    from echoseg.data import Dataset, Issue
    from echoseg.data.validate import Checkup
    from echoseg.files import Replace

app = typer.Typer(
    name="data",
    help="Check data sets and custom clips, and prepare them for training. "
    "Research software, not a medical device.",
    no_args_is_help=True,
)

_MAX_LINES = 40
Folder = Annotated[
    Path, typer.Argument(help="Folder of a data set or of clips, or a CSV that lists clips.")
]
Jobs = Annotated[int, typer.Option(help="Worker processes, at most one per CPU.")]


@app.command()
def check(
    folder: Folder,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a figure of some clips with their contours, PNG.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write all results, clip by clip, JSON.")
    ] = None,
    jobs: Jobs = 1,
    allow_outside: AllowOutside = False,
    force: ForceFile = False,
    keep: KeepFile = False,
) -> None:
    """Open every clip of a data set and report missing, broken or inconsistent ones.

    Exit codes: 0: no issues; 1: something is missing, broken or inconsistent; 2: not a data set, or
    invalid command.
    """
    from echoseg.data import load_dataset
    from echoseg.data.validate import check as check_clips
    from echoseg.files import check_new_file
    from echoseg.parallel import check_jobs

    jobs = check_jobs(jobs)
    replace = replacing(force, keep)
    backups = [check_new_file(path, replace) for path in (sheet, json) if path]
    dataset = load_dataset(folder, allow_outside=allow_outside)
    with progress_bar(folder.name, "clips") as update:
        checkup = check_clips(dataset, jobs=jobs, progress=update)
    _write(checkup, sheet, json, replace)
    _show(checkup)
    for backup in backups:
        show_backup(backup)
    if not checkup.is_complete:
        raise typer.Exit(1)


@app.command()
def prepare(
    folder: Folder,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the cache.")],
    size: Annotated[int, typer.Option(help="Side of the square frames, pixels.")] = 112,
    split: Annotated[
        str | None, typer.Option(help="Prepare one split only: train, test, ...")
    ] = None,
    jobs: Jobs = 1,
    allow_outside: AllowOutside = False,
) -> None:
    """Decode every clip once, at one size, into a cache for training.

    Resumable: clips that are done, and whose files are unchanged, are reused. Exit codes: 0: every
    clip is in the cache; 1: some clips failed (listed); 2: no clip could be read, or invalid
    command.
    """
    from echoseg.data import load_dataset
    from echoseg.data.cache import prepare as prepare_clips
    from echoseg.parallel import check_jobs

    jobs = check_jobs(jobs)
    dataset = load_dataset(folder, allow_outside=allow_outside)
    if split is not None:
        dataset = dataset.split(split)
    with progress_bar(folder.name, "clips") as update:
        done = prepare_clips(dataset, output, size, jobs=jobs, progress=update)
    _show_notes(dataset)
    _show_issues(done.issues)
    typer.echo(f"{output}: {done.written} clips written, {done.reused} reused, at {size} px")
    if any(issue.kind != "known" for issue in done.issues):
        raise typer.Exit(1)


def _write(checkup: "Checkup", sheet: Path | None, table: Path | None, force: "Replace") -> None:
    from echoseg.files import owned_write, write_owned_text

    if table is not None:
        from json import dumps

        write_owned_text(table, dumps(checkup.as_dict(), indent=1) + "\n", force)
    if sheet is not None:
        from echoseg.report.figures.dataset_sheet import dataset_sheet

        with owned_write(sheet, force) as partial:
            dataset_sheet(checkup.dataset.records).save(partial, format="PNG")


def _show(checkup: "Checkup") -> None:
    """Print the content of a data set and its issues."""
    from echoseg.data import title_of

    summary = checkup.as_dict()
    title = title_of(checkup.dataset)
    root = one_line(str(checkup.dataset.root))
    typer.echo(f"{root}: {title}, {summary['clips']} clips of {summary['patients']} patients")
    for name, counts in summary["counts"].items():
        if counts:
            typer.echo(f"  {name:<16}" + ", ".join(f"{k} {n}" for k, n in counts.items()))
    if summary["es_before_ed"]:
        typer.echo(f"  {'ES before ED':<16}{summary['es_before_ed']} clips")
    typer.echo(f"  {'':<16}{'n':>8}{'min':>10}{'median':>10}{'max':>10}")
    for name, row in summary["numbers"].items():
        values = "".join(f"{row[key]:>10.4g}" for key in ("min", "median", "max"))
        typer.echo(f"  {name:<16}{row['n']:>8}{values}")
    if "row_mm" not in summary["numbers"]:
        typer.echo("  no pixel spacing: distances in mm and volumes in ml cannot be computed")
    _show_notes(checkup.dataset)
    _show_issues(checkup.issues)


def _show_notes(dataset: "Dataset") -> None:
    for note in dataset.notes:
        typer.echo(f"  note: {one_line(note)}")


def _show_issues(issues: "tuple[Issue, ...]") -> None:
    """Print one line per issue, up to a maximum; `--json` has all."""
    for issue in issues[:_MAX_LINES]:
        place = one_line(issue.place)
        reason = one_line(issue.reason)
        typer.echo(f"  {issue.kind}: " + (reason if place in reason else f"{place}: {reason}"))
    if len(issues) > _MAX_LINES:
        typer.echo(f"  ... and {len(issues) - _MAX_LINES} more")
