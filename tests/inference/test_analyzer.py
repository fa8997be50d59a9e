"""An analysis: what was measured is what is kept, and what must be known of it is said."""

from dataclasses import replace

import numpy as np
import pytest

from echoseg.clip import Clip, ClipWarning, View
from echoseg.data.phantom import simulate
from echoseg.inference.analysis import UNRELIABLE_CODES
from echoseg.inference.analyzer import Analyzer
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import measure_masks
from echoseg.phantom import PhantomConfig
from echoseg.quality import view_net
from echoseg.quality.image_quality import quality_by_frame
from heart_makers import beating


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer(device="cpu")


def analysis_of(analyzer, monkeypatch, masks, times_s, force_view=False, **known):
    monkeypatch.setattr(
        "echoseg.inference.analyzer.segment_frames", lambda *args, **options: masks.copy()
    )
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, masks.shape, dtype=np.uint8)
    clip = Clip(frames=frames, times_s=times_s, **known)
    return analyzer.analyze(clip, force_view=force_view)


def test_the_masks_kept_are_those_that_were_measured(analyzer, monkeypatch):
    masks, times, _ = beating()
    masks[:, 5:9, 5:9] = 1
    masks[3:7, 100:104, 5:12] = 3
    found = analysis_of(analyzer, monkeypatch, masks, times, force_view=True)
    assert not np.array_equal(found.masks, masks)
    assert np.array_equal(found.masks, clean_masks(found.masks))
    areas = [int((mask == 1).sum()) for mask in found.masks]
    assert areas == [frame.lv_area_px for frame in found.measurement.frames]
    again = measure_masks(found.masks, spacing_mm=None, times_s=times)
    assert again == found.measurement


def in_view(analyzer, monkeypatch, *scores):
    """Let the pictures have scores, and the masks say nothing."""
    monkeypatch.setattr(view_net, "score_frames", lambda *args: (np.array(scores), 0.0))
    nothing = (0.0,) * len(analyzer.view_rule.weights)
    limits = {"weights": nothing, "floor": 0.0, "refuse_below": 0.1, "min_probability": 0.6}
    monkeypatch.setattr(analyzer, "view_rule", analyzer.view_rule.model_copy(update=limits))


@pytest.mark.parametrize(
    ("view", "scores", "code", "words"),
    [
        (View.PLAX, (1, 0, 0, 0), "wrong_view", "The view is PLAX, but the model was trained on"),
        (View.A4C, (0, 0, 1, 0), "wrong_view", "stated to be A4C but shows another"),
        (View.UNKNOWN, (0, 0, 0, 1), "wrong_view", "no upright apical view"),
        (View.A4C, (0.25, 0.05, 0.7, 0), "view_doubtful", "but probably shows another apical"),
        (View.A2C, (0, 1, 0, 0), "view_not_learnt", "The view is A2C"),
        (View.UNKNOWN, (0.3, 0, 0.3, 0.4), "view_unknown", "give --view (view)"),
        (View.UNKNOWN, (1, 0, 0, 0), "", ""),
        (View.A4C, (0.3, 0, 0.3, 0.4), "", ""),
        (View.A4C, (1, 0, 0, 0), "", ""),
    ],
)
def test_a_wrong_view_has_no_ef_unless_forced(analyzer, monkeypatch, view, scores, code, words):
    masks, times, _ = beating()
    in_view(analyzer, monkeypatch, *scores)
    monkeypatch.setattr(
        analyzer, "model_card", analyzer.model_card.model_copy(update={"views": (View.A4C,)})
    )
    found = analysis_of(analyzer, monkeypatch, masks, times, view=view)
    messages = {w.code: w.message for w in found.warnings if "view" in w.code}
    assert list(messages) == ([code] if code else [])
    assert words in messages.get(code, "")
    assert (found.measurement.ef_percent is None) == (code == "wrong_view")
    codes = {warning.code for warning in found.warnings}  # noise is doubted for other reasons too
    assert (found.ef_percent is None) == bool(UNRELIABLE_CODES & codes)
    if code == "wrong_view":
        assert "--force-view" in found.measurement.refusal
        assert found.reliability is None and found.measurement.disks is None
        forced = analysis_of(analyzer, monkeypatch, masks, times, view=view, force_view=True)
        assert forced.measurement.ef_percent is not None and forced.ef_reliable is False
        assert "wrong_view" in {warning.code for warning in forced.warnings}
        assert not forced.measurement.refusal


