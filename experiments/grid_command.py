"""The commands of `python -m experiments` that train a grid: `curve`, `bench` and `ssg`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from echoseg.cli.train import as_settings, check_can_train
from echoseg.errors import ConfigError
from experiments.errors import one_line_errors

PHANTOM_EVAL_SETS = ("phantom:test", "phantom:held_out_style", "phantom:test:corrupted")

Data = Annotated[
    list[str] | None,
    typer.Argument(help="Training data: data set folder, clips.csv, .npz or phantom:N."),
]
EvalSets = Annotated[
    list[str] | None,
    typer.Option(
        "--eval",
        help="Evaluation set: FOLDER[:SPLIT], phantom:SPLIT[:corrupted]; repeatable.",
    ),
]
RobustSets = Annotated[
    list[str] | None,
    typer.Option(
        "--robust",
        help="Set whose clips are also evaluated with corrupted frames and a hidden wall: "
        "phantom:SPLIT, animated:FOLDER:SPLIT; repeatable.",
    ),
]
NumClips = Annotated[
    int | None, typer.Option(help="Number of clips of each --robust set (default: all).")
]
Hearts = Annotated[int | None, typer.Option(help="Number of phantom hearts per tier.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Training setting of all runs, such as num_steps=500; repeatable."),
]
Jobs = Annotated[int, typer.Option(help="Trainings at a time.")]
Draw = Annotated[bool, typer.Option("--draw", help="Only write tables and figure of an output.")]


def curve(
    data: Data = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Output folder; complete runs are skipped.")
    ] = Path("echoseg-curve"),
    method: Annotated[
        list[str] | None, typer.Option(help="Training method; repeatable (default: nine).")
    ] = None,
    labeled_fraction: Annotated[
        list[str] | None, typer.Option(help="Such as 5%; repeatable (default: 0% to 100%).")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 3,
    eval_sets: EvalSets = None,
    robust_sets: RobustSets = None,
    num_clips: NumClips = None,
    hearts: Hearts = None,
    settings: Settings = None,
    jobs: Jobs = 1,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep the weights of every run.")
    ] = False,
    draw: Draw = False,
) -> None:
    """Label-efficiency experiment: train methods at several labeled fractions, evaluate, plot.

    Resumable. At 100 % only `supervised` runs, since nothing is unlabeled, unless
    labeled_frames=ed_es. At 0 % masks come from simulated clips alone.
    """
    from echoseg.train.config import as_fraction
    from experiments.figures import curve_png
    from experiments.label_curve import FRACTIONS, METHODS, LabelCurve, curve_markdown

    def fields() -> dict[str, Any]:
        return {
            "methods": tuple(method or METHODS),
            "fractions": tuple(as_fraction(text) for text in labeled_fraction or FRACTIONS),
            "eval_sets": tuple(eval_sets or (_own(data),)),
            "robust_sets": tuple(robust_sets or ()),
            "num_clips": num_clips,
        }

    with one_line_errors():
        shared = partial(_shared, data, hearts, seeds, settings)
        summary = _run(
            LabelCurve, lambda: shared() | fields(), output, jobs, draw, keep_weights=keep_weights
        )
        _write(summary, curve_markdown(summary), curve_png(summary), output)


def bench(
    data: Data = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Output folder; complete runs are skipped.")
    ] = Path("echoseg-bench"),
    model: Annotated[
        list[str] | None, typer.Option(help="Network; repeatable (default: all but ablations).")
    ] = None,
    patience: Annotated[
        int, typer.Option(help="Validation rounds without a better score that end a training.")
    ] = 5,
    validate_every: Annotated[int, typer.Option(help="Steps per validation round.")] = 200,
    max_steps: Annotated[int, typer.Option(help="Maximum number of steps.")] = 4000,
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 1,
    eval_sets: EvalSets = None,
    robust_sets: RobustSets = None,
    num_clips: NumClips = None,
    hearts: Hearts = None,
    settings: Settings = None,
    jobs: Jobs = 1,
    draw: Draw = False,
) -> None:
    """Benchmark: train networks to a plateau, evaluate, measure speed, plot.

    A tenth of the training patients is held out to find the plateau. Resumable; adding a --model
    adds a row.
    """
    from experiments.figures import bench_png
    from experiments.model_bench import (
        ENTRIES,
        ModelBench,
        bench_markdown,
        read_speed,
        time_networks,
    )

    def fields() -> dict[str, Any]:
        is_phantom = bool(data) and data[0].startswith("phantom:")
        return {
            "models": tuple(model or ENTRIES),
            "patience": patience,
            "validate_every": validate_every,
            "max_steps": max_steps,
            "eval_sets": tuple(eval_sets or (PHANTOM_EVAL_SETS if is_phantom else (_own(data),))),
            "robust_sets": tuple(robust_sets or ()),
            "num_clips": num_clips,
        }

    with one_line_errors():
        shared = partial(_shared, data, hearts, seeds, settings)
        summary = _run(
            ModelBench, lambda: shared() | fields(), output, jobs, draw,
            keep_weights=True, finish=partial(time_networks, output),
        )  # fmt: skip
        speed = read_speed(output)
        _write(summary, bench_markdown(summary, speed), bench_png(summary, speed), output)


def ssg(
    data: Data = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Output folder; complete runs are skipped.")
    ] = Path("echoseg-ssg"),
    variant: Annotated[
        list[str] | None,
        typer.Option(help="Memory of MSSNet; repeatable (default: none to guidance)."),
    ] = None,
    size: Annotated[str, typer.Option(help="Size of MSSNet.")] = "tiny",
    init: Annotated[
        str | None, typer.Option(help="Checkpoint of the common initialization.")
    ] = None,
    pretrain_steps: Annotated[
        int, typer.Option(help="Steps that train the common initialization, OUTPUT-init; 0: none.")
    ] = 0,
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 3,
    robust_sets: RobustSets = None,
    num_clips: NumClips = None,
    hearts: Hearts = None,
    settings: Settings = None,
    jobs: Jobs = 1,
    draw: Draw = False,
) -> None:
    """Ablation of MSSNet's memory: train the variants alike, evaluate their robustness.

    Resumable. Trains on clips of 12 frames with artefacts; --set changes this.
    """
    from experiments.grid import check_sets
    from experiments.ssg import VARIANTS, SSGAblation, pretrain, ssg_markdown

    is_phantom = bool(data) and data[0].startswith("phantom:")

    def fields() -> dict[str, Any]:
        default = "phantom:validation" if is_phantom else _animated(_own(data))
        fields = _shared(data, hearts, seeds, settings) | {
            "variants": tuple(variant or VARIANTS),
            "size": size,
            "robust_sets": tuple(robust_sets or (default,)),
            "num_clips": num_clips,
        }
        if pretrain_steps < 0 or (init is not None and pretrain_steps):
            raise ConfigError(
                "--pretrain-steps must be 0 or more, and 0 where --init is given, got "
                f"{pretrain_steps}; leave one of them out"
            )
        if not pretrain_steps:
            return fields | {"init": init}
        experiment = SSGAblation.make(**fields)
        check_sets(experiment)  # before the first training too
        folder = output.with_name(f"{output.name}-init")
        return fields | {"init": pretrain(experiment, folder, pretrain_steps)}

    with one_line_errors():
        summary = _run(SSGAblation, fields, output, jobs, draw, keep_weights=True)
        _write(summary, ssg_markdown(summary), None, output)


def _animated(name: str) -> str:
    """The animated validation clips of a folder, or of an animated one."""
    from echoseg.data.animated import PREFIX, parse_name

    folder, _ = parse_name(name if name.startswith(PREFIX) else f"{PREFIX}{name}")
    return f"{PREFIX}{folder}:validation"


def _own(data: list[str] | None) -> str:
    """The validation split of the training data."""
    first = data[0] if data else ""
    if first.startswith("animated:"):
        return _animated(first)
    return "phantom:validation" if first.startswith("phantom:") else first


def _shared(
    data: list[str] | None, hearts: int | None, seeds: int, settings: list[str] | None
) -> dict[str, Any]:
    """Fields of any experiment."""
    if not data:
        raise ConfigError("training data must be given, such as a CAMUS folder or phantom:200")
    return {
        "data": tuple(data),
        "num_hearts": hearts,
        "num_seeds": seeds,
        "settings": as_settings(settings or []),
    }


def _run(
    kind: Any,
    fields: Callable[[], dict[str, Any]],
    output: Path,
    jobs: int,
    draw: bool,
    **options: Any,
) -> dict[str, Any]:
    """Run an experiment, or read it with `draw`; return its summary."""
    from echoseg.parallel import check_jobs
    from experiments.grid import read_experiment, run_grid
    from experiments.summary import summarize

    if draw:
        return summarize(read_experiment(kind, output), output)
    check_can_train()
    experiment = kind.make(**fields())
    jobs = check_jobs(jobs)
    return summarize(run_grid(experiment, output, jobs=jobs, report=typer.echo, **options), output)


def _write(summary: dict[str, Any], markdown: str, figure: bytes | None, output: Path) -> None:
    from echoseg.files import atomic_write
    from experiments.summary import write_summary

    names = write_summary(summary, markdown, output)
    if figure is not None:
        names += ["figure.png"]
        with atomic_write(output / "figure.png") as partial_path:
            partial_path.write_bytes(figure)
    typer.echo(markdown)
    typer.echo(f"wrote {', '.join(names)} in {output}")
