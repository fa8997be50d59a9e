"""Fit a calibration: expected error by cross-validation over patients, quantiles per view.

The expected error s is the scale of a Laplace distribution of the errors, with non-negative
weights, by maximum likelihood. A clip's score (truth - EF) / s takes the s that was fitted on the
other folds' patients (cross-conformal prediction: Vovk, Ann Math Artif Intell 74:9-28, 2015).
Several clips of a patient are not independent: together they weigh as one.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from echoseg.errors import ArgumentError
from echoseg.quality.conformal import (
    BIPLANE,
    FEATURES,
    MIN_ERROR_POINTS,
    POOLED,
    Calibration,
    Limits,
    Quantiles,
)
from echoseg.quality.reliability import ClipUncertainty

NUM_FOLDS = 10
GOOD_POINTS = 10.0
"""Error up to which an EF should pass as reliable."""
GATE_SHARE = 0.05
"""Fraction of such EFs above a limit, in clips that are not degraded: half of what is tolerable, as
the features of other machines' clips lie higher; the limits of flicker and jitter are at least
those of any machine."""
MIN_SCORE = 0.1
"""Least distance of the quantiles from 0."""
RIDGE = 0.02
"""Penalty on the weights, which keeps those of like features alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A clip whose true EF is known.

    Attributes:
        patient: The patient.
        view: A view, or `conformal.BIPLANE`.
        uncertainty: Features of the clip.
        ef_percent: Measured EF.
        true_ef_percent: True EF.
        is_part_of_beat: Whether the measured EF rests on part of a beat.
        is_degraded: Whether it is a degraded copy, which sets no limits.
    """

    patient: str
    view: str
    uncertainty: ClipUncertainty
    ef_percent: float
    true_ef_percent: float
    is_part_of_beat: bool = False
    is_degraded: bool = False

    @property
    def error_points(self) -> float:
        """Truth - EF."""
        return self.true_ef_percent - self.ef_percent


def calibrate(
    samples: Sequence[Sample], *, model_sha256: str, source: str, level: float = 0.9
) -> Calibration:
    """Calibrate a checkpoint.

    Args:
        samples: Clips of whole beats and, if there are any, of parts of a beat.
        model_sha256: Hash of the weights.
        source: Calibration data, in words.
        level: Nominal coverage.

    Raises:
        ArgumentError: If the level is out of range, or there are too few patients for it.
    """
    check_level(level)
    min_patients = math.ceil(2 / (1 - level) - 1e-9) - 1
    planes = [one for one in samples if one.view != BIPLANE and not one.is_part_of_beat]
    if len({one.patient for one in planes}) < min_patients:
        raise ArgumentError(
            f"a level of {level:g} needs clips of at least {min_patients} patients in which the EF "
            "is known (of the data set, or by masks of ED and ES) and can be measured, got "
            f"{len({one.patient for one in planes})}; give more clips or a lower level"
        )
    calibration = _fit(planes, model_sha256=model_sha256, source=source, level=level)
    scores, expected = _cross_validated(samples, planes, calibration)
    whole = np.array([not one.is_part_of_beat for one in samples])
    views = np.array([one.view for one in samples])
    groups = {POOLED: whole & (views != BIPLANE)}
    groups |= {view: whole & (views == view) for view in sorted({one.view for one in samples})}
    quantiles: dict[str, Quantiles] = {}
    for name, chosen in groups.items():
        patients = [one.patient for one, is_in in zip(samples, chosen, strict=True) if is_in]
        if len(set(patients)) >= min_patients:
            low, high = weighted_quantiles(scores[chosen], patients, _tails(level))
            quantiles[name] = Quantiles(  # the interval holds the EF itself
                low=min(low, -MIN_SCORE), high=max(high, MIN_SCORE), num_patients=len(set(patients))
            )
    return calibration.model_copy(
        update={
            "quantiles": quantiles,
            "part_of_beat_factor": _part_factor(samples, scores, quantiles[POOLED], level),
            "limits": _limits(planes, expected[groups[POOLED]], level),
        }
    )


def weighted_quantiles(
    scores: np.ndarray, patients: Sequence[str], shares: Sequence[float]
) -> list[float]:
    """Quantiles in which each patient weighs 1, at ranks share (n + 1) of n patients."""
    counts = Counter(patients)
    order: list[int] = np.argsort(scores).tolist()
    ranks = np.cumsum([1 / counts[patients[index]] for index in order])
    return np.interp(np.multiply(shares, len(counts) + 1), ranks, scores[order]).tolist()


def check_level(level: float) -> None:
    """Check the fraction of clips to cover.

    Raises:
        ArgumentError: If it is not one that a `Calibration` may have.
    """
    if not 0.5 <= level < 1:
        raise ArgumentError(f"level must be 0.5 or more and under 1, such as 0.9, got {level:g}")


def folds_of(patients: Sequence[str], num_folds: int = NUM_FOLDS) -> np.ndarray:
    """Fold of each clip, `N`; all clips of a patient are in one."""
    index = {patient: rank for rank, patient in enumerate(sorted(set(patients)))}
    return np.array([index[patient] % num_folds for patient in patients])


def _cross_validated(
    samples: Sequence[Sample], planes: Sequence[Sample], final: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and expected errors of all samples, each by the patients of other folds."""
    folds = folds_of([one.patient for one in samples])
    of_plane = dict(zip([one.patient for one in samples], folds, strict=True))
    expected = np.empty(len(samples))
    for fold in np.unique(folds):
        others = [one for one in planes if of_plane[one.patient] != fold]
        words = {"model_sha256": "", "source": "", "level": final.level}
        fitted = _fit(others, **words) if others else final
        for index in np.flatnonzero(folds == fold).tolist():
            expected[index] = fitted.expected_error_points(samples[index].uncertainty)
    return np.array([one.error_points for one in samples]) / expected, expected


