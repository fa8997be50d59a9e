"""Imaging artefacts: shadows, drop-out, uneven gain, reverberation."""

import math

import numpy as np

from echoseg.phantom.probe import PolarGrid
from echoseg.phantom.rhythm import smooth_step
from echoseg.phantom.scatterers import smooth_field


def loss_db(grid: PolarGrid, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Draw the attenuation of each sample, [beam, range], mostly negative.

    Wedges of poor contact, lung at the sector's edges, ribs, uneven gain with depth.
    """
    angle, r = grid.angles_rad[:, None], grid.ranges_mm[None]
    shape = (grid.num_beams, grid.num_ranges)
    total = smooth_field(rng, shape, grid.num_beams / 3) * 1.2 * strength
    for _ in range(rng.poisson(0.7 * strength)):
        middle, width = rng.uniform(angle[0], angle[-1]), math.radians(rng.uniform(2, 7))
        top_mm = rng.uniform(10, 0.7 * grid.probe.depth_mm)
        end_mm = top_mm + rng.uniform(20, 90)
        along = smooth_step((r - top_mm) / 12) * (1 - smooth_step((r - end_mm) / 25))
        total -= rng.uniform(3, 12) * np.exp(-0.5 * ((angle - middle) / width) ** 2) * along
    for side in (-1.0, 1.0):
        is_present = rng.uniform() < 0.12 * strength
        width, depth_db = math.radians(rng.uniform(4, 14)), rng.uniform(8, 22)
        start_mm = rng.uniform(8, 20)
        if is_present:
            edge = (grid.probe.half_angle_rad - side * angle) / width
            total -= depth_db * (1 - smooth_step(edge)) * smooth_step((r - start_mm) / 10)
    middle, width = rng.uniform(angle[0], angle[-1]), math.radians(rng.uniform(3, 6))
    depth_db, is_present = rng.uniform(12, 26), rng.uniform() < 0.08 * strength
    if is_present:
        total -= depth_db * np.exp(-(((angle - middle) / width) ** 4)) * smooth_step((r - 14) / 5)
    part = (r - r.mean()) / (r[0, -1] - r[0, 0])
    wave = np.sin(2 * math.pi * (part * rng.uniform(0.6, 1.6) + rng.uniform(0, 1)))
    gain = rng.uniform(0, 2.5) * strength
    return total + gain * (1.4 * rng.normal() * part + rng.normal() * wave)


def mirror(grid: PolarGrid, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Draw (range steps, amplitude) of the reverberation behind bright walls.

    It is a copy of the tissue's own echoes, so it moves with the heart.
    """
    steps = rng.uniform(14, 45) / grid.step_mm
    level_db = -24 + 6 * math.log2(max(strength, 0.25)) + rng.normal(0, 4)
    return np.array([steps, 10 ** (min(level_db, -10) / 20)])
