"""`python -m experiments compared`: several tools on the same data in one table."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.errors import ConfigError
from experiments.compared import read_evaluation, tables
from experiments.errors import one_line_errors


def compared(
    evaluations: Annotated[
        list[str], typer.Argument(help="NAME=FOLDER of echoseg evaluate; ours first.")
    ],
) -> None:
    """Print a table of evaluations by view, and their paired differences from the first."""
    with one_line_errors("the same command begins anew"):
        pairs = [text.partition("=") for text in evaluations]
        if len(pairs) < 2 or not all(name and folder for name, _, folder in pairs):
            raise ConfigError("give two or more NAME=FOLDER, ours first")
        ours, *others = [read_evaluation(name, Path(folder)) for name, _, folder in pairs]
        typer.echo("\n".join(tables(ours, others)))
