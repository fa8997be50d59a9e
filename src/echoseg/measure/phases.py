"""Beats, end of diastole and end of systole from the volume curve, by R waves where they are known.

A beat is found in the regularized curve (`measure.curve`) by its turns: the curve must fall, and
then rise, by a quarter of its whole span. EDV and ESV are the largest volume before the fall and
the smallest after it, of one beat.

Times of a beat are not those of the extremes, where the curve is flat: the ventricle waits filled,
often for half a beat, before it ejects, and empty before it fills. ED is timed 50 ms (the
electromechanical delay) before the volume has fallen by 8 % of the stroke, ES 20 ms before the
middle of the time spent within 10 % of the stroke from the smallest; beat lengths and rhythm rest
on these. The frames that are measured and shown are those of the extremes (`Beat.at_extremes`),
as EDV and ESV are. With R waves a beat runs from one to the next, and ED is looked for from the R
wave on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

TURN_SHARE = 0.25
"""Share of the curve's span by which it must fall and rise again: premature beats eject 40 %."""
RISE_SHARE = 0.1
"""Share of the span by which it must rise after the clip's last ES, or that may lie outside."""
ED_SHARE, ED_LEAD_S = 0.08, 0.05
ES_SHARE, ES_LEAD_S = 0.1, 0.02
MIN_CUT_EF_PERCENT, MAX_CUT_S = 20.0, 1.0
"""A single fall below this EF, in a clip shorter than this, may be one within diastole."""
LEVEL_SHARE = 0.16
"""Share of the stroke by which the volume may change at the end of a clip that begins at ED or ends
at ES, as CAMUS's half sequences do: with it 95 % of those are taken, with `ED_SHARE` 73 %."""
SAME_BEAT_SHARE = 0.9
"""Share of a filling's stroke from which a systole that the clip cuts is read instead."""
_MIN_BEAT_FRAMES = 4
LeftOut = Literal["", "premature", "after_premature", "reader"]
"""Why a beat is not part of the mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """ED, the ES that follows (in a part of a beat: or precedes) it, and the next ED if seen.

    `largest` and `smallest` are read off the curve that the beat was found on, in its unit;
    `extreme_frames` are the frames of both, where they differ from those of ED and ES. `length_s`
    is None where it is unknown.
    """

    ed_frame: int
    es_frame: int
    next_ed_frame: int | None
    largest: float
    smallest: float
    left_out: LeftOut = ""
    extreme_frames: tuple[int, int] | None = None
    length_s: float | None = None

    def at_extremes(self) -> "Beat":
        """The same beat with ED and ES on the frames of its largest and smallest volume."""
        ed, es = self.extreme_frames or (self.ed_frame, self.es_frame)
        return replace(self, ed_frame=ed, es_frame=es)

    @property
    def ejection_ratio(self) -> float:
        """1 - smallest / largest, 0 to 1."""
        ratio = 1 - self.smallest / self.largest if self.largest > 0 else 0.0
        return min(1.0, max(0.0, ratio))


def find_beats(
    curve: np.ndarray,
    frame_s: float,
    r_wave_frames: tuple[int, ...] = (),
    known: np.ndarray | None = None,
) -> list[Beat]:
    """Return the beats of a regularized curve whose ED and ES both lie inside the clip.

    The next ED need not: a beat cut off in diastole has its EF. Frames where `known` is false hold
    no measured volume and are neither ED nor ES. Where no beat lies between R waves, as after one
    just before the clip, the beats are the curve's own.
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
    if not beats:
        return find_beats(curve, frame_s, (), known) if r_wave_frames else []
    after = _ed_after(curve, beats[-1], frame_s, r_wave_frames)
    return [*beats[:-1], replace(beats[-1], next_ed_frame=after)]


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
    bottoms = _bottoms(curve)
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
    high = np.where(usable, curve, -np.inf)
    top = begin + int(high[begin : bottom + 1].argmax())
    low = top + int(np.where(usable, curve, np.inf)[top:stop].argmin())
    largest, smallest = float(curve[top]), float(curve[low])
    stroke = largest - smallest
    if low - top < 2 or stroke <= 0:
        return None
    last = max(begin, _ed_before(high, (top, low), stroke, frame_s))
    if last < min_ed:
        return None
    ed = _nearest(usable, last, begin, low)
    near = np.flatnonzero(curve[:stop] > smallest + ES_SHARE * stroke)
    first = int(near[near < low].max(initial=ed)) + 1
    later = near[near > low]
    end = int(later[0]) - 1 if len(later) else stop - 1
    middle = round((first + end) / 2 - ES_LEAD_S / frame_s)
    es = _nearest(usable, int(np.clip(middle, ed + 1, end)), ed + 1, end + 1)
    return Beat(
        ed_frame=ed,
        es_frame=es,
        next_ed_frame=None,
        largest=largest,
        smallest=smallest,
        extreme_frames=(top, low),
    )


