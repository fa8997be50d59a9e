"""Rhythm: lengths of beats, heart rate, premature beats, and a clock that no heart follows.

Premature beats fill too little and eject little, the beat after one fills too long and ejects much:
neither belongs into a mean of the sinus beats. In atrial fibrillation every beat is early or late,
and a beat in three or more cannot be the exception; there the mean takes all of them, as the
guideline says. Pulsus alternans changes the stroke, not the times, and stays in.

Reference:
    Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: representative beats are averaged.
    Malik et al., Eur Heart J 17 (1996), 354-381: an interval that differs by over 20 % is ectopic.
    Weissler et al., Circulation 37 (1968), 149-159: systolic time intervals for each heart rate.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from echoseg.measure.phases import Beat

SLOWEST_BPM, FASTEST_BPM = 30.0, 200.0
"""Rates of hearts; another comes from a wrong frame rate."""
TYPICAL_SYSTOLE_S = 0.325
"""From ED to ES as `measure.phases` times them; the median of phantom and CAMUS hearts."""
MIN_SYSTOLE_S, MAX_SYSTOLE_S = 0.2, 0.5
"""Electromechanical systole is .546 s - .0021 s per beat per minute, SD .014 s (Weissler): .23 s at
150 and .46 s at 40 per minute. One that is shorter or longer comes from a wrong frame rate."""
MAX_SYSTOLE_RATIO = 1.4
"""Ratio of a systole to `TYPICAL_SYSTOLE_S`, or its inverse, above which the smoothing follows the
systole instead of the clock."""
IRREGULAR_SHARE = 0.15
"""Standard deviation of the beats' lengths over their mean from which a rhythm is irregular."""
EARLY_SHARE, PAUSE_SHARE, WEAK_SHARE = 0.8, 1.15, 0.85
"""Of the typical beat: length before a premature beat, length after it, and its ejection."""
STEADY_SHARE = 0.08
"""SD of the intervals that remain, over their mean, up to which a rhythm is sinus but for a few."""


def beat_lengths_s(
    beats: Sequence[Beat], times_s: np.ndarray | None, r_wave_times_s: tuple[float, ...] = ()
) -> np.ndarray:
    """Return the beats' lengths: between R waves, else ES frames, else ED frames; may be none."""
    if len(r_wave_times_s) > 1:
        return np.diff(np.asarray(r_wave_times_s))
    if times_s is None or not beats:
        return np.zeros(0)
    if len(beats) > 1:
        return np.diff(times_s[[beat.es_frame for beat in beats]])
    last = beats[-1].next_ed_frame
    return np.zeros(0) if last is None else np.array([times_s[last] - times_s[beats[0].ed_frame]])


def time_beats(
    beats: Sequence[Beat], times_s: np.ndarray | None, r_wave_times_s: tuple[float, ...] = ()
) -> list[Beat]:
    """Return the beats, each with its own length: `beat_lengths_s` beat by beat.

    The length is from the last R wave before ES to the next one; without R waves from ES to the
    next ES, and of the last beat from ED to the ED after it, unknown where that is not seen.
    """
    if times_s is None:
        return list(beats)
    r_waves, timed, es_before_s = np.asarray(r_wave_times_s), [], -np.inf
    for beat, after in zip(beats, (*beats[1:], None), strict=False):
        begin = end = None
        if len(r_waves) > 1:
            next_wave = int(np.searchsorted(r_waves, times_s[beat.es_frame]))
            if 0 < next_wave < len(r_waves) and r_waves[next_wave - 1] > es_before_s:
                begin, end = r_waves[next_wave - 1 : next_wave + 1]
            es_before_s = times_s[beat.es_frame]
        elif after is not None:
            begin, end = times_s[[beat.es_frame, after.es_frame]]
        elif beat.next_ed_frame is not None:
            begin, end = times_s[[beat.ed_frame, beat.next_ed_frame]]
        length_s = None if begin is None or end is None else float(end - begin)
        timed.append(replace(beat, length_s=length_s))
    return timed


def systole_frames(beats: Sequence[Beat]) -> float | None:
    """Return the median number of frames from ED to ES, None without a beat."""
    return float(np.median([beat.es_frame - beat.ed_frame for beat in beats])) if beats else None


def is_systole(systole_s: float | None, frame_s: float) -> bool:
    """Return whether a heart's systole may last so long, give or take a frame, or is unknown."""
    if systole_s is None:
        return True
    return MIN_SYSTOLE_S - frame_s <= systole_s <= MAX_SYSTOLE_S + frame_s


def mark_premature(beats: Sequence[Beat]) -> list[Beat]:
    """Return the beats, those that a mean should leave out with the reason in `left_out`.

    A beat is premature if it comes after less than 0.8 of the median interval (between ES frames)
    and is weak or followed by a pause; the clip's first beat, whose interval is unknown, if it is
    weak and followed by a pause. Nothing is left out of three beats or fewer, where fewer than two
    intervals or fewer than half of the beats would remain, or where those that remain vary.
    """
    every = list(beats)
    intervals = np.diff([beat.es_frame for beat in every]).astype(float)
    if len(intervals) < 3:
        return every
    typical = float(np.median(intervals))
    weak_below = WEAK_SHARE * float(np.median([beat.ejection_ratio for beat in every]))
    before, after = [None, *intervals], [*intervals, None]
    reasons = [""] * len(every)
    for index, beat in enumerate(every):
        early = before[index] is not None and before[index] <= EARLY_SHARE * typical
        paused = after[index] is not None and after[index] >= PAUSE_SHARE * typical
        weak = beat.ejection_ratio < weak_below
        if (early and (paused or weak)) or (index == 0 and paused and weak):
            reasons[index] = "premature"
        elif index and reasons[index - 1] == "premature":
            reasons[index] = "after_premature"
    num_left = reasons.count("")
    regular = [
        interval
        for interval, pair in zip(intervals, pairwise(reasons), strict=True)
        if "premature" not in pair
    ]
    is_steady = len(regular) > 1 and np.std(regular, ddof=1) <= STEADY_SHARE * np.mean(regular)
    if num_left < len(every) / 2 or not is_steady:
        return every
    return [replace(beat, left_out=why) for beat, why in zip(every, reasons, strict=True)]


def is_irregular(lengths: np.ndarray) -> bool:
    """Return whether three or more beats differ in length as in atrial fibrillation."""
    return len(lengths) > 2 and bool(lengths.std(ddof=1) > IRREGULAR_SHARE * lengths.mean())


def heart_rate_bpm(lengths_s: np.ndarray) -> float | None:
    """Return the rate of the median beat, None without one; see `is_heart_rate`."""
    interval_s = float(np.median(lengths_s)) if len(lengths_s) else 0.0
    return 60 / interval_s if interval_s > 0 else None


def is_heart_rate(rate_bpm: float | None) -> bool:
    """Return whether a rate is a heart's, or unknown."""
    return rate_bpm is None or SLOWEST_BPM <= rate_bpm <= FASTEST_BPM
