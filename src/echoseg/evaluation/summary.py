"""What an evaluation says in numbers: `summary.json`.

Means are over items, intervals are 95 % bootstrap intervals with patients drawn whole. Two empty
masks have no score and are counted; one empty mask scores Dice 0 and the picture's diagonal.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from echoseg.evaluation.items import STRUCTURES, ClipRow, Item, ef_band
from echoseg.evaluation.run import Evaluation
from echoseg.metrics.agreement import (
    agreement,
    correlation,
    mean_interval,
    statistic_interval,
)
from echoseg.metrics.segmentation import FAILED_DICE, dice_of_counts

LARGE_EF_ERROR_POINTS = 15
_DISTANCES = ("hd", "hd95", "asd")
GROUPS: dict[str, Callable[[Item], str]] = {
    "phase": lambda item: item.phase or "between",
    "view": lambda item: item.view,
    "quality": lambda item: item.quality,
    "ef_band": lambda item: item.ef_band,
}
"""What results are told by; a group of which nothing is known is left out."""


def summarise(found: Evaluation) -> dict[str, Any]:
    """Return the numbers of an evaluation, ready for JSON."""
    phased = [item for item in found.items if item.phase]
    shown = phased or found.items  # as in compare: without phases all is judged
    every = found.items if len(found.items) > len(shown) else ()
    return {
        "counts": _counts(found),
        "frames": "ED and ES" if phased else "every frame with a mask",
        "structures": by_structure(shown),
        "by": {
            name: _by(shown, key)
            for name, key in GROUPS.items()
            if any(map(key, shown)) and {key(item) for item in shown} != {"between"}
        },
        "every_frame": by_structure(every) if every else {},
        "smoothness": _smoothness(found.clips),
        "ef": _ef(found.clips, "ef_reference"),
        "ef_given": _ef(found.clips, "ef_given"),
        "edv_ml": _pairs(found.clips, "edv_predicted_ml", "edv_reference_ml"),
        "esv_ml": _pairs(found.clips, "esv_predicted_ml", "esv_reference_ml"),
        "ef_classes": _classes(found.clips),
    }


def _counts(found: Evaluation) -> dict[str, Any]:
    status = Counter(item.status for item in found.items)
    return {
        "clips": len(found.clips),
        "patients": len({row.patient for row in found.clips}),
        "items": len(found.items),
        "one_empty": status["one_empty"],
        "both_empty": status["both_empty"],
        "not_judged": len(found.problems),
    }


def by_structure(items: Sequence[Item]) -> dict[str, Any]:
    """Return the scores of each structure that the items hold."""
    names = {item.structure for item in items}
    return {
        name: _scores([item for item in items if item.structure == name])
        for name in STRUCTURES
        if name in names
    }


def _scores(items: Sequence[Item]) -> dict[str, Any]:
    status = Counter(item.status for item in items)
    scored = [item for item in items if item.dice is not None]
    told: dict[str, Any] = {name: _mean(scored, name) for name in ("dice", "iou")}
    for unit in sorted({item.unit for item in scored}):
        of_unit = [item for item in scored if item.unit == unit]
        told |= {f"{name}_{unit}": _mean(of_unit, name) for name in _DISTANCES}
    pixels = sum(item.predicted_px + item.reference_px for item in items)
    failed = [item for item in scored if (item.dice or 0) < FAILED_DICE]
    return told | {
        "dice_pooled": dice_of_counts(sum(item.shared_px for item in items), pixels),
        "failure_rate": len(failed) / len(scored) if scored else None,
        "n": len(items),
        "one_empty": status["one_empty"],
        "both_empty": status["both_empty"],
    }


def _mean(items: Sequence[Item], name: str) -> dict[str, Any]:
    values = [value for item in items if (value := getattr(item, name)) is not None]
    patients = [item.patient for item in items if getattr(item, name) is not None]
    if not values:
        return {"mean": None, "ci95": None, "n": 0}
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "median": float(np.median(values)),
        "ci95": mean_interval(values, patients),
        "n": len(values),
    }


def _by(items: Sequence[Item], key: Callable[[Item], str]) -> dict[str, Any]:
    names = sorted({key(item) for item in items})
    return {
        name or "not told": by_structure([item for item in items if key(item) == name])
        for name in names
    }


def _smoothness(clips: Sequence[ClipRow]) -> dict[str, Any]:
    """Return how much the cavity's area trembles, and by how much more than the experts'."""
    own = [(row.jitter_percent, row.patient) for row in clips if row.jitter_percent is not None]
    more = [
        (row.jitter_percent - row.jitter_reference_percent, row.patient)
        for row in clips
        if row.jitter_percent is not None and row.jitter_reference_percent is not None
    ]
    told = {}
    for name, pairs in (("jitter_percent", own), ("jitter_excess_percent", more)):
        if pairs:
            values, patients = zip(*pairs, strict=True)
            told[name] = {
                "mean": float(np.mean(values)),
                "ci95": mean_interval(values, patients),
                "n": len(values),
            }
    return told


def _pairs(clips: Sequence[ClipRow], predicted: str, reference: str) -> dict[str, Any]:
    """Return the agreement of two columns; a reading that failed is counted, never left unsaid."""
    rows = [row for row in clips if getattr(row, reference) is not None]
    both = [row for row in rows if getattr(row, predicted) is not None]
    if not rows:
        return {}
    if not both:
        return {"n": 0, "n_failed": len(rows)}
    one = np.array([getattr(row, predicted) for row in both])
    other = np.array([getattr(row, reference) for row in both])
    patients = [row.patient for row in both]
    found = agreement(one, other)
    difference = one - other
    table = np.stack([one, other], 1)
    return {
        "n": found.n,
        "n_failed": len(rows) - len(both),
        "bias": found.bias,
        "sd": found.sd,
        "limits": found.limits,
        "mae": found.mae,
        "median_absolute": float(np.median(np.abs(difference))),
        "r": found.r,
        "icc": found.icc,
        "bias_ci95": mean_interval(difference, patients),
        "mae_ci95": mean_interval(np.abs(difference), patients),
        "r_ci95": statistic_interval(table, patients, lambda p: correlation(p[:, 0], p[:, 1])),
    }


def _ef(clips: Sequence[ClipRow], reference: str) -> dict[str, Any]:
    """Return how near the ejection fractions come, in points; one that failed is a large error."""
    told = _pairs(clips, "ef_predicted", reference)
    if not told:
        return {}
    rows = [row for row in clips if getattr(row, reference) is not None]
    large = [
        row
        for row in rows
        if row.ef_predicted is None
        or abs(row.ef_predicted - getattr(row, reference)) > LARGE_EF_ERROR_POINTS
    ]
    return told | {"share_over_15": len(large) / len(rows)}


def _classes(clips: Sequence[ClipRow]) -> dict[str, Any]:
    """Return how often the class of heart failure is the same, and Cohen's kappa."""
    pairs = [
        (ef_band(row.ef_predicted), ef_band(row.ef_reference))
        for row in clips
        if row.ef_predicted is not None and row.ef_reference is not None
    ]
    if not pairs:
        return {}
    names = ("reduced", "mildly_reduced", "preserved")
    table = np.array([[pairs.count((one, other)) for other in names] for one in names])
    same = float(np.trace(table) / table.sum())
    chance = float((table.sum(0) @ table.sum(1)) / table.sum() ** 2)
    return {
        "scheme": "reduced <= 40 %, mildly reduced < 50 %, preserved from 50 % (Bozkurt 2021)",
        "same_share": same,
        "kappa": (same - chance) / (1 - chance) if chance < 1 else None,
        "n": len(pairs),
        "predicted_by_reference": {
            one: dict(zip(names, map(int, row), strict=True))
            for one, row in zip(names, table, strict=True)
        },
    }
