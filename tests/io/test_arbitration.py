"""One statement is taken by the stated order, and another that differs is told with its value."""

import pytest

from echoseg.clip import SourceStatement
from echoseg.io.arbitration import contradiction, decide, decide_for_user


def rates(**values):
    return [SourceStatement(origin=name, value=value) for name, value in values.items()]


def test_the_first_that_is_evidence_is_taken():
    broken = SourceStatement(origin="vector", value=None, unused_because="no numbers")
    decision = decide("frame_rate_hz", [broken, *rates(time=40.0, cine=40.4)])
    assert (decision.value, decision.choice, decision.contradictions) == (40.0, 1, ())
    assert contradiction(decision) is None
    assert decide("frame_rate_hz", [broken]).value is None


def test_a_contradiction_is_told_with_both_values_and_which_was_taken():
    decision = decide("frame_rate_hz", rates(time=30.0, cine=40.0))
    (other,) = decision.contradictions
    assert (decision.value, other.origin) == (30.0, "cine")
    warning = contradiction(decision)
    assert warning is not None
    assert warning.code == "contradicted_frame_rate"
    assert "time 30 fps is used, cine 40 fps is not. Give --fps (fps)" in warning.message


@pytest.mark.parametrize("rate_hz", [10_000.0, 1000.0, 1.0, 1e9])
def test_a_rate_at_which_no_heart_is_filmed_is_no_evidence(rate_hz):
    decision = decide("frame_rate_hz", rates(time=rate_hz, cine=40.0))
    assert (decision.value, decision.contradictions) == (40.0, ())
    assert "implausible frame rate" in decision.statements[0].unused_because


def test_a_rare_rate_is_taken_where_a_second_source_states_it():
    assert decide("frame_rate_hz", rates(time=1000.0, cine=1000.0)).value == 1000
    assert decide("frame_rate_hz", rates(time=1e9, cine=1e9)).value is None


def test_a_display_rate_is_outvoted_by_two_that_agree_but_contradicts_one():
    wish = {"Recommended Display Frame Rate": 30.0}
    assert not decide("frame_rate_hz", rates(time=60.0, cine=60.0, **wish)).contradictions
    assert decide("frame_rate_hz", rates(time=60.0, **wish)).contradictions


def test_the_users_value_stands_before_all_others_without_contradiction():
    decision = decide_for_user(decide("frame_rate_hz", rates(time=30.0, cine=40.0)), 1000.0)
    assert (decision.value, decision.contradictions) == (1000, ())
    assert [one.value for one in decision.statements] == [1000, 30, 40]


def test_spacings_agree_by_row_and_column():
    def spacing(row_mm, column_mm):
        return SourceStatement(origin="x", value=(row_mm, column_mm))

    assert not decide("spacing_mm", [spacing(0.3, 0.3), spacing(0.303, 0.3)]).contradictions
    assert decide("spacing_mm", [spacing(0.3, 0.3), spacing(0.3, 0.4)]).contradictions
