"""One table of several evaluations of the same data: ours first, differences from it by view."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.errors import DatasetError
from echoseg.evaluation.tables import read_items
from echoseg.files import markdown_table, read_csv
from echoseg.untrusted import read_json
from experiments.paired import PairedMean, paired_mean

STRUCTURES = {"lv_endo": "LV", "lv_epi": "epicardium", "la": "atrium"}
Key = tuple[str, str, str]
"""View, structure or "ef", patient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """An evaluation; `points` are each patient's mean Dice and |EF error| by view, in points."""

    name: str
    summary: dict[str, Any]
    points: dict[Key, float]


def read_evaluation(name: str, folder: Path) -> Evaluated:
    """Read a folder that `echoseg evaluate` wrote.

    Raises:
        DatasetError: If it is not one.
    """
    try:
        summary = read_json(folder / "summary.json")
        values: dict[Key, list[float]] = defaultdict(list)
        for item in read_items(folder):
            if item["dice"] and item["phase"]:
                key = item["view"], item["structure"], item["patient"]
                values[key].append(100 * float(item["dice"]))
        for clip in _clips(folder):
            if clip["ef_predicted"] and clip["ef_reference"]:
                error = abs(float(clip["ef_predicted"]) - float(clip["ef_reference"]))
                values[clip["view"], "ef", clip["patient"]].append(error)
        points = {key: float(np.mean(some)) for key, some in values.items()}
        return Evaluated(name=name, summary=summary, points=points)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{folder} must be a result of echoseg evaluate ({error})") from error


def differences(ours: Evaluated, other: Evaluated) -> dict[tuple[str, str], PairedMean]:
    """Points of `other` less ours, by view and structure, paired by patient."""
    pairs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (view, structure, patient), value in sorted(other.points.items()):
        if (own := ours.points.get((view, structure, patient))) is not None:
            pairs[view, structure].append(value - own)
    return {key: paired_mean(np.array([values])) for key, values in pairs.items()}


def tables(ours: Evaluated, others: Sequence[Evaluated]) -> list[str]:
    """Markdown: the scores of all by view, then the differences from ours.

    Both end in n where a tool lost some: clips with an EF, patients that both have.

    Raises:
        DatasetError: If they are not of the same data.
    """
    for other in others:
        if other.summary["data"]["sha256"] != ours.summary["data"]["sha256"]:
            raise DatasetError(f"{other.name} and {ours.name} must be evaluated on the same data")
    views = sorted(ours.summary["by"]["view"])
    columns = ["network", "view", *(f"{word} Dice [95 %]" for word in STRUCTURES.values())]
    columns += ["LV HD95, mm", "LV failures", "EF MAE [95 %], bias"]
    rows = [row for view in views for row in _scores((ours, *others), view)]
    lines = markdown_table(columns, rows)
    columns = ["less the first, points", "structure", *(f"{v} [95 %], detectable" for v in views)]
    rows = []
    for other in others:
        results = differences(ours, other)
        either = Counter((view, structure) for view, structure, _ in ours.points | other.points)
        for structure, word in (STRUCTURES | {"ef": "|EF error|"}).items():
            keys = [(view, structure) for view in views]
            cells = [_difference(results.get(key), either[key]) for key in keys]
            rows.append([other.name, word, *cells])
    return [*lines, "", *markdown_table(columns, rows)]


def _clips(folder: Path) -> list[dict[str, str]]:
    """Rows of `clips.csv`; published results may lack it."""
    path = folder / "clips.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(read_csv(file))


def _scores(every: Sequence[Evaluated], view: str) -> list[list[str]]:
    """A row per tool; `clips` is the number of clips whose EF is known, by the largest of all."""
    efs = [one.summary["ef_by"]["view"].get(view) or {} for one in every]
    clips = max(ef.get("n", 0) + ef.get("n_failed", 0) for ef in efs)
    return [[*_dice_cells(one, view), _ef(ef, clips)] for one, ef in zip(every, efs, strict=True)]


def _dice_cells(one: Evaluated, view: str) -> list[str]:
    parts = one.summary["by"]["view"].get(view, {})
    cells = [one.name, view]
    for structure in STRUCTURES:
        dice = parts.get(structure, {}).get("dice")
        cells.append(f"{_short(dice['mean'])} {_interval(dice['ci95'], _short)}" if dice else "-")
    endo = parts.get("lv_endo", {})
    hd95, scored = endo.get("hd95_mm"), endo.get("dice", {}).get("n")
    cells.append(f"{hd95['mean']:.2f}" if hd95 else "-")
    cells.append(f"{round(endo['failure_rate'] * scored)} of {scored}" if scored else "-")
    return cells


def _ef(ef: dict[str, Any], clips: int) -> str:
    if not ef:
        return "-"
    if not ef["n"]:
        return f"no EF of {clips}"
    text = f"{ef['mae']:.1f} {_interval(ef['mae_ci95'], '{:.1f}'.format)}, {ef['bias']:+.1f}"
    return text + _fewer(ef["n"], clips)


def _difference(result: PairedMean | None, patients: int) -> str:
    if result is None or result.ci95 is None:
        return "-"
    interval = _interval(result.ci95, "{:+.1f}".format)
    text = f"{result.mean:+.1f} {interval}, {result.smallest_effect:.1f}"
    return text + _fewer(result.num_patients, patients)


def _fewer(number: int, every: int) -> str:
    return f", n {number} of {every}" if number < every else ""


def _interval(ci95: Sequence[float] | None, text: Any) -> str:
    return "[-]" if ci95 is None else f"[{text(ci95[0])} to {text(ci95[1])}]"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
