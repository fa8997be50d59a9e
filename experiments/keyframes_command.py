"""`python -m experiments keyframes`: accuracy against compute of key-frame schedulers."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.errors import ConfigError, validation_message
from experiments.errors import one_line_errors


def keyframes(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Output folder; complete budgets are skipped.")
    ] = Path("echoseg-keyframes"),
    checkpoint: Annotated[str, typer.Option(help="The network, any that streams.")] = "camus",
    fit_set: Annotated[
        str, typer.Option("--fit", help="Set whose clips the schedulers are fitted on.")
    ] = "phantom:validation",
    eval_set: Annotated[
        str, typer.Option("--eval", help="Set that is evaluated, as for `bench`.")
    ] = "phantom:test",
    budget: Annotated[
        list[float] | None,
        typer.Option(help="Fraction of key frames; repeatable (default: 0.1 0.2 0.35 0.5)."),
    ] = None,
    num_updates: Annotated[int, typer.Option(help="Updates of the learned policy.")] = 100,
    num_clips: Annotated[int, typer.Option(help="Clips to fit on, and to evaluate on.")] = 8,
    guard: Annotated[
        bool, typer.Option("--guard/--no-guard", help="Compute ED and ES of every beat in full.")
    ] = True,
) -> None:
    """Key-frame experiment: Dice against compute for five schedulers of a network."""
    from pydantic import ValidationError

    from experiments.keyframes.experiment import KeyFrameExperiment, run_experiment

    with one_line_errors():
        try:
            experiment = KeyFrameExperiment(
                checkpoint=checkpoint,
                fit_set=fit_set,
                eval_set=eval_set,
                num_updates=num_updates,
                num_clips=num_clips,
                guard=guard,
                **({"budgets": tuple(budget)} if budget else {}),
            )
        except ValidationError as error:
            raise ConfigError(validation_message(error)) from error
        run_experiment(experiment, output, report=typer.echo)
    typer.echo(f"wrote results.json and figure.png in {output}")
