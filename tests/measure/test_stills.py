"""ED and ES alone: exact volumes, the same EF as any formula, refusals."""

import numpy as np
import pytest

from echoseg.clip import Clip, View
from echoseg.errors import ArgumentError, MeasurementError
from echoseg.inference.analysis import analyze_masks
from echoseg.measure import ejection_fraction, measure_ed_es
from echoseg.measure.biplane import combine_views
from echoseg.measure.measure import measure_masks
from heart_makers import beating, half_ellipsoid_ml, heart

ED, ES = heart(22, 80), heart(16, 70)
TRUE_EF = 100 * (1 - half_ellipsoid_ml(16, 70) / half_ellipsoid_ml(22, 80))


def test_two_stills_have_the_volumes_of_their_formula():
    found = measure_ed_es(ED, ES, spacing_mm=(0.5, 0.5))
    assert found.refusal == ""
    assert found.edv_ml == pytest.approx(half_ellipsoid_ml(22, 80), rel=0.02)
    assert found.esv_ml == pytest.approx(half_ellipsoid_ml(16, 70), rel=0.02)
    assert found.ef_percent == pytest.approx(TRUE_EF, abs=1)
    assert found.ef_percent == pytest.approx(ejection_fraction([ED, ES]), abs=1e-9)
    assert (found.ed_frame, found.es_frame, found.num_beats) == (0, 1, 0)
    assert found.beats == () and found.beats_text == "two stills, ED and ES"
    assert not found.is_part_of_beat
    assert found.lv_length_ed_mm == pytest.approx(80, abs=1)
    assert found.lv_length_es_mm == pytest.approx(70, abs=1)
    assert found.gls_percent < -5
    assert found.heart_rate_bpm is None and found.peak_ejection_rate_edv_per_s is None
    assert [note.code for note in found.notes] == ["ed_es_stills"]
    assert found.warnings == ()


def test_two_stills_of_a_clip_have_the_clips_ef():
    masks, times, truth = beating(80, phase=0.5)
    clip = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    stills = measure_ed_es(masks[truth.argmax()], masks[truth.argmin()], spacing_mm=(1.0, 1.0))
    assert stills.ef_percent == pytest.approx(clip.ef_percent, abs=1)


def test_without_spacing_there_is_an_ef_and_no_millilitres():
    found = measure_ed_es(ED, ES)
    assert found.ef_percent == pytest.approx(TRUE_EF, abs=1)
    assert found.edv_ml is None
    assert "no_scale_no_millilitres" in {warning.code for warning in found.warnings}


def test_the_cavity_alone_is_enough_when_it_is_said():
    ed, es = (np.where(mask == 1, mask, 0).astype(np.uint8) for mask in (ED, ES))
    assert "cavity_only=True" in measure_ed_es(ed, es).refusal
    assert measure_ed_es(ed, es, cavity_only=True).ef_percent == pytest.approx(TRUE_EF, abs=1.5)


def test_stray_pieces_do_not_count():
    stray = ES.copy()
    stray[:4, :4] = 1
    assert measure_ed_es(ED, stray).ef_percent == measure_ed_es(ED, ES).ef_percent


def test_stills_that_give_no_ef_say_why():
    assert "larger at ES than at ED" in measure_ed_es(ES, ED).refusal
    assert "ED first" in measure_ed_es(ES, ED).refusal
    assert "two different frames" in measure_ed_es(ED, ED).refusal
    assert "heart wall or atrium" in measure_ed_es(np.ones_like(ED), ES).refusal
    nothing = np.zeros_like(ED)
    assert "at ES" in measure_ed_es(ED, nothing).refusal
    assert measure_ed_es(nothing, nothing).ef_percent is None
    assert "ED and ES" in measure_ed_es(nothing, nothing).refusal


@pytest.mark.parametrize(
    ("ed", "es", "words"),
    [
        (ED, ES[:-1], "one shape"),
        (ED[None], ES[None], "one shape"),
        (ED.astype(int), ES.astype(int), "uint8"),
        (ED + np.uint8(4), ES, "labels 0 to 3"),
    ],
)
def test_what_are_no_two_label_maps_is_refused(ed, es, words):
    with pytest.raises(MeasurementError, match=words):
        measure_ed_es(ed, es)


@pytest.mark.parametrize("spacing_mm", [(-0.5, 0.5), (0, 0), (np.nan, 0.5), 0.5, (0.5,) * 3])
def test_a_spacing_that_is_none_is_refused(spacing_mm):
    with pytest.raises(ArgumentError, match="spacing_mm must be"):
        measure_ed_es(ED, ES, spacing_mm=spacing_mm)


def test_a_clip_of_two_frames_is_ed_and_es():
    clip = Clip(frames=np.stack([ED, ES]) * 60, spacing_mm=(0.5, 0.5), view=View.A4C)
    found = analyze_masks(clip, np.stack([ED, ES]))
    assert found.measurement == measure_ed_es(ED, ES, spacing_mm=(0.5, 0.5))


def test_two_views_of_stills_are_biplane():
    plane = measure_ed_es(ED, ES, spacing_mm=(0.5, 0.5))
    both = combine_views(plane, plane)
    assert both.ef_percent == pytest.approx(plane.ef_percent)
    assert both.la_volume_ml == pytest.approx(plane.la_volume_ml)
