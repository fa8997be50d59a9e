"""How long answers took, over hours, in the memory of a few hundred counters."""

import math

import numpy as np

_SHORTEST_S, _LONGEST_S, _STEP = 1e-5, 100.0, 1.02


class LatencyHistogram:
    """Counts of durations on a logarithmic scale: quantiles to 2 %, from 10 us to 100 s."""

    def __init__(self) -> None:
        size = math.ceil(math.log(_LONGEST_S / _SHORTEST_S) / math.log(_STEP)) + 1
        self._counts = np.zeros(size, np.int64)
        self.longest_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one."""
        place = math.log(max(duration_s, _SHORTEST_S) / _SHORTEST_S) / math.log(_STEP)
        self._counts[min(int(place), len(self._counts) - 1)] += 1
        self.longest_s = max(self.longest_s, duration_s)

    @property
    def number(self) -> int:
        """How many were counted."""
        return int(self._counts.sum())

    def quantile_s(self, share: float) -> float | None:
        """Return the duration that `share` of all are at or below; None before the first."""
        if not self.number:
            return None
        place = int(np.searchsorted(self._counts.cumsum(), share * self.number))
        return min(_SHORTEST_S * _STEP ** (place + 1), self.longest_s)
