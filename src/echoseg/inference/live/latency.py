"""Latencies over hours in a few hundred counters."""

import math

import numpy as np

_MIN_S, _MAX_S, _STEP = 1e-5, 100.0, 1.02


class LatencyHistogram:
    """Counts of durations on a logarithmic scale: quantiles to 2 %, from 10 us to 100 s."""

    def __init__(self) -> None:
        size = math.ceil(math.log(_MAX_S / _MIN_S) / math.log(_STEP)) + 1
        self._counts = np.zeros(size, np.int64)
        self.max_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one duration."""
        place = math.log(max(duration_s, _MIN_S) / _MIN_S) / math.log(_STEP)
        self._counts[min(int(place), len(self._counts) - 1)] += 1
        self.max_s = max(self.max_s, duration_s)

    @property
    def number(self) -> int:
        """Number of durations counted."""
        return int(self._counts.sum())

    def quantile_s(self, share: float) -> float | None:
        """Duration that a fraction `share` of all does not exceed; None before the first."""
        if not self.number:
            return None
        place = int(np.searchsorted(self._counts.cumsum(), share * self.number))
        return min(_MIN_S * _STEP ** (place + 1), self.max_s)
