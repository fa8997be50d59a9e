"""The command line: parse, call, show; decide nothing.

Exit codes: 0 every clip has an EF; 1 a clip failed or has no EF; 2 the command itself is wrong;
130 interrupted.
Heavy imports wait until a command runs, so that `--help` is quick.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.anatomy import View
from echoseg.cli import curve, data, evaluate, export, measure, phantom, train
from echoseg.cli.console import fail, progress_bar, run_app
from echoseg.cli.options import Fps, Smoothing, SpacingMm, ViewGiven
from echoseg.cli.table import show_analysis
from echoseg.errors import EchosegError

if TYPE_CHECKING:
    from echoseg.analysis import Analysis, Analyzer
    from echoseg.clip import Clip

DISCLAIMER = "Research software, not a medical device."

app = typer.Typer(
    name="echoseg",
    help=f"Left ventricle masks, volumes and ejection fraction from echo clips. {DISCLAIMER}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(phantom.app)
app.add_typer(data.app)
app.command()(evaluate.evaluate)
app.command()(evaluate.compare)
app.command()(train.train)
app.command()(curve.curve)
app.command()(export.export)
app.command()(measure.measure)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder that gets one folder a clip.")]
Force = Annotated[bool, typer.Option("--force", help="Replace result folders that exist.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Model = Annotated[str, typer.Option(help="Name (see `echoseg models`) or .safetensors file.")]
Timing = Annotated[bool, typer.Option("--timing", help="Print where the time went.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One clip to analyse, where its results go and what the user said of it."""

    source: Path
    folder: Path
    open_options: dict[str, Any]
    force: bool
    smoothing: bool = True


