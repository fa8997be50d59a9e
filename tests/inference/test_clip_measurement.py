"""What rests on a contradiction of a clip's sources is withheld; what does not is as it was."""

import numpy as np
import pytest

from echoseg.clip import Clip, SourceDecision, SourceStatement, View
from echoseg.inference.analysis import analyze_masks
from echoseg.inference.clip_measurement import measure_clip
from echoseg.io.arbitration import decide, settle
from echoseg.io.frames import OpenOptions
from echoseg.measure.measure import measure_masks
from echoseg.preprocess.sector import Sector
from heart_makers import beating

BPM, RATE_HZ = 80.0, 40.0
MASKS, TIMES_S, _ = beating(100, bpm=BPM, rate_hz=RATE_HZ)
R_WAVES_S = (0.0, 0.75, 1.5, 2.25)


def clip_of(masks=MASKS, times_s=TIMES_S, **known):
    frames = np.zeros(masks.shape, np.uint8)
    return Clip(frames=frames, times_s=times_s, spacing_mm=(1.0, 1.0), view=View.A4C, **known)


def decision(quantity, *values, choice=0, contradicting=()):
    statements = tuple(SourceStatement(origin=f"source {v:g}", value=v) for v in values)
    return SourceDecision(
        quantity=quantity, statements=statements, choice=choice, contradicting=contradicting
    )


def codes(measurement):
    return {warning.code for warning in measurement.warnings}


def test_a_clip_without_contradictions_is_measured_as_its_masks_are():
    plain = measure_masks(MASKS, spacing_mm=(1.0, 1.0), times_s=TIMES_S, r_wave_times_s=R_WAVES_S)
    sources = (decision("frame_rate_hz", RATE_HZ), decision("heart_rate_bpm", BPM, 85))
    measurement = measure_clip(clip_of(r_wave_times_s=R_WAVES_S, sources=sources), MASKS)
    assert measurement == plain
    assert measurement.heart_rate_bpm == pytest.approx(BPM)


@pytest.mark.parametrize("slower", [4 / 3, 2, 0.6, 8])
def test_r_waves_that_contradict_the_curve_are_not_used(slower):
    times_s = TIMES_S * slower
    measurement = measure_clip(clip_of(times_s=times_s, r_wave_times_s=R_WAVES_S), MASKS)
    alone = measure_masks(MASKS, spacing_mm=(1.0, 1.0), times_s=times_s)
    assert measurement.ef_percent == alone.ef_percent
    assert measurement.heart_rate_bpm is None
    (warning,) = (w for w in measurement.warnings if w.code == "contradicted_r_waves")
    assert "R waves give 80 beats per minute" in warning.message


def test_rates_are_withheld_where_the_clock_is_contradicted_or_assumed():
    contradicted = decision("frame_rate_hz", RATE_HZ, 60, contradicting=(1,))
    for rate in (contradicted, decision("frame_rate_hz", 1e4, choice=None)):
        measurement = measure_clip(clip_of(sources=(rate,)), MASKS)
        assert measurement.heart_rate_bpm is None
        assert measurement.peak_ejection_rate_edv_per_s is None
        assert measurement.peak_filling_rate_ml_per_s is None
        assert {beat.peak_ejection_rate_edv_per_s for beat in measurement.beats} == {None}
        assert {beat.heart_rate_bpm for beat in measurement.beats} == {None}
        assert measurement.heart_rate_sd_bpm is None
        assert measurement.heart_rate_unreliable_bpm == pytest.approx(BPM, abs=1)
        assert measurement.ef_percent == pytest.approx(
            measure_clip(clip_of(), MASKS).ef_percent, abs=2
        )
        assert "contradicted_ef" not in codes(measurement)


