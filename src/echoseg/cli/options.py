"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.clip import View

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
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder that gets one folder a clip.")]
Force = Annotated[bool, typer.Option("--force", help="Replace result folders that exist.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Model = Annotated[str, typer.Option(help="Name (see `echoseg models`) or .safetensors file.")]
Pdf = Annotated[bool, typer.Option("--pdf", help="Write report.pdf too, a sheet to print.")]
Timing = Annotated[bool, typer.Option("--timing", help="Print where the time went.")]
Runtime = Annotated[
    str,
    typer.Option(
        help="torch, torch-bf16, torch-compile, torch-compile-bf16, onnx, openvino, openvino-bf16; "
        "or auto."
    ),
]
