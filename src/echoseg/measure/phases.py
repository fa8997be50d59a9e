"""Beats, end of diastole and end of systole from the volume curve, by R waves where they are known.

The curve is regularised first (`smooth`): median of 3, then a Savitzky-Golay parabola over 0.15 s,
which takes the jitter of single frames off and keeps a systole of 0.3 s within 1 %. A beat is found
by its turns: the curve must fall, and then rise, by a quarter of its whole span. EDV and ESV are
the largest volume before the fall and the smallest after it.

The frames of ED and ES are not those of the extremes, where the curve is flat: the ventricle
waits filled, often for half a beat, before it ejects, and empty before it fills. ED is 50 ms (the
electromechanical delay) before the volume has fallen by 8 % of the stroke; ES lies 20 ms before the
middle of the time spent within 10 % of the stroke from the smallest. On the phantom's noisy true
curves (`docs/results/measurement.md`) both are nearer to the truth so than by the extremes. With
R waves a beat runs from one to the next, and ED is looked for from the R wave on.

Reference:
    Savitzky and Golay, Analytical Chemistry 36 (1964), 1627-1639.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import savgol_filter

SLOWEST_BPM, FASTEST_BPM = 35.0, 200.0
SMOOTHING_S = 0.15
"""Length of the parabola; at least 5 frames."""
MAX_BEYOND = 0.1
"""Share of the measured range by which a parabola may leave it; at a jump it would by far more."""
ASSUMED_FRAME_S = 1 / 30
"""Where the clip has no times."""
TURN_SHARE = 0.25
"""Share of the curve's span by which it must fall and rise again: premature beats eject 40 %."""
RISE_SHARE = 0.1
"""Share of the span by which it must rise after the clip's last ES, or that may lie outside."""
ED_SHARE, ED_LEAD_S = 0.08, 0.05
ES_SHARE, ES_LEAD_S = 0.1, 0.02
IRREGULAR_SHARE = 0.15
"""Standard deviation of the beats' lengths over their mean from which a rhythm is irregular."""
_MIN_BEAT_FRAMES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """ED, the ES that follows (in a clip of half a beat: or precedes) it, and the next ED if seen.

    `largest` and `smallest` are read off the curve that the beat was found on, in its unit.
    """

    ed_frame: int
    es_frame: int
    next_ed_frame: int | None
    largest: float
    smallest: float

    @property
    def ejection_ratio(self) -> float:
        """1 - smallest / largest, 0 to 1."""
        ratio = 1 - self.smallest / self.largest if self.largest > 0 else 0.0
        return min(1.0, max(0.0, ratio))


def frame_interval_s(times_s: np.ndarray | None) -> float:
    """Return the median time between frames; 1/30 s where the clip has no times."""
    if times_s is None or len(times_s) < 2:
        return ASSUMED_FRAME_S
    return float(np.median(np.diff(times_s)))


def smooth(values: np.ndarray, frame_s: float = ASSUMED_FRAME_S) -> np.ndarray:
    """Return the regularised curve `T`; clips of fewer than 5 frames as they are.

    It leaves the range of what was measured by a tenth of it at most, and is never negative.
    """
    if len(values) < 5:
        return np.asarray(values, float)
    parabolas = _parabolas(values, frame_s)
    low, high = float(np.min(values)), float(np.max(values))
    beyond = MAX_BEYOND * (high - low)
    return parabolas.clip(max(min(low, 0.0), low - beyond), high + beyond)


def rates_per_s(values: np.ndarray, frame_s: float) -> np.ndarray:
    """The curve's change per second, from the same parabolas."""
    if len(values) < 5:
        return np.gradient(values, frame_s) if len(values) > 1 else np.zeros(len(values))
    return _parabolas(values, frame_s, 1)


def _parabolas(values: np.ndarray, frame_s: float, derivative: int = 0) -> np.ndarray:
    """A derivative of the parabolas fitted to at least 5 frames; high frame rates are medianed."""
    window = max(5, 2 * round(SMOOTHING_S / frame_s / 2) + 1)
    window = min(window, len(values) - 1 + len(values) % 2)
    calm = median_filter(values, 3, mode="nearest") if frame_s < 0.045 else values
    return np.asarray(savgol_filter(calm, window, 2, deriv=derivative, delta=frame_s))


def find_beats(
    curve: np.ndarray,
    frame_s: float,
    r_wave_frames: tuple[int, ...] = (),
    known: np.ndarray | None = None,
) -> list[Beat]:
    """Return the beats of a regularised curve whose ED and ES both lie inside the clip.

    The next ED need not: a beat cut off in diastole has its EF. Frames where `known` is false hold
    no measured volume and are neither ED nor ES.
    """
    usable = np.ones(len(curve), bool) if known is None else known
    span = float(np.ptp(curve))
    if span <= 0 or not usable.any():
        return []
    parts = _by_r_waves(curve, r_wave_frames) if r_wave_frames else _by_turns(curve)
    beats: list[Beat] = []
    for part in parts:
        # without its R wave, an ED in the first frames may have been larger before the clip began
        min_ed = 0 if r_wave_frames else 1
        beat = _beat(curve, usable, part, (frame_s, min_ed))
        if beat is None or (beats and beat.ed_frame <= beats[-1].es_frame):
            continue
        if beats:
            beats[-1] = replace(beats[-1], next_ed_frame=beat.ed_frame)
        beats.append(beat)
    if beats and (after := _ed_after(curve, beats[-1].es_frame, r_wave_frames)):
        beats[-1] = replace(beats[-1], next_ed_frame=after)
    return beats


