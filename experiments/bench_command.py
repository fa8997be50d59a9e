"""`python -m experiments bench`: every network under one budget, judged and timed side by side."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import INTERRUPTED, fail
from echoseg.cli.train import as_settings, check_can_train
from echoseg.errors import ConfigError, EchosegError

if TYPE_CHECKING:
    from experiments.model_bench import ModelBench

PHANTOM_JUDGES = ("phantom:test", "phantom:held_out_style", "phantom:test:spoilt")


def bench(
    data: Annotated[
        list[str] | None,
        typer.Argument(help="What is learnt from: a data set's folder, an .npz, or phantom:N."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder; what is done there is not done again.")
    ] = Path("echoseg-bench"),
    model: Annotated[
        list[str] | None, typer.Option(help="Repeat it. Default: all whole ones.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="CPU time of each network's training.")] = 3.0,
    most_steps: Annotated[int, typer.Option(help="No network gets more.")] = 2000,
    judge: Annotated[
        list[str] | None,
        typer.Option(help="FOLDER, FOLDER:SPLIT, phantom:SPLIT or phantom:SPLIT:spoilt; repeat."),
    ] = None,
    hearts: Annotated[
        int | None, typer.Option(help="Of the phantom: the first so many of each tier.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="field=value that all runs share.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Networks trained at a time.")] = 1,
    draw: Annotated[bool, typer.Option("--draw", help="Draw what is done, run nothing.")] = False,
) -> None:
    """Train networks for the same CPU time, judge them, time them, draw accuracy against speed.

    Run it again after any stop: what is done is skipped. Adding a --model adds a row.
    """
    try:
        from echoseg.parallel import check_jobs
        from experiments.model_bench import read, run_bench

        if not draw:
            check_can_train()
            asked = _asked(data, judge, hearts, model, minutes, most_steps, settings)
            run_bench(asked, output, jobs=check_jobs(jobs), report=_show, say=typer.echo)
        _write(read(output), output)
    except KeyboardInterrupt:
        fail("the same command goes on where this one was")
        raise SystemExit(INTERRUPTED) from None  # typer.Exit would be told once more
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None


def _asked(
    data: list[str] | None,
    judge: list[str] | None,
    hearts: int | None,
    model: list[str] | None,
    minutes: float,
    most_steps: int,
    settings: list[str] | None,
) -> "ModelBench":
    from experiments.model_bench import ENTRANTS, model_bench

    if not data:
        raise ConfigError("bench needs data, such as a CAMUS folder or phantom:200")
    own = PHANTOM_JUDGES if data[0].startswith("phantom:") else (data[0],)
    return model_bench(
        data=tuple(data),
        judges=tuple(judge or own),
        num_hearts=hearts,
        models=tuple(model or ENTRANTS),
        minutes=minutes,
        most_steps=most_steps,
        settings=as_settings(settings or []),
    )


def _show(name: str, done: int, total: int) -> None:
    typer.echo(f"{done}/{total}  {name}")


def _write(bench: "ModelBench", output: Path) -> None:
    from echoseg.files import atomic_write, write_text
    from experiments.bench_figure import accuracy_speed_png
    from experiments.bench_folder import SPEED
    from experiments.bench_table import markdown, summary, table_csv

    if not (output / SPEED).exists():
        raise ConfigError(f"{output} must hold a bench that is done to be drawn; run it first")
    told: dict[str, Any] = summary(bench, output)
    write_text(output / "summary.json", json.dumps(told, indent=1) + "\n")
    write_text(output / "table.md", markdown(told))
    write_text(output / "table.csv", table_csv(told))
    with atomic_write(output / "accuracy_speed.png") as partial:
        partial.write_bytes(accuracy_speed_png(told))
    typer.echo(markdown(told))
    typer.echo(f"{output}: table.md, accuracy_speed.png, summary.json; research use only")
