"""The left heart: ventricle with its wall and atrium, in three dimensions, of known volume.

The shape comes from the statistics of real hearts (`prior`); the contraction is solved for the
requested ejection fraction. The wall thickens from the drawn ED to the drawn ES thickness as its
place contracts: less than constant muscle volume would have it (13 % in CAMUS, not 36 %), because
readers leave the trabeculae, which fill the cavity at ES, to the cavity.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from echoseg.clip import View
from echoseg.errors import ConfigError
from echoseg.phantom.body import Cut, Field, Plane, RingBody
from echoseg.phantom.config import Phenotype
from echoseg.phantom.prior import BORDER_POINTS, Landmarks, draw_a2c_shape, draw_landmarks
from echoseg.phantom.rhythm import Beats

AZIMUTH_RAD = {View.A4C: 0.0, View.A2C: math.radians(60), View.ALAX: math.radians(120)}
"""Apical planes are turned by 60 degrees about the long axis (Lang et al., JASE 28, 2015)."""

_BINS = 36
_SPREAD = 1.1
_CANDIDATES = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """How a phenotype differs from the mean heart."""

    share: float
    width: tuple[float, float] = (1.0, 1.0)
    wall: tuple[float, float] = (1.0, 1.0)
    ef_percent: tuple[float, float] | None = None


_KINDS = {
    Phenotype.CAMUS: _Kind(share=0.62),
    Phenotype.NORMAL: _Kind(share=0.08, ef_percent=(54, 70)),
    Phenotype.DILATED: _Kind(share=0.08, width=(1.1, 1.35), wall=(0.8, 1.0), ef_percent=(10, 42)),
    Phenotype.HYPERTROPHIC: _Kind(
        share=0.05, width=(0.85, 1.0), wall=(1.15, 1.5), ef_percent=(52, 74)
    ),
    Phenotype.SMALL: _Kind(share=0.05, width=(0.78, 0.92), wall=(0.85, 1.0), ef_percent=(52, 70)),
    Phenotype.ISCHAEMIC: _Kind(share=0.08),
    Phenotype.DYSSYNCHRONOUS: _Kind(share=0.04, width=(1.0, 1.25), ef_percent=(18, 45)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionalMotion:
    """A part of the wall that moves less: centre and size on the wall, and what motion is left."""

    ring: float
    angle_rad: float
    ring_extent: float
    angle_extent_rad: float
    rest: float


class Heart:
    """One left heart; everything is a function of contraction, nothing of the probe.

    Args:
        rng: The random numbers of its anatomy.
        beats: When it contracts.
        phenotype: None draws one.
        ef_percent: Ejection fraction of a full beat; None keeps the heart's own.

    Raises:
        ConfigError: This heart cannot reach the ejection fraction.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        beats: Beats,
        phenotype: Phenotype | None = None,
        ef_percent: float | None = None,
    ) -> None:
        self.beats = beats
        drawn = str(rng.choice(list(_KINDS), p=[kind.share for kind in _KINDS.values()]))
        self.phenotype = phenotype or Phenotype(drawn)
        kind = _KINDS[self.phenotype]
        own = float(rng.uniform(*kind.ef_percent)) if kind.ef_percent else None
        target_percent = own if ef_percent is None else ef_percent
        self.landmarks = _shaped(_draw_landmarks(rng, target_percent), kind, rng)
        half = (BORDER_POINTS + 1) // 2
        place = np.linspace(0, 1, half)
        roundness, asymmetry, thickness = draw_a2c_shape(rng)
        bend = rng.normal(0, 0.07) + rng.normal(0, 0.06) * np.sin(math.pi * place)
        self.ventricle = RingBody(self.landmarks.endo_mm, roundness, bend)
        self.atrium = RingBody(
            self.landmarks.atrium_mm, np.full(half, rng.normal(1.05, 0.08)), np.zeros(half)
        )
        self.regional = self._regional(rng)
        self.delay_s = (
            float(rng.uniform(0.06, 0.14)) if self.phenotype is Phenotype.DYSSYNCHRONOUS else 0.0
        )
        # walls of other views contract a little earlier or later
        self.lag_s = float(np.clip(rng.normal(0, 0.025), -0.05, 0.05))
        self._wall_mm = self._rings_of_wall(asymmetry, thickness)
        self.amplitude = 1.0
        self._reach(target_percent, is_requested=ef_percent is not None)

    def _regional(self, rng: np.random.Generator) -> RegionalMotion | None:
        drawn = RegionalMotion(
            ring=float(rng.uniform(0.25, 0.95)),
            angle_rad=float(rng.uniform(0, 2 * math.pi)),
            ring_extent=float(rng.uniform(0.25, 0.45)),
            angle_extent_rad=float(rng.uniform(0.7, 1.3)),
            rest=float(rng.uniform(-0.2, 0.35)),
        )
        often = {Phenotype.ISCHAEMIC: 1.0, Phenotype.DILATED: 0.3}.get(self.phenotype, 0.0)
        return drawn if rng.uniform() < often else None

    def _rings_of_wall(self, asymmetry: np.ndarray, thickness: np.ndarray) -> np.ndarray:
        """Return thickness at ED and ES as mean and cos, sin, sin^2 parts of phi, `2 4 S`."""
        half = (BORDER_POINTS + 1) // 2
        knots, rings = np.linspace(0, 1, half), self.ventricle.rings
        uneven, thicker = (np.interp(rings, knots, part) for part in (asymmetry, thickness - 1))
        across = math.sin(AZIMUTH_RAD[View.A2C]) ** 2
        parts = []
        for wall in self.landmarks.wall_mm:
            septal = np.interp(rings, knots, wall[:half])
            lateral = np.interp(rings, knots, wall[::-1][:half])
            mean = 0.5 * (septal + lateral)
            half_step = 0.5 * (lateral - septal)
            parts.append(np.stack([mean, half_step, mean * uneven, mean * thicker / across]))
        return np.stack(parts)

    def _motion(self, times_s: np.ndarray) -> Field:
        """Return the contraction field of the times, a function (ring, phi) -> `T S`."""
        bins = 2 * math.pi * np.arange(_BINS) / _BINS
        late = self.delay_s * 0.5 * (1 + np.cos(bins)) + self.lag_s * np.sin(bins) ** 2
        table = self.beats.contraction(times_s[:, None] - late)
        table = np.concatenate([table, table[:, :1]], 1) * self.amplitude

        def field(ring: np.ndarray, angle_rad: np.ndarray) -> np.ndarray:
            place = np.mod(angle_rad, 2 * math.pi) / (2 * math.pi) * _BINS
            low = np.minimum(place.astype(int), _BINS - 1)
            part = place - low
            frame = np.arange(len(table))[:, None]
            share = table[frame, low] * (1 - part) + table[frame, low + 1] * part
            return share * self._mobility(ring, angle_rad)

        return field

    def _mobility(self, ring: np.ndarray, angle_rad: np.ndarray) -> np.ndarray | float:
        if (part := self.regional) is None:
            return 1.0
        away = np.angle(np.exp(1j * (angle_rad - part.angle_rad))) / part.angle_extent_rad
        near = np.exp(-0.5 * (((ring - part.ring) / part.ring_extent) ** 2 + away**2))
        return 1 - (1 - part.rest) * near

    def volume_ml(self, times_s: np.ndarray) -> np.ndarray:
        """Return the ventricle's volume at times from the clip's first frame."""
        return self.ventricle.volume_ml(self._motion(times_s))

    def _full_beat_s(self) -> np.ndarray:
        """Return times that cover a beat of full strength."""
        beat = int(self.beats.strength.argmax())
        start, end = self.beats.r_peaks_s[beat], self.beats.r_peaks_s[beat + 1]
        return start + np.linspace(0.0, min(0.62, end - start - 0.01), 18)

    def _reach(self, ef_percent: float | None, *, is_requested: bool) -> None:
        """Solve the amplitude: each volume is a cubic in it, so four of them tell all."""
        if ef_percent is None:
            return
        times_s = self._full_beat_s()
        nodes = np.array([0.0, 0.7, 1.4, 2.1])
        volumes = []
        for self.amplitude in nodes:
            volumes.append(self.volume_ml(times_s))
        strength = self.beats.strength.max()
        cubic = np.polynomial.polynomial.polyfit(nodes, np.stack(volumes), 3)
        tries = np.linspace(0.0, 2.1 / strength, 600)
        curves = np.polynomial.polynomial.polyval(tries, cubic)  # T tries
        reached = 100 * (1 - curves.min(0) / curves.max(0))
        top = int(reached.argmax())
        enough = reached[: top + 1] >= ef_percent
        if is_requested and not enough.any():
            raise ConfigError(
                f"ef_percent must be at most {reached[top]:.0f} for this heart, got "
                f"{ef_percent:g}; take another seed or phenotype"
            )
        self.amplitude = float(tries[enough.argmax() if enough.any() else top])

    def border(self, plane: Plane, times_s: np.ndarray, num_points: int) -> Cut:
        """Endocardium in the plane."""
        return self.ventricle.cut(plane, self._motion(times_s), num_points)

    def atrium_border(self, plane: Plane, times_s: np.ndarray, num_points: int) -> Cut:
        """Border of the left atrium in the plane."""
        share = self.beats.contraction(times_s) * min(self.amplitude, 1.3)
        return self.atrium.cut(plane, lambda ring, angle: share[:, None] + 0 * angle, num_points)

    def wall_mm(self, cut: Cut, times_s: np.ndarray) -> np.ndarray:
        """Wall thickness at each point of a cut, `T P`."""
        angle = cut.angle_rad
        waves = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle), np.sin(angle) ** 2])
        rest_mm, tight_mm = (
            (waves * [np.interp(cut.ring, self.ventricle.rings, row) for row in rows]).sum(0)
            for rows in self._wall_mm
        )
        rest_mm = np.maximum(rest_mm, 0.3)
        share = self._motion(times_s)(cut.ring, angle)
        return np.clip(rest_mm + share * (tight_mm - rest_mm), 0.5 * rest_mm, 2.4 * rest_mm)


