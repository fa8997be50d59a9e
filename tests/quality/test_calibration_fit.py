"""What a calibration learns: the spread of errors, patients as units, limits that good EFs pass."""

from dataclasses import replace

import numpy as np
import pytest

from calibration_makers import CALM, UNSURE, made, samples
from echoseg.errors import ArgumentError
from echoseg.quality.calibration_fit import GATE_SHARE, calibrate, folds_of, weighted_quantiles
from echoseg.quality.conformal import FEATURES, ef_interval
from echoseg.quality.reasons import unreliable_because


def test_the_expected_error_finds_the_feature_that_matters():
    calibration = made(bias=0.0)
    mean_abs = np.sqrt(2 / np.pi)  # of a standard normal
    for features, spread in ((CALM, 2.9), (UNSURE, 12.6)):
        expected = calibration.expected_error_points(features)
        assert expected == pytest.approx(mean_abs * spread, rel=0.25)
    scales = {"entropy": 0.3, "pose_points": 20, "gamma_percent": 6}
    reach = {name: calibration.weights[name] * np.log1p(v) for name, v in scales.items()}
    assert reach["pose_points"] > 5 * max(v for k, v in reach.items() if k != "pose_points")
    assert all(weight >= 0 for weight in calibration.weights.values())
    assert set(calibration.weights) == set(FEATURES)


def test_quantiles_of_equal_patients_are_those_of_ranks_of_n_plus_1():
    scores = np.arange(1.0, 20.0)  # 19 patients
    names = [str(score) for score in scores]
    assert weighted_quantiles(scores, names, (0.05, 0.5, 0.95)) == [1.0, 10.0, 19.0]


def test_a_patient_with_many_clips_weighs_as_one():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(50)
    names = [str(index) for index in range(50)]
    ends = weighted_quantiles(scores, names, (0.1, 0.9))
    repeated = np.concatenate([scores, np.full(200, scores[7])])
    assert weighted_quantiles(repeated, names + ["7"] * 200, (0.1, 0.9)) == pytest.approx(
        ends, abs=0.15
    )


def test_folds_keep_patients_together():
    folds = folds_of(["b", "a", "b", "c"], 2)
    assert folds[0] == folds[2] and set(folds) == {0, 1}


def test_coverage_holds_with_several_dependent_clips_of_each_patient():
    calibration = made(num=400, clips_each=3)
    spans = [
        (ef_interval(50.0, one.uncertainty, calibration, view="A4C"), one.true_ef_percent)
        for one in samples(2500, 2)
    ]
    covered = [span.low_percent <= truth <= span.high_percent for span, truth in spans]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)


def test_the_factor_of_parts_of_a_beat_is_measured_and_at_least_one():
    whole = samples(200, 0, bias=0.0)
    for stretch, low, high in ((1.0, 1.0, 1.15), (3.0, 2.5, 3.6), (0.2, 1.0, 1.0)):
        parts = [
            replace(
                one,
                is_part_of_beat=True,
                true_ef_percent=50 + stretch * one.error_points,
            )
            for one in whole
        ]
        factor = calibrate(whole + parts, model_sha256="", source="").part_of_beat_factor
        assert low <= factor <= high


def test_nineteen_of_twenty_good_efs_pass_the_limits():
    calibration = made(bias=0.0)
    others = samples(2000, 4, bias=0.0)
    fires = np.array(
        [bool(unreliable_because(50.0, one.uncertainty, calibration)) for one in others]
    )
    errors = np.abs([one.error_points for one in others])
    assert fires[errors <= 10].mean() == pytest.approx(GATE_SHARE, abs=0.02)
    assert fires[errors > 15].mean() > 1.5 * fires[errors <= 10].mean()


def test_degraded_copies_set_no_limits():
    plain = samples(300, 0, bias=0.0)
    jumps = {"entropy": 0.9, "flicker_percent": 40.0, "pose_points": 60.0}
    worse = [
        replace(one, is_degraded=True, uncertainty=replace(one.uncertainty, **jumps))
        for one in plain
    ]
    calibration = calibrate(plain + worse, model_sha256="", source="")
    limit = calibration.limits.expected_error_points
    fires = [
        [calibration.expected_error_points(one.uncertainty) > limit for one in group]
        for group in (
            [one for one in plain if abs(one.error_points) <= 10],
            worse,
        )
    ]
    assert np.mean(fires[0]) == pytest.approx(GATE_SHARE, abs=0.03) and np.mean(fires[1]) > 0.9
    assert calibration.limits.flicker_percent == 11.5


def test_limits_grow_with_good_clips_that_need_it():
    clips = [
        replace(one, uncertainty=replace(one.uncertainty, flicker_percent=18.0))
        for one in samples(100, 0)
    ]
    limits = calibrate(clips, model_sha256="", source="").limits
    assert limits.flicker_percent == 18.0 and made().limits.flicker_percent == 11.5


def test_the_limit_of_the_interval_is_the_range_of_the_patients_efs():
    efs = np.random.default_rng(0).normal(50, 12, 2000)
    clips = [
        replace(one, true_ef_percent=float(ef), ef_percent=float(ef) - one.error_points)
        for one, ef in zip(samples(2000, 0), efs, strict=True)
    ]
    for level in (0.8, 0.9):
        limit = calibrate(clips, model_sha256="", source="", level=level).limits.interval_points
        ends = np.quantile(efs, [(1 - level) / 2, (1 + level) / 2])
        assert limit == pytest.approx(np.ptp(ends), rel=0.01)
    twice = calibrate([*clips, *clips[:1000]], model_sha256="", source="").limits
    once = calibrate(clips, model_sha256="", source="").limits
    assert twice.interval_points == pytest.approx(once.interval_points, rel=1e-3)


def test_too_few_patients_for_the_level_are_refused():
    with pytest.raises(ArgumentError, match=r"of at least 19 patients .*can be measured, got 18"):
        calibrate(samples(18, 0, clips_each=3), model_sha256="ab", source="test")
    for level in (0.4, 1.0, float("nan")):
        with pytest.raises(ArgumentError, match=r"level must be 0\.5 or more and under 1"):
            calibrate(samples(60, 0), model_sha256="ab", source="test", level=level)
    assert calibrate(samples(60, 0), model_sha256="ab", source="test", level=0.5).level == 0.5


@pytest.mark.parametrize("num_known", [0, 1, 60])
def test_a_feature_that_the_clips_do_not_differ_in_is_left_out(num_known):
    plain = samples(60, 0)
    alike = [
        replace(one, uncertainty=replace(one.uncertainty, beats_error_points=1.5))
        if index < num_known
        else one
        for index, one in enumerate(plain)
    ]
    first, second = (calibrate(some, model_sha256="ab", source="t") for some in (plain, alike))
    assert first == second
    uncertain = replace(CALM, beats_error_points=9.0, area_jitter_percent=2.0)
    interval = ef_interval(50.0, uncertain, second, view="A4C")
    assert interval.widened_because == ()
    outside = replace(uncertain, pose_points=25.0)
    assert ef_interval(50.0, outside, second, view="A4C").widened_because


def test_a_feature_that_two_clips_differ_in_is_kept():
    plain = samples(60, 0)
    some = [
        replace(one, uncertainty=replace(one.uncertainty, beats_error_points=1.0 + index))
        if index < 2
        else one
        for index, one in enumerate(plain)
    ]
    calibration = calibrate(some, model_sha256="ab", source="t")
    assert calibration.largest["beats_error_points"] == 2
    assert calibration.typical["beats_error_points"] == 1.5
