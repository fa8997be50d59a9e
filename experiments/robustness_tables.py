"""Tables of the robustness evaluation: means, paired differences, smallest detectable effects."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echoseg.errors import DatasetError
from echoseg.evaluation.tables import table_text
from echoseg.files import markdown_table, read_csv, write_text
from echoseg.metrics.agreement import Interval
from experiments.paired import paired_mean, table_of
from experiments.robustness import METRICS, ClipScore

CLIPS, TABLE, MARKDOWN, SUMMARY = "clips.csv", "table.csv", "table.md", "summary.json"


class Column(NamedTuple):
    """A column of the tables: metric, how it is read, unit."""

    title: str
    metric: str
    absolute: bool = False
    """Mean of absolute values, such as MAE."""
    factor: float = 1.0
    digits: int = 1


COLUMNS: dict[str, Column] = {
    "dice": Column("LV Dice", "dice", factor=100, digits=2),
    "affected_dice": Column("affected frames", "affected_dice", factor=100, digits=2),
    "band_dice": Column("hidden band, LV", "band_dice", factor=100, digits=2),
    "band_wall_dice": Column("hidden band, wall", "band_wall_dice", factor=100, digits=2),
    "ef_bias": Column("EF bias", "ef_error"),
    "ef_mae": Column("EF MAE", "ef_error", absolute=True),
    "ef_shift": Column("EF less stills", "ef_shift"),
    "ef_abs_shift": Column("abs(EF less stills)", "ef_shift", absolute=True),
    "jitter": Column("jitter %", "jitter_percent", digits=2),
    **{
        f"carry_{name}_{stride}": Column(
            f"gate {name} /{stride}", f"carry_{name}_{stride}", digits=3
        )
        for stride in (8, 4)
        for name in ("clean", "hidden")
    },
}
"""Columns by name; Dice is in points of 100."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RobustScore:
    """One network, condition and column; differences are to the reference row, paired by clip.

    Means are over seeds and patients with equal weight (`experiments.paired`). What a network
    lost, such as the EF where it segments no cavity, is in no mean: `num_lost` counts its clips,
    over all seeds, that have no value where another network has one.
    """

    eval_set: str
    condition: str
    column: str
    row: str
    num_seeds: int
    num_patients: int
    mean: float
    ci95: Interval | None
    sd_of_seeds: float | None
    difference: float | None = None
    difference_ci95: Interval | None = None
    smallest_effect: float | None = None
    difference_patients: int | None = None
    num_lost: int = 0


def robust_scores(scores: Sequence[ClipScore], reference: str) -> list[RobustScore]:
    """Means and differences of all rows, by evaluation set, condition and column."""
    groups: dict[tuple[str, str], list[ClipScore]] = {}
    for score in scores:
        groups.setdefault((score.eval_set, score.condition), []).append(score)
    return [
        result
        for (eval_set, condition), group in groups.items()
        for name, column in COLUMNS.items()
        for result in _column_scores(group, column, reference, (eval_set, condition, name))
    ]


def _column_scores(
    scores: Sequence[ClipScore], column: Column, reference: str, about: tuple[str, str, str]
) -> Iterable[RobustScore]:
    rows = _by_patient(scores, column)
    has_value = {score.clip for score in scores if getattr(score, column.metric) is not None}
    lost = Counter(
        score.row
        for score in scores
        if score.clip in has_value and getattr(score, column.metric) is None
    )
    for row, values in rows.items():
        table = table_of(values, None)
        if table is None:
            continue
        own = paired_mean(table)
        difference: dict[str, Any] = {}
        if row != reference and reference in rows:
            paired = table_of(values, rows[reference])
            if paired is not None:
                result = paired_mean(paired)
                difference = {
                    "difference": result.mean,
                    "difference_ci95": result.ci95,
                    "smallest_effect": result.smallest_effect,
                    "difference_patients": result.num_patients,
                }
        yield RobustScore(
            **dict(zip(("eval_set", "condition", "column"), about, strict=True)),
            row=row,
            num_seeds=own.num_seeds,
            num_patients=own.num_patients,
            mean=own.mean,
            ci95=own.ci95,
            sd_of_seeds=float(table.mean(1).std(ddof=1)) if len(table) > 1 else None,
            num_lost=lost[row],
            **difference,
        )


def _by_patient(
    scores: Sequence[ClipScore], column: Column
) -> dict[str, dict[int, dict[str, float]]]:
    """Row -> seed -> patient -> mean over the patient's clips."""
    lists: dict[str, dict[int, dict[str, list[float]]]] = {}
    for score in scores:
        value = getattr(score, column.metric)
        if value is not None:
            value = column.factor * (abs(value) if column.absolute else value)
            seeds = lists.setdefault(score.row, {})
            seeds.setdefault(score.seed, {}).setdefault(score.patient, []).append(value)
    return {
        row: {seed: {p: float(np.mean(v)) for p, v in of.items()} for seed, of in seeds.items()}
        for row, seeds in lists.items()
    }