def _ed_before(curve: np.ndarray, fall: tuple[int, int], stroke: float, frame_s: float) -> int:
    """Return the ED of a fall, of which the top and the bottom are known."""
    top, low = fall
    full = np.flatnonzero(curve[top : low + 1] >= curve[top] - ED_SHARE * stroke)
    return top + int(full[-1]) - round(ED_LEAD_S / frame_s)


def _nearest(usable: np.ndarray, frame: int, begin: int, end: int) -> int:
    """Return the usable frame of `begin` to `end` nearest to one; that one when there is none."""
    frames = np.flatnonzero(usable[begin:end]) + begin
    return int(frames[np.abs(frames - frame).argmin()]) if len(frames) else frame


def _bottoms(curve: np.ndarray) -> list[int]:
    """Return the frames where the curve turns from a fall to a rise, both large enough."""
    span = float(np.ptp(curve))
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


def _ed_after(
    curve: np.ndarray, beat: Beat, frame_s: float, r_wave_frames: tuple[int, ...]
) -> int | None:
    """Return the ED that ends the clip's last beat, None when it may lie outside."""
    if r_wave_frames:
        return next((frame for frame in r_wave_frames if frame > beat.es_frame), None)
    top = beat.es_frame + int(curve[beat.es_frame :].argmax())
    low = top + int(curve[top:].argmin())
    if curve[top] - curve[low] <= RISE_SHARE * float(np.ptp(curve)):
        return None
    ed = _ed_before(curve, (top, low), beat.largest - beat.smallest, frame_s)
    return max(beat.es_frame + 1, ed)


def part_of_beat(curve: np.ndarray, known: np.ndarray) -> Beat:
    """Return the ED and the ES that lie nearest each other, for a clip without a whole systole.

    They are neighbours among the curve's turns, of which the clip's ends are two: an ED and the
    ES of its own beat, which the clip cuts; or, where that shows less than 0.9 of the stroke, an
    ES and the ED that its filling leads to. Volumes further apart are never paired.
    """
    low = np.where(known, curve, np.inf)
    high = np.where(known, curve, -np.inf)
    turns = [0, *sorted({*_bottoms(curve), *_bottoms(-curve)}), len(curve) - 1]
    pairs = []
    for before, after in pairwise(turns):
        part = slice(before, after + 1)
        ed, es = before + int(high[part].argmax()), before + int(low[part].argmin())
        stroke = float(high[ed] - low[es])
        pairs.append((stroke if ed < es else SAME_BEAT_SHARE * stroke, ed, es))
    _, ed, es = max(pairs)
    largest, smallest = float(curve[ed]), float(curve[es])
    return Beat(ed_frame=ed, es_frame=es, next_ed_frame=None, largest=largest, smallest=smallest)


def cut_reason(curve: np.ndarray, beats: Sequence[Beat], known: np.ndarray, frame_s: float) -> str:
    """Return why a clip may not show ED and ES of one beat; empty where it does.

    A part of a beat shows both where the curve turns at each, by a tenth of the stroke, inside the
    clip. Of a fall that ends with the clip or begins with it, it is enough that the curve has
    levelled there: by at most `LEVEL_SHARE` of the stroke over the electromechanical delay. A small
    stroke in a clip shorter than a beat may be that of atrium and ripple in diastole.
    """
    beat = beats[0] if beats else part_of_beat(curve, known)
    is_short = len(beats) < 2 and len(curve) * frame_s < MAX_CUT_S
    if is_short and 100 * beat.ejection_ratio < MIN_CUT_EF_PERCENT:
        return (
            f"The clip is shorter than most beats and its EF is below {MIN_CUT_EF_PERCENT:.0f} %, "
            "as a part of diastole would give"
        )
    if beats:
        return ""
    lasting, is_fall = 1 + max(1, round(ED_LEAD_S / frame_s)), beat.ed_frame < beat.es_frame
    missing = []
    for name, frame, sign, end in (
        ("ED", beat.ed_frame, -1, slice(None, lasting)),
        ("ES", beat.es_frame, 1, slice(-lasting, None)),
    ):
        height = sign * (curve - curve[frame]) / max(beat.largest - beat.smallest, 1e-12)
        turns = min(height[: frame + 1].max(), height[frame:].max()) >= RISE_SHARE
        if not turns and not (is_fall and height[end].max() <= LEVEL_SHARE):
            missing.append(name)
    return f"The clip may begin or end before {' and '.join(missing)}" if missing else ""
