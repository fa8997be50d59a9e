"""Beats as a reader states them: ED or ES moved, or taken out of the mean or into it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from echoseg.errors import ArgumentError
from echoseg.measure.measurement import FrozenModel
from echoseg.measure.phases import Beat


class StatedBeat(FrozenModel):
    """What a reader states of a beat.

    Attributes:
        span: First and last frame of the beat as it was shown: those detected that share a frame
            with it, ED to ES, are the same beat.
        ed_frame: Its ED; None: as detected.
        es_frame: Its ES; None: as detected.
        is_excluded: Whether it is left out of the mean; None: as detected.
    """

    span: tuple[int, int]
    ed_frame: int | None = None
    es_frame: int | None = None
    is_excluded: bool | None = None

    @property
    def is_moved(self) -> bool:
        """Whether ED or ES are the reader's."""
        return self.ed_frame is not None or self.es_frame is not None

    def is_of(self, beat: Beat) -> bool:
        """Whether a detected beat is this one."""
        first, last = sorted((beat.ed_frame, beat.es_frame))
        return first <= self.span[1] and self.span[0] <= last


class Statements(FrozenModel):
    """What a reader states of a clip's volumes.

    Attributes:
        beats: Of beats.
        drawn_frames: Frames whose cavity a reader drew.
    """

    beats: tuple[StatedBeat, ...] = ()
    drawn_frames: tuple[int, ...] = ()


NOTHING_STATED = Statements()
REACH_S = 0.075
"""How far from a beat's ED or ES a frame that a reader drew becomes it: half a parabola's length
(`measure.curve`), in which a single frame would be smoothed away."""


def drawn_alone(drawn_frames: Sequence[int], num_frames: int, frame_s: float) -> list[int]:
    """Frames that were drawn with some, but not all, of those within `REACH_S` of them."""
    drawn, reach = set(drawn_frames), _reach(frame_s)
    near = (range(max(0, f - reach), min(num_frames, f + reach + 1)) for f in drawn_frames)
    return [f for f, some in zip(drawn_frames, near, strict=True) if not drawn.issuperset(some)]


def on_drawn_frames(
    beats: Sequence[Beat], drawn: Sequence[int], curve: np.ndarray, frame_s: float
) -> list[Beat]:
    """Beats with ED and ES on the nearest of the frames drawn alone, where one is within reach.

    Args:
        beats: With ED and ES on the frames of their extremes.
        drawn: As `drawn_alone` returns them.
        curve: The smoothed curve `T`, with the own volumes of these frames.
        frame_s: Frame interval.
    """
    result = []
    for beat in beats:
        ed, es = (
            min(
                (f for f in drawn if abs(f - end) <= _reach(frame_s)),
                key=_distance(end),
                default=end,
            )
            for end in (beat.ed_frame, beat.es_frame)
        )
        if {ed, es} & set(drawn) and ed < es:
            largest = float(curve[ed]) if ed in drawn else beat.largest
            smallest = float(curve[es]) if es in drawn else beat.smallest
            beat = replace(beat, ed_frame=ed, es_frame=es, largest=largest, smallest=smallest)
        result.append(beat)
    return result


def _distance(end: int) -> Callable[[int], int]:
    return lambda frame: abs(frame - end)


def _reach(frame_s: float) -> int:
    return max(1, round(REACH_S / frame_s))


def state_beats(
    beats: Sequence[Beat], stated: Sequence[StatedBeat], curve: np.ndarray
) -> list[Beat]:
    """The beats, detected and stated, in the order of their ED.

    Args:
        beats: As detected, with ED and ES on the frames of their extremes.
        stated: What the reader says; the first that fits a detected beat changes it, and one with
            both frames that fits none is a beat of its own.
        curve: The curve that volumes are read off, `T`.

    Raises:
        ArgumentError: If a stated frame lies outside of the clip.
    """
    for one in stated:
        for frame in (one.ed_frame, one.es_frame):
            if frame is not None and not 0 <= frame < len(curve):
                raise ArgumentError(f"ED and ES must be frames 0 to {len(curve) - 1}, got {frame}")
    rest, result = list(stated), []
    for beat in beats:
        own = next((one for one in rest if one.is_of(beat)), None)
        if own is None:
            result.append(beat)
        else:
            rest.remove(own)
            result.append(_stated(beat, own, curve))
    for one in rest:
        if one.ed_frame is not None and one.es_frame is not None:
            beat = Beat(
                ed_frame=one.ed_frame,
                es_frame=one.es_frame,
                next_ed_frame=None,
                largest=float(curve[one.ed_frame]),
                smallest=float(curve[one.es_frame]),
            )
            result.append(_stated(beat, one, curve))
    return sorted(result, key=lambda beat: beat.ed_frame)


def _stated(beat: Beat, stated: StatedBeat, curve: np.ndarray) -> Beat:
    """A beat with what the reader says of it."""
    if stated.is_moved:
        ed = beat.ed_frame if stated.ed_frame is None else stated.ed_frame
        es = beat.es_frame if stated.es_frame is None else stated.es_frame
        after = beat.next_ed_frame
        beat = replace(
            beat,
            ed_frame=ed,
            es_frame=es,
            next_ed_frame=after if after is not None and after > es else None,
            largest=float(curve[ed]),
            smallest=float(curve[es]),
            extreme_frames=None,
        )
    if stated.is_excluded is None:
        return beat
    return replace(beat, left_out="reader" if stated.is_excluded else "")
