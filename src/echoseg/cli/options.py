"""Options that several commands share."""

from typing import Annotated

import typer

from echoseg.anatomy import View

ViewGiven = Annotated[
    View | None, typer.Option("--view", help="The view. Each of these replaces what the file says.")
]
SpacingMm = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--spacing-mm", help="Millimetres a pixel, 0.001 to 10: ROW COL.", metavar="ROW COL"
    ),
]
Fps = Annotated[float | None, typer.Option("--fps", help="Frames a second, 1 to 10000.")]
Smoothing = Annotated[
    bool,
    typer.Option(
        "--smoothing/--no-smoothing", help="Read volumes off the regularised curve, or the frames."
    ),
]
