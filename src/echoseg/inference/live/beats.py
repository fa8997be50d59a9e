"""Beats as they pass: the last seconds of the volume curve, read by `measure.phases` again.

A beat is *finished* once the next ED is known and the smoother no longer changes it. Its EF is then
kept, once; the curve behind it is let go. Once none has finished for five seconds no EF is told,
and no beat is read across a gap. Ten times a second the last eight seconds are looked at, so a
frame costs the same after hours as at the beginning.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from echoseg.measure.phases import FASTEST_BPM, find_beats, frame_interval_s, smooth
from echoseg.measure.plausible import MIN_FRAME_FRACTION, fill_gaps

WINDOW_S, EVERY_S, SETTLED_S = 8.0, 0.1, 0.1
STALE_S, GAP_S = 5.0, 1.0
"""A beat that ended longer ago tells nothing of now; frames further apart are no one curve."""
MOST_SAMPLES = 2048
"""Bound of the memory, whatever the frame rate."""
ROLLING_BEATS = 5
"""Beats in the rolling mean: what guidelines average in atrial fibrillation."""
LEAST_SPAN_SHARE = 0.05
"""Share of the largest volume that the curve must span: below it nothing beats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedBeat:
    """One beat, ED to ED; volumes in the unit that was given."""

    number: int
    """From 1, since the session began or was reset."""
    ed_time_s: float
    es_time_s: float
    end_time_s: float
    largest: float
    smallest: float
    ef_percent: float


class RunningBeats:
    """Finds beats in volumes given one by one; constant memory."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._times_s: deque[float] = deque(maxlen=MOST_SAMPLES)
        self._volumes: deque[float] = deque(maxlen=MOST_SAMPLES)
        self._looked_s = -np.inf
        self.finished: deque[FinishedBeat] = deque(maxlen=ROLLING_BEATS)
        self._counted_es_s = -np.inf
        self.num_beats = 0
        self.last_ed_s: float | None = None
        self.last_es_s: float | None = None

    def push(self, time_s: float, volume: float | None) -> None:
        """Take in one frame's volume; None where no cavity was found."""
        if self._times_s and time_s - self._times_s[-1] > GAP_S:
            self._times_s.clear()
            self._volumes.clear()
        self._times_s.append(time_s)
        self._volumes.append(np.nan if volume is None else volume)
        while self._times_s[0] < time_s - WINDOW_S:
            self._times_s.popleft()
            self._volumes.popleft()
        if time_s - self._looked_s >= EVERY_S:
            self._looked_s = time_s
            self._look()
        if self.finished and time_s - self.finished[-1].end_time_s > STALE_S:
            self.finished.clear()

    @property
    def ef_percent(self) -> float | None:
        """Mean EF of the last finished beats, at most `ROLLING_BEATS`; None without one of late."""
        if not self.finished:
            return None
        return float(np.mean([beat.ef_percent for beat in self.finished]))

    def _look(self) -> None:
        times, volumes = np.array(self._times_s), np.array(self._volumes)
        known = np.isfinite(volumes)
        if len(times) < 8 or known.mean() < MIN_FRAME_FRACTION:
            return
        frame_s = frame_interval_s(times)
        curve = smooth(fill_gaps(volumes), frame_s)
        if np.ptp(curve) < LEAST_SPAN_SHARE * curve.max():
            return
        for beat in find_beats(curve, frame_s, (), known):
            ed_s, es_s = float(times[beat.ed_frame]), float(times[beat.es_frame])
            self.last_ed_s = max(ed_s, self.last_ed_s or ed_s)
            self.last_es_s = max(es_s, self.last_es_s or es_s)
            if beat.next_ed_frame is None:
                continue
            end_s = float(times[beat.next_ed_frame])
            self.last_ed_s = max(end_s, self.last_ed_s)
            if end_s > times[-1] - SETTLED_S or not self._is_new(es_s):
                continue
            self.num_beats += 1
            self._counted_es_s = es_s
            self.finished.append(
                FinishedBeat(
                    number=self.num_beats,
                    ed_time_s=ed_s,
                    es_time_s=es_s,
                    end_time_s=end_s,
                    largest=beat.largest,
                    smallest=beat.smallest,
                    ef_percent=100 * beat.ejection_ratio,
                )
            )

    def _is_new(self, es_s: float) -> bool:
        """Tell a beat not yet counted: no heart has two ends of systole so near."""
        return es_s > self._counted_es_s + 0.8 * 60 / FASTEST_BPM
