"""`echoseg data`: is a copy of a data set whole, and a cache of it that training can map."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import fail, one_line, progress_bar
from echoseg.errors import EchosegError

if TYPE_CHECKING:
    from echoseg.data import Dataset, Issue
    from echoseg.data.validate import Checkup

app = typer.Typer(
    name="data",
    help="Public data sets and one's own clips: recognised, checked, prepared for training. "
    "Research software, not a medical device.",
    no_args_is_help=True,
)

_MOST_LINES = 40
Folder = Annotated[
    Path, typer.Argument(help="Folder of a data set or of clips, or a CSV that names clips.")
]
Jobs = Annotated[int, typer.Option(help="Processes that decode; never more than processors.")]


@app.command()
def check(
    folder: Folder,
    sheet: Annotated[
        Path | None, typer.Option(help="Draw some of the clips with their contours, PNG.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write all that was found, clip by clip.")
    ] = None,
    jobs: Jobs = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace the files written.")] = False,
) -> None:
    """Open every clip: what is here, and what is missing, broken or odd.

    Exit codes: 0 all that is here can be used; 1 something is missing, broken or odd; 2 the folder
    is no data set, or the command is wrong.
    """
    try:
        from echoseg.data import load_dataset
        from echoseg.data.validate import check as check_clips
        from echoseg.files import check_new_file
        from echoseg.parallel import check_jobs

        jobs = check_jobs(jobs)
        for path in filter(None, (sheet, json)):
            check_new_file(path, force)
        dataset = load_dataset(folder)
        with progress_bar(folder.name, "clips") as update:
            found = check_clips(dataset, jobs=jobs, progress=update)
        _write(found, sheet, json)
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    _show(found)
    if not found.is_whole:
        raise typer.Exit(1)


@app.command()
def prepare(
    folder: Folder,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the cache.")],
    size: Annotated[int, typer.Option(help="Side of the square, pixels.")] = 112,
    split: Annotated[str | None, typer.Option(help="One split only: train, test, ...")] = None,
    jobs: Jobs = 1,
) -> None:
    """Decode every clip once, at one size, into a cache that training maps into memory.

    Run it again and it goes on: clips that are there, and whole by their hash, are kept. Exit
    codes: 0 every clip is in the cache; 1 some are not, and were told; 2 nothing could be done.
    """
    try:
        from echoseg.data import load_dataset
        from echoseg.data.cache import prepare as prepare_clips
        from echoseg.parallel import check_jobs

        jobs = check_jobs(jobs)
        dataset = load_dataset(folder)
        if split is not None:
            dataset = dataset.split(split)
        with progress_bar(folder.name, "clips") as update:
            done = prepare_clips(dataset, output, size, jobs=jobs, progress=update)
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    _show_notes(dataset)
    _show_issues(done.issues)
    typer.echo(f"{output}: {done.written} clips written, {done.reused} reused, at {size} px")
    if any(issue.kind != "known" for issue in done.issues):
        raise typer.Exit(1)


def _write(found: "Checkup", sheet: Path | None, table: Path | None) -> None:
    from echoseg.files import atomic_write, write_text

    if table is not None:
        from json import dumps

        write_text(table, dumps(found.as_dict(), indent=1) + "\n")
    if sheet is not None:
        from echoseg.report.figures.dataset_sheet import dataset_sheet

        with atomic_write(sheet) as partial:
            dataset_sheet(found.dataset.records).save(partial, format="PNG")


def _show(found: "Checkup") -> None:
    """Print what a data set holds and what is wrong with it."""
    from echoseg.data import DATASETS

    told = found.as_dict()
    title = DATASETS[found.dataset.name].title
    root = one_line(str(found.dataset.root))
    typer.echo(f"{root}: {title}, {told['clips']} clips of {told['patients']} patients")
    for name, counts in told["counts"].items():
        if counts:
            typer.echo(f"  {name:<16}" + ", ".join(f"{k} {n}" for k, n in counts.items()))
    if told["es_before_ed"]:
        typer.echo(f"  {'ES before ED':<16}{told['es_before_ed']} clips")
    typer.echo(f"  {'':<16}{'n':>8}{'least':>10}{'median':>10}{'most':>10}")
    for name, row in told["numbers"].items():
        values = "".join(f"{row[key]:>10.4g}" for key in ("least", "median", "most"))
        typer.echo(f"  {name:<16}{row['n']:>8}{values}")
    if "row_mm" not in told["numbers"]:
        typer.echo("  no spacing: millimetres and millilitres cannot be had from it")
    _show_notes(found.dataset)
    _show_issues(found.issues)


def _show_notes(dataset: "Dataset") -> None:
    for note in dataset.notes:
        typer.echo(f"  note: {one_line(note)}")


def _show_issues(issues: "tuple[Issue, ...]") -> None:
    """Print one line a issue; of very many the first, for `--json` holds all."""
    for issue in issues[:_MOST_LINES]:
        place = one_line(issue.place)
        reason = one_line(issue.reason)
        typer.echo(f"  {issue.kind}: " + (reason if place in reason else f"{place}: {reason}"))
    if len(issues) > _MOST_LINES:
        typer.echo(f"  ... and {len(issues) - _MOST_LINES} more")
