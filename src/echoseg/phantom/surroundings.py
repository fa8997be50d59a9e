"""Echo levels of wall, valves, chest wall, lung, blood and clutter.

The levels come from the mean greys of real pictures (`prior.draw_shades`), turned into echo power
by the inverse of the grey map, so a simulated image reproduces them; finer structure
that a mean cannot represent (streaks, patches, layers of the chest wall) is added on top.
"""

import math

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from echoseg.phantom.chambers import OUTER_PLACES, Section
from echoseg.phantom.greymap import GreyMap
from echoseg.phantom.prior import Shades
from echoseg.phantom.probe import PolarGrid
from echoseg.phantom.scatterers import Tissue, smooth_field

_ATRIAL_DB = -1.0
_LEVELS_TO_WALL_DB = {
    "atrium": _ATRIAL_DB, "right_atrium": -3.0, "right_ventricle": -3.0, "papillary": -3.0,
    "chord": -8.0, "root_inner": 2.0, "root_outer": 2.0, "cusp_inner": 0.0, "cusp_outer": 0.0,
}  # fmt: skip
_COARSE = (40, 48)
"""Beams and ranges of the coarse grid that slow levels are computed on."""


def _power(decibel: np.ndarray | float) -> np.ndarray:
    return 10 ** (np.asarray(decibel) / 10)


def _above(total_db: np.ndarray, floor_db: np.ndarray) -> np.ndarray:
    """Level that adds up with the floor to the total, at least 15 dB below it."""
    rest = np.maximum(_power(total_db) - _power(floor_db), 0.03 * _power(total_db))
    return 10 * np.log10(rest)


