"""`python -m experiments echonet-recipe`: DeepLabV3 as EchoNet-Dynamic trains it."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.errors import one_line_errors


def echonet_recipe(
    data: Annotated[str, typer.Argument(help="Data set with training patients.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")] = Path(
        "echonet-recipe"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    num_epochs: Annotated[int, typer.Option(min=1, help="Passes through the training clips.")] = 50,
) -> None:
    """Train DeepLabV3 on the cavity at ED and ES by EchoNet-Dynamic's recipe; resumable by epoch.

    `echoseg evaluate OUT/best.safetensors CAMUS` scores it; only the cavity's numbers mean
    anything.
    """
    from experiments.echonet_recipe import Recipe, train

    with one_line_errors():
        best = train(Recipe(data=data, seed=seed, num_epochs=num_epochs), output, report=typer.echo)
    typer.echo(f"wrote {best}")
