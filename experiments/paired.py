"""Paired differences over seeds and patients: interval, and the smallest detectable effect.

d_sp is the difference of two networks trained with seed s, on patient p; both are random:

    d_sp = mu + a_s + b_p + e_sp

With the mean squares of the two-way table of S seeds and P patients (one value per cell),

    Var(mean d) = (MS_seed + MS_patient - MS_rest) / (S P)
    df          = (MS_seed + MS_patient - MS_rest)^2
                  / (MS_seed^2 / (S - 1) + MS_patient^2 / (P - 1) + MS_rest^2 / ((S - 1) (P - 1)))

so the interval mean -+ t(.975, df) SE holds for other seeds and other patients. Where MS_rest
exceeds the smaller of the other two, the larger of these two stands alone, with its own df. With
one seed only patients vary, and the interval says nothing about other seeds.

The smallest detectable effect is the true difference that a two-sided test at .05 finds with a
power of 80 %, from this variance and these numbers of seeds and patients:

    smallest effect = (t(.975, df) + t(.80, df)) SE

References:
    Satterthwaite, Biometrics Bulletin 2(6):110-114, 1946 (degrees of freedom).
    Dorfman, Berbaum and Metz, Investigative Radiology 27(9):723-731, 1992 (readers and patients
    as crossed random effects; here seeds are the readers).
    Bloom, Evaluation Review 19(5):547-556, 1995 (minimum detectable effect).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echoseg.errors import ArgumentError
from echoseg.metrics.agreement import Interval

POWER, LEVEL = 0.8, 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedMean:
    """Mean over seeds and patients; interval and smallest effect are None where undefined."""

    mean: float
    ci95: Interval | None
    smallest_effect: float | None
    num_seeds: int
    num_patients: int


def paired_mean(values: np.ndarray) -> PairedMean:
    """Mean of values `S P`, one per seed and patient, such as differences of two networks.

    Raises:
        ArgumentError: If they are not a table of finite numbers.
    """
    from scipy.stats import t

    values = np.asarray(values, float)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ArgumentError(
            f"values must be a table of seeds and patients without gaps, got {values.shape}; "
            "leave out patients without a value"
        )
    mean, (num_seeds, num_patients) = float(values.mean()), values.shape
    variance, df = _variance(values)
    interval = effect = None
    if variance is not None:
        se, critical = variance**0.5, float(t.ppf(1 - LEVEL / 2, df))
        interval = mean - critical * se, mean + critical * se
        effect = (critical + float(t.ppf(POWER, df))) * se
    return PairedMean(
        mean=mean,
        ci95=interval,
        smallest_effect=effect,
        num_seeds=num_seeds,
        num_patients=num_patients,
    )


def _variance(values: np.ndarray) -> tuple[float | None, float]:
    """Variance of the mean and its degrees of freedom; None with a single patient."""
    seeds, patients = values.shape
    if patients < 2:
        return None, 0.0
    of_seeds, of_patients = values.mean(1), values.mean(0)
    ms_patient = seeds * float(of_patients.var(ddof=1))
    if seeds < 2:
        return ms_patient / patients, patients - 1
    ms_seed = patients * float(of_seeds.var(ddof=1))
    rest = values - of_seeds[:, None] - of_patients + values.mean()
    df_rest = (seeds - 1) * (patients - 1)
    ms_rest = float((rest**2).sum()) / df_rest
    larger, df = max((ms_seed, seeds - 1), (ms_patient, patients - 1))
    total = ms_seed + ms_patient - ms_rest
    if total > larger:
        larger = total
        df = total**2 / (
            ms_seed**2 / (seeds - 1) + ms_patient**2 / (patients - 1) + ms_rest**2 / df_rest
        )
    return larger / values.size, float(df)


def table_of(
    values: Mapping[int, Mapping[str, float]], other: Mapping[int, Mapping[str, float]] | None
) -> np.ndarray | None:
    """Values by seed and patient, less those of another network, as a table without gaps.

    Only seeds that both have, and patients with a value in all of these, are in it; None if there
    are no such.
    """
    seeds = sorted(values.keys() & (values if other is None else other).keys())
    sides = [values] if other is None else [values, other]
    patients = [set(side[seed]) for side in sides for seed in seeds]
    shared = sorted(set.intersection(*patients)) if patients else []
    if not shared:
        return None
    tables = [np.array([[side[s][p] for p in shared] for s in seeds]) for side in sides]
    return tables[0] if other is None else tables[0] - tables[1]