def test_without_times_nothing_is_given_per_second():
    timed, untimed = measure_clip(clip_of(), MASKS), measure_clip(clip_of(times_s=None), MASKS)
    assert untimed.ef_percent == pytest.approx(timed.ef_percent, abs=1)
    assert [beat.es_frame for beat in untimed.beats] == [beat.es_frame for beat in timed.beats]
    names = [name for name in type(timed).model_fields if "_per_s" in name or "heart_rate" in name]
    assert {getattr(untimed, name) for name in names} == {None}
    assert {beat.peak_ejection_rate_edv_per_s for beat in untimed.beats} == {None}
    assert "clock_implausible" not in codes(untimed)
    waves = measure_masks(MASKS, spacing_mm=None, times_s=None, r_wave_times_s=R_WAVES_S)
    assert waves.heart_rate_bpm == pytest.approx(BPM)


def test_a_machines_heart_rate_that_the_clip_contradicts_withholds_it():
    rate = decision("heart_rate_bpm", 40)
    measurement = measure_clip(clip_of(sources=(decision("frame_rate_hz", 40), rate)), MASKS)
    assert measurement.heart_rate_bpm is None
    (warning,) = (w for w in measurement.warnings if w.code == "contradicted_heart_rate")
    assert "source 40 40 beats per minute, but the clip shows 80" in warning.message


def test_a_heart_rate_that_is_no_evidence_contradicts_nothing():
    waves = SourceStatement(origin="R waves", value=6e4, unused_because="the rate of no heart")
    sources = (decision("frame_rate_hz", RATE_HZ), decide("heart_rate_bpm", [waves]))
    measurement = measure_clip(clip_of(sources=sources), MASKS)
    assert measurement.heart_rate_bpm == pytest.approx(BPM, abs=1)
    assert "contradicted_heart_rate" not in codes(measurement)


@pytest.mark.parametrize(("shrink", "changes"), [(0.25, False), (0.1, True)])
def test_an_ef_that_depends_on_which_number_of_frames_is_right_is_withheld(shrink, changes):
    later = beating(100, bpm=BPM, rate_hz=RATE_HZ, shrink=shrink)[0]
    masks = np.concatenate([MASKS[:60], later[60:]])
    count = decision("num_frames", 100, 60, contradicting=(1,))
    analysis = analyze_masks(clip_of(masks, sources=(count,)), masks)
    assert ("contradicted_ef" in {w.code for w in analysis.warnings}) == changes
    assert (analysis.ef.kind == "unreliable") == changes
    assert (analysis.ef_percent is None) == changes
    if changes:
        assert "source 60 would change EF by over 2 points" in analysis.ef.reason


def test_a_pause_in_the_times_leaves_no_heart_rate():
    times_s = TIMES_S + 2 * (np.arange(len(TIMES_S)) >= 50)
    clip = settle(clip_of(times_s=times_s), OpenOptions())
    assert "pause_in_times" in {note.code for note in clip.warnings}
    measurement = measure_clip(clip, MASKS)
    assert (measurement.heart_rate_bpm, measurement.peak_filling_rate_ml_per_s) == (None, None)
    assert measurement.ef_percent == pytest.approx(measure_clip(clip_of(), MASKS).ef_percent, abs=2)


@pytest.mark.parametrize(("rows", "is_kept"), [(30, False), (200, True), (340, False)])
def test_a_depth_that_no_adult_clip_has_withholds_volumes_and_keeps_the_ef(rows, is_kept):
    sector = Sector(mask=np.ones(MASKS[0].shape, bool), box=(0, 0, rows, 100))
    plain, measurement = (measure_clip(clip_of(), MASKS, sector=one) for one in (None, sector))
    assert measurement.ef_percent == pytest.approx(plain.ef_percent)
    assert (measurement.edv_ml is not None) == is_kept
    assert "no_scale_no_millilitres" not in codes(measurement)
    messages = [one.message for one in measurement.warnings if one.code == "implausible_depth"]
    assert bool(messages) != is_kept
    for message in messages:
        assert f"{rows} mm deep by a pixel spacing of 1 mm, outside 40 to 300 mm" in message