def blood_levels_db(
    shades: Shades,
    section: Section,
    frames: tuple[int, int],
    grid: PolarGrid,
    greys: GreyMap,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Power of the noise that fills cavities at ED and ES, on the whole grid [beam, range].

    It is known in the cavities of the two frames and extrapolated from there.
    """
    # part of the greys there is clutter and the walls' side lobes, which come on top
    factor = rng.uniform(0.85, 1.15)
    uneven = smooth_field(rng, _COARSE, 8.0) * rng.uniform(0.3, 1.2)
    angle = np.linspace(grid.angles_rad[0], grid.angles_rad[-1], _COARSE[0])[:, None]
    range_mm = np.linspace(grid.ranges_mm[0], grid.ranges_mm[-1], _COARSE[1])[None]
    place = np.stack([range_mm * np.sin(angle), range_mm * np.cos(angle)], -1)

    def at(phase: int) -> np.ndarray:
        known = _known_places(section, frames[phase])
        grey = np.concatenate([shades.cavity[phase].ravel(), shades.atrium[phase] * factor])
        far = ((place[:, :, None] - known) ** 2).sum(-1)
        weight = np.exp(-far / (2 * 9.0**2)) + 1e-3 * np.exp(-far / (2 * 28.0**2)) + 1e-9
        coarse = (weight * (greys.to_db(grey) - 2.0)).sum(-1) / weight.sum(-1)
        return _resampled(coarse + uneven, (grid.num_beams, grid.num_ranges))

    return at(0), at(1)


def _known_places(section: Section, frame: int) -> np.ndarray:
    """Places in ventricle (5 x 3) and atrium (3) whose greys the prior knows, `18 2`."""
    endo, atrium = section.endo_mm[frame], section.atrium_mm[frame]
    rows = np.linspace(2, len(endo) // 2 - 3, 5).round().astype(int)
    left, right = endo[rows], endo[::-1][rows]
    cavity = np.stack([left + f * (right - left) for f in (0.25, 0.5, 0.75)], 1)
    annulus, roof = 0.5 * (endo[0] + endo[-1]), atrium[len(atrium) // 2]
    down = np.stack([annulus + f * (roof - annulus) for f in (0.25, 0.5, 0.75)])
    return np.concatenate([cavity.reshape(-1, 2), down])


def _resampled(field: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A field interpolated to another number of rows and columns, corners kept."""
    places = [np.linspace(0, old - 1, new) for old, new in zip(field.shape, shape, strict=True)]
    return map_coordinates(field, np.meshgrid(*places, indexing="ij"), order=1)


def wall_tissue(
    shades: Shades,
    section: Section,
    floor_db: float,
    greys: GreyMap,
    rng: np.random.Generator,
    strength: float,
) -> tuple[Tissue, float]:
    """The wall with its surroundings, and its mean level."""
    wall_shades = shades.wall[:, :, : OUTER_PLACES + 1]
    ed, es = (
        _above(greys.to_db(field), np.full_like(field, floor_db))
        for field in (_resampled(part, (97, 46)) for part in wall_shades)
    )
    grain = smooth_field(rng, ed.shape, 4.0) * rng.uniform(1.5, 4.0)
    patches = smooth_field(rng, ed.shape, 14.0) * max(1.6 * (strength - 0.4), 0.0)
    mean_db = float(greys.to_db(wall_shades[0, :, 2:8]).mean())
    tissue = Tissue(
        vertices_mm=section.meshes["wall"], level_db=ed + grain + patches, es_change_db=es - ed
    )
    return tissue, mean_db


def heart_tissues(
    section: Section, wall_db: float, rng: np.random.Generator, strength: float
) -> list[Tissue]:
    """Valves, atria and right heart, with levels relative to the wall and drop-out gaps."""
    tissues = []
    valve_db = rng.uniform(0, 8)
    for name, vertices in section.meshes.items():
        if name == "wall":
            continue
        level = _LEVELS_TO_WALL_DB.get(name, valve_db)
        if name.startswith("tricuspid"):
            level -= 3
        if name.startswith("hinge"):
            level = rng.uniform(2, 8)
        if name.startswith("papillary"):  # labeled as cavity, and rarely visible as a whole
            level -= abs(rng.normal(6, 4))
        if name in ("right_ventricle", "right_atrium", "atrium"):
            level -= abs(rng.normal(0, 4 + 2.5 * strength))
        size = vertices.shape[1:3]
        gaps = smooth_field(rng, (48, 3), 9.0)[:, :1] * (2 + 2.5 * strength)
        field = np.repeat(wall_db + level + gaps, 3, 1)
        if name.startswith("hinge"):
            reach = np.linspace(-1, 1, 9) ** 2
            field = wall_db + level - 9 * (reach[:, None] + reach)
        thin = name.startswith(("mitral", "tricuspid", "cusp", "chord", "hinge"))
        tissues.append(
            Tissue(
                vertices_mm=vertices,
                level_db=field,
                density=3.0 if thin else 1.6 if min(size) < 4 else 1.0,
            )
        )
    return tissues


def chest(
    shades: Shades,
    grid: PolarGrid,
    greys: GreyMap,
    floor_db: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Level outside the heart, [angle, range] on a fine material grid."""
    angles = np.linspace(grid.angles_rad[0], grid.angles_rad[-1], 97)[:, None]
    ranges = np.linspace(0, 1, 121)[None]
    shape = (97, 121)
    mean = shades.outside_at(*np.broadcast_arrays(ranges, angles))
    level = greys.to_db(mean)
    floor = _resampled(floor_db, shape)
    # near the probe streaks, layers and side lobes come on top of the mean
    near_mm = ranges * grid.probe.depth_mm
    level = level - 1.0 - 5.0 * np.exp(-near_mm / 35)
    level = _above(level, np.minimum(floor, level))
    level = level + smooth_field(rng, shape, 14.0) * rng.uniform(2.0, 5.5)
    level = level + smooth_field(rng, shape, 5.0) * rng.uniform(1.5, 4.0)
    # layers of skin, fat and muscle lie at constant depth near the probe
    layers = smooth_field(rng, (shape[1], 3), rng.uniform(2.0, 5.0))[:, 0]
    near = np.exp(-ranges[0] * grid.probe.depth_mm / rng.uniform(8, 22))
    return level + (layers * near * rng.uniform(0, 5))[None]


def chest_mesh(
    grid: PolarGrid,
    times_s: np.ndarray,
    section: Section,
    breath_mm: np.ndarray,
    squeeze: np.ndarray,
) -> np.ndarray:
    """Return the material outside the heart, `T 33 33 2`: it breathes and is pulled by the base."""
    angle = np.linspace(grid.angles_rad[0], grid.angles_rad[-1], 33)[:, None] * 1.04
    range_mm = np.linspace(1.0, grid.probe.depth_mm * 1.02, 33)[None]
    still = np.stack([range_mm * np.sin(angle), range_mm * np.cos(angle)], -1)
    base = 0.5 * (section.endo_mm[0, 0] + section.endo_mm[0, -1])
    pulled = np.exp(-0.5 * ((still - base) ** 2).sum(-1) / 40.0**2)
    mesh = np.broadcast_to(still, (len(times_s), *still.shape)).copy()
    down = np.clip(range_mm[0] / 60, 0, 1)[None]
    mesh[..., 1] += 0.4 * breath_mm[:, None, None] * down
    mesh[..., 1] -= 5.0 * squeeze[:, None, None] * pulled
    return mesh


def streaks(
    grid: PolarGrid, num_frames: int, level_db: float, rng: np.random.Generator
) -> list[Tissue]:
    """Return bright lines that fascia, pericardium and lung make outside the heart."""
    tissues = []
    for _ in range(int(rng.integers(0, 6))):
        middle = rng.uniform(-0.9, 0.9) * grid.probe.half_angle_rad
        depth_mm = rng.uniform(0.35, 1.0) * grid.probe.depth_mm
        half = rng.uniform(0.05, 0.22)
        along = np.linspace(-1, 1, 9)
        thick_mm = rng.uniform(1.0, 5.0)
        radius = depth_mm + rng.uniform(-14, 14) * along + rng.uniform(-7, 7) * along**2
        angle = middle + half * along
        layers = np.linspace(0, thick_mm, 3)
        direction = np.stack([np.sin(angle), np.cos(angle)], -1)
        line = (radius[:, None] + layers)[..., None] * direction[:, None]
        fade = -6 * along[:, None] ** 2 + np.zeros(3)
        tissues.append(
            Tissue(
                vertices_mm=np.broadcast_to(line, (num_frames, *line.shape)),
                level_db=level_db + rng.uniform(-2, 8) + fade,
                covered=True,
                density=1.5,
            )
        )
    return tissues


def near_clutter_db(
    shades: Shades, grid: PolarGrid, greys: GreyMap, rng: np.random.Generator
) -> np.ndarray:
    """Return the level of echoes between probe and ribs, [beam, range]: still, over everything."""
    r = grid.ranges_mm
    share = r / grid.probe.depth_mm
    level = greys.to_db(shades.outside_at(share, np.zeros_like(share))) - 3.0
    start_mm, length_mm = rng.uniform(6, 20), rng.uniform(3, 9)
    part = rng.uniform(0.15, 0.8)
    fade = -np.maximum(r - start_mm, 0) / length_mm * 4.34
    bands = 3 * np.sin(2 * math.pi * r / rng.uniform(4, 9) + rng.uniform(0, 6)) * np.exp(-r / 18)
    across = gaussian_filter(rng.standard_normal(grid.num_beams), grid.num_beams / 8)
    across = 2 * across / max(across.std(), 1e-6)
    return level[None] + 10 * math.log10(part) + (fade + bands)[None] + across[:, None]
