"""`python -m experiments carry`: what carrying a correction to the next frames is worth."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.errors import ConfigError
from echoseg.files import csv_text, write_text
from experiments.errors import one_line_errors


def carry(
    data: Annotated[
        list[str], typer.Argument(help="Clips: phantom:SPLIT or animated:FOLDER:SPLIT.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")] = Path(
        "echoseg-carry"
    ),
    model: Annotated[str, typer.Option(help="A network that streams.")] = "camus",
    num_clips: Annotated[
        int | None, typer.Option(help="Number of clips, spread over each set (default: all).")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Repeatable; default: all. `none` is always there.")
    ] = None,
) -> None:
    """Carry: Dice of the next frames after one was corrected, by method and distance."""
    from echoseg.evaluation.tables import table_text
    from experiments.carry import METHODS, CarryScore, score_clip, summarize
    from experiments.eval_sets import clip_records
    from experiments.provenance import provenance

    with one_line_errors("the same command begins anew"):
        methods = tuple(dict.fromkeys(("none", *(method or METHODS))))
        if unknown := set(methods) - set(METHODS):
            raise ConfigError(f"--method must be of {', '.join(METHODS)}, got {unknown.pop()!r}")
        output.mkdir(parents=True, exist_ok=True)
        rows = []
        for name in dict.fromkeys(data):
            scores = []
            for record in clip_records(name, num_clips=num_clips):
                scores += score_clip(model, record, methods)
                typer.echo(f"{name}: {record.name}")
            place = name.partition(":")[0]
            write_text(output / f"{place}_scores.csv", table_text(scores, CarryScore))
            rows += [{"data": place} | row for row in summarize(scores)]
            write_text(
                output / "carry.csv", csv_text(list(rows[0]), [one.values() for one in rows])
            )
    typer.echo(str(provenance()))
    typer.echo(f"wrote carry.csv in {output}")
