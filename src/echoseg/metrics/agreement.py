"""How far two readers of the same values agree, and how sure a mean over patients is.

With d = prediction - reference over n clips:

    bias = mean d,  SD = sqrt(sum (d - bias)^2 / (n - 1)),  limits = bias -+ 1.96 SD

References:
    Bland and Altman, Lancet 327(8476):307-310, 1986 (bias, limits).
    Shrout and Fleiss, Psychological Bulletin 86(2):420-428, 1979 (ICC(2,1), absolute agreement).
    Efron, Annals of Statistics 7(1):1-26, 1979 (bootstrap).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

NUM_RESAMPLES = 2000
LIMITS_SD = 1.96
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How near predictions come to references, in their unit.

    Attributes:
        n: Number of pairs.
        bias: Mean of prediction - reference.
        sd: Standard deviation of the differences, n - 1; None below 2 pairs.
        limits: Limits of agreement; None below 2 pairs.
        mae: Mean absolute difference.
        r: Pearson's correlation; None when one side does not vary.
        icc: ICC(2,1); None when nothing varies, or below 2 pairs.
    """

    n: int
    bias: float
    sd: float | None
    limits: Interval | None
    mae: float
    r: float | None
    icc: float | None


def agreement(predicted: ArrayLike, reference: ArrayLike) -> Agreement:
    """Compare two readings of each of some clips.

    Raises:
        ValueError: If there is no pair, the numbers differ, or a value is not finite.
    """
    one, other = np.asarray(predicted, float), np.asarray(reference, float)
    if one.shape != other.shape or one.ndim != 1 or not one.size:
        raise ValueError(f"readings must come in pairs, got {one.shape} and {other.shape}")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ValueError("readings must be finite; leave out and count what could not be read")
    difference = one - other
    bias, sd = float(difference.mean()), None
    if one.size > 1:
        sd = float(difference.std(ddof=1))
    return Agreement(
        n=one.size,
        bias=bias,
        sd=sd,
        limits=None if sd is None else (bias - LIMITS_SD * sd, bias + LIMITS_SD * sd),
        mae=float(np.abs(difference).mean()),
        r=correlation(one, other),
        icc=intraclass_correlation(one, other),
    )


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return Pearson's r; None when one side does not vary."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip((a @ b) / size, -1, 1)) if size > 0 else None


def intraclass_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return ICC(2,1) of two readers; None below 2 clips or when nothing varies."""
    readings = np.stack([one, other], 1)
    n, readers = readings.shape
    if n < 2:
        return None
    rows, columns, mean = readings.mean(1), readings.mean(0), readings.mean()
    between = readers * ((rows - mean) ** 2).sum() / (n - 1)
    of_readers = n * ((columns - mean) ** 2).sum() / (readers - 1)
    rest = readings - rows[:, None] - columns + mean
    error = (rest**2).sum() / ((n - 1) * (readers - 1))
    total = between + (readers - 1) * error + readers * (of_readers - error) / n
    return float((between - error) / total) if total > 0 else None


def mean_interval(
    values: ArrayLike, patients: Sequence[str], *, num_resamples: int = NUM_RESAMPLES
) -> Interval | None:
    """Return the 95 % bootstrap interval of a mean over items, patients drawn whole.

    The mean stays one over items: a patient drawn with four items counts four times one with one.
    None when there are fewer than two patients. The draws are the same at every call.

    Raises:
        ValueError: If not every value has its patient.
    """
    array, groups, num_patients = _grouped(np.asarray(values, float), patients)
    if num_patients < 2:
        return None
    sums = np.bincount(groups, array, num_patients)
    counts = np.bincount(groups, minlength=num_patients)
    times = _draws(num_patients, num_resamples)
    return _percentiles((times @ sums) / (times @ counts))


def statistic_interval(
    rows: np.ndarray,
    patients: Sequence[str],
    statistic: Callable[[np.ndarray], float | None],
    *,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval | None:
    """Return the 95 % bootstrap interval of any statistic of rows `N ...`, patients drawn whole.

    None when there are fewer than two patients, or a draw in ten has no such statistic.
    """
    rows, groups, num_patients = _grouped(rows, patients)
    if num_patients < 2:
        return None
    found = []
    for times in _draws(num_patients, num_resamples):
        value = statistic(np.repeat(rows, times[groups], axis=0))
        if value is not None:
            found.append(value)
    return _percentiles(np.array(found)) if len(found) >= 0.9 * num_resamples else None


def _grouped(array: np.ndarray, patients: Sequence[str]) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the rows in the order of their patients, each one's number, and how many there are."""
    if len(array) != len(patients):
        raise ValueError(
            f"each of the {len(array)} values must have a patient, got {len(patients)}"
        )
    names, groups = np.unique(np.asarray(patients, str), return_inverse=True)
    order = np.argsort(groups, kind="stable")
    return array[order], groups[order], len(names)


@lru_cache(maxsize=4)
def _draws(num_patients: int, num_resamples: int) -> np.ndarray:
    """Return how often each patient is drawn, `num_resamples num_patients`; to be read only."""
    generator = np.random.default_rng(0)
    times = generator.multinomial(
        num_patients, np.full(num_patients, 1 / num_patients), num_resamples
    )
    times.flags.writeable = False
    return times


def _percentiles(found: np.ndarray) -> Interval:
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)
