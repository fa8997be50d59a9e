"""EF of a series of masks: exact answers, given frames, frames without a cavity."""

import numpy as np
import pytest

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
    between = ejection_fraction(masks, ed_frame=0, es_frame=2)
    assert between == pytest.approx(100 * (1 - (0.95 / 0.9) ** 3), abs=2.0) and between < 0


def test_frames_without_a_cavity_are_left_out_or_give_no_ef():
    empty = np.zeros((160, 160), np.uint8)
    masks = np.stack([ellipse(1.0), empty, ellipse(0.8)])
    assert ejection_fraction(masks) == ejection_fraction(masks[[0, 2]])
    assert ejection_fraction(masks, ed_frame=0, es_frame=1) is None
    assert ejection_fraction(empty[None]) is None
    volumes = cavity_volumes_ml(masks, (0.5, 0.5))
    assert np.isnan(volumes[1])
    assert volumes[0] == mask_volume_ml(masks[0], (0.5, 0.5))[0]
