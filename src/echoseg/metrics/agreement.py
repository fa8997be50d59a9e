"""Agreement of two measurements of the same clips, and bootstrap intervals over patients.

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

from echoseg.errors import ArgumentError

NUM_RESAMPLES = 2000
LIMITS_SD = 1.96
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement of predictions with references, in their unit.

    Attributes:
        n: Number of pairs.
        bias: Mean of prediction - reference.
        sd: Standard deviation of the differences, n - 1; None below 2 pairs.
        limits: Limits of agreement; None below 2 pairs.
        mae: Mean absolute difference.
        r: Pearson's correlation; None when one side is constant.
        icc: ICC(2,1); None when all are equal, or below 2 pairs.
    """

    n: int
    bias: float
    sd: float | None
    limits: Interval | None
    mae: float
    r: float | None
    icc: float | None


def agreement(predicted: ArrayLike, reference: ArrayLike) -> Agreement:
    """Compare predictions with references of the same clips.

    Raises:
        ArgumentError: If both are empty, their lengths differ, or a value is not finite.
    """
    one, other = np.asarray(predicted, float), np.asarray(reference, float)
    if one.shape != other.shape or one.ndim != 1 or not one.size:
        raise ArgumentError(f"readings must come in pairs, got {one.shape} and {other.shape}")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ArgumentError("readings must be finite; leave out failed measurements and count them")
    difference = one - other
    bias = float(difference.mean())
    sd = float(difference.std(ddof=1)) if one.size > 1 else None
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
    """Pearson's r; None of 2 or fewer, through which a line always passes, or a constant."""
    if _is_constant(one) or _is_constant(other):
        return None
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip((a @ b) / size, -1, 1)) if size > 0 and len(a) > 2 else None


def intraclass_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """ICC(2,1) of two readers; None below 2 clips or when all are equal."""
    return icc(np.stack([one, other], 1))


def icc(readings: np.ndarray) -> float | None:
    """ICC(2,1), absolute agreement, of readings `N K` of N clips by K readers.

    None below 2 clips or when all are equal.
    """
    n, readers = readings.shape
    if n < 2 or _is_constant(readings):
        return None
    between, of_readers, error = _mean_squares(readings)
    total = between + (readers - 1) * error + readers * (of_readers - error) / n
    return float((between - error) / total) if total > 0 else None


def _is_constant(values: np.ndarray) -> bool:
    """Whether values do not differ by more than rounding; means of them may."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def icc_interval(readings: np.ndarray, level: float = 0.95) -> Interval | None:
    """Confidence interval of `icc` from F distributions; None where ICC or its error is.

    Reference:
        McGraw and Wong, Psychological Methods 1(1):30-46, 1996, table 7: ICC(A,1).
    """
    from scipy.stats import f

    value = icc(readings)
    if value is None:
        return None
    n, k = readings.shape
    between, of_readers, error = _mean_squares(readings)
    if error <= 0:
        return None
    ratio = of_readers / error
    common = n * (1 + (k - 1) * value) - k * value
    freedom = (k - 1) * (n - 1) * (k * value * ratio + common) ** 2
    freedom /= (n - 1) * (k * value * ratio) ** 2 + common**2
    tail = (1 + level) / 2
    upper, lower = float(f.ppf(tail, n - 1, freedom)), float(f.ppf(tail, freedom, n - 1))
    rest = k * of_readers + (k * n - k - n) * error
    low = n * (between - upper * error) / (upper * rest + n * between)
    high = n * (lower * between - error) / (rest + n * lower * between)
    return float(low), float(high)


def _mean_squares(readings: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of readings `N K` between clips, between readers, and of the error."""
    n, readers = readings.shape
    rows, columns, mean = readings.mean(1), readings.mean(0), readings.mean()
    between = readers * ((rows - mean) ** 2).sum() / (n - 1)
    of_readers = n * ((columns - mean) ** 2).sum() / (readers - 1)
    rest = readings - rows[:, None] - columns + mean
    return between, of_readers, (rest**2).sum() / ((n - 1) * (readers - 1))


def mean_interval(
    values: ArrayLike, patients: Sequence[str], *, num_resamples: int = NUM_RESAMPLES
) -> Interval | None:
    """95 % bootstrap interval of a mean over items, resampling patients.

    The mean stays one over items: a patient with four items weighs four times one with a single
    item. None with fewer than two patients. The resamples are the same at every call.

    Raises:
        ArgumentError: If the numbers of values and patients differ.
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
    """95 % bootstrap interval of any statistic of rows `N ...`, resampling patients.

    None with fewer than two patients, or when the statistic is undefined on over 10 % of resamples.
    """
    rows, groups, num_patients = _grouped(rows, patients)
    if num_patients < 2:
        return None
    values = []
    for times in _draws(num_patients, num_resamples):
        value = statistic(np.repeat(rows, times[groups], axis=0))
        if value is not None:
            values.append(value)
    return _percentiles(np.array(values)) if len(values) >= 0.9 * num_resamples else None


def _grouped(array: np.ndarray, patients: Sequence[str]) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows ordered by patient, the patient number of each, and the number of patients."""
    if len(array) != len(patients):
        raise ArgumentError(
            f"each of the {len(array)} values must have a patient, got {len(patients)}"
        )
    names, groups = np.unique(np.asarray(patients, str), return_inverse=True)
    order = np.argsort(groups, kind="stable")
    return array[order], groups[order], len(names)


@lru_cache(maxsize=4)
def _draws(num_patients: int, num_resamples: int) -> np.ndarray:
    """Number of times each patient is drawn, `num_resamples num_patients`, read-only."""
    generator = np.random.default_rng(0)
    times = generator.multinomial(
        num_patients, np.full(num_patients, 1 / num_patients), num_resamples
    )
    times.flags.writeable = False
    return times


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
