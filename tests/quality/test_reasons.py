"""Every reason not to rely on an EF, alone and together, in plain sentences."""

from dataclasses import replace

import pytest

from calibration_makers import CALM, UNSURE, made
from echoseg.quality.reasons import unreliable_because
from echoseg.quality.reliability import ClipReliability, EfInterval

GOOD = replace(CALM, flicker_percent=6.0, area_jitter_percent=3.0)


@pytest.mark.parametrize(
    ("ef", "uncertainty", "words", "reason"),
    [
        (97.0, GOOD, {}, "An EF of 97 % is implausibly high"),
        (60.0, replace(GOOD, flicker_percent=23.0), {}, "(Dice of neighboring frames 0.77"),
        (60.0, replace(GOOD, area_jitter_percent=41.0), {}, "trembles by 41.0 %"),
        (60.0, GOOD, {"beats_sd_points": 19.0}, "The beats disagree: the EF varies by 19 points"),
        (60.0, GOOD, {"outside_percent": 30.0}, "30 % of the left ventricle lies outside"),
    ],
)
def test_each_holds_without_a_calibration(ef, uncertainty, words, reason):
    (given,) = unreliable_because(ef, uncertainty, None, **words)
    assert reason in given and given.endswith(".")
    assert not unreliable_because(60.0, GOOD, None)


@pytest.mark.parametrize(
    ("low", "high", "is_too_wide"),
    [(0, 89, True), (30, 77, False), (30, 77.1, True)],
)
def test_an_interval_wider_than_the_range_of_patients_is_a_reason(low, high, is_too_wide):
    interval = EfInterval(
        low_percent=low, high_percent=high, level_percent=90, expected_error_points=9.0,
        source="",
    )  # fmt: skip
    reasons = unreliable_because(60.0, GOOD, None, interval=interval)
    assert bool(reasons) == is_too_wide
    if is_too_wide:
        assert f"90 % interval, {low:.0f} to {high:.0f} %, is wider than the range" in reasons[0]
        assert "(47 points)" in reasons[0]


def test_the_expected_error_names_its_cause():
    calibration = made()
    assert unreliable_because(50.0, CALM, calibration) == ()
    turned = replace(UNSURE, pose_points=1.3 * UNSURE.pose_points)
    (given,) = unreliable_because(50.0, turned, calibration)
    assert given.startswith("Its expected error is ")
    assert given.endswith("the contour changes when the picture is turned or zoomed.")


def test_several_reasons_are_all_told_in_one_warning():
    reasons = unreliable_because(99.0, replace(GOOD, flicker_percent=76.0), None)
    assert len(reasons) == 2
    reliability = ClipReliability(
        interval=None,
        uncertainty=GOOD,
        lv_outside_sector_percent=0.0,
        unreliable_because=reasons,
    )
    (warning,) = reliability.warnings
    assert warning.code == "do_not_trust"
    assert warning.message == f"This EF is not reliable. {reasons[0]} {reasons[1]}"


def test_stills_have_no_reasons_over_time():
    assert unreliable_because(60.0, CALM, made()) == ()
