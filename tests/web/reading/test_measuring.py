"""What an edit measures anew: the same as all masks from scratch."""

import dataclasses

import numpy as np
import pytest

from echoseg.measure.frame import measure_each, measure_frame
from echoseg.measure.measure import measure_masks
from echoseg.quality.flicker import temporal_features
from echoseg.quality.reliability import ClipUncertainty
from echoseg.web.reading.contours import follows, frame_contours
from echoseg.web.reading.measuring import _of_frames
from heart_makers import beating

MASKS, TIMES_S, _ = beating(24)
OWN = ClipUncertainty(entropy=0.1, pose_points=1.0, gamma_percent=2.0, segments_unseen=0.0)


@pytest.mark.parametrize("frames", [(3,), (3, 4), (0, 23), tuple(range(24))])
def test_flicker_of_edited_frames_is_that_of_all_masks(frames):
    measured, masks = list(measure_each(MASKS, (1.0, 1.0))), MASKS.copy()
    measurement = measure_masks(MASKS, spacing_mm=(1.0, 1.0), times_s=TIMES_S)
    _of_frames(OWN, measured, measurement)
    for index in frames:
        masks[index] = np.roll(masks[index], 2 * index % 7 - 3, axis=1)
        masks[index, masks[index] == 1] *= index != 23  # the last one loses its cavity
        measured[index] = measure_frame(masks[index], (1.0, 1.0))
    for _ in range(2):
        features = dataclasses.asdict(_of_frames(OWN, measured, measurement))
        assert features == features | temporal_features(masks)


@pytest.mark.parametrize("value", [1, 2, 3])
def test_curves_after_an_edit_are_those_fitted_anew(value):
    before, mask = measure_frame(MASKS[0], (1.0, 1.0)), MASKS[0].copy()
    curves = frame_contours(before, {}, is_reader=False)
    rows, columns = np.nonzero(mask == value)
    mask[rows.min() : rows.min() + 4, columns.min() - 2 : columns.max() + 1] = value
    edited, fresh = (measure_frame(mask, (1.0, 1.0)) for _ in range(2))
    follows(edited, before)
    known = frame_contours(edited, {}, is_reader=False)
    assert known == frame_contours(fresh, {}, is_reader=False) != curves
