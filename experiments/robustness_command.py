"""`python -m experiments robustness`: networks on clean and corrupted clips, with a hidden wall."""

import time
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.errors import ConfigError
from experiments.errors import one_line_errors

if TYPE_CHECKING:
    from experiments.robustness import Entry


def robustness(
    data: Annotated[
        list[str],
        typer.Argument(help="Clips: phantom:SPLIT, animated:FOLDER:SPLIT or FOLDER[:SPLIT]."),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model", help="Checkpoint as LABEL=FILE, or FILE; a label repeated is another seed."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Output folder; complete networks are skipped.")
    ] = Path("echoseg-robustness"),
    reference: Annotated[
        str | None, typer.Option(help="Label that others are compared with (default: the first).")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(help="clean, corrupted or hidden; repeatable (default: all)."),
    ] = None,
    hearts: Annotated[int | None, typer.Option(help="Number of phantom hearts per tier.")] = None,
    num_clips: Annotated[
        int | None, typer.Option(help="Number of clips, spread over the set (default: all).")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Worker processes.")] = 1,
) -> None:
    """Robustness: Dice, EF and jitter on clean clips, corrupted frames and a hidden wall.

    Resumable: a network that is complete on a set is not evaluated on it again.
    """
    with one_line_errors():
        entries = parse_entries(model)
        labels = list(dict.fromkeys(entry.row for entry in entries))
        if reference not in (None, *labels):
            raise ConfigError(f"reference must be one of {', '.join(labels)}, got {reference!r}")
        markdown = run(
            data, entries, output, reference or labels[0],
            conditions=tuple(condition or ()), hearts=hearts, num_clips=num_clips, jobs=jobs,
        )  # fmt: skip
    typer.echo(markdown)
    typer.echo(f"wrote table.md, table.csv, clips.csv, summary.json in {output}")


def parse_entries(texts: list[str]) -> tuple["Entry", ...]:
    """LABEL=FILE or FILE -> networks; the n-th of a label has seed n.

    Raises:
        EchosegError: If a checkpoint cannot be loaded, has no label or stands twice in a row.
    """
    from echoseg.models.checkpoint import load_model
    from experiments.robustness import Entry

    entries: list[Entry] = []
    for text in texts:
        label, is_labeled, checkpoint = text.partition("=")
        checkpoint = checkpoint if is_labeled else text
        row = label if is_labeled else Path(text).stem
        if not row:
            raise ConfigError(f"model must be LABEL=FILE or FILE, got {text!r}; give it a label")
        load_model(checkpoint)  # fail before anything is evaluated
        if any((entry.row, entry.checkpoint) == (row, checkpoint) for entry in entries):
            raise ConfigError(
                f"model must name another training of {row} each time, got {checkpoint} twice; "
                "leave one out"
            )
        seed = sum(entry.row == row for entry in entries)
        entries.append(Entry(row=row, seed=seed, checkpoint=checkpoint))
    return tuple(entries)


def run(
    data: list[str],
    entries: tuple["Entry", ...],
    output: Path,
    reference: str,
    *,
    conditions: tuple[str, ...] = (),
    hearts: int | None = None,
    num_clips: int | None = None,
    jobs: int = 1,
) -> str:
    """Evaluate all networks on all data, write the tables, return them as Markdown.

    A network on a set is a cell, kept under the hash of its checkpoint; complete ones are not
    evaluated again.

    Raises:
        EchosegError: If data, a condition or the folder are wrong.
    """
    from dataclasses import asdict, replace

    from experiments.eval_sets import clip_records
    from experiments.provenance import provenance
    from experiments.robustness import CONDITIONS, check_condition, evaluate_robustness
    from experiments.robustness_folder import Robustness, open_cells
    from experiments.robustness_tables import write_robust

    names = tuple(dict.fromkeys(data))
    for condition in conditions:
        check_condition(condition)
    for name in names:
        clip_records(name, hearts, num_clips)  # fail before the first is evaluated
    settings = Robustness(
        data=names,
        conditions=conditions or tuple(CONDITIONS),
        num_hearts=hearts,
        num_clips=num_clips,
    )
    options = settings.model_dump(exclude={"data"})
    start = time.monotonic()
    about: dict[str, Any] = {**provenance(), "networks": [asdict(entry) for entry in entries]}
    complete, scores = [], []
    with open_cells(output, settings) as cells:
        for name, entry in product(names, entries):
            title = f"{entry.row} seed {entry.seed}, {name}"
            cell = cells.read(name, entry.checkpoint)
            if cell is None:
                progress = partial(_report, title)
                cell = evaluate_robustness([entry], name, **options, jobs=jobs, progress=progress)
                cell = cells.write(name, entry.checkpoint, cell)
            else:
                complete.append(title)
            scores += [replace(score, row=entry.row, seed=entry.seed) for score in cell]
        about |= {"seconds": round(time.monotonic() - start, 1), "complete_before": complete}
        return write_robust(scores, reference, about, output)


def _report(name: str, done: int, total: int) -> None:
    if done % 10 == 0 or done == total:
        typer.echo(f"{name}: {done}/{total} clips")
