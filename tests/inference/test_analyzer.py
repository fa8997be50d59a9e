"""An analysis: what was measured is what is kept, and what must be known of it is said."""

import numpy as np
import pytest

from echoseg.clip import Clip, View
from echoseg.inference.analyzer import Analyzer
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import measure_masks
from heart_makers import beating


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer(device="cpu")


def analysis_of(analyzer, monkeypatch, masks, times_s, **known):
    monkeypatch.setattr(Analyzer, "segment", lambda *args, **options: masks)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, masks.shape, dtype=np.uint8)
    return analyzer.analyze(Clip(frames=frames, times_s=times_s, **known))


def test_the_masks_kept_are_those_that_were_measured(analyzer, monkeypatch):
    masks, times, _ = beating()
    masks[:, 5:9, 5:9] = 1
    masks[3:7, 100:104, 5:12] = 3
    found = analysis_of(analyzer, monkeypatch, masks, times)
    assert not np.array_equal(found.masks, masks)
    assert np.array_equal(found.masks, clean_masks(found.masks))
    areas = [int((mask == 1).sum()) for mask in found.masks]
    assert areas == [frame.lv_area_px for frame in found.measurement.frames]
    again = measure_masks(found.masks, spacing_mm=None, times_s=times)
    assert again == found.measurement


@pytest.mark.parametrize(
    ("view", "code", "words"),
    [
        (View.PLAX, "view_not_learnt", "The view is PLAX, but the model was trained on A4C only"),
        (View.A2C, "view_not_learnt", "The view is A2C"),
        (View.UNKNOWN, "view_unknown", "view (--view)"),
        (View.A4C, "", ""),
    ],
)
def test_a_view_the_networks_do_not_know_is_warned_of(analyzer, monkeypatch, view, code, words):
    masks, times, _ = beating()
    found = analysis_of(analyzer, monkeypatch, masks, times, view=view)
    told = {w.code: w.message for w in found.warnings if w.code.startswith("view")}
    assert list(told) == ["view_doubtful", *([code] if code else [])]  # the pictures are noise
    assert words in told.get(code, "")
