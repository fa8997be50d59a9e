"""Mapping from echo power to grey level and back; 0 dB is black.

grey = 255 ((1 - s) v + s v^2 (3 - 2 v)) with v = (dB / range)^gamma: a bend and an S.
"""

from dataclasses import dataclass

import numpy as np

from echoseg.phantom.config import Style

SPECKLE_LOSS_DB = 2.51
"""Difference between the log of the mean power and the mean log power of developed speckle."""
_STEPS_PER_DB = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class GreyMap:
    """The compression.

    Attributes:
        range_db: Dynamic range shown.
        gamma: Bend of the map.
        s_curve: How far the map is an S: dark darker, bright brighter.
    """

    range_db: float
    gamma: float
    s_curve: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator, style: Style) -> "GreyMap":
        """Draw a map; the held-out style has a shorter or longer range than any in training."""
        a, b, c, d = rng.uniform(size=4)
        if style is Style.TRAIN:
            s_curve = max(0.0, 1.2 * d - 0.6)
            return cls(range_db=44 + 26 * a, gamma=0.8 + 0.6 * b, s_curve=s_curve)
        range_db = 36 + 6 * a if c < 0.5 else 73 + 9 * a
        return cls(range_db=range_db, gamma=0.6 + 1.2 * b, s_curve=0.65 + 0.3 * d)

    def to_db(self, grey: np.ndarray) -> np.ndarray:
        """Echo power in dB whose speckle has this mean grey."""
        decibels = np.linspace(0, self.range_db, 512)
        share = np.interp(np.asarray(grey, float), self._grey(decibels), decibels)
        return share + SPECKLE_LOSS_DB

    def _grey(self, decibels: np.ndarray) -> np.ndarray:
        v = (decibels / self.range_db) ** self.gamma
        return 255 * ((1 - self.s_curve) * v + self.s_curve * v * v * (3 - 2 * v))

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Lookup table: (grey levels in equal steps of dB, (steps per dB, dB of the first))."""
        decibels = np.arange(0, self.range_db, 1 / _STEPS_PER_DB)
        return np.append(self._grey(decibels), 255.0).astype(np.float32), np.array(
            [_STEPS_PER_DB, 0.0]
        )
