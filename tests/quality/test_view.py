"""The view by pictures and masks together: accepted, refused, or left open."""

import re

import numpy as np
import pytest

from echoseg.clip import View
from echoseg.quality.view import (
    CANNOT_TELL,
    VIEW_CLASSES,
    ViewPrediction,
    ViewRule,
    doubtful_view_reason,
    predict_view,
    view_notes,
    wrong_view_reason,
)
from echoseg.quality.view_shape import FEATURES

A4C_ONLY, BOTH = (View.A4C,), (View.A4C, View.A2C)


def rule(**changes):
    """A rule whose only feature that counts is the first."""
    fixed = ViewRule(
        center=(0.0,) * len(FEATURES),
        spread=(1.0,) * len(FEATURES),
        weights=(2.0,) + (0.0,) * len(FEATURES),
        floor=0.05,
        min_probability=0.6,
        refuse_below=0.1,
        mirrored_from=0.3,
    )
    return fixed.model_copy(update=changes)


def features(first):
    return np.array([first] + [0.0] * (len(FEATURES) - 1))


def predicted(*percent, is_mirrored=False):
    return ViewPrediction(
        view=VIEW_CLASSES[int(np.argmax(percent))] if max(percent) >= 50 else CANNOT_TELL,
        probability_percent=dict(zip(VIEW_CLASSES, percent, strict=True)),
        mirrored_percent=0.0,
        is_mirrored=is_mirrored,
        refuse_below_percent=10.0,
        min_percent=60.0,
    )


def test_pictures_and_masks_count_as_independent_evidence():
    by_pictures = np.array([0.5, 0.1, 0.3, 0.1])
    plain = rule(floor=0.0)
    good = 1 / (1 + np.exp(-2.0))
    expected = by_pictures * np.array([good, good, 0.5, 1 - good])
    assert plain.combine(by_pictures, features(1.0)) == pytest.approx(expected / expected.sum())
    assert plain.by_shape(features(0.0)) == 0.5
    assert plain.combine(by_pictures, None) == pytest.approx(by_pictures)


def test_neither_pictures_nor_masks_alone_are_certain():
    sure = np.array([0.0, 0.0, 0.0, 1.0])
    good, bad = (rule().combine(sure, features(x)) for x in (3.0, -3.0))
    assert good[0] > 0.1 > 0.01 > bad[0]
    assert rule().combine(np.eye(4), np.stack([features(1.0)] * 4)).shape == (4, 4)


def test_a_view_is_named_only_from_the_probability_of_acceptance():
    open_, named = (
        predict_view(rule(), np.array(p), features(0.0), mirrored=0.1, is_mirrored=False)
        for p in ([0.5, 0.3, 0.1, 0.1], [0.9, 0.04, 0.03, 0.03])
    )
    assert (open_.view, named.view) == (CANNOT_TELL, "A4C")
    assert sum(named.probability_percent.values()) == pytest.approx(100)


@pytest.mark.parametrize(
    ("stated", "supported", "percent", "expected"),
    [
        (View.A2C, BOTH, (95, 2, 2, 1), View.A2C),
        (View.UNKNOWN, BOTH, (95, 2, 2, 1), View.A4C),
        (View.UNKNOWN, A4C_ONLY, (2, 95, 2, 1), View.UNKNOWN),
        (View.UNKNOWN, BOTH, (49, 49, 1, 1), View.UNKNOWN),
        (View.UNKNOWN, BOTH, (2, 2, 95, 1), View.UNKNOWN),
    ],
)
def test_the_stated_view_or_else_a_supported_predicted_one(stated, supported, percent, expected):
    assert predicted(*percent).resolve(stated, supported) is expected


@pytest.mark.parametrize("percent", [(95, 2, 2, 1), (2, 95, 2, 1), (40, 20, 30, 10), (2, 2, 95, 1)])
def test_no_stated_view_makes_an_ef_look_more_certain_than_none_does(percent):
    one = predicted(*percent)
    without = one.interval_view(View.UNKNOWN, BOTH)
    for stated in (View.A4C, View.A2C, View.UNKNOWN):
        assert one.interval_view(stated, BOTH) in (without, View.UNKNOWN)


