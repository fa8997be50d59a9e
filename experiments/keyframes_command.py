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
    checkpoint: Annotated[
        str | None, typer.Option(help="Initial weights of an MSSNet (default: random).")
    ] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option(help="Fraction of key frames; repeatable (default: 0.1 0.2 0.35 0.5)."),
    ] = None,
    num_training_clips: Annotated[int, typer.Option(help="Simulated training clips.")] = 200,
    num_steps: Annotated[int, typer.Option(help="Training steps of the network.")] = 400,
    num_updates: Annotated[int, typer.Option(help="Updates of the learned policy.")] = 100,
    num_clips: Annotated[int, typer.Option(help="Clips to fit on, and to evaluate on.")] = 8,
    num_frames: Annotated[int, typer.Option(help="Frames per clip.")] = 60,
    image_size: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 112,
    margin: Annotated[int, typer.Option(help="Frames beside ED and ES that are full too.")] = 0,
) -> None:
    """Key-frame experiment: Dice against compute for four schedulers, on simulated clips."""
    from pydantic import ValidationError

    from experiments.keyframes.experiment import KeyFrameExperiment, run_experiment

    with one_line_errors():
        try:
            experiment = KeyFrameExperiment(
                checkpoint=checkpoint,
                num_training_clips=num_training_clips,
                num_steps=num_steps,
                num_updates=num_updates,
                num_clips=num_clips,
                num_frames=num_frames,
                image_size=image_size,
                margin=margin,
                **({"budgets": tuple(budget)} if budget else {}),
            )
        except ValidationError as error:
            raise ConfigError(validation_message(error)) from error
        run_experiment(experiment, output, report=typer.echo)
    typer.echo(f"wrote results.json and figure.png in {output}")
