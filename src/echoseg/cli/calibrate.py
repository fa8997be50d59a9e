"""`echoseg calibrate`: an EF interval and a reliability threshold for a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import progress_bar
from echoseg.cli.options import Data, Hearts, Jobs, ModelGiven, Tiers
from echoseg.clip import View
from echoseg.errors import DatasetError, OutputError

if TYPE_CHECKING:
    from echoseg.data import Record


def calibrate(
    model: ModelGiven,
    data: Data = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write (default: beside the weights, where analyze finds it).",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split for the quantiles (default: validation, or all without splits)."),
    ] = None,
    fit_split: Annotated[
        str | None,
        typer.Option(help="Split to fit the expected error on (default: half of the patients)."),
    ] = None,
    max_fit: Annotated[
        int, typer.Option(help="Maximum number of clips of --fit-split.", min=6)
    ] = 100,
    view: Annotated[
        list[View] | None, typer.Option(case_sensitive=False, help="Only this view; repeatable.")
    ] = None,
    phantom: Tiers = None,
    hearts: Hearts = None,
    level: Annotated[
        float, typer.Option(help="Fraction of clips whose interval covers the true EF.")
    ] = 0.9,
    jobs: Jobs = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Calibrate the EF interval of a model on clips with masks that it was not trained on.

    `echoseg analyze` then reports the interval and marks unreliable EFs.
    """
    from echoseg.cli.evaluate import select_records
    from echoseg.evaluation.calibrate import calibrate_on, read_clips, split_patients
    from echoseg.files import check_new_file, write_json
    from echoseg.inference.analyzer import choose_device
    from echoseg.parallel import check_jobs
    from echoseg.quality.conformal import calibration_path, check_level
    from echoseg.weights.card import SHIPPED, find_checkpoint, read_card

    jobs, device = check_jobs(jobs), choose_device(device)
    check_level(level)
    checkpoint = read_card(find_checkpoint(model))
    path = output or calibration_path(checkpoint.path)
    if output is None and model in SHIPPED and not force:
        raise OutputError(f"{path} comes with the weights; give -o FILE.trust.json for another")
    check_new_file(path, force)
    records, source = select_records(data, phantom, split, hearts, ("validation",))
    if split is None and not source.split:
        typer.echo(f"{source.title} has no splits: all {len(records)} clips are used")
    unlabeled = [record.name for record in records if not record.labelled]
    if 0 < len(unlabeled) < len(records):
        typer.echo(f"left out, without masks: {', '.join(unlabeled)}")
    chosen = {"held out": _of_views(records, view)}
    if fit_split is not None:
        others, _ = select_records(data, phantom, fit_split, hearts)
        chosen["fit"] = _of_views(others, view)[:max_fit]
    clips = {}
    for name, some in chosen.items():
        with progress_bar(f"{source.title}, {name}", "clips") as update:
            clips[name] = read_clips(model, some, device=device, jobs=jobs, progress=update)
    if "fit" in clips:
        fit, held_out = clips["fit"], clips["held out"]
    else:
        fit, held_out = split_patients(clips["held out"])
    views = ", ".join(sorted({str(record.view) for record in chosen["held out"]}))
    num_patients = len({clip.patient for clip in held_out})
    calibration, coverage = calibrate_on(
        fit,
        held_out,
        model_sha256=checkpoint.sha256,
        source=f"{num_patients} patients of {source.title}, {source.split or 'all'}, {views}",
        level=level,
    )
    write_json(path, calibration)
    typer.echo(
        f"{coverage.num_clips} clips, each by the intervals of the others: "
        f"{100 * coverage.coverage:.0f} % covered at a level of {100 * level:.0f} %, mean width "
        f"{coverage.mean_width_points:.1f} points, {100 * coverage.rejected:.0f} % unreliable; "
        f"MAE {coverage.mae_points:.1f} points"
    )
    typer.echo(f"wrote {path}")
    if path.absolute() != calibration_path(checkpoint.path).absolute():
        typer.echo(f"echoseg analyze uses it as {calibration_path(checkpoint.path)}")


def _of_views(records: "tuple[Record, ...]", views: list[View] | None) -> "tuple[Record, ...]":
    """Records of the requested views."""
    chosen = tuple(record for record in records if not views or record.view in views)
    if not chosen:
        there = ", ".join(sorted({str(record.view) for record in records}))
        raise DatasetError(f"--view must be a view of the data, which has {there}")
    return chosen