@pytest.mark.parametrize(
    ("stated", "supported", "percent", "is_wrong"),
    [
        (View.A4C, BOTH, (95, 2, 2, 1), False),
        (View.A4C, BOTH, (40, 20, 30, 10), False),  # left open
        (View.A4C, BOTH, (5, 5, 85, 5), True),
        (View.A4C, BOTH, (2, 95, 2, 1), True),  # an A2C stated to be an A4C
        (View.A2C, BOTH, (2, 95, 2, 1), False),
        (View.UNKNOWN, BOTH, (2, 95, 2, 1), False),
        (View.UNKNOWN, A4C_ONLY, (2, 95, 2, 1), True),
        (View.UNKNOWN, BOTH, (6, 6, 44, 44), False),  # together above the limit
        (View.UNKNOWN, BOTH, (4, 4, 2, 90), True),
        (View.A2C, A4C_ONLY, (2, 95, 2, 1), False),  # unreliable, says the analysis
        (View.PLAX, BOTH, (95, 2, 2, 1), True),
    ],
)
def test_a_clip_is_refused_only_on_positive_signs_of_another_view(
    stated, supported, percent, is_wrong
):
    reason = wrong_view_reason(stated, predicted(*percent), supported)
    assert bool(reason) == is_wrong
    assert "mirror" not in reason.lower()


def test_a_reason_never_names_the_same_view_twice():
    for stated in (View.A4C, View.A2C, View.UNKNOWN):
        for percent in np.eye(4) * 97 + 0.75:
            reason = wrong_view_reason(stated, predicted(*percent), BOTH)
            if reason and stated is View.A4C:
                assert "four-chamber" not in reason
            if reason and stated is View.A2C:
                assert "two-chamber" not in reason


def test_colour_and_a_view_not_learned_need_no_pictures():
    assert "Doppler" in wrong_view_reason(View.A4C, None, BOTH, is_colour=True)
    assert "A4C only" in wrong_view_reason(View.PLAX, None, A4C_ONLY)
    assert wrong_view_reason(View.A4C, None, BOTH) == ""


@pytest.mark.parametrize(
    ("stated", "percent", "words"),
    [
        (View.A4C, (26, 14, 57, 3), "stated to be A4C but probably shows another apical view"),
        (View.A4C, (30, 60, 8, 2), "probably shows an apical two-chamber view"),
        (View.UNKNOWN, (26, 14, 57, 3), r"\(57 % sure\), but the model was trained on A4C and A2C"),
        (View.UNKNOWN, (30, 60, 8, 2), None),
        (View.A4C, (40, 20, 30, 10), None),
        (View.A4C, (60, 20, 15, 5), None),
    ],
)
def test_a_likelier_other_view_is_doubted_and_an_open_one_is_not(stated, percent, words):
    assert not wrong_view_reason(stated, predicted(*percent), BOTH)
    reason = doubtful_view_reason(stated, predicted(*percent), BOTH)
    assert re.search(words, reason) if words else not reason


def test_notes_say_what_is_open_what_was_predicted_and_what_was_mirrored():
    def codes(stated, *percent, **known):
        return [note.code for note in view_notes(stated, predicted(*percent, **known), BOTH)]

    assert codes(View.A4C, 95, 2, 2, 1) == []
    assert codes(View.A4C, 40, 20, 30, 10) == ["view_not_confirmed"]
    assert codes(View.A4C, 26, 14, 57, 3) == []  # a warning says so
    assert codes(View.UNKNOWN, 2, 95, 2, 1) == ["view_predicted"]
    assert codes(View.UNKNOWN, 20, 20, 30, 30) == []  # a warning says so
    assert codes(View.A4C, 95, 2, 2, 1, is_mirrored=True) == ["left_right_flipped"]
