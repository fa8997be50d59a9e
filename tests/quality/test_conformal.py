"""Nominal coverage; an interval widened elsewhere, with the reason; files that are checked."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calibration_makers import CALM, UNSURE, made, samples
from echoseg.errors import ModelError
from echoseg.quality.conformal import (
    BIPLANE,
    calibration_path,
    ef_interval,
    load_calibration,
    mean_uncertainty,
)


@pytest.fixture(scope="module")
def calibration():
    return made()


def interval(calibration, uncertainty=CALM, ef=50.0, view="A4C", **words):
    return ef_interval(ef, uncertainty, calibration, view=view, **words)


def width(span):
    return span.high_percent - span.low_percent


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_it_covers_as_often_as_it_says_on_other_patients(level):
    calibration = made(level)
    inside = []
    for one in samples(4000, 2):
        span = interval(calibration, one.uncertainty)
        inside.append(span.low_percent <= one.true_ef_percent <= span.high_percent)
    assert np.mean(inside) == pytest.approx(level, abs=0.035)


def test_an_uncertain_clip_gets_a_wider_interval_and_the_bias_moves_it(calibration):
    near, far = (interval(calibration, one) for one in (CALM, UNSURE))
    assert width(far) > 2.5 * width(near)
    assert (near.low_percent + near.high_percent) / 2 < 49
    assert near.widened_because == far.widened_because == ()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"view": "unknown"}, "The view is not recognized."),
        ({"view": "PSAX"}, "Clips of this view (PSAX) are not part of its calibration."),
        ({"is_part_of_beat": True}, "The EF rests on part of a beat."),
        ({"uncertainty": replace(CALM, pose_points=21)}, "The clip is less certain than any"),
    ],
)
def test_outside_its_calibration_it_is_wider_and_says_why(calibration, words, reason):
    plain = interval(calibration)
    other = interval(calibration, **words)
    assert width(other) > 1.4 * width(plain)
    (given,) = other.widened_because
    assert given.startswith(reason)


def test_a_view_without_its_own_clips_gets_the_widest_of_all():
    both = [*samples(200, 0), *samples(200, 1, bias=6.0, view="A2C")]
    from echoseg.quality.calibration_fit import calibrate

    calibration = calibrate(both, model_sha256="ab", source="test")
    a4c, a2c, unknown = (interval(calibration, view=view) for view in ("A4C", "A2C", "unknown"))
    assert a4c.high_percent < a2c.high_percent and a4c.low_percent < a2c.low_percent
    assert unknown.low_percent < a4c.low_percent and unknown.high_percent > a2c.high_percent


@pytest.mark.parametrize("ef", [0.0, 3.0, 98.0, 100.0])
def test_it_stays_inside_what_an_ef_can_be_and_holds_the_ef(calibration, ef):
    span = interval(calibration, UNSURE, ef)
    assert 0 <= span.low_percent <= ef <= span.high_percent <= 100


def test_unknown_features_of_stills_count_as_typical(calibration):
    known = replace(CALM, area_jitter_percent=calibration.typical["area_jitter_percent"])
    assert interval(calibration, known) == interval(calibration, CALM)
    assert calibration.typical["beats_error_points"] == 0  # never known


def test_features_of_two_planes_are_the_means_of_what_is_known():
    mean = mean_uncertainty([replace(CALM, flicker_percent=4.0), UNSURE])
    assert (mean.pose_points, mean.flicker_percent) == (9.9, 4.0)
    assert mean.area_jitter_percent is None


def test_biplane_has_quantiles_of_its_own():
    from echoseg.quality.calibration_fit import calibrate

    pairs = [replace(one, view=BIPLANE) for one in samples(200, 0, bias=8.0)]
    calibration = calibrate([*samples(200, 0), *pairs], model_sha256="ab", source="test")
    assert interval(calibration, view=BIPLANE).low_percent > interval(calibration).low_percent
    assert interval(calibration, view=BIPLANE).widened_because == ()


def test_a_calibration_is_read_back_and_that_of_other_weights_is_not_used(tmp_path, calibration):
    weights = tmp_path / "net.safetensors"
    calibration_path(weights).write_text(calibration.model_dump_json())
    assert load_calibration(weights, "ab") == calibration
    assert load_calibration(weights, "cd") is None
    assert load_calibration(tmp_path / "other.safetensors", "ab") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"level": "x"})])
def test_a_broken_calibration_is_refused(tmp_path, content):
    weights = tmp_path / "net.safetensors"
    calibration_path(weights).write_text(content)
    with pytest.raises(ModelError, match="must be a calibration"):
        load_calibration(weights, "ab")
