"""`python -m experiments label-order`: which clips to correct next.

OUT/experiment.json            data, model and settings; all that follows is of these
OUT/pool.csv                   the clips that may be corrected
OUT/scores.csv, summary.json   of every training that is complete
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict

from echoseg.cli.train import as_settings
from echoseg.data import load_dataset
from echoseg.errors import ConfigError
from echoseg.evaluation.tables import table_text
from echoseg.files import ResumableFolder, write_text
from echoseg.train.config import TrainConfig
from echoseg.weights.card import find_checkpoint, read_card
from experiments.errors import one_line_errors
from experiments.grid import SETTINGS as SETTINGS_FILE
from experiments.label_order import (
    MAX_POOL,
    ORDERS,
    PoolClip,
    Score,
    compare,
    corrected_dice,
    ordered,
    patient_dice,
    pool_records,
    retrain,
    retrain_config,
    score_pool,
)
from experiments.provenance import commit, machine_text

SETTINGS = ("num_steps=150", "learning_rate=0.0005", "num_labeled=6", "num_frames=2")
"""Of the training with corrected clips; --set overrides them."""


class LabelOrder(BaseModel):
    """What a folder's pool and scores are of; content of `experiment.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    model: str
    model_sha256: str
    num_clips: int
    training: TrainConfig
    """Of the first seed."""


def label_order(
    data: Annotated[str, typer.Argument(help="Data set with training and validation patients.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Output folder; complete runs are skipped.")
    ] = Path("echoseg-label-order"),
    model: Annotated[str, typer.Option(help="Network that has not learned from it.")] = "phantom",
    num_clips: Annotated[int, typer.Option(help="Clips that may be corrected.")] = MAX_POOL,
    num_corrected: Annotated[
        list[int] | None, typer.Option(help="Corrections; repeatable (default: 5, 10, 20).")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds.", min=1)] = 3,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Training setting; repeatable.")
    ] = None,
) -> None:
    """Label order: Dice after 5, 10 and 20 corrections, by entropy and in random order.

    Resumable with the same data, model and settings. The experts' masks are the reader.
    """
    with one_line_errors():
        numbers = sorted(set(num_corrected or (5, 10, 20)))
        if not 0 < numbers[0] <= numbers[-1] < num_clips:
            raise ConfigError(f"--num-corrected must be from 1 to {num_clips - 1}, got {numbers}")
        values = as_settings([*SETTINGS, *(settings or ())])
        about = LabelOrder(
            data=data, model=model, model_sha256=read_card(find_checkpoint(model)).sha256,
            num_clips=num_clips, training=retrain_config(model, 0, values),
        )  # fmt: skip
        folder = ResumableFolder(output, SETTINGS_FILE, LabelOrder, "a label-order experiment")
        with folder.locked():
            folder.begin(about)
            summary = _run(about, values, numbers, seeds, output)
    for row in summary["retrained"]:
        typer.echo(row)
    typer.echo(f"wrote pool.csv, scores.csv, summary.json in {output}")


def _run(
    about: LabelOrder, values: dict[str, Any], numbers: Sequence[int], seeds: int, output: Path
) -> dict[str, Any]:
    """Score the pool and run the trainings that are missing; returns the summary, which it writes.

    Raises:
        EchosegError: If data or model are wrong, or a training fails.
    """
    dataset = load_dataset(about.data)
    records = {record.name: record for record in pool_records(dataset, about.num_clips)}
    pool = _read(output / "pool.csv", PoolClip)
    if not pool:
        pool = score_pool(about.model, tuple(records.values()))
        write_text(output / "pool.csv", table_text(pool, PoolClip))
    scores = _read(output / "scores.csv", Score)
    if not scores:
        start = patient_dice(about.model, dataset)
        scores = [_score("start", 0, 0, patient, dice) for patient, dice in start.items()]
    for order, number, seed in _missing(scores, numbers, seeds):
        typer.echo(f"{order}, {number} corrections, seed {seed}")
        names = [clip.name for clip in ordered(pool, order, seed)[:number]]
        dice = retrain(about.model, dataset, [records[name] for name in names], seed, values)
        scores += [_score(order, number, seed, *one) for one in dice.items()]
        write_text(output / "scores.csv", table_text(scores, Score))
    summary = _summary(pool, [score for score in scores if score.seed < seeds], numbers, seeds)
    summary |= {"model": about.model, "settings": values, "num_clips": len(pool)}
    write_text(output / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _score(order: str, number: int, seed: int, patient: str, dice: float) -> Score:
    return Score(order=order, num_corrected=number, seed=seed, patient=patient, dice=dice)


def _missing(
    scores: Sequence[Score], numbers: Sequence[int], seeds: int
) -> Iterator[tuple[str, int, int]]:
    done = {(score.order, score.num_corrected, score.seed) for score in scores}
    for seed, number, order in product(range(seeds), numbers, ORDERS):
        if (order, number, seed) not in done:
            yield order, number, seed


def _summary(
    pool: Sequence[PoolClip], scores: Sequence[Score], numbers: Sequence[int], seeds: int
) -> dict[str, Any]:
    from scipy.stats import spearmanr

    corrected = [
        {
            "order": order,
            "num_corrected": number,
            "dice": sum(
                corrected_dice(pool, ordered(pool, order, seed)[:number]) for seed in range(seeds)
            )
            / seeds,
        }
        for order, number in product(ORDERS, (0, *numbers))
    ]
    start = [score.dice for score in scores if score.order == "start"]
    rank: Any = spearmanr([clip.priority for clip in pool], [1 - clip.dice for clip in pool])
    return {
        "rank_correlation": float(rank.statistic),
        "start_dice": sum(start) / len(start),
        "corrected": corrected,
        "retrained": [
            compare(scores, order, number) for order, number in product(ORDERS[1:], numbers)
        ],
        "machine": machine_text(),
        "commit": commit(),
    }


def _read(path: Path, kind: type) -> list[Any]:
    """The rows of a table that `table_text` wrote; none where there is no table."""
    if not path.exists():
        return []
    types = {field.name: field.type for field in fields(kind)}
    convert = {name: {str: str, int: int, float: float}[one] for name, one in types.items()}
    with path.open(encoding="utf-8", newline="") as file:
        return [
            kind(**{name: convert[name](text) for name, text in row.items()})
            for row in csv.DictReader(file)
        ]