def _version(wanted: bool) -> None:
    if wanted:
        from echoseg import __version__

        typer.echo(f"echoseg {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Left ventricle masks, volumes and ejection fraction from echo clips."""


def _show_timing(stages: dict[str, float]) -> None:
    typer.echo("where the time went:")
    for stage, seconds in stages.items():
        typer.echo(f"  {stage:<16}{seconds:8.2f} s")


def _analyze_one(analyzer: "Analyzer", clip: "Clip", job: Job) -> tuple["Analysis", float]:
    """Analyse and write; return the analysis and the seconds spent writing."""
    from echoseg.results import write_results

    with progress_bar(job.source.name, "frames") as update:
        analysis = analyzer.analyze(clip, smoothing=job.smoothing, progress=update)
    start = time.perf_counter()
    write_results(analysis, job.folder, force=job.force)
    return analysis, time.perf_counter() - start


def _run_job(analyzer: "Analyzer", job: Job, *, timing: bool) -> bool:
    """Run one clip; return whether it has an EF. Errors are told in one line."""
    from echoseg.formats import open_clip
    from echoseg.results import check_output

    start = time.perf_counter()
    try:
        check_output(job.folder, job.force)
        clip = open_clip(job.source, **job.open_options)
        read_time_s = time.perf_counter() - start
        analysis, write_time_s = _analyze_one(analyzer, clip, job)
    except EchosegError as error:
        fail(str(error))
        return False
    show_analysis(analysis, job.folder)
    if timing:
        _show_timing({"read": read_time_s, **analysis.timing_s, "write": write_time_s})
    return analysis.measurement.ef_percent is not None


def _run(jobs: list[Job], *, model: str, device: str, timing: bool) -> None:
    """Load the model once, run every job, and leave with the exit code."""
    start = time.perf_counter()
    try:
        from echoseg.analysis import Analyzer

        analyzer = Analyzer(model, device)
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    if timing:
        typer.echo(f"imports and model: {time.perf_counter() - start:.2f} s")
    typer.echo(DISCLAIMER)
    if notice := analyzer.model_card.notice:
        typer.echo(f"model {analyzer.model_card.name}: {notice}")
    good = [_run_job(analyzer, job, timing=timing) for job in jobs]
    if len(jobs) > 1:
        typer.echo(f"{sum(good)} of {len(jobs)} clips have an EF")
    if not all(good):
        raise typer.Exit(1)


@app.command()
def analyze(
    clips: Annotated[list[Path], typer.Argument(help="Clips: files, or folders of PNG frames.")],
    output: Output = Path("echoseg-results"),
    view: ViewGiven = None,
    spacing_mm: SpacingMm = None,
    fps: Fps = None,
    smoothing: Smoothing = True,
    force: Force = False,
    allow_damaged: Annotated[
        bool, typer.Option("--allow-damaged", help="Analyse the readable part of broken files.")
    ] = False,
    device: Device = "auto",
    model: Model = "camus",
    timing: Timing = False,
) -> None:
    """Segment and measure clips: masks, overlay video, volume curve, EF, report."""
    from echoseg.formats.frames import OpenOptions
    from echoseg.results import result_folder_names

    options: dict[str, Any] = {
        "view": view,
        "spacing_mm": spacing_mm,
        "frame_rate_hz": fps,
        "allow_damaged": allow_damaged,
    }
    try:
        OpenOptions(**options)
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    jobs = [
        Job(
            source=clip,
            folder=output / name,
            open_options=options,
            force=force,
            smoothing=smoothing,
        )
        for clip, name in zip(clips, result_folder_names(clips), strict=True)
    ]
    _run(jobs, model=model, device=device, timing=timing)


@app.command()
def demo(
    output: Output = Path("echoseg-demo"),
    force: Force = False,
    device: Device = "auto",
    model: Model = "camus",
    timing: Timing = False,
) -> None:
    """Analyse the real four-chamber clip that pydicom carries; nothing is downloaded."""
    from pydicom import examples

    source = Path(str(examples.get_path("ybr_color")))
    job = Job(
        source=source,
        folder=output / "ybr_color",
        open_options={"view": View.A4C},
        force=force,
    )
    _run([job], model=model, device=device, timing=timing)
    page = (job.folder / "report.html").resolve()
    typer.echo(f"open {page} in a browser")


@app.command()
def attention(
    clip: Annotated[Path, typer.Argument(help="A clip: a file, or a folder of PNG frames.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture, PNG.")] = Path(
        "attention.png"
    ),
    darken: Annotated[
        int | None, typer.Option(help="Black out this frame first, counted from 1.", min=2)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the picture.")] = False,
    device: Device = "auto",
    model: Model = "camus",
) -> None:
    """Draw where the guidance looks, frame by frame (networks of architecture mssnet)."""
    from echoseg.analysis import Analyzer
    from echoseg.attention import watch_attention
    from echoseg.errors import ArgumentError, OutputError
    from echoseg.formats import open_clip
    from echoseg.formats.whole import whole
    from echoseg.show.attention import attention_sheet

    try:
        if output.exists() and not force:
            raise OutputError(f"{output} exists; pass --force to replace it or give another -o")
        opened = open_clip(clip)
        if darken is not None and darken > opened.num_frames:
            raise ArgumentError(
                f"--darken must be a frame of the clip, 2 to {opened.num_frames}, got {darken}"
            )
        analyzer = Analyzer(model, device)
        maps = watch_attention(analyzer, opened, darken=None if darken is None else darken - 1)
        with whole(output) as partial:
            attention_sheet(maps).save(partial, format="PNG")
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    typer.echo(f"{output}: {len(maps.frames)} frames; research use only")


@app.command()
def models() -> None:
    """List the checkpoints with licence and measured accuracy."""
    from rich.console import Console
    from rich.table import Table

    from echoseg.models.checkpoint import DEFAULT_MODEL, SHIPPED, find_checkpoint, read_card

    table = Table(title="Mean Dice on the 50 CAMUS validation patients (A4C, ED and ES)")
    for column in ("model", "LV endo", "LV epi", "LA", "MB", "licence", "trained on"):
        table.add_column(column)
    for name in SHIPPED:
        path = find_checkpoint(name)
        card = read_card(path).card
        scores = [f"{card.camus_validation[key]:.3f}" for key in ("lv_endo", "lv_epi", "la")]
        title = f"{name} (default)" if name == DEFAULT_MODEL else name
        size = f"{path.stat().st_size / 1e6:.1f}"
        table.add_row(title, *scores, size, card.licence, card.trained_on)
    Console().print(table)


def main() -> None:
    """Run the command line; Ctrl-C and SIGTERM leave no half-written result."""
    sys.exit(run_app(app))
