"""`python -m experiments leaderboard`: score an entry on phantom-v2, and check the file."""

import datetime
from pathlib import Path
from typing import Annotated

import typer

from echoseg.cli.console import progress_bar
from echoseg.cli.evaluate import chosen_predictor
from echoseg.cli.options import Jobs
from echoseg.errors import ConfigError
from echoseg.evaluation.predictors import predictor_of
from echoseg.evaluation.results import MARK, Source, write_results
from echoseg.evaluation.run import evaluate
from echoseg.files import OwnedFolder, write_text
from echoseg.phantom.benchmark import PHANTOM_NAME
from echoseg.weights.card import find_checkpoint, read_card
from experiments.errors import one_line_errors
from experiments.leaderboard import (
    FILE,
    SPLIT,
    Entry,
    check_new,
    entry_of,
    frozen_records,
    read_entries,
    text_of,
)
from experiments.provenance import commit, machine_text

app = typer.Typer(
    name="leaderboard",
    help="Leaderboard of phantom-v2: score an entry, check the file.",
    no_args_is_help=True,
)
Board = Annotated[Path, typer.Option("--file", help="The leaderboard.")]


@app.command()
def score(
    model: Annotated[
        str | None, typer.Argument(help="Name (see `echoseg models`), .safetensors or .onnx file.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the entry, with its version.")] = "",
    who: Annotated[str, typer.Option(help="Who evaluates it.")] = "",
    trained_on: Annotated[
        str | None, typer.Option(help="Training data (default: those of the card).")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Instead of MODEL: folder of another tool's masks, by clip name."),
    ] = None,
    frames_per_s: Annotated[
        float | None, typer.Option(help="Frames per second that you measured on this machine.")
    ] = None,
    hearts: Annotated[int, typer.Option(help="40, or the first 10: a quarter of the time.")] = 40,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the evaluation, to create.")
    ] = Path("echoseg-leaderboard"),
    jobs: Jobs = 1,
    file: Board = FILE,
) -> None:
    """Score a network, or a folder of masks, on the test clips of phantom-v2, and add its row.

    The evaluation stays in the output folder. Nothing is added where a clip is not segmented.
    """
    with one_line_errors("give the same command again; nothing was added"):
        entries = read_entries(file)
        for option, value in (("--name", name), ("--who", who)):
            if not value:
                raise ConfigError(f"{option} must be given")
        records = frozen_records(hearts)
        predictor = predictor_of(chosen_predictor(model, predictions, None), "cpu", None)
        about = predictor.about()
        check_new(name, about["sha256"], hearts, entries, str(file))
        words = trained_on or _training_data(model)
        OwnedFolder(output, MARK).check()
        with progress_bar(f"{PHANTOM_NAME}, {SPLIT}", "clips") as update:
            evaluation = evaluate(predictor, records, jobs=jobs, progress=update)
        source = Source(dataset=PHANTOM_NAME, title=PHANTOM_NAME, split=SPLIT)
        summary = write_results(evaluation, source, output, pictures=False)
        entry = entry_of(
            summary,
            hearts=hearts,
            name=name,
            who=who,
            date=datetime.datetime.now(datetime.UTC).date(),
            trained_on=words,
            commit=commit(),
            machine=machine_text(),
            frames_per_s=frames_per_s,
        )
        entries = read_entries(file)  # another entry may have been added meanwhile
        check_new(name, entry.sha256, hearts, entries, str(file))
        write_text(file, text_of([*entries, entry]))
        typer.echo(f"{file}: {entry.name}, Dice {entry.dice:.4f}, EF MAE {entry.ef_mae_points}")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The leaderboard.")] = FILE) -> None:
    """Check every row of a leaderboard."""
    with one_line_errors():
        entries: tuple[Entry, ...] = read_entries(file)
        typer.echo(f"{file}: {len(entries)} valid entries")


def _training_data(model: str | None) -> str:
    """As the card of a checkpoint says."""
    if model is None or model.endswith(".onnx"):
        raise ConfigError("--trained-on must be given: masks and .onnx files have no card")
    return read_card(find_checkpoint(model)).trained_on or "not stated"
