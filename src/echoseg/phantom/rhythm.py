"""Timing of the heart: beats, contraction, valves.

A beat begins at its R wave. Contraction rises as (1 - cos(pi x^.88)) / 2 over the ejection time
LVET = .413 - .0017 HR s, falls by early filling and by the atrial kick.

Reference:
    Weissler et al., Circulation 37 (1968): ejection time falls linearly with heart rate; the
    intercept and slope are those of the left ventricular ejection time.
"""

from dataclasses import dataclass

import numpy as np

from echoseg.phantom.config import Rhythm

_ELECTROMECHANICAL_DELAY_S = 0.05
_RELAXATION_S = 0.07
_KICK_S = 0.16


def smooth_step(x: np.ndarray | float) -> np.ndarray:
    """3x^2 - 2x^3 of x clipped to [0, 1]."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


@dataclass(frozen=True, kw_only=True, eq=False)
class Beats:
    """All beats of a clip.

    Attributes:
        rhythm: The rhythm.
        r_peaks_s: Start of each beat and the end of the last, from the clip's first frame; the
            first lies before it.
        strength: Contraction of each beat, as a fraction of a full one.
        early_share: Fraction of filling that is early; the atrium does the rest.
        premature: Whether each beat came too early.
    """

    rhythm: Rhythm
    r_peaks_s: np.ndarray
    strength: np.ndarray
    early_share: float
    premature: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, rhythm: Rhythm | None, duration_s: float) -> "Beats":
        """Draw beats that cover a clip; a premature rhythm has a premature beat inside it."""
        drawn = str(rng.choice(list(Rhythm), p=[0.8, 0.12, 0.08]))
        rhythm = rhythm or Rhythm(drawn)
        mean_s = 60 / float(np.clip(rng.normal(72, 14), 42, 140))
        early_share = float(rng.uniform(0.5, 0.85))
        first_s = -float(rng.uniform(0, 1)) * mean_s
        intervals, strengths, premature = [], [], []
        last_s, at_s, early_at_s = mean_s, first_s, float(rng.uniform(0.15, 0.55)) * duration_s
        while at_s < duration_s + 2 * mean_s or len(intervals) < 2:
            interval_s, strength, early = mean_s * (1 + rng.normal(0, 0.025)), 1.0, False
            if rhythm is Rhythm.ATRIAL_FIBRILLATION:
                interval_s = float(np.clip(rng.gamma(14, mean_s / 14), 0.38, 1.7))
                strength = float(np.clip(0.72 + 0.33 * (last_s / mean_s - 0.4), 0.6, 1.06))
            elif rhythm is Rhythm.PREMATURE:
                # the beat before an early one is cut short, the early one is followed by a pause
                if intervals and early_at_s == at_s:
                    early, strength = True, float(rng.uniform(0.4, 0.7))
                    interval_s *= float(rng.uniform(1.25, 1.4))
                    early_at_s = at_s + interval_s + float(rng.uniform(2, 4)) * mean_s
                elif at_s <= early_at_s < at_s + interval_s:
                    interval_s *= float(rng.uniform(0.58, 0.7))
                    early_at_s = at_s + interval_s
            intervals.append(interval_s)
            strengths.append(strength)
            premature.append(early)
            at_s, last_s = at_s + interval_s, interval_s
        return cls(
            rhythm=rhythm,
            r_peaks_s=first_s + np.concatenate([[0.0], np.cumsum(intervals)]),
            strength=np.array(strengths),
            early_share=early_share,
            premature=np.array(premature),
        )

    def index(self, times_s: np.ndarray) -> np.ndarray:
        """Index of the beat at each time."""
        inside = np.searchsorted(self.r_peaks_s, times_s, side="right") - 1
        return np.clip(inside, 0, len(self.strength) - 1)

    def beat_share(self, times_s: np.ndarray) -> np.ndarray:
        """Elapsed fraction of the beat at each time, 0 to 1."""
        beat = self.index(times_s)
        return (times_s - self.r_peaks_s[beat]) / np.diff(self.r_peaks_s)[beat]

    def _phases(self, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(time since R, RR interval, end of ejection after R), each in s."""
        beat = self.index(times_s)
        interval_s = np.diff(self.r_peaks_s)[beat]
        ejection_s = np.clip(0.413 - 0.0017 * 60 / interval_s, 0.17, 0.34)
        return times_s - self.r_peaks_s[beat], interval_s, _ELECTROMECHANICAL_DELAY_S + ejection_s

    def _filling(self, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(opening time of the mitral valve, early filling time, whether all filling is early)."""
        _, interval_s, end_s = self._phases(times_s)
        open_s = np.minimum(end_s + _RELAXATION_S, 0.8 * interval_s)
        fused = open_s + 0.19 > interval_s - 0.17
        fused |= self.rhythm is Rhythm.ATRIAL_FIBRILLATION
        max_early_s = np.where(fused, 0.26, 0.19)
        return open_s, np.minimum(max_early_s, interval_s - open_s - 0.005), fused

    def contraction(self, times_s: np.ndarray) -> np.ndarray:
        """Contraction of the ventricle: 0 at ED, the beat's strength at ES."""
        since_s, interval_s, end_s = self._phases(times_s)
        open_s, early_s, fused = self._filling(times_s)
        rise = np.clip(
            (since_s - _ELECTROMECHANICAL_DELAY_S) / (end_s - _ELECTROMECHANICAL_DELAY_S), 0, 1
        )
        ejection = 0.5 * (1 - np.cos(np.pi * rise**0.88))
        share = np.where(fused, 1.0, self.early_share)
        kick = smooth_step((since_s - (interval_s - _KICK_S)) / 0.14)
        left = 1 - share * smooth_step((since_s - open_s) / early_s) - (1 - share) * kick
        return np.clip(ejection * left, 0, 1) * self.strength[self.index(times_s)]

    def mitral_opening(self, times_s: np.ndarray) -> np.ndarray:
        """Opening of the mitral valve, 0 to 1."""
        since_s, interval_s, _ = self._phases(times_s)
        open_s, early_s, fused = self._filling(times_s)
        part = np.clip((since_s - open_s) / (early_s * 1.05), 0, 1)
        early = np.where(since_s > open_s, np.sin(np.pi * part**0.75), 0)
        rest = np.where(
            since_s > open_s + 0.6 * early_s,
            0.28 * smooth_step((interval_s - 0.01 - since_s) / 0.05),
            0,
        )
        kick = np.clip((since_s - (interval_s - _KICK_S)) / _KICK_S, 0, 1)
        late = np.where(fused, 0, 0.75 * np.sin(np.pi * kick))
        return np.clip(np.maximum(np.maximum(early, rest), late), 0, 1)

    def aortic_opening(self, times_s: np.ndarray) -> np.ndarray:
        """Opening of the aortic valve: 1 during ejection, else 0."""
        since_s, _, end_s = self._phases(times_s)
        return ((since_s > _ELECTROMECHANICAL_DELAY_S) & (since_s < end_s)).astype(float)