def _fit(planes: Sequence[Sample], **words: Any) -> Calibration:
    """Fit the expected error; quantiles and limits are not filled in."""
    from scipy.optimize import minimize

    values = np.array(
        [[_number(getattr(one.uncertainty, name)) for name in FEATURES] for one in planes]
    )
    is_known = ~np.isnan(values).all(0)
    typical = np.where(is_known, np.nanmedian(np.where(is_known, values, 0), 0), 0)
    values = np.where(np.isnan(values), typical, values)
    is_known = np.ptp(values, 0) > 1e-9  # what does not vary says nothing of the errors
    typical, values = typical * is_known, values * is_known
    scale = np.log1p(values).std(0).clip(min=1e-9)
    rows = np.column_stack([np.ones(len(values)), np.log1p(values) / scale])
    errors = np.abs([one.error_points for one in planes])
    counts = Counter(one.patient for one in planes)
    mass = np.array([1 / counts[one.patient] for one in planes]) / len(counts)
    floor = max(MIN_ERROR_POINTS, 0.1 * float(errors.mean()))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        spread = np.maximum(rows @ weights, floor)
        slope = mass * (1 / spread - errors / spread**2) * (rows @ weights > floor)
        penalty = RIDGE * weights[1:] / max(float(errors.mean()), floor)
        value = mass @ (np.log(spread) + errors / spread) + penalty @ weights[1:] / 2
        return float(value), rows.T @ slope + np.concatenate([[0], penalty])

    start = np.array([max(errors.mean(), floor), *np.zeros(len(FEATURES))])
    result = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(floor / 2, None)] + [(0, None)] * len(FEATURES),
    )
    weights = result.x[1:] / scale * is_known
    return Calibration(
        **words,
        num_patients=len(counts),
        base_points=float(result.x[0]),
        weights=dict(zip(FEATURES, weights.tolist(), strict=True)),
        typical=dict(zip(FEATURES, typical.tolist(), strict=True)),
        largest=dict(zip(FEATURES, values.max(0).tolist(), strict=True)),
        quantiles={},
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _part_factor(
    samples: Sequence[Sample], scores: np.ndarray, whole: Quantiles, level: float
) -> float:
    """By how much the pooled interval must grow to cover parts of a beat; at least 1."""
    parts = np.array([one.is_part_of_beat for one in samples])
    patients = [one.patient for one in samples if one.is_part_of_beat]
    if len(set(patients)) < 1 / (1 - level):
        return Calibration.model_fields["part_of_beat_factor"].default
    needed = np.maximum(scores[parts] / whole.high, scores[parts] / whole.low)
    return max(1.0, weighted_quantiles(needed, patients, [level])[0])


def _limits(planes: Sequence[Sample], expected: np.ndarray, level: float) -> Limits:
    """Limits that 95 % of good EFs pass; those of any machine, or wider where these need it.

    That of the interval is the range of `level` of the true EFs, each patient weighing 1.
    """
    is_good = np.array(
        [abs(one.error_points) <= GOOD_POINTS and not one.is_degraded for one in planes]
    )
    is_good |= not is_good.any()
    good = [one for one, chosen in zip(planes, is_good, strict=True) if chosen]
    limits = {"expected_error_points": float(np.quantile(expected[is_good], 1 - GATE_SHARE))}
    for name in ("flicker_percent", "area_jitter_percent"):
        known = [v for one in good if (v := getattr(one.uncertainty, name)) is not None]
        limits[name] = max(
            getattr(Limits(), name), float(np.quantile(known or [0], 1 - GATE_SHARE))
        )
    efs = np.array([one.true_ef_percent for one in planes])
    ends = weighted_quantiles(efs, [one.patient for one in planes], _tails(level))
    return Limits(**limits, interval_points=ends[1] - ends[0])


def _tails(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2
