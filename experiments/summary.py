"""Scores of an experiment: means with intervals, and paired differences to a reference.

An item is one structure on one frame. The score of a row on an item is the mean over its seeds, and
its interval resamples patients. Differences are paired by seed and item, and averaged per patient;
their intervals and smallest detectable effects are over seeds and patients (`experiments.paired`),
the test is Wilcoxon's signed-rank test over patients.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echoseg.errors import ConfigError, DatasetError
from echoseg.evaluation.compare import signed_rank_p
from echoseg.evaluation.items import STRUCTURES
from echoseg.evaluation.tables import CLIPS, read_items
from echoseg.files import csv_text, markdown_table, read_csv, write_text
from echoseg.metrics.agreement import Interval, mean_interval
from echoseg.metrics.segmentation import FAILED_DICE
from echoseg.phantom.config import Tier
from experiments.cells import FAILED, RUN_AGAIN, cell_folder, complete_cells, damage, read_cost
from experiments.experiment import Cell, Experiment
from experiments.paired import PairedMean, paired_mean, table_of
from experiments.provenance import provenance
from experiments.robustness_tables import RobustScore, read_clips, robust_scores

MIN_PATIENTS = 6
"""With fewer patients no signed-rank test can reach .05."""
MEAN = "mean"
"""The mean over all structures, as a structure."""


class Key(NamedTuple):
    """What identifies an item in all runs, and its groups."""

    patient: str
    clip: str
    frame: str
    structure: str
    view: str
    phase: str
    quality: str


class Values(NamedTuple):
    """Scores of an item."""

    dice: float
    hd95: float | None
    unit: str


Table = dict[Key, Values]
"""The scored items of one cell on one evaluation set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Scores of one row and column over seeds, on one group of items of one structure.

    `difference` is the Dice less that of the reference row, over the seeds and items of both.
    Distances are in `unit`; `sd_of_seeds` is None with one seed.
    """

    row: str
    column: str
    eval_set: str
    group: str
    structure: str
    num_seeds: int
    dice: float
    ci95: Interval | None
    sd_of_seeds: float | None
    hd95: float | None
    unit: str
    failed_fraction: float
    difference: float | None = None
    difference_ci95: Interval | None = None
    smallest_effect: float | None = None
    p_value: float | None = None


def summarize(experiment: Experiment, out: Path) -> dict[str, Any]:
    """Scores and costs of all complete cells, ready for JSON.

    Raises:
        DatasetError: If a file is damaged.
        ConfigError: If no cell is complete.
    """
    for cell in experiment.cells():
        if error := damage(experiment, out, cell):
            raise DatasetError(f"{error}; {RUN_AGAIN}")
    cells = complete_cells(experiment, out)
    if not cells:
        raise ConfigError(f"{out} must contain a complete run to draw, it has none")
    scores: list[Score] = []
    for index, eval_set in enumerate(experiment.eval_sets):
        tables: dict[tuple[str, str], dict[int, Table]] = {}
        for cell in cells:
            table = _table(cell_folder(out, cell) / f"eval-{index}")
            tables.setdefault((cell.row, cell.column), {})[cell.seed] = table
        scores += _all_scores(tables, eval_set, experiment.reference)
    return {
        "experiment": experiment.model_dump(mode="json"),
        "reference": experiment.reference,
        "num_complete": len(cells),
        "num_cells": len(experiment.cells()),
        "failed_clips": sorted(
            set(_failed_clips(experiment, [cell_folder(out, c) for c in cells]))
        ),
        "costs": [
            {"row": cell.row, "column": cell.column, "seed": cell.seed}
            | read_cost(cell_folder(out, cell)).model_dump()
            for cell in cells
        ],
        "scores": [asdict(score) for score in scores],
        "robustness": [asdict(score) for score in _robust_scores(experiment, out, cells)],
    }


def _robust_scores(experiment: Experiment, out: Path, cells: Sequence[Cell]) -> list[RobustScore]:
    """Scores of the robustness sets; rows of several columns are distinguished by their column."""
    clips = [
        replace(clip, row=f"{cell.row}, {cell.column}" if cell.column else cell.row, seed=cell.seed)
        for cell in cells
        for index in range(len(experiment.robust_sets))
        for clip in read_clips(cell_folder(out, cell) / f"robust-{index}" / CLIPS)
    ]
    return robust_scores(clips, experiment.reference)


def _table(place: Path) -> Table:
    return {
        Key(*(row[name] for name in Key._fields)): Values(
            float(row["dice"]), float(row["hd95"]) if row["hd95"] else None, row["unit"]
        )
        for row in read_items(place)
        if row["dice"]
    }


def _failed_clips(experiment: Experiment, folders: Iterable[Path]) -> Iterable[str]:
    """Clips that at least one cell's network could not be evaluated on."""
    for folder in folders:
        for index in range(len(experiment.eval_sets)):
            path = folder / f"eval-{index}" / FAILED
            if path.exists():
                with path.open(encoding="utf-8", newline="") as file:
                    yield from (row["place"] for row in read_csv(file))