def test_colors_of_doppler_are_refused_whatever_the_pictures_say(analyzer, monkeypatch):
    masks, times, _ = beating()
    in_view(analyzer, monkeypatch, 1, 0, 0, 0)
    colour = (ClipWarning(code="colour_doppler", message="It has colours."),)
    found = analysis_of(analyzer, monkeypatch, masks, times, view=View.A4C, warnings=colour)
    assert found.ef_percent is None and "Doppler" in found.measurement.refusal


def test_pictures_alone_tell_another_view_before_anything_is_segmented(analyzer, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("segmented")

    monkeypatch.setattr("echoseg.inference.analyzer.segment_frames", refuse)
    frames = np.random.default_rng(0).integers(0, 255, (12, 96, 96), dtype=np.uint8)
    clip = Clip(frames=frames, times_s=np.arange(12) / 20)
    in_view(analyzer, monkeypatch, 0.02, 0.03, 0.05, 0.9)
    assert "no upright apical view" in analyzer.other_view(clip)
    assert not analyzer.other_view(replace(clip, view=View.A4C))  # stated: masks count too
    colour = (ClipWarning(code="colour_doppler", message="It has colours."),)
    assert "Doppler" in analyzer.other_view(replace(clip, view=View.A4C, warnings=colour))
    in_view(analyzer, monkeypatch, 0.15, 0.05, 0.1, 0.7)
    assert not analyzer.other_view(clip)
    still = replace(clip, frames=np.zeros_like(frames))
    assert analyzer.other_view(still).startswith("the clip shows no heart: no region of the")


def test_a_mirrored_clip_is_segmented_mirrored_and_its_masks_are_its_own(analyzer):
    config = PhantomConfig(seed=1_400_000_003, size_px=112, num_frames=12, frame_rate_hz=20.0)
    clip = simulate(config).clip
    plain = analyzer.analyze(clip, force_view=True)
    turned = replace(clip, frames=clip.frames[..., ::-1].copy(), sector_box=None)
    masks: list[np.ndarray] = []
    mirrored = analyzer.analyze(turned, force_view=True, on_mask=masks.append)
    assert np.array_equal(masks, mirrored.masks)
    assert not plain.predicted_view.is_mirrored and mirrored.predicted_view.is_mirrored
    assert mirrored.ef_percent == pytest.approx(plain.ef_percent, abs=0.5)
    cavity, own = plain.masks == 1, mirrored.masks[..., ::-1] == 1
    assert 2 * (cavity & own).sum() / (cavity.sum() + own.sum()) > 0.98
    assert "left_right_flipped" in {note.code for note in mirrored.notes}
    by_hand = quality_by_frame(clip.frames, plain.masks)
    assert quality_by_frame(clip.frames, plain.masks, plain.axes_px) == by_hand
    assert len(plain.axes_px) == 12 and not mirrored.axes_px  # those were of the mirrored masks


@pytest.mark.parametrize(
    ("scores", "widened"),
    [((1, 0, 0, 0), False), ((0, 1, 0, 0), False), ((0.3, 0.2, 0.1, 0.4), True)],
)
def test_an_unstated_view_widens_the_interval_only_where_it_cannot_be_told(
    analyzer, monkeypatch, scores, widened
):
    masks, times, _ = beating()
    in_view(analyzer, monkeypatch, *scores)
    reliability = analysis_of(analyzer, monkeypatch, masks, times, force_view=True).reliability
    assert reliability and reliability.interval
    assert ("The view is not recognized." in reliability.interval.widened_because) is widened
