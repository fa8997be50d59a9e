"""`python -m experiments nnunet`: CAMUS as nnU-Net v2 takes it."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.data import load_dataset
from experiments.errors import one_line_errors
from experiments.nnunet import write_raw


def nnunet(
    data: Annotated[str, typer.Argument(help="Data set with training and validation patients.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder nnUNet_raw.")] = Path(
        "nnUNet_raw"
    ),
    name: Annotated[str, typer.Option(help="Name, DatasetNNN_NAME.")] = "Dataset501_CAMUS",
    num_held_out: Annotated[
        int, typer.Option(help="Training patients on which nnU-Net follows its training.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Seed of their choice.")] = 0,
) -> None:
    """Write ED and ES of all clips as a raw data set of nnU-Net v2, with its split.

    The commands of nnU-Net itself are in docs/results/compared.md.
    """
    with one_line_errors("the same command begins anew"):
        raw = write_raw(load_dataset(data), output, name=name, num_held_out=num_held_out, seed=seed)
    typer.echo(
        f"{raw.folder}: {raw.num_training} stills to train on, {raw.num_held_out} held out of the "
        f"training patients ({', '.join(raw.held_out)}), {raw.num_validation} of the validation "
        "patients as imagesTs"
    )
