"""The command line: parse, call, show; decide nothing.

Exit codes: 0 every clip has an EF; 1 a clip failed, or its EF is missing or not reliable; 2 invalid
command, or an output that cannot be written; 130 interrupted. `live` has its own. Heavy imports
wait until a command runs: `--help` is fast.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from echoseg.cli import (
    analyze,
    audit,
    calibrate,
    cohort,
    convert,
    data,
    deidentify,
    dicom,
    evaluate,
    export,
    formats,
    inspect,
    live,
    mcp,
    measure,
    node,
    phantom,
    serve,
    train,
)
from echoseg.cli.analyze import Job, run
from echoseg.cli.console import DISCLAIMER, CommandGroup, run_app, show_backup
from echoseg.cli.options import (
    Device,
    Force,
    ForceFile,
    Keep,
    KeepFile,
    Model,
    Output,
    Timing,
    demo_clips,
    replacing,
)
from echoseg.clip import View
from echoseg.errors import ArgumentError

app = typer.Typer(
    name="echoseg",
    cls=CommandGroup,
    help=f"Left ventricle masks, volumes and ejection fraction from echo clips. {DISCLAIMER}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from echoseg.build_info import full_version

        typer.echo(f"echoseg {full_version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print version and commit."
        ),
    ] = False,
) -> None:
    """Left ventricle masks, volumes and ejection fraction from echo clips."""


def demo(
    output: Output = Path("echoseg-demo"),
    force: Force = False,
    keep: Keep = False,
    device: Device = "auto",
    model: Model = "camus",
    timing: Timing = False,
) -> None:
    """Analyze two clips that come with the installation; nothing is downloaded.

    The first is simulated, so that its EF can be checked: 60 %. The second is the four-chamber
    clip of pydicom, which is real and shows only a part of a beat: its EF may be withheld.
    """
    jobs = [
        Job(
            sources=(source,),
            folder=output / name,
            open_options={"view": View.A4C},
            force=replacing(force, keep),
            pdf=True,
        )
        for name, source in demo_clips().items()
    ]
    run(jobs, model=model, device=device, timing=timing, failures=("none",))
    typer.echo("simulated: the true EF of this heart is 60 %; ybr_color: real, a part of a beat")
    for job in jobs:
        typer.echo(f"open {(job.folder / 'report.html').resolve()} in a browser")


def attention(
    clip: Annotated[Path, typer.Argument(help="Clip: a file or a folder of frames.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output picture, PNG.")] = Path(
        "attention.png"
    ),
    darken: Annotated[
        int | None, typer.Option(help="Black out this frame first, counted from 0.", min=1)
    ] = None,
    force: ForceFile = False,
    keep: KeepFile = False,
    device: Device = "auto",
    model: Model = "camus",
) -> None:
    """Draw the attention maps of the guidance, frame by frame (mssnet models only)."""
    from echoseg.files import check_new_file, owned_write
    from echoseg.inference.analyzer import Analyzer
    from echoseg.inference.attention import watch_attention
    from echoseg.io import load_clip
    from echoseg.report.figures.attention import attention_sheet

    if output.suffix.lower() != ".png":
        raise ArgumentError(f"-o must end in .png, got {output}")
    replace = replacing(force, keep)
    backup = check_new_file(output, replace)
    opened = load_clip(clip)
    if darken is not None and darken >= opened.num_frames:
        raise ArgumentError(
            f"--darken must be a frame from 1 to {opened.num_frames - 1}, got {darken}"
        )
    analyzer = Analyzer(model, device)
    maps = watch_attention(analyzer, opened, darken=darken)
    with owned_write(output, replace) as partial:
        attention_sheet(maps).save(partial, format="PNG")
    if maps.guided is None:
        typer.echo(
            f"model {model} carries no attention weights from frame to frame: the picture shows "
            "those of each frame alone"
        )
    typer.echo(f"{output}: {len(maps.frames)} frames; research use only")
    show_backup(backup)


def models() -> None:
    """List the shipped checkpoints: accuracy, EF error, licence, training data."""
    from rich.console import Console
    from rich.table import Table

    from echoseg.weights.card import DEFAULT_MODEL, SHIPPED, find_checkpoint, read_card

    table = Table(title="Dice and EF error (points), means on 50 CAMUS validation patients, A4C")
    for column in ("model", "LV endo", "LV epi", "LA", "EF", "MB", "licence", "trained on"):
        table.add_column(column, overflow="fold")
    for name in SHIPPED:
        path = find_checkpoint(name)
        card = read_card(path)
        scores = [f"{card.camus_validation[key]:.3f}" for key in ("lv_endo", "lv_epi", "la")]
        ef_error = card.camus_validation.get("ef_mae_points")
        scores.append("-" if ef_error is None else f"{ef_error:.1f}")
        if card.ef_unsupported_because:
            table.caption = f"{name} gives no EF: {card.ef_unsupported_because}."
        title = f"{name} (default)" if name == DEFAULT_MODEL else name
        size = f"{path.stat().st_size / 1e6:.1f}"
        table.add_row(title, *scores, size, card.licence, card.trained_on)
    Console().print(table)


_GROUPS = {
    "Analyze clips": (
        analyze.analyze,
        demo,
        measure.measure,
        dicom.dicom,
        convert.convert,
        live.live,
        mcp.mcp,
        attention,
        models,
    ),
    "Look at files": (formats.formats, inspect.inspect),
    "Train and evaluate": (train.train, evaluate.evaluate, evaluate.compare, calibrate.calibrate),
    "Data": (deidentify.deidentify, export.export),
}
for _group, _commands in _GROUPS.items():
    for _command in _commands:
        app.command(rich_help_panel=_group)(_command)
for _sub_app in (data.app, phantom.app, audit.app):
    app.add_typer(_sub_app, rich_help_panel="Data")


for _sub_app in (cohort.app, node.app, serve.app):
    app.add_typer(_sub_app, rich_help_panel="Analyze clips")


def main() -> None:
    """Run the command line; Ctrl-C and SIGTERM leave no half-written result."""
    sys.exit(run_app(app))
