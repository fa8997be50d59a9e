"""From echo power to grey level and back: grey = 255 (dB / range)^gamma, 0 dB being black."""

from dataclasses import dataclass

import numpy as np

from echoseg.phantom.config import Style

SPECKLE_LOSS_DB = 2.51
"""Mean of the log of fully developed speckle lies so far below the log of its mean power."""
_STEPS_PER_DB = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class GreyMap:
    """The compression.

    Attributes:
        range_db: Dynamic range shown.
        gamma: Bend of the map.
    """

    range_db: float
    gamma: float

    @classmethod
    def draw(cls, rng: np.random.Generator, style: Style) -> "GreyMap":
        """Draw a map; the held-out style has a shorter or longer range than any in training."""
        a, b, c = rng.uniform(size=3)
        if style is Style.TRAIN:
            return cls(range_db=44 + 26 * a, gamma=0.8 + 0.6 * b)
        return cls(range_db=36 + 6 * a if c < 0.5 else 73 + 9 * a, gamma=0.6 + 1.2 * b)

    def to_db(self, grey: np.ndarray) -> np.ndarray:
        """Return the echo power whose speckle has this mean grey."""
        share = np.clip(np.asarray(grey, float) / 255, 1e-3, 1)
        return self.range_db * share ** (1 / self.gamma) + SPECKLE_LOSS_DB

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (grey levels in equal steps of dB, (steps a dB, dB at the first))."""
        decibels = np.arange(0, self.range_db, 1 / _STEPS_PER_DB)
        greys = 255 * (decibels / self.range_db) ** self.gamma
        return np.append(greys, 255.0).astype(np.float32), np.array([_STEPS_PER_DB, 0.0])
