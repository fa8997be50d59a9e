"""Beats of a live curve: `measure.phases` on the volumes of the last seconds.

A beat is *finished* once the next ED is known and smoothing no longer changes it; its EF is then
stored once. No EF is reported when no beat has finished for five seconds, and no beat spans a gap.
The last eight seconds are analysed every 0.1 s, so a frame costs the same after hours as at the
start.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from echoseg.measure.curve import frame_interval_s, smooth
from echoseg.measure.phases import find_beats
from echoseg.measure.plausible import MIN_FRAME_FRACTION, fill_gaps
from echoseg.measure.rhythm import FASTEST_BPM

WINDOW_S, EVERY_S, SETTLED_S = 8.0, 0.1, 0.1
STALE_S, GAP_S = 5.0, 1.0
"""Age at which a finished beat is dropped; time between frames that interrupts the curve."""
MAX_SAMPLES = 2048
"""Limit of the stored curve at any frame rate."""
ROLLING_BEATS = 5
"""Beats in the rolling mean: what guidelines average in atrial fibrillation."""
MIN_SPAN_SHARE = 0.05
"""Fraction of the largest volume that the curve must span to contain beats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedBeat:
    """One beat, ED to ED."""

    number: int
    """From 1, since the session began or was reset."""
    ed_time_s: float
    es_time_s: float
    end_time_s: float
    ef_percent: float


class RunningBeats:
    """Finds beats in volumes given one by one; constant memory."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget everything."""
        self._times_s: deque[float] = deque(maxlen=MAX_SAMPLES)
        self._volumes: deque[float] = deque(maxlen=MAX_SAMPLES)
        self._analyzed_s = -np.inf
        self.finished: deque[FinishedBeat] = deque(maxlen=ROLLING_BEATS)
        self._counted_es_s = -np.inf
        self.num_beats = 0
        self.last_ed_s: float | None = None
        self.last_es_s: float | None = None

    def push(self, time_s: float, volume: float | None) -> None:
        """Add the volume of one frame; None without a cavity."""
        if self._times_s and time_s - self._times_s[-1] > GAP_S:
            self._times_s.clear()
            self._volumes.clear()
        self._times_s.append(time_s)
        self._volumes.append(np.nan if volume is None else volume)
        while self._times_s[0] < time_s - WINDOW_S:
            self._times_s.popleft()
            self._volumes.popleft()
        if time_s - self._analyzed_s >= EVERY_S:
            self._analyzed_s = time_s
            self._analyze()
        if self.finished and time_s - self.finished[-1].end_time_s > STALE_S:
            self.finished.clear()

    @property
    def ef_percent(self) -> float | None:
        """Mean EF of the last `ROLLING_BEATS` finished beats; None without a recent one."""
        if not self.finished:
            return None
        return float(np.mean([beat.ef_percent for beat in self.finished]))

    def _analyze(self) -> None:
        times, volumes = np.array(self._times_s), np.array(self._volumes)
        known = np.isfinite(volumes)
        if len(times) < 8 or known.mean() < MIN_FRAME_FRACTION:
            return
        frame_s = frame_interval_s(times)
        curve = smooth(fill_gaps(volumes), frame_s)
        if np.ptp(curve) < MIN_SPAN_SHARE * curve.max():
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
                    ef_percent=100 * beat.ejection_ratio,
                )
            )

    def _is_new(self, es_s: float) -> bool:
        """Whether a beat is not yet counted: two ES of one heart are further apart."""
        return es_s > self._counted_es_s + 0.8 * 60 / FASTEST_BPM
