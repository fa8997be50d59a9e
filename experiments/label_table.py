"""What a label-efficiency experiment says: means with intervals, and which way is better.

An item is one structure on one frame. A way's score on an item is the mean over its seeds;
intervals and tests are over patients, drawn or ranked whole. Failed is an item under
`evaluation.summary.FAILED_DICE`.
"""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.evaluation.compare import signed_rank_p
from echoseg.evaluation.items import STRUCTURES
from echoseg.evaluation.tables import read_items
from echoseg.metrics.agreement import Interval, mean_interval
from echoseg.metrics.segmentation import FAILED_DICE
from experiments.label_curve import NOT_JUDGED, RUNS, Cell, LabelCurve, is_done

Key = tuple[str, str, str]
"""Patient, clip and frame, structure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One structure, or `mean` of all, of one way of learning at one share of labels.

    `sd_of_seeds` is None with one seed; distances in `unit`.
    """

    recipe: str
    labels: float
    structure: str
    num_seeds: int
    dice: float
    ci95: Interval | None
    sd_of_seeds: float | None
    hd95: float | None
    unit: str
    failed_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """Dice of one way of learning less another's, over the seeds that both have."""

    recipe: str
    other: str
    labels: float
    structure: str
    num_seeds: int
    gain: float
    ci95: Interval | None
    p_value: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Values:
    dice: float
    hd95: float | None
    unit: str


def summary(curve: LabelCurve, out: Path, reference: str | None = None) -> dict[str, Any]:
    """Return scores and paired gains of all cells that are done, ready for JSON.

    Args:
        curve: The experiment.
        out: Its folder.
        reference: The way whose gain over each other one is told; None: `mssnet`, or the first.
    """
    chosen = reference or ("mssnet" if "mssnet" in curve.recipes else curve.recipes[0])
    tables = {cell: _read(out, cell) for cell in curve.cells() if is_done(out, cell)}
    groups: dict[tuple[str, float], dict[int, dict[Key, _Values]]] = {}
    for cell, table in tables.items():
        groups.setdefault((cell.recipe, cell.labels), {})[cell.seed] = table
    scores = [
        score
        for (recipe, labels), seeds in groups.items()
        for score in _scores(recipe, labels, list(seeds.values()))
    ]
    gains = [
        gain
        for (recipe, labels), seeds in groups.items()
        if recipe != chosen and (chosen, labels) in groups
        for gain in _gains(chosen, recipe, labels, groups[(chosen, labels)], seeds)
    ]
    return {
        "experiment": curve.model_dump(mode="json"),
        "num_done": len(tables),
        "num_cells": sum(1 for _ in curve.cells()),
        "not_judged": _not_judged(out, tables),
        "scores": [asdict(score) for score in scores],
        "gains": [asdict(gain) for gain in gains],
    }


def _not_judged(out: Path, cells: Iterable[Cell]) -> list[str]:
    """Return the clips that at least one cell's network could not be judged on."""
    places: set[str] = set()
    for cell in cells:
        path = out / RUNS / cell.name / NOT_JUDGED
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                places |= {row["place"] for row in csv.DictReader(file)}
    return sorted(places)


def _read(out: Path, cell: Cell) -> dict[Key, _Values]:
    return {
        (row["patient"], f"{row['clip']}/{row['frame']}", row["structure"]): _Values(
            dice=float(row["dice"]),
            hd95=float(row["hd95"]) if row["hd95"] else None,
            unit=row["unit"],
        )
        for row in read_items(out / RUNS / cell.name)
        if row["dice"]
    }


def _names(keys: Iterable[Key]) -> list[str]:
    held = {key[2] for key in keys}
    return [name for name in STRUCTURES if name in held]


def _scores(recipe: str, labels: float, seeds: list[dict[Key, _Values]]) -> list[Score]:
    names = _names(seeds[0])
    found = []
    for structure in (*names, "mean"):
        keys = _keys(seeds, structure)
        dice = np.array([[table[key].dice for key in keys] for table in seeds])
        far = [v.hd95 for t in seeds for key in keys if (v := t[key]).hd95 is not None]
        found.append(
            Score(
                recipe=recipe,
                labels=labels,
                structure=structure,
                num_seeds=len(seeds),
                dice=float(dice.mean()),
                ci95=mean_interval(dice.mean(0), [key[0] for key in keys]),
                sd_of_seeds=float(dice.mean(1).std(ddof=1)) if len(seeds) > 1 else None,
                hd95=float(np.mean(far)) if far else None,
                unit=seeds[0][keys[0]].unit,
                failed_share=float((dice < FAILED_DICE).mean()),
            )
        )
    return found


