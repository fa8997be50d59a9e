"""EF of a series of masks: exact answers, given frames, frames without a cavity."""

import re

import numpy as np
import pytest

from echoseg.errors import EchosegError
from echoseg.measure import ejection_fraction
from echoseg.measure.volumes import cavity_volumes_ml, mask_volume_ml


def ellipse(factor):
    """A cavity whose every length is FACTOR times that of factor 1."""
    rows, columns = np.mgrid[:160, :160]
    inside = ((rows - 80) / (60 * factor)) ** 2 + ((columns - 80) / (30 * factor)) ** 2 < 1
    return inside.astype(np.uint8)


def test_ef_is_that_of_scaled_cavities():
    masks = np.stack([ellipse(f) for f in (0.9, 1.0, 0.95, 0.8)])
    # volumes go with the cube of the length
    assert ejection_fraction(masks) == pytest.approx(100 * (1 - 0.8**3), abs=1.0)
    assert ejection_fraction(masks, (0.3, 0.3)) == pytest.approx(ejection_fraction(masks))
    between = ejection_fraction(masks, ed_frame=2, es_frame=0)
    assert between == pytest.approx(100 * (1 - (0.9 / 0.95) ** 3), abs=2.0)


@pytest.mark.parametrize(
    ("masks", "words", "message"),
    [
        (120.0, {}, "must be label maps (T, H, W)"),
        ([ellipse(1.0), ellipse(0.8)[1:]], {}, "of one size"),
        (np.full((2, 9, 9), np.nan), {}, "an integer type, got (2, 9, 9) float64"),
        (-np.ones((2, 9, 9), int), {}, "labels 0 to 3, got -1 to -1"),
        (np.full((2, 9, 9), 255, np.uint8), {}, "labels 0 to 3, got 255 to 255"),
        ([ellipse(1.0)] * 2, {"ed_frame": -1}, "ed_frame must be 0 to 1, got -1"),
        ([ellipse(1.0)] * 2, {"es_frame": 2}, "es_frame must be 0 to 1, got 2"),
        ([ellipse(1.0)] * 2, {"spacing_mm": (np.nan, 1.0)}, "spacing_mm"),
        ([ellipse(1.0)] * 2, {"spacing_mm": (-0.3, 0.3)}, "spacing_mm"),
        ([ellipse(0.8), ellipse(1.0)], {"ed_frame": 0, "es_frame": 1}, "larger at ES than at ED"),
    ],
)
def test_what_gives_no_ef_is_refused(masks, words, message):
    with pytest.raises(EchosegError, match=re.escape(message)):
        ejection_fraction(masks, **words)


def test_frames_without_a_cavity_are_left_out_or_give_no_ef():
    empty = np.zeros((160, 160), np.uint8)
    masks = np.stack([ellipse(1.0), empty, ellipse(0.8)])
    assert ejection_fraction(masks) == ejection_fraction(masks[[0, 2]])
    assert ejection_fraction(masks, ed_frame=0, es_frame=1) is None
    assert ejection_fraction(empty[None]) is None
    volumes = cavity_volumes_ml(masks, (0.5, 0.5))
    assert np.isnan(volumes[1])
    assert volumes[0] == mask_volume_ml(masks[0], (0.5, 0.5))[0]