def _all_scores(
    tables: dict[tuple[str, str], dict[int, Table]], eval_set: str, reference: str
) -> Iterable[Score]:
    """Scores of each row and column by group and structure."""
    for (row, column), seeds in tables.items():
        others = {} if row == reference else tables.get((reference, column), {})
        keys = _shared(seeds.values())
        for group, members in _groups(keys).items():
            names = [name for name in STRUCTURES if any(k.structure == name for k in members)]
            for structure in (*names, MEAN):
                chosen = [k for k in members if structure in (k.structure, MEAN)]
                place = {"row": row, "column": column, "eval_set": eval_set, "group": group}
                yield Score(
                    **place,
                    structure=structure,
                    **_scores(seeds, chosen),
                    **_difference(seeds, others, chosen),
                )


def _shared(tables: Iterable[Table]) -> list[Key]:
    """The items of all tables."""
    return sorted(set.intersection(*(set(table) for table in tables)))


def _groups(keys: Sequence[Key]) -> dict[str, list[Key]]:
    """All items, then those of each view, phase and quality (a tier of the phantom)."""
    groups = {"all": list(keys)}
    for field in ("view", "phase", "quality"):
        values = {value for key in keys if (value := getattr(key, field))}
        if len(values) > 1:
            for value in sorted(values, key=_rank):
                groups[value] = [key for key in keys if getattr(key, field) == value]
    return groups


def _rank(value: str) -> tuple[int, str]:
    """Tiers from easy to extreme, others in alphabetical order before them."""
    tiers = [str(tier) for tier in Tier]
    return (tiers.index(value) if value in tiers else -1), value


def _scores(seeds: dict[int, Table], keys: Sequence[Key]) -> dict[str, Any]:
    dice = np.array([[table[key].dice for key in keys] for table in seeds.values()])
    distances = [v.hd95 for t in seeds.values() for k in keys if (v := t[k]).hd95 is not None]
    return {
        "num_seeds": len(seeds),
        "dice": float(dice.mean()),
        "ci95": mean_interval(dice.mean(0), [key.patient for key in keys]),
        "sd_of_seeds": float(dice.mean(1).std(ddof=1)) if len(seeds) > 1 else None,
        "hd95": float(np.mean(distances)) if distances else None,
        "unit": next(iter(seeds.values()))[keys[0]].unit,
        "failed_fraction": float((dice < FAILED_DICE).mean()),
    }


def _difference(
    seeds: dict[int, Table], others: dict[int, Table], keys: Sequence[Key]
) -> dict[str, Any]:
    """Dice less the reference's, paired by seed and item; empty without common ones."""
    both = sorted(seeds.keys() & others.keys())
    shared = [key for key in keys if all(key in others[seed] for seed in both)]
    if not both or not shared:
        return {}
    tables = [table_of(_by_patient(side, both, shared), None) for side in (seeds, others)]
    assert tables[0] is not None and tables[1] is not None  # there are shared items
    differences = tables[0] - tables[1]  # (seeds, patients)
    result: PairedMean = paired_mean(differences)
    enough = result.num_patients >= MIN_PATIENTS
    names = sorted({key.patient for key in shared})
    return {
        "difference": result.mean,
        "difference_ci95": result.ci95,
        "smallest_effect": result.smallest_effect,
        "p_value": signed_rank_p(differences.mean(0), names) if enough else None,
    }