def robust_markdown(rows: Sequence[dict[str, Any]], reference: str) -> str:
    """Per evaluation set and condition: the means, then the differences.

    Args:
        rows: `RobustScore`s as dicts, as `summary.json` holds them.
        reference: Their reference row.
    """
    scores = [RobustScore(**row) for row in rows]
    lines: list[str] = []
    for eval_set, condition in dict.fromkeys((s.eval_set, s.condition) for s in scores):
        own = [s for s in scores if (s.eval_set, s.condition) == (eval_set, condition)]
        patients = max(s.num_patients for s in own)
        lines += [
            "",
            f"{eval_set}, {condition}: {patients} patients, {own[0].num_seeds} seeds; Dice in "
            "points, EF in points (± SD over seeds; n: patients, where fewer have a value; lost: "
            "clips of all seeds where only other networks have one):",
            "",
            *_pivot(own, partial(_mean_text, patients)),
        ]
        if differences := [s for s in own if s.difference is not None]:
            lines += [
                "",
                f"{eval_set}, {condition}: difference to {reference} [95 % interval over seeds and "
                "patients], smallest detectable effect, n where fewer patients have both:",
                "",
                *_pivot(differences, partial(_difference_text, patients)),
            ]
    return "\n".join(lines) + "\n"


def _pivot(scores: Sequence[RobustScore], text: Any) -> list[str]:
    names = [name for name in COLUMNS if any(score.column == name for score in scores)]
    cells = {(score.row, score.column): text(score) for score in scores}
    rows = list(dict.fromkeys(score.row for score in scores))
    heads = ["network", *(COLUMNS[name].title for name in names)]
    lines = [[row, *(cells.get((row, name), "-") for name in names)] for row in rows]
    return markdown_table(heads, lines)


def _mean_text(patients: int, score: RobustScore) -> str:
    digits, sd = COLUMNS[score.column].digits, score.sd_of_seeds
    lost = f", {score.num_lost} lost" if score.num_lost else ""
    text = f"{score.mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")
    return text + _fewer(score.num_patients, patients) + lost


def _fewer(number: int | None, patients: int) -> str:
    return "" if number in (None, patients) else f", n {number}"


def _difference_text(patients: int, score: RobustScore) -> str:
    digits, ci = COLUMNS[score.column].digits, score.difference_ci95
    interval = "" if ci is None else f" [{ci[0]:+.{digits}f} to {ci[1]:+.{digits}f}]"
    effect = score.smallest_effect
    smallest = "" if effect is None else f", detectable {effect:.{digits}f}"
    fewer = _fewer(score.difference_patients, patients)
    return f"{score.difference:+.{digits}f}{interval}{smallest}{fewer}"


def write_robust(
    scores: Sequence[ClipScore], reference: str, about: dict[str, Any], out: Path
) -> str:
    """Write `clips.csv`, `table.csv`, `table.md` and `summary.json`; return the Markdown.

    Args:
        scores: Of all networks.
        reference: The row that others are compared with.
        about: What the summary says of the run: command, commit, machine, time, networks.
        out: The folder.
    """
    results = robust_scores(scores, reference)
    rows = [asdict(result) for result in results]
    markdown = robust_markdown(rows, reference)
    summary = {**about, "reference": reference, "scores": rows}
    write_text(out / CLIPS, table_text(scores, ClipScore))
    write_text(out / TABLE, table_text(results, RobustScore))
    write_text(out / MARKDOWN, markdown)
    write_text(out / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return markdown


def read_clips(path: Path) -> list[ClipScore]:
    """Clip scores of a file.

    Raises:
        DatasetError: If it is missing or damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(read_csv(file))
        return [
            ClipScore(**{name: _value(name, text) for name, text in row.items()}) for row in rows
        ]
    except (OSError, UnicodeDecodeError, csv.Error, TypeError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); run the evaluation again") from error


def clips_error(path: Path) -> str | None:
    """Why the clip scores of a file cannot be read; None if they can."""
    try:
        rows = read_clips(path)
    except DatasetError as error:
        return str(error)
    is_whole = rows and path.read_bytes().endswith(b"\n")
    return None if is_whole else f"{path} is empty or truncated"


def _value(name: str, text: str) -> Any:
    if name in METRICS:
        return float(text) if text else None
    return int(text) if name == "seed" else text