def _draw_landmarks(rng: np.random.Generator, ef_percent: float | None) -> Landmarks:
    """Draw landmarks; is_requested an ejection fraction, of a heart with a similar one.

    Shape and function are correlated in real hearts, so exaggerating the motion of one heart would
    be unrealistic. The similarity is measured by area and length, V ~ A^2 / L.
    """
    if ef_percent is None:
        return draw_landmarks(rng, _SPREAD)
    drawn = [draw_landmarks(rng, _SPREAD) for _ in range(_CANDIDATES)]
    return min(drawn, key=lambda marks: abs(_area_length_ef(marks.endo_mm) - ef_percent))


def _area_length_ef(endo_mm: np.ndarray) -> float:
    x, y = endo_mm[..., 0], endo_mm[..., 1]
    area = 0.5 * np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(1))
    length = np.linalg.norm(
        endo_mm[:, endo_mm.shape[1] // 2] - endo_mm[:, [0, -1]].mean(1), axis=-1
    )
    volume = area**2 / length
    return float(100 * (1 - volume[1] / volume[0]))


def _shaped(marks: Landmarks, kind: _Kind, rng: np.random.Generator) -> Landmarks:
    """Scale landmarks to the phenotype's width and wall."""
    width, wall = rng.uniform(*kind.width), rng.uniform(*kind.wall)
    endo_mm = marks.endo_mm * np.array([1.0, width])
    return replace(
        marks,
        endo_mm=endo_mm,
        atrium_mm=marks.atrium_mm * np.array([1.0, 0.5 + 0.5 * width]),
        wall_mm=np.maximum(marks.wall_mm * wall, 0.3),
    )