def _by_patient(
    tables: dict[int, Table], seeds: Iterable[int], keys: Sequence[Key]
) -> dict[int, dict[str, float]]:
    """Mean Dice of each patient's items, by seed."""
    patients: dict[str, list[Key]] = {}
    for key in keys:
        patients.setdefault(key.patient, []).append(key)
    return {
        seed: {
            name: float(np.mean([tables[seed][key].dice for key in own]))
            for name, own in patients.items()
        }
        for seed in seeds
    }


def pivot(
    scores: Iterable[dict[str, Any]],
    column: Callable[[dict[str, Any]], str],
    text: Callable[[dict[str, Any]], str],
    corner: str = "",
) -> list[str]:
    """Lines of a Markdown table: a row per row of the experiment, a cell per score."""
    table: dict[str, dict[str, str]] = {}
    for score in scores:
        table.setdefault(score["row"], {})[column(score)] = text(score)
    heads = list(dict.fromkeys(head for row in table.values() for head in row))
    rows = [[name, *(row.get(head, "-") for head in heads)] for name, row in table.items()]
    return markdown_table([corner, *heads], rows)


def dice_text(score: dict[str, Any]) -> str:
    """Dice, SD over seeds, HD95 and the fraction of failed items."""
    sd, hd95 = score["sd_of_seeds"], score["hd95"]
    spread = "" if sd is None else f" ± {sd:.3f}"
    distance = "" if hd95 is None else f"; {hd95:.1f} {score['unit']}"
    return f"{score['dice']:.3f}{spread}{distance}; {100 * score['failed_fraction']:.1f} %"


def difference_text(score: dict[str, Any]) -> str:
    """Difference in points with its interval, smallest detectable effect and p value."""
    ci, effect, p = score["difference_ci95"], score["smallest_effect"], score["p_value"]
    interval = "" if ci is None else f" [{100 * ci[0]:+.1f} to {100 * ci[1]:+.1f}]"
    detectable = "" if effect is None else f", detectable {100 * effect:.1f}"
    p_text = "" if p is None else f", p {p:.2g}"
    return f"{100 * score['difference']:+.2f}{interval}{detectable}{p_text}"


def write_summary(summary: dict[str, Any], markdown: str, out: Path) -> list[str]:
    """Write `summary.json`, `table.md` and the scores as CSV; return the names of the files."""
    texts = {
        "summary.json": json.dumps(provenance() | summary, indent=1) + "\n",
        "table.md": markdown,
    }
    tables = ("table.csv", Score, "scores"), ("robustness.csv", RobustScore, "robustness")
    for name, kind, key in tables:
        if rows := summary[key]:
            columns = [field.name for field in fields(kind)]
            texts[name] = csv_text(columns, (row.values() for row in rows))
    for name, text in texts.items():
        write_text(out / name, text)
    return list(texts)


def provenance_lines(costs: Sequence[dict[str, Any]]) -> list[str]:
    """A line per machine and commit: which cells were trained there, and how long they took."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cost in costs:
        groups.setdefault((cost["machine"], cost["commit"]), []).append(cost)
    lines = []
    for (machine, commit), group in groups.items():
        cells = ", ".join(f"{c['row']} {c['column']}".strip() + f" seed {c['seed']}" for c in group)
        minutes = sum(cost["cpu_s"] for cost in group) / 60
        where = f"{machine or 'unknown machine'}, commit {commit[:10] or 'unknown'}"
        lines += ["", f"{where}: {minutes:.1f} CPU minutes for {cells}."]
    return lines
