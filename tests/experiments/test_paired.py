"""Intervals over seeds and patients, and the smallest detectable effect."""

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from echoseg.errors import ArgumentError
from experiments.paired import paired_mean, table_of


def drawn(generator, effect, *, seeds=3, patients=40, sd=(0.5, 1.0, 1.0)):
    of_seeds, of_patients, rest = (
        scale * generator.standard_normal(shape)
        for scale, shape in zip(sd, ((seeds, 1), (1, patients), (seeds, patients)), strict=True)
    )
    return effect + of_seeds + of_patients + rest


def test_one_seed_is_the_t_interval_over_patients():
    values = np.random.default_rng(0).standard_normal((1, 12)) + 1
    result = paired_mean(values)
    assert result.ci95 == pytest.approx(ttest_1samp(values[0], 0).confidence_interval())
    se = values.std(ddof=1) / 12**0.5
    assert result.smallest_effect == pytest.approx((t.ppf(0.975, 11) + t.ppf(0.8, 11)) * se)
    assert (result.num_seeds, result.num_patients) == (1, 12)


def test_seeds_that_disagree_widen_the_interval():
    calm = np.tile(np.linspace(-1, 1, 20), (3, 1))
    uneasy = calm + np.array([[-2.0], [0.0], [2.0]])
    assert paired_mean(calm).mean == pytest.approx(paired_mean(uneasy).mean)
    narrow, wide = paired_mean(calm), paired_mean(uneasy)
    assert wide.ci95[1] > 4 > 1 > narrow.ci95[1]
    assert wide.smallest_effect > 4 * narrow.smallest_effect


def test_intervals_cover_the_truth_and_the_smallest_effect_has_its_power():
    generator = np.random.default_rng(1)
    results = [paired_mean(drawn(generator, 1.0, seeds=5)) for _ in range(400)]
    covered = np.mean([r.ci95[0] < 1 < r.ci95[1] for r in results])
    assert 0.92 < covered <= 0.99
    effect = float(np.median([r.smallest_effect for r in results]))
    shifted = [paired_mean(drawn(generator, effect, seeds=5)) for _ in range(400)]
    assert 0.7 < np.mean([r.ci95[0] > 0 for r in shifted]) < 0.92


def test_a_single_patient_has_no_interval_and_gaps_are_refused():
    result = paired_mean(np.ones((3, 1)))
    assert (result.mean, result.ci95, result.smallest_effect) == (1, None, None)
    with pytest.raises(ArgumentError, match="without gaps"):
        paired_mean(np.array([[1.0, np.nan]]))


def test_tables_hold_the_seeds_and_patients_of_both():
    one = {0: {"a": 1.0, "b": 2.0}, 1: {"a": 3.0, "b": 4.0, "c": 5.0}, 2: {"a": 9.0}}
    other = {0: {"a": 0.5, "b": 0.5, "c": 0.5}, 1: {"b": 1.0, "a": 1.0}}
    assert table_of(one, other).tolist() == [[0.5, 1.5], [2.0, 3.0]]
    assert table_of(one, None).tolist() == [[1.0], [3.0], [9.0]]
    assert table_of({0: {"a": 1.0}}, {1: {"a": 1.0}}) is None