def _gains(
    chosen: str,
    other: str,
    labels: float,
    ours: dict[int, dict[Key, _Values]],
    theirs: dict[int, dict[Key, _Values]],
) -> list[Gain]:
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return []
    found = []
    for structure in (*_names(ours[both[0]]), "mean"):
        keys = _keys([*(ours[seed] for seed in both), *(theirs[seed] for seed in both)], structure)
        gain = np.mean(
            [[ours[seed][key].dice - theirs[seed][key].dice for key in keys] for seed in both], 0
        )
        patients = [key[0] for key in keys]
        found.append(
            Gain(
                recipe=chosen,
                other=other,
                labels=labels,
                structure=structure,
                num_seeds=len(both),
                gain=float(gain.mean()),
                ci95=mean_interval(gain, patients),
                p_value=signed_rank_p(gain, patients),
            )
        )
    return found


def _keys(tables: list[dict[Key, _Values]], structure: str) -> list[Key]:
    """Return the items of a structure, or of all, that every table has."""
    shared = set.intersection(*(set(table) for table in tables))
    return sorted(key for key in shared if structure in ("mean", key[2]))


def markdown(told: dict[str, Any]) -> str:
    """Return scores and gains as tables."""
    shares = sorted({score["labels"] for score in told["scores"]})
    names = list(dict.fromkeys(score["structure"] for score in told["scores"]))
    heads = [f"{100 * share:g} %" for share in shares]
    lines = [f"{told['num_done']} of {told['num_cells']} cells are done.", ""]
    if missed := told["not_judged"]:
        lines += [
            f"{len(missed)} clips could not be judged ({NOT_JUDGED} in a run's folder says why): "
            f"{', '.join(missed[:5])}{', ...' if len(missed) > 5 else ''}.",
            "",
        ]
    for structure in names:
        title = "mean of all structures" if structure == "mean" else structure
        lines += [
            f"Dice, {title} (± SD over seeds; HD95; share of items under {FAILED_DICE}):",
            "",
            "| labelled patients | " + " | ".join(heads) + " |",
            "|---" * (len(heads) + 1) + "|",
        ]
        of_structure = [s for s in told["scores"] if s["structure"] == structure]
        for recipe in dict.fromkeys(score["recipe"] for score in of_structure):
            cells = {s["labels"]: _cell(s) for s in of_structure if s["recipe"] == recipe}
            lines.append(f"| {recipe} | " + " | ".join(cells.get(s, "-") for s in shares) + " |")
        lines.append("")
    if told["gains"]:
        lines += [
            f"Dice of {told['gains'][0]['recipe']} less each other's, in points, paired by item "
            "[95 %, patients drawn whole], p of the signed-rank test over patients:",
            "",
            "| less | structure | " + " | ".join(heads) + " |",
            "|---" * (len(heads) + 2) + "|",
        ]
        pairs = dict.fromkeys((gain["other"], gain["structure"]) for gain in told["gains"])
        for other, structure in pairs:
            cells = {
                g["labels"]: _gain(g)
                for g in told["gains"]
                if (g["other"], g["structure"]) == (other, structure)
            }
            row = " | ".join(cells.get(share, "-") for share in shares)
            lines.append(f"| {other} | {structure} | {row} |")
        lines.append("")
    return "\n".join(lines)


def _cell(score: dict[str, Any]) -> str:
    sd = score["sd_of_seeds"]
    spread = "" if sd is None else f" ± {sd:.3f}"
    far = "" if score["hd95"] is None else f"; {score['hd95']:.1f} {score['unit']}"
    return f"{score['dice']:.3f}{spread}{far}; {100 * score['failed_share']:.1f} %"


def _gain(gain: dict[str, Any]) -> str:
    ci, p = gain["ci95"], gain["p_value"]
    interval = "" if ci is None else f" [{100 * ci[0]:+.1f} to {100 * ci[1]:+.1f}]"
    return f"{100 * gain['gain']:+.2f}{interval}" + ("" if p is None else f", p {p:.2g}")
