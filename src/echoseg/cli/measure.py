"""`echoseg measure`: measurements and report of masks that another tool made."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.cli.options import (
    Force,
    Fps,
    Pdf,
    Smoothing,
    SpacingMm,
    ViewGiven,
    input_option,
    output_option,
)


def measure(
    masks: Annotated[
        Path, typer.Argument(help="NIfTI (x, y, t): 1 LV cavity, 2 LV myocardium, 3 left atrium.")
    ],
    output: Annotated[Path, output_option("-o", "--output", help="Result folder.")] = Path(
        "echoseg-measured"
    ),
    clip: Annotated[
        Path | None, input_option(help="The clip, for its pictures, times and R waves.")
    ] = None,
    view: ViewGiven = None,
    spacing_mm: SpacingMm = None,
    fps: Fps = None,
    smoothing: Smoothing = True,
    pdf: Pdf = False,
    force: Force = False,
) -> None:
    """Measure masks from any tool: volume curve, EF, strain, sizes, report. No network runs.

    Exit codes: 0 there is an EF; 1 there is none, the report says why; 2 nothing was written.
    """
    from echoseg.cli.table import show_analysis
    from echoseg.inference.analysis import analyze_masks
    from echoseg.io import load_clip, load_masks
    from echoseg.report.writer import check_output, write_results

    check_output(output, force)
    opened, labels = load_masks(masks, spacing_mm=spacing_mm, fps=fps, view=view)
    if clip is not None:
        scale_mm = spacing_mm or opened.spacing_mm
        opened = load_clip(clip, spacing_mm=scale_mm, fps=fps, view=view)
    analysis = analyze_masks(opened, labels, smoothing=smoothing)
    folder = write_results(analysis, output, force=force, pdf=pdf)
    show_analysis(analysis, folder)
    if analysis.measurement.ef_percent is None:
        raise typer.Exit(1)
