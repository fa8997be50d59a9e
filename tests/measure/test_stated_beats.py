"""Beats that a reader states."""

import numpy as np
import pytest

from echoseg.errors import ArgumentError
from echoseg.measure.frame import measure_each, measure_frame
from echoseg.measure.measure import Timing, measure_frames
from echoseg.measure.phases import Beat
from echoseg.measure.stated_beats import StatedBeat, Statements, state_beats
from heart_makers import beating, heart

MASKS, TIMES_S, _ = beating(120, bpm=60)
FRAMES = measure_each(MASKS, (1.0, 1.0))
CURVE = np.linspace(100, 40, 30)


def measured(*stated, frames=FRAMES, times_s=TIMES_S, drawn=()):
    return measure_frames(
        frames, Timing(times_s=times_s, stated=Statements(beats=stated, drawn_frames=drawn))
    )


def span(beat):
    return tuple(sorted((beat.ed_frame, beat.es_frame)))


def test_nothing_stated_changes_nothing():
    assert measured() == measure_frames(FRAMES, Timing(times_s=TIMES_S))


def test_a_moved_es_gives_the_volume_of_its_frame_and_leaves_the_other_beats():
    found = measured()
    first, second = found.beats[:2]
    moved = measured(StatedBeat(span=span(first), es_frame=first.es_frame - 4))
    assert moved.beats[0].es_frame == first.es_frame - 4
    assert moved.beats[0].esv_ml == pytest.approx(found.frames[first.es_frame - 4].smoothed_volume)
    assert moved.beats[0].edv_ml == first.edv_ml
    assert moved.beats[1] == second
    assert moved.ef_percent == pytest.approx(np.mean([beat.ef_percent for beat in moved.beats]))


def test_moving_to_where_it_was_changes_nothing():
    found = measured()
    first = found.beats[0]
    same = StatedBeat(span=span(first), ed_frame=first.ed_frame, es_frame=first.es_frame)
    assert measured(same).ef_percent == pytest.approx(found.ef_percent, abs=1e-12)


def test_ed_and_es_that_are_shown_are_those_of_the_beat_that_a_reader_drew():
    shown = {(beat.ed_frame, beat.es_frame) for beat in measured().beats}
    assert len(shown) > 2
    for ed, es in shown:
        for drawn in ((ed,), (es,), ((ed + es) // 2,)):
            corrected = measured(drawn=drawn)
            assert (corrected.ed_frame, corrected.es_frame) == (ed, es)
    every, none = measured(drawn=tuple(range(len(FRAMES)))), measured()
    assert (every.ed_frame, every.es_frame) == (none.ed_frame, none.es_frame)


def test_a_drawn_frame_that_jumps_against_its_neighbors_is_a_warning():
    def codes(frames, drawn):
        return {one.code for one in measured(frames=frames, drawn=drawn).warnings}

    es = measured().es_frame
    frames = list(FRAMES)
    frames[es] = measure_frame(MASKS[measured().ed_frame], (1.0, 1.0))
    assert "drawn_jump" in codes(frames, (es,))
    assert "drawn_jump" not in codes(frames, ())
    for end in (0, len(FRAMES) - 1):
        extremes = [measured().ed_frame, measured().es_frame]
        far = max(extremes, key=lambda one: abs(FRAMES[one].volume - FRAMES[end].volume))
        odd = list(FRAMES)
        odd[end] = measure_frame(MASKS[far], (1.0, 1.0))
        assert "drawn_jump" in codes(odd, (end,))
    for frame in (*range(0, len(FRAMES), 3), len(FRAMES) - 1):
        assert "drawn_jump" not in codes(FRAMES, (frame,))


def test_an_excluded_beat_stands_in_the_list_and_not_in_the_mean():
    found = measured()
    out = measured(StatedBeat(span=span(found.beats[0]), is_excluded=True))
    assert [beat.left_out for beat in out.beats] == ["reader", *[""] * (len(found.beats) - 1)]
    assert out.num_beats == found.num_beats - 1
    assert out.ef_percent == pytest.approx(
        np.mean([beat.ef_percent for beat in out.beats if not beat.left_out])
    )
    assert "premature_beats" not in {one.code for one in out.warnings}


def test_no_beat_left_is_no_ef():
    everything = [StatedBeat(span=span(beat), is_excluded=True) for beat in measured().beats]
    out = measured(*everything)
    assert out.ef_percent is None
    assert "every beat is left out" in out.refusal


def test_a_part_of_a_beat_becomes_a_beat_where_both_frames_are_stated():
    frames, times_s = FRAMES[:19], TIMES_S[:19]
    part = measured(frames=frames, times_s=times_s)
    assert part.is_part_of_beat
    stated = StatedBeat(span=(0, 18), ed_frame=1, es_frame=17)
    whole = measured(stated, frames=frames, times_s=times_s)
    assert (whole.ed_frame, whole.es_frame, whole.is_part_of_beat) == (1, 17, False)
    assert "cut_beat" not in {one.code for one in whole.warnings}


def test_a_statement_follows_the_beat_it_shares_frames_with():
    beats = [
        Beat(ed_frame=1, es_frame=8, next_ed_frame=12, largest=100, smallest=50),
        Beat(ed_frame=12, es_frame=20, next_ed_frame=None, largest=90, smallest=45),
    ]
    first, second = state_beats(beats, [StatedBeat(span=(11, 19), es_frame=22)], CURVE)
    assert first == beats[0]
    assert (second.ed_frame, second.es_frame) == (12, 22)
    assert second.smallest == CURVE[22]
    assert state_beats(beats, [StatedBeat(span=(25, 29), es_frame=27)], CURVE) == beats


def test_a_frame_that_is_none_of_the_clip_is_refused():
    with pytest.raises(ArgumentError, match="0 to 29, got 30"):
        state_beats([], [StatedBeat(span=(0, 9), ed_frame=3, es_frame=30)], CURVE)


def test_a_frame_that_is_drawn_alone_at_es_is_es_with_its_own_volume():
    found = measured()
    first = found.beats[0]
    frame = first.es_frame + 1
    frames = list(FRAMES)
    smaller = heart(10, 50, spacing_mm=(1.0, 1.0), size=(150, 150))
    frames[frame] = measure_frame(smaller, (1.0, 1.0))
    own_ml = frames[frame].volume
    drawn = measured(frames=frames, drawn=(frame,))
    assert drawn.beats[0].es_frame == frame
    assert drawn.beats[0].esv_ml == pytest.approx(own_ml)
    assert drawn.beats[1] == found.beats[1]
    unseen = measured(frames=frames)  # one frame of jitter, to the smoothing
    assert abs(unseen.beats[0].esv_ml - own_ml) > abs(unseen.beats[0].esv_ml - first.esv_ml)


def test_drawing_every_frame_smooths_as_if_none_was_drawn():
    everything = measured(drawn=tuple(range(len(FRAMES))))
    assert everything == measured()
