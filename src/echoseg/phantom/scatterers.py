"""Scatterers: random points fixed in the tissue, whose echoes add up to speckle.

Each sits at fixed material coordinates in a quad of a mesh and moves with it. Its weight turns as
the tissue moves through the plane, w = a cos(psi) + b sin(psi), so speckle changes over systole and
comes back with the next beat (correlation cos of the difference).
"""

import math
from dataclasses import dataclass

import numpy as np

from echoseg.phantom.kernels import splat
from echoseg.phantom.probe import PolarGrid

_PARTS = ("corner", "stride", "u", "v", "a", "b", "change", "covered")
_MIN_PER_QUAD = 0.6
"""Minimum expected number of scatterers per quad."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tissue:
    """A scattering mesh.

    Attributes:
        vertices_mm: `T M N 2`.
        level_db: Mean echo power at ED, a field `P Q` laid over the whole mesh.
        es_change_db: What is added to it at ES, `P Q` or None; in between amplitudes are linear.
        covered: Hidden behind the heart.
        density: Factor on the number of scatterers.
    """

    vertices_mm: np.ndarray
    level_db: np.ndarray
    es_change_db: np.ndarray | None = None
    covered: bool = False
    density: float = 1.0


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> np.ndarray:
    """Smooth random field of mean 0 and variance 1; `grain` in cells."""
    coarse = [max(2, math.ceil(side / grain) + 2) for side in shape]
    field = rng.standard_normal(coarse)
    for axis, side in enumerate(shape):
        place = np.linspace(0, field.shape[axis] - 1.001, side)
        low = place.astype(int)
        part = place - low
        part = part * part * (3 - 2 * part)
        part = part[:, None] if axis == 0 else part[None]
        field = np.take(field, low, axis) * (1 - part) + np.take(field, low + 1, axis) * part
    return (field - field.mean()) / (field.std() + 1e-9)


class Scatterers:
    """All scatterers of a clip."""

    def __init__(
        self,
        rng: np.random.Generator,
        tissues: list[Tissue],
        per_mm2: float,
        clumping: float,
    ) -> None:
        parts: dict[str, list[np.ndarray]] = {key: [] for key in _PARTS}
        first = 0
        for tissue in tissues:
            self._sow(rng, tissue, per_mm2, clumping, first, parts)
            first += int(np.prod(tissue.vertices_mm.shape[1:3]))
        num_frames = len(tissues[0].vertices_mm)
        flat = np.concatenate([t.vertices_mm.reshape(num_frames, -1, 2) for t in tissues], 1)
        self._x = np.ascontiguousarray(flat[..., 0], np.float32)
        self._y = np.ascontiguousarray(flat[..., 1], np.float32)
        joined = {key: np.concatenate(value) for key, value in parts.items()}
        self._corner = joined["corner"].astype(np.int32)
        self._stride = joined["stride"].astype(np.int32)
        self._u, self._v = joined["u"].astype(np.float32), joined["v"].astype(np.float32)
        self._a, self._b = joined["a"].astype(np.float32), joined["b"].astype(np.float32)
        self._change = joined["change"].astype(np.float32)
        self._covered = joined["covered"]

    def __len__(self) -> int:
        """Number of scatterers."""
        return len(self._corner)

    @staticmethod
    def _sow(
        rng: np.random.Generator,
        tissue: Tissue,
        per_mm2: float,
        clumping: float,
        first: int,
        parts: dict[str, list[np.ndarray]],
    ) -> None:
        mesh = tissue.vertices_mm[0]
        rows, columns = mesh.shape[:2]
        down, across = mesh[1:, 1:] - mesh[:-1, :-1], mesh[1:, :-1] - mesh[:-1, 1:]
        area = 0.5 * np.abs(down[..., 0] * across[..., 1] - down[..., 1] * across[..., 0]) + 1e-3
        depth = np.clip(np.linalg.norm(mesh[:-1, :-1], axis=-1), 15, 200)
        expected = np.maximum(
            per_mm2 * tissue.density * area * (80 / depth) ** 0.7, _MIN_PER_QUAD
        ).ravel()
        quad = np.repeat(np.arange(expected.size), rng.poisson(expected))
        row, column = quad // (columns - 1), quad % (columns - 1)
        number = quad.size
        u, v = rng.random(number), rng.random(number)
        field = tissue.level_db
        at_row = ((row + u) / (rows - 1) * (field.shape[0] - 1) + 0.5).astype(int)
        at_column = ((column + v) / (columns - 1) * (field.shape[1] - 1) + 0.5).astype(int)
        weight = np.sqrt(area.ravel()[quad] / expected[quad])
        weight *= 10 ** (field[at_row, at_column] / 20)
        # log-normal strengths of mean power 1: fewer strong scatterers, K-like speckle
        weight *= np.exp(clumping * rng.standard_normal(number) - clumping**2)
        parts["corner"].append(first + row * columns + column)
        parts["stride"].append(np.full(number, columns))
        parts["u"].append(u)
        parts["v"].append(v)
        parts["a"].append(weight * rng.choice([-1.0, 1.0], number))
        parts["b"].append(weight * rng.choice([-1.0, 1.0], number))
        change = np.zeros(number)
        if tissue.es_change_db is not None:
            change = 10 ** (tissue.es_change_db[at_row, at_column] / 20) - 1
        parts["change"].append(change)
        parts["covered"].append(np.full(number, tissue.covered))

    def echo(
        self,
        frame_index: int,
        motion: tuple[float, float],
        label: np.ndarray,
        grid: PolarGrid,
        out: np.ndarray,
    ) -> None:
        """Write the echoes of one frame to `out`, `2 beam range`.

        Motion is (turn in rad, contraction from 0 at ED to 1 at ES).
        """
        out[:] = 0
        turn_rad, contraction = motion
        weight = self._a * np.float32(math.cos(turn_rad)) + self._b * np.float32(math.sin(turn_rad))
        weight *= 1 + np.float32(contraction) * self._change
        place = np.array(
            [grid.wave_per_mm, grid.first_mm, grid.step_mm, grid.first_rad, grid.step_rad],
            np.float32,
        )
        splat(
            self._x[frame_index], self._y[frame_index], self._corner, self._stride, self._u,
            self._v, weight, self._covered, label, place, out[0], out[1],
        )  # fmt: skip