_Part = tuple[int, int, int]
"""Where a beat begins, its bottom, where it ends (half open)."""


def _by_r_waves(curve: np.ndarray, r_wave_frames: tuple[int, ...]) -> list[_Part]:
    """Return the parts from R wave to R wave; after the last one if the curve rises again."""
    parts = []
    for begin, end in pairwise([*r_wave_frames, len(curve)]):
        if end - begin < _MIN_BEAT_FRAMES:
            continue
        low = begin + int(curve[begin:end].argmin())
        if end < len(curve) or np.ptp(curve[low:]) >= RISE_SHARE * np.ptp(curve):
            parts.append((begin, low, end))
    return parts


def _by_turns(curve: np.ndarray) -> list[_Part]:
    """Return each fall and the rise after it: from the bottom before to the top after."""
    bottoms = _bottoms(curve, float(np.ptp(curve)))
    begins = [0, *bottoms][: len(bottoms)]
    ends = [*bottoms[1:], len(curve)][: len(bottoms)]
    tops = [low + int(curve[low:end].argmax()) for low, end in zip(bottoms, ends, strict=True)]
    return list(zip(begins, bottoms, tops, strict=True))


def _beat(
    curve: np.ndarray, usable: np.ndarray, part: _Part, known: tuple[float, int]
) -> Beat | None:
    """Return the beat of a part; None when it holds no fall between usable frames.

    `known` is (frame interval in s, first frame that can be an ED).
    """
    begin, bottom, stop = part
    frame_s, min_ed = known
    if not usable[begin : bottom + 1].any():
        return None
    top = begin + int(np.where(usable, curve, -np.inf)[begin : bottom + 1].argmax())
    low = top + int(np.where(usable, curve, np.inf)[top:stop].argmin())
    largest, smallest = float(curve[top]), float(curve[low])
    stroke = largest - smallest
    if low - top < 2 or stroke <= 0:
        return None
    before = np.arange(begin, low + 1)
    last = int(before[usable[before] & (curve[before] >= largest - ED_SHARE * stroke)][-1])
    last -= round(ED_LEAD_S / frame_s)
    if max(begin, last) < min_ed:
        return None
    ed = _nearest(usable, max(begin, last), begin, low)
    near = np.flatnonzero(curve[:stop] > smallest + ES_SHARE * stroke)
    first = int(near[near < low].max(initial=ed)) + 1
    later = near[near > low]
    end = int(later[0]) - 1 if len(later) else stop - 1
    middle = round((first + end) / 2 - ES_LEAD_S / frame_s)
    es = _nearest(usable, int(np.clip(middle, ed + 1, end)), ed + 1, end + 1)
    return Beat(ed_frame=ed, es_frame=es, next_ed_frame=None, largest=largest, smallest=smallest)


def _nearest(usable: np.ndarray, frame: int, begin: int, end: int) -> int:
    """Return the usable frame of `begin` to `end` nearest to one; that one when there is none."""
    frames = np.flatnonzero(usable[begin:end]) + begin
    return int(frames[np.abs(frames - frame).argmin()]) if len(frames) else frame


def _bottoms(curve: np.ndarray, span: float) -> list[int]:
    """Return the frames where the curve turns from a fall to a rise, both large enough."""
    minima: list[int] = []
    high = low = 0
    falling = False
    for frame, value in enumerate(curve):
        if falling:
            low = frame if value < curve[low] else low
            if value - curve[low] > TURN_SHARE * span:
                minima.append(low)
                falling, high = False, frame
        else:
            high = frame if value >= curve[high] else high
            if curve[high] - value > TURN_SHARE * span:
                falling, low = True, frame
    if falling and curve[low:].max() - curve[low] >= RISE_SHARE * span:
        minima.append(low)
    return minima


def _ed_after(curve: np.ndarray, es: int, r_wave_frames: tuple[int, ...]) -> int | None:
    """Return the ED that ends the clip's last beat, None when it may lie outside."""
    if r_wave_frames:
        return next((frame for frame in r_wave_frames if frame > es), None)
    top = es + int(curve[es:].argmax())
    fell = curve[top] - curve[top:].min() > RISE_SHARE * float(np.ptp(curve))
    return top if fell else None


def clip_as_beat(curve: np.ndarray, known: np.ndarray) -> Beat:
    """Return the largest and smallest of the whole curve, for a clip without a beat."""
    ed = int(np.where(known, curve, -np.inf).argmax())
    es = int(np.where(known, curve, np.inf).argmin())
    largest, smallest = float(curve[ed]), float(curve[es])
    return Beat(ed_frame=ed, es_frame=es, next_ed_frame=None, largest=largest, smallest=smallest)


def beat_lengths_s(
    beats: list[Beat], times_s: np.ndarray | None, r_wave_times_s: tuple[float, ...] = ()
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


def is_irregular(lengths_s: np.ndarray) -> bool:
    """Return whether three or more beats differ in length as in atrial fibrillation."""
    return len(lengths_s) > 2 and bool(lengths_s.std(ddof=1) > IRREGULAR_SHARE * lengths_s.mean())


def heart_rate_bpm(lengths_s: np.ndarray) -> float | None:
    """Return the rate of the median beat; None when there is none, or no heart beats so."""
    interval_s = float(np.median(lengths_s)) if len(lengths_s) else 0.0
    rate = 60 / interval_s if interval_s > 0 else 0.0
    return rate if SLOWEST_BPM <= rate <= FASTEST_BPM else None
