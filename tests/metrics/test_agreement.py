"""Agreement of two readers and bootstrap intervals: answers by hand, coverage, refusals."""

import numpy as np
import pytest
from scipy import stats

from echoseg.metrics.agreement import (
    agreement,
    intraclass_correlation,
    mean_interval,
    statistic_interval,
)


def test_three_pairs_by_hand():
    found = agreement([50, 60, 70], [52, 57, 66])
    # differences -2, 3, 4
    assert found.n == 3
    assert found.bias == pytest.approx(5 / 3)
    assert found.sd == pytest.approx(np.std([-2, 3, 4], ddof=1))
    assert found.mae == pytest.approx(3)
    assert found.limits == pytest.approx((5 / 3 - 1.96 * found.sd, 5 / 3 + 1.96 * found.sd))
    assert found.r == pytest.approx(stats.pearsonr([50, 60, 70], [52, 57, 66]).statistic)


def test_the_icc_of_shrout_and_fleiss():
    """Their table 2, first two of the four judges, by the mean squares written out."""
    one, other = np.array([9, 6, 8, 7, 10, 6.0]), np.array([2, 1, 4, 1, 5, 2.0])
    both = np.stack([one, other], 1)
    rows = 2 * both.mean(1).var(ddof=1)
    judges = 6 * both.mean(0).var(ddof=1)
    error = (both.var(ddof=1) * 11 - rows * 5 - judges) / 5
    expected = (rows - error) / (rows + error + 2 * (judges - error) / 6)
    assert intraclass_correlation(one, other) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 0.1, 55.1, 60.0])
def test_a_constant_has_no_r_and_equal_readings_no_icc_whatever_they_round_to(value):
    varied = np.random.default_rng(0).normal(55, 8, 7)
    for one, other in (([value] * 7, varied), (varied, [value] * 7)):
        found = agreement(one, other)
        assert found.r is None and found.icc is not None
    rounded = [value, *[value + 1e-14 * value] * 6]
    for same in ([value] * 7, rounded):
        found = agreement(same, same)
        assert (found.r, found.icc) == (None, None)


def test_equal_readers_agree_and_an_offset_costs_icc_but_not_r():
    values = np.array([30.0, 45, 60, 62])
    assert agreement(values, values).icc == pytest.approx(1)
    shifted = agreement(values + 10, values)
    assert shifted.r == pytest.approx(1)
    assert shifted.sd == pytest.approx(0)
    assert shifted.icc is not None and shifted.icc < 0.9


def test_what_does_not_vary_has_no_correlation_and_one_pair_no_sd():
    assert agreement([5, 5, 5], [1, 2, 3]).r is None
    assert agreement([5, 7], [1, 2]).r is None  # a line passes through any two
    one = agreement([5], [4])
    assert (one.bias, one.sd, one.limits, one.icc) == (1, None, None, None)


@pytest.mark.parametrize(("one", "other"), [([], []), ([1], [1, 2]), ([np.nan], [1])])
def test_what_makes_no_pairs_is_refused(one, other):
    with pytest.raises(ValueError, match="readings must"):
        agreement(one, other)


def test_an_interval_of_independent_items_is_the_textbook_one():
    values = np.random.default_rng(1).normal(10, 2, 400)
    low, high = mean_interval(values, [f"p{i}" for i in range(400)])
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_patients_are_drawn_whole():
    """Ten equal items of a patient tell no more than one of them."""
    values = np.random.default_rng(2).normal(0, 1, 40)
    patients = [f"p{i}" for i in range(40)]
    once = mean_interval(values, patients)
    assert mean_interval(np.repeat(values, 10), np.repeat(patients, 10)) == pytest.approx(once)


def test_the_interval_does_not_depend_on_the_order():
    values = np.arange(12.0)
    patients = [f"p{i % 5}" for i in range(12)]
    order = np.argsort(patients, kind="stable")
    shuffled = mean_interval(values[order], [patients[i] for i in order])
    assert shuffled == mean_interval(values, patients)


def test_one_patient_has_no_interval_and_a_value_without_patient_is_refused():
    assert mean_interval([1, 2], ["p", "p"]) is None
    with pytest.raises(ValueError, match="must have a patient"):
        mean_interval([1, 2], ["p"])


def test_the_interval_of_a_mean_by_the_general_way_is_the_same():
    values = np.arange(9.0)
    patients = [f"p{i % 4}" for i in range(9)]
    general = statistic_interval(values, patients, lambda rows: float(rows.mean()))
    assert general == pytest.approx(mean_interval(values, patients))
    assert statistic_interval(values, patients, lambda rows: None) is None
