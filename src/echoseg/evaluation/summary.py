"""Statistics of an evaluation: `summary.json`.

Means are over items; intervals are 95 % bootstrap intervals that resample patients. Two empty masks
have no score and are counted; one empty mask scores Dice 0 and the image diagonal.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from echoseg.evaluation.items import STRUCTURES, ClipRow, Item, ef_band
from echoseg.evaluation.run import Evaluation
from echoseg.metrics.agreement import agreement, correlation, mean_interval, statistic_interval
from echoseg.metrics.segmentation import FAILED_DICE, dice_of_counts

LARGE_EF_ERROR_POINTS = 15
_DISTANCES = ("hd", "hd95", "asd")
GROUPS: dict[str, Callable[[Item], str]] = {
    "phase": lambda item: item.phase or "between",
    "view": lambda item: item.view,
    "view_and_phase": lambda item: f"{item.view} {item.phase}" if item.view and item.phase else "",
    "quality": lambda item: item.quality,
    "ef_band": lambda item: item.ef_band,
}
"""Groups that scores are reported by; one without any known value is left out."""

EF_GROUPS: dict[str, Callable[[ClipRow], str]] = {
    "view": lambda row: row.view,
    "quality": lambda row: row.quality,
    "class": lambda row: ef_band(row.ef_reference),
}
"""Groups that ejection fractions are reported by; the class is that of the experts' masks."""


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """Statistics of an evaluation, ready for JSON."""
    phased = [item for item in evaluation.items if item.phase]
    items = phased or evaluation.items  # as in `compare`: all frames where phases are unknown
    every = evaluation.items if len(evaluation.items) > len(items) else ()
    return {
        "counts": _counts(evaluation),
        "frames": "ED and ES" if phased else "every frame with a mask",
        "structures": by_structure(items),
        "by": {
            name: _by(items, key)
            for name, key in GROUPS.items()
            if any(map(key, items)) and {key(item) for item in items} != {"between"}
        },
        "ef_by": {
            name: {
                value: ef_agreement(
                    [row for row in evaluation.clips if key(row) == value], "ef_reference"
                )
                for value in sorted({key(row) for row in evaluation.clips if key(row)})
            }
            for name, key in EF_GROUPS.items()
        },
        "every_frame": by_structure(every) if every else {},
        "smoothness": _smoothness(evaluation.clips),
        "ef": ef_agreement(evaluation.clips, "ef_reference"),
        "ef_given": ef_agreement(evaluation.clips, "ef_given"),
        "edv_ml": _pairs(evaluation.clips, "edv_predicted_ml", "edv_reference_ml"),
        "esv_ml": _pairs(evaluation.clips, "esv_predicted_ml", "esv_reference_ml"),
        "ef_classes": _classes(evaluation.clips),
    }


def _counts(evaluation: Evaluation) -> dict[str, Any]:
    status = Counter(item.status for item in evaluation.items)
    return {
        "clips": len(evaluation.clips),
        "patients": len({row.patient for row in evaluation.clips}),
        "items": len(evaluation.items),
        "one_empty": status["one_empty"],
        "both_empty": status["both_empty"],
        "not_judged": len(evaluation.problems),
    }


def by_structure(items: Sequence[Item]) -> dict[str, Any]:
    """Scores of each structure among the items."""
    names = {item.structure for item in items}
    return {
        name: _scores([item for item in items if item.structure == name])
        for name in STRUCTURES
        if name in names
    }


def _scores(items: Sequence[Item]) -> dict[str, Any]:
    status = Counter(item.status for item in items)
    scored = [item for item in items if item.dice is not None]
    scores: dict[str, Any] = {name: _mean(scored, name) for name in ("dice", "iou")}
    for unit in sorted({item.unit for item in scored}):
        of_unit = [item for item in scored if item.unit == unit]
        scores |= {f"{name}_{unit}": _mean(of_unit, name) for name in _DISTANCES}
    pixels = sum(item.predicted_px + item.reference_px for item in items)
    failed = [item for item in scored if (item.dice or 0) < FAILED_DICE]
    ratios = [
        (item.predicted_px / item.reference_px, item.patient) for item in items if item.reference_px
    ]
    return scores | {
        "dice_pooled": dice_of_counts(sum(item.shared_px for item in items), pixels),
        "failure_rate": len(failed) / len(scored) if scored else None,
        "area_ratio": _mean_of(ratios),
        "n": len(items),
        "one_empty": status["one_empty"],
        "both_empty": status["both_empty"],
    }


def _mean(items: Sequence[Item], name: str) -> dict[str, Any]:
    pairs = [(getattr(item, name), item.patient) for item in items]
    return _mean_of([pair for pair in pairs if pair[0] is not None])


def _mean_of(pairs: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """Mean of values with their patients."""
    if not pairs:
        return {"mean": None, "ci95": None, "n": 0}
    values, patients = zip(*pairs, strict=True)
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
        name or "unknown": by_structure([item for item in items if key(item) == name])
        for name in names
    }


def _smoothness(clips: Sequence[ClipRow]) -> dict[str, Any]:
    """Jitter of the cavity's area, and its excess over that of the experts' masks."""
    own = [(row.jitter_percent, row.patient) for row in clips if row.jitter_percent is not None]
    excess = [
        (row.jitter_percent - row.jitter_reference_percent, row.patient)
        for row in clips
        if row.jitter_percent is not None and row.jitter_reference_percent is not None
    ]
    smoothness = {}
    for name, pairs in (("jitter_percent", own), ("jitter_excess_percent", excess)):
        if pairs:
            values, patients = zip(*pairs, strict=True)
            smoothness[name] = {
                "mean": float(np.mean(values)),
                "ci95": mean_interval(values, patients),
                "n": len(values),
            }
    return smoothness


def _pairs(clips: Sequence[ClipRow], predicted: str, reference: str) -> dict[str, Any]:
    """Agreement of two columns; failed measurements are counted."""
    rows = [row for row in clips if getattr(row, reference) is not None]
    both = [row for row in rows if getattr(row, predicted) is not None]
    if not rows:
        return {}
    if not both:
        return {"n": 0, "n_failed": len(rows)}
    one = np.array([getattr(row, predicted) for row in both])
    other = np.array([getattr(row, reference) for row in both])
    patients = [row.patient for row in both]
    difference = one - other
    table = np.stack([one, other], 1)
    return {
        **asdict(agreement(one, other)),
        "n_failed": len(rows) - len(both),
        "median_absolute": float(np.median(np.abs(difference))),
        "bias_ci95": mean_interval(difference, patients),
        "mae_ci95": mean_interval(np.abs(difference), patients),
        "r_ci95": statistic_interval(table, patients, lambda p: correlation(p[:, 0], p[:, 1])),
    }


def ef_agreement(clips: Sequence[ClipRow], reference: str) -> dict[str, Any]:
    """Agreement of the ejection fractions in points; a failed one counts as a large error."""
    statistics = _pairs(clips, "ef_predicted", reference)
    if not statistics:
        return {}
    rows = [row for row in clips if getattr(row, reference) is not None]
    large = [
        row
        for row in rows
        if row.ef_predicted is None
        or abs(row.ef_predicted - getattr(row, reference)) > LARGE_EF_ERROR_POINTS
    ]
    return statistics | {"share_over_15": len(large) / len(rows)}


def _classes(clips: Sequence[ClipRow]) -> dict[str, Any]:
    """Agreement of the class of heart failure, and Cohen's kappa."""
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
