"""`python -m experiments curve`: accuracy against the labeled fraction, for many methods."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import INTERRUPTED, fail
from echoseg.cli.train import as_settings, as_share, check_can_train
from echoseg.errors import ConfigError, EchosegError

if TYPE_CHECKING:
    from experiments.label_curve import Done, LabelCurve

RECIPES = ("supervised", "mssnet", "mean_teacher", "fixmatch", "bcp")
LABELS = ("1%", "5%", "10%", "25%", "100%")


def curve(
    data: Annotated[
        list[str] | None,
        typer.Argument(help="A data set's folder or clips.csv, an .npz, or phantom:N."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder; what is done there is not done again.")
    ] = Path("echoseg-curve"),
    recipe: Annotated[
        list[str] | None, typer.Option(help=f"Repeat it. Default: {', '.join(RECIPES)}.")
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option(help=f"Repeat it. Default: {', '.join(LABELS)}.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many: 0, 1, ...")] = 3,
    judge: Annotated[
        str | None,
        typer.Option(help="What is judged on: a folder, or phantom. Default: the data's own."),
    ] = None,
    split: Annotated[str, typer.Option(help="Its part.")] = "validation",
    hearts: Annotated[
        int | None, typer.Option(help="Of the phantom: the first so many of each tier.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value that all runs share, such as num_steps=500."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Of every run.")] = False,
    draw: Annotated[bool, typer.Option("--draw", help="Draw what is done, run nothing.")] = False,
) -> None:
    """Train ways of learning at shares of labelled patients, judge them, draw the curve.

    Run it again after any stop: what is done is skipped, what was cut goes on. At 100 % only
    `supervised` runs, since nothing is unlabelled.
    """
    try:
        from echoseg.parallel import check_jobs
        from experiments.label_curve import read, run_curve

        if not draw:
            check_can_train()
            asked = _asked(data, recipe, labels, seeds, judge, split, hearts, settings)
            jobs = check_jobs(jobs)
            run_curve(asked, output, jobs=jobs, keep_weights=keep_weights, report=_show)
        _write(read(output), output)
    except KeyboardInterrupt:
        fail("the same command goes on where this one was")
        raise SystemExit(INTERRUPTED) from None  # typer.Exit would be told once more
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None


def _asked(
    data: list[str] | None,
    recipe: list[str] | None,
    labels: list[str] | None,
    seeds: int,
    judge: str | None,
    split: str,
    hearts: int | None,
    settings: list[str] | None,
) -> "LabelCurve":
    from experiments.label_curve import label_curve

    if not data:
        raise ConfigError("curve needs data, such as a CAMUS folder or phantom:200")
    own = "phantom" if data[0].startswith("phantom:") else data[0]
    return label_curve(
        data=tuple(data),
        judge=judge or own,
        split=split,
        num_hearts=hearts,
        recipes=tuple(recipe or RECIPES),
        labels=tuple(as_share(share) for share in labels or LABELS),
        num_seeds=seeds,
        settings=as_settings(settings or []),
    )


def _show(done: "Done") -> None:
    minutes = round(done.left_s / 60)
    typer.echo(f"{done.num_done}/{done.num_cells}  {done.cell.name}  left {minutes} min")


def _write(curve: "LabelCurve", output: Path) -> None:
    from echoseg.files import atomic_write, write_text
    from experiments.curve_figure import label_curve_png
    from experiments.label_table import markdown, summary

    told: dict[str, Any] = summary(curve, output)
    if not told["num_done"]:
        raise ConfigError(f"{output} must hold a run that is done to be drawn, it holds none")
    write_text(output / "summary.json", json.dumps(told, indent=1) + "\n")
    write_text(output / "table.md", markdown(told))
    with atomic_write(output / "curve.png") as partial:
        partial.write_bytes(label_curve_png(told))
    typer.echo(markdown(told))
    typer.echo(f"{output}: table.md, curve.png, summary.json; research use only")
