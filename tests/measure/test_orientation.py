"""Masks of the cavity alone that are upside down."""

import numpy as np
import pytest

from echoseg.clip import Label
from echoseg.measure.measure import measure_masks
from heart_makers import beating


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), None])
def test_a_cavity_wider_at_the_apex_is_warned_of(is_turned, spacing_mm):
    masks, times_s = beating()[:2]
    cavity = np.where(masks == Label.LV_CAVITY, masks, 0)
    measured = measure_masks(
        cavity[:, ::-1] if is_turned else cavity,
        spacing_mm=spacing_mm,
        times_s=times_s,
        cavity_only=True,
    )
    codes = [note.code for note in measured.warnings]
    assert ("upside_down" in codes) == is_turned
    if is_turned:
        (message,) = [note.message for note in measured.warnings if note.code == "upside_down"]
        assert "Turn them" in message


def test_an_atrium_tells_the_base_wherever_it_lies():
    masks, times_s = beating()[:2]
    assert (masks == Label.LA_CAVITY).any()
    right, turned = (
        measure_masks(each, spacing_mm=(1.0, 1.0), times_s=times_s)
        for each in (masks, masks[:, ::-1].copy())
    )
    assert turned.ef_percent == pytest.approx(right.ef_percent, abs=0.5)
    assert "upside_down" not in [note.code for note in turned.warnings]
