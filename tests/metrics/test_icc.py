"""ICC(2,1) and its interval, against the published example."""

import numpy as np
import pytest

from echoseg.metrics.agreement import icc, icc_interval, intraclass_correlation

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
"""Six subjects by four judges: Psychological Bulletin 86(2):420-428, 1979, table 2."""


def test_the_example_of_shrout_and_fleiss():
    assert icc(SHROUT_FLEISS) == pytest.approx(0.2898, abs=5e-5)
    # as printed by pingouin's intraclass_corr and R's psych::ICC for ICC2
    assert icc_interval(SHROUT_FLEISS) == pytest.approx((0.02, 0.76), abs=0.005)


def test_an_interval_covers_the_true_correlation_about_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        subjects = rng.normal(0, 10, (30, 1))
        low, high = icc_interval(subjects + rng.normal(0, 5, (30, 2)))
        covered += low <= 100 / 125 <= high
    assert 0.91 <= covered / 400 <= 0.985


def test_two_readers_and_cases_without_an_interval():
    one, other = SHROUT_FLEISS[:, 0], SHROUT_FLEISS[:, 3]
    assert intraclass_correlation(one, other) == icc(np.stack([one, other], 1))
    assert icc_interval(np.ones((5, 2))) is None
    assert icc_interval(np.array([[1.0, 2.0]])) is None
    assert icc_interval(np.arange(5.0)[:, None] * [1, 1]) is None
