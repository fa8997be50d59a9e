"""`echoseg calibrate`: an EF interval and a reliability threshold for a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import progress_bar, show_backup
from echoseg.cli.options import (
    Data,
    ForceFile,
    Hearts,
    Jobs,
    KeepFile,
    ModelGiven,
    Tiers,
    replacing,
)
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
        str | None, typer.Option(help="Split (default: validation, or all without splits).")
    ] = None,
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
    force: ForceFile = False,
    keep: KeepFile = False,
) -> None:
    """Calibrate the EF interval of a model on clips with masks that it was not trained on.

    Clips are also measured as another machine exports them, degraded, and as parts of a beat.
    `echoseg analyze` then reports the interval and says why an EF is not reliable.
    """
    from echoseg.cli.evaluate import select_records
    from echoseg.evaluation.calibrate import read_clips
    from echoseg.files import check_new_file, write_owned_text
    from echoseg.inference.analyzer import choose_device
    from echoseg.parallel import check_jobs
    from echoseg.quality.calibration_fit import calibrate as fit
    from echoseg.quality.calibration_fit import check_level
    from echoseg.quality.conformal import calibration_path
    from echoseg.weights.card import SHIPPED, find_checkpoint, read_card

    jobs, device = check_jobs(jobs), choose_device(device)
    check_level(level)
    checkpoint = read_card(find_checkpoint(model))
    path = output or calibration_path(checkpoint.path)
    if output is None and model in SHIPPED and not force:
        raise OutputError(f"{path} comes with the weights; give -o FILE.trust.json for another")
    replace = replacing(force, keep)
    backup = check_new_file(path, replace)
    records, source = select_records(data, phantom, split, hearts, ("validation",))
    if split is None and not source.split:
        typer.echo(f"{source.title} has no splits: all {len(records)} clips are used")
    unlabeled = [record.name for record in records if not record.labelled]
    if 0 < len(unlabeled) < len(records):
        typer.echo(f"left out, without masks: {', '.join(unlabeled)}")
    records = _of_views(_two_beats(data, records), view)
    with progress_bar(source.title, "clips") as update:
        clips = read_clips(model, records, device=device, jobs=jobs, progress=update)
    views = ", ".join(sorted({str(record.view) for record in records}))
    num_patients = len({clip.sample.patient for clip in clips})
    calibration = fit(
        [clip.sample for clip in clips],
        model_sha256=checkpoint.sha256,
        source=f"{num_patients} patients of {source.title}, {source.split or 'all'}, {views}",
        level=level,
    )
    write_owned_text(path, calibration.model_dump_json(indent=1) + "\n", replace)
    errors = [abs(clip.sample.error_points) for clip in clips]
    typer.echo(
        f"{len(clips)} clips of {num_patients} patients, mean error "
        f"{sum(errors) / len(errors):.1f} points; "
        f"intervals of their own: {', '.join(calibration.quantiles)}"
    )
    typer.echo(f"wrote {path}")
    show_backup(backup)
    if path.absolute() != calibration_path(checkpoint.path).absolute():
        typer.echo(f"echoseg analyze uses it as {calibration_path(checkpoint.path)}")


def _two_beats(data: Path | None, records: "tuple[Record, ...]") -> "tuple[Record, ...]":
    """Animated clips with two beats, since one beat may be no whole systole; others unchanged."""
    from echoseg.data.animate_config import AnimationConfig
    from echoseg.data.animated import PREFIX, open_animated

    if not str(data).startswith(PREFIX):
        return records
    names = {record.name for record in records}
    longer = open_animated(str(data), config=AnimationConfig(num_beats=2)).records
    return tuple(record for record in longer if record.name in names)


def _of_views(records: "tuple[Record, ...]", views: list[View] | None) -> "tuple[Record, ...]":
    """Records of the requested views."""
    chosen = tuple(record for record in records if not views or record.view in views)
    if not chosen:
        there = ", ".join(sorted({str(record.view) for record in records}))
        raise DatasetError(f"--view must be a view of the data, which has {there}")
    return chosen
