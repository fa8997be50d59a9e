"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.clip import View

INPUT, OUTPUT, MODEL, COHORT = "Input", "Output", "Model", "Cohort"
"""Groups of options in a command's help."""

ModelGiven = Annotated[
    str, typer.Argument(help="Name (see `echoseg models`) or .safetensors file.")
]
Data = Annotated[
    Path | None, typer.Argument(help="Folder of a data set or of clips with masks, or a CSV.")
]
Tiers = Annotated[
    list[str] | None,
    typer.Option(help="Instead of DATA: phantom-v1 tier (easy ... extreme, all); repeatable."),
]
Hearts = Annotated[int | None, typer.Option(help="Number of phantom hearts per tier.")]
Jobs = Annotated[int, typer.Option(help="Worker processes; do not affect the result.")]
ViewGiven = Annotated[
    View | None, typer.Option("--view", help="View; replaces the file's.", rich_help_panel=INPUT)
]
SpacingMm = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--spacing-mm",
        help="Pixel spacing in mm, 0.001 to 10; replaces the file's.",
        metavar="ROW COL",
        rich_help_panel=INPUT,
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(
        "--fps", help="Frames per second, 1 to 10000; replaces the file's.", rich_help_panel=INPUT
    ),
]
Smoothing = Annotated[
    bool,
    typer.Option(
        "--smoothing/--no-smoothing", help="Take volumes from the smoothed curve, or single frames."
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Output folder; every clip gets a folder in it.",
        rich_help_panel=OUTPUT,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace existing result folders.", rich_help_panel=OUTPUT),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=MODEL)]
Model = Annotated[
    str,
    typer.Option(help="Name (see `echoseg models`) or .safetensors file.", rich_help_panel=MODEL),
]
Pdf = Annotated[bool, typer.Option("--pdf", help="Write report.pdf too.", rich_help_panel=OUTPUT)]
Timing = Annotated[bool, typer.Option("--timing", help="Print the time per stage.")]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend",
        help="torch, torch-bf16, torch-compile, torch-compile-bf16, onnx, openvino, openvino-bf16, "
        "or auto (the fastest).",
        rich_help_panel=MODEL,
    ),
]
OldRuntime = Annotated[str | None, typer.Option("--runtime", hidden=True)]


def backend_of(backend: str, runtime: str | None) -> str:
    """The backend; `--runtime`, its name in 0.1, still works with a warning."""
    if runtime is None:
        return backend
    typer.echo("echoseg: --runtime is now --backend", err=True)
    return runtime
