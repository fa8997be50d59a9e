"""The interval covers as often as it says; the gate keeps back the doubtful; files are checked."""

import json

import numpy as np
import pytest

from echoseg.errors import ArgumentError, ModelError
from echoseg.quality.conformal import (
    ClipUncertainty,
    calibrate,
    calibration_path,
    ef_interval,
    load_calibration,
)


def clips(num, seed, bias=-3.0):
    """Errors whose spread is 2 points and 50 a unit of entropy, beside three idle features."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(num):
        entropy, other = generator.uniform(0, 0.3), generator.uniform(0, 3)
        features = ClipUncertainty(
            entropy=entropy,
            disagreement_percent=generator.uniform(0, 10),
            segments_unseen=other,
            contrast_lacking=generator.uniform(0, 3),
        )
        found.append((features, float(bias + (2 + 50 * entropy) * generator.standard_normal())))
    return found


def made(level=0.9, num=3000):
    return calibrate(clips(num, 0), clips(num, 1), model_sha256="ab", source="test", level=level)


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_it_covers_as_often_as_it_says_on_others(level):
    calibration = made(level)
    inside = []
    for features, error in clips(20_000, 2):
        span = ef_interval(50.0, features, calibration)
        inside.append(span.low_percent <= 50 + error <= span.high_percent)
    assert np.mean(inside) == pytest.approx(level, abs=0.02)


def test_a_doubtful_clip_gets_a_wider_interval_and_the_bias_moves_it():
    calm = ClipUncertainty(
        entropy=0.02, disagreement_percent=1, segments_unseen=0, contrast_lacking=0
    )
    unsure = ClipUncertainty(
        entropy=0.31, disagreement_percent=1, segments_unseen=0, contrast_lacking=0
    )
    near, far = (ef_interval(50.0, one, made()) for one in (calm, unsure))
    assert far.high_percent - far.low_percent > 2 * (near.high_percent - near.low_percent)
    assert (near.low_percent + near.high_percent) / 2 < 50
    assert not near.unreliable_because
    assert "unsure of the borders" in far.unreliable_because


def test_the_gate_keeps_back_the_share_it_was_asked_for():
    calibration = made()
    spans = [ef_interval(50.0, features, calibration) for features, _ in clips(4000, 3)]
    shut = [bool(span.unreliable_because) for span in spans]
    assert np.mean(shut) == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("ef", [0.0, 3.0, 98.0, 100.0])
def test_it_stays_inside_what_an_ef_can_be(ef):
    span = ef_interval(ef, clips(1, 5)[0][0], made())
    assert 0 <= span.low_percent <= span.high_percent <= 100


def test_too_few_patients_for_the_level_are_refused():
    with pytest.raises(ArgumentError, match="at least 19 clips"):
        calibrate(clips(50, 0), clips(18, 1), model_sha256="ab", source="test")


def test_a_calibration_is_read_back_and_that_of_other_weights_is_not_used(tmp_path):
    weights = tmp_path / "net.safetensors"
    calibration = made()
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
