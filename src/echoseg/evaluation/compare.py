"""Compare two evaluations of the same data: paired differences, confidence intervals, a test.

Differences are B - A on the same frame and structure, and of the error of the EF, in either
direction, on the same clip. The interval is a bootstrap that resamples
patients; the test is Wilcoxon's signed-rank test on the patients' mean differences.

Reference:
    Wilcoxon, Biometrics Bulletin 1(6):80-83, 1945.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoseg.errors import DatasetError
from echoseg.evaluation.tables import read_clips, read_items
from echoseg.metrics.agreement import Interval, mean_interval
from echoseg.untrusted import read_json, reading

METRICS = ("dice", "iou", "hd95", "asd")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """B - A of one structure and metric over the items of both."""

    structure: str
    metric: str
    unit: str
    a_mean: float
    b_mean: float
    difference: float
    ci95: Interval | None
    p_value: float | None
    n: int
    patients: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All differences, the frames they are on, and the number of items in only one evaluation.

    A difference is over what both have, so losing EFs can make an evaluation look better:
    `ef_lost_a` and `ef_lost_b` count the clips whose EF only the other one has. No signed-rank
    test of that many patients comes under `smallest_p`, 2 / 2^patients.
    """

    frames: str
    differences: tuple[Difference, ...]
    only_a: int
    only_b: int
    ef_lost_a: int
    ef_lost_b: int

    @property
    def smallest_p(self) -> float:
        """The p value when all patients differ in one direction."""
        return min(1.0, 2.0 ** (1 - max(one.patients for one in self.differences)))


def compare(a: Path, b: Path) -> Comparison:
    """Compare two folders that `echoseg evaluate` wrote.

    Raises:
        DatasetError: If one is not a result, they are of different data, or they share no item.
    """
    hashes = [_data_sha256(folder) for folder in (a, b)]
    if hashes[0] != hashes[1]:
        raise DatasetError(
            f"{a} and {b} must be of the same data, their hashes differ ({hashes[0][:12]} and "
            f"{hashes[1][:12]}); evaluate both on one copy and split"
        )
    tables = [{_key(row): row for row in read_items(folder)} for folder in (a, b)]
    # as `evaluate` does: where phases are known, the means are over ED and ES alone
    phased = any(row["phase"] for row in tables[0].values())
    if phased:
        tables = [{key: row for key, row in table.items() if row["phase"]} for table in tables]
    shared = sorted(tables[0].keys() & tables[1].keys())
    if not shared:
        raise DatasetError(f"{a} and {b} must have items in common, they have none")
    differences = []
    for structure in dict.fromkeys(key[2] for key in shared):
        for metric in METRICS:
            pairs = [
                (tables[0][key], tables[1][key])
                for key in shared
                if key[2] == structure and tables[0][key][metric] and tables[1][key][metric]
            ]
            if pairs:
                differences.append(_difference(structure, metric, pairs))
    errors = [
        {row["clip"]: row for row in read_clips(folder) if _has_error(row)} for folder in (a, b)
    ]
    if pairs := [(errors[0][clip], errors[1][clip]) for clip in errors[0] if clip in errors[1]]:
        of_a, of_b = (np.array([_error_points(pair[side]) for pair in pairs]) for side in (0, 1))
        patients = [pair[0]["patient"] for pair in pairs]
        differences.append(_paired("EF", "|error|", "points", of_a, of_b, patients))
    return Comparison(
        frames="ED and ES" if phased else "every frame with a mask",
        differences=tuple(differences),
        only_a=len(tables[0].keys() - tables[1].keys()),
        only_b=len(tables[1].keys() - tables[0].keys()),
        ef_lost_a=len(errors[1].keys() - errors[0].keys()),
        ef_lost_b=len(errors[0].keys() - errors[1].keys()),
    )


def _data_sha256(folder: Path) -> str:
    path = folder / "summary.json"
    with reading(path, DatasetError, "is not a result of `echoseg evaluate`", "evaluate again"):
        return str(read_json(path)["data"]["sha256"])


def _key(row: dict[str, str]) -> tuple[str, int, str]:
    return row["clip"], int(row["frame"]), row["structure"]


def _difference(
    structure: str, metric: str, pairs: list[tuple[dict[str, str], dict[str, str]]]
) -> Difference:
    a, b = (np.array([float(pair[side][metric]) for pair in pairs]) for side in (0, 1))
    patients = [pair[0]["patient"] for pair in pairs]
    units = {pair[0]["unit"] for pair in pairs}
    unit = "" if metric in ("dice", "iou") else "/".join(sorted(units))
    return _paired(structure, metric, unit, a, b, patients)


def _has_error(row: dict[str, str]) -> bool:
    return bool(row["ef_predicted"] and row["ef_reference"])


def _error_points(row: dict[str, str]) -> float:
    return abs(float(row["ef_predicted"]) - float(row["ef_reference"]))


def _paired(
    structure: str, metric: str, unit: str, a: np.ndarray, b: np.ndarray, patients: list[str]
) -> Difference:
    return Difference(
        structure=structure,
        metric=metric,
        unit=unit,
        a_mean=float(a.mean()),
        b_mean=float(b.mean()),
        difference=float((b - a).mean()),
        ci95=mean_interval(b - a, patients),
        p_value=signed_rank_p(b - a, patients),
        n=len(a),
        patients=len(set(patients)),
    )


def signed_rank_p(differences: np.ndarray, patients: Sequence[str]) -> float | None:
    """P value of the signed-rank test on the patients' means; None without differences."""
    from scipy.stats import wilcoxon

    names, groups = np.unique(patients, return_inverse=True)
    means = np.bincount(groups, differences) / np.bincount(groups)
    if len(names) < 2 or not means.any():
        return None
    return float(np.asarray(wilcoxon(means))[1])  # statistic, p
