"""Image formation: from tissue, blood and clutter to the frames of a clip.

tissue echoes -> point spread -> + later copy -> shadows -> + blood noise + near clutter
-> log compression -> persistence -> vendor post-processing -> scan conversion.
"""

import math

import numpy as np
from scipy.ndimage import uniform_filter1d

from echoseg.phantom.artefacts import loss_db, mirror
from echoseg.phantom.chambers import Section
from echoseg.phantom.config import PhantomConfig
from echoseg.phantom.greymap import GreyMap
from echoseg.phantom.kernels import compose, fill, mix
from echoseg.phantom.postprocessing import Postprocessing, PostprocessingFilter
from echoseg.phantom.prior import draw_shades
from echoseg.phantom.probe import PolarGrid, Probe
from echoseg.phantom.scatterers import Scatterers, Tissue
from echoseg.phantom.sector import Sector
from echoseg.phantom.surroundings import (
    blood_levels_db,
    chest,
    chest_mesh,
    heart_tissues,
    near_clutter_db,
    streaks,
    wall_tissue,
)

_BANK = 3
"""Independent noise fields of a clip; each frame mixes two of them, turned at random."""


def _amplitude(decibel: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(10 ** (decibel / 20), np.float32)


class Simulator:
    """Simulates the frames of one clip.

    Args:
        config: Configuration of the clip.
        section: The heart in the imaging plane.
        times_s: Time of each frame.
        squeeze: Contraction in each frame.
        breath_mm: Breathing in each frame.
        depth_mm: Depth of the image.
    """

    def __init__(
        self,
        config: PhantomConfig,
        section: Section,
        times_s: np.ndarray,
        squeeze: np.ndarray,
        breath_mm: np.ndarray,
        depth_mm: float,
    ) -> None:
        self.config, self.section, self.squeeze = config, section, squeeze
        strength = config.tier.strength
        probe = Probe.draw(config.generator("probe"), config.style, strength, depth_mm)
        self.greys = GreyMap.draw(config.generator("greymap"), config.style)
        self.grid = PolarGrid(probe, config.size_px)
        self.sector = Sector(self.grid, config.size_px)
        self.postprocessing = Postprocessing.draw(config.generator("look"), config.style)
        self._set_levels(times_s, breath_mm, strength)

    def _set_levels(self, times_s: np.ndarray, breath_mm: np.ndarray, strength: float) -> None:
        config, section, grid, greys = self.config, self.section, self.grid, self.greys
        rng = config.generator("shades")
        shades = draw_shades(rng, config.view)
        phases = int(self.squeeze.argmin()), int(self.squeeze.argmax())
        # a tier shifts blood relative to the wall; medium is the mean of real images
        tier_db = 5 * math.log2(strength / 0.9)
        blood_db, es_blood_db = (
            level + tier_db for level in blood_levels_db(shades, section, phases, grid, greys, rng)
        )
        clutter_db = near_clutter_db(shades, grid, greys, rng)
        floor_db = 10 * np.log10(10 ** (blood_db / 10) + 10 ** (clutter_db / 10))
        rng = config.generator("tissue")
        wall, wall_db = wall_tissue(
            shades, section, float(blood_db[::8, ::8].mean()), greys, rng, strength
        )
        outside = Tissue(
            vertices_mm=chest_mesh(grid, times_s, section, breath_mm, self.squeeze),
            level_db=chest(shades, grid, greys, floor_db, rng),
            covered=True,
        )
        outside_db = float(greys.to_db(shades.outside).mean())
        tissues = [wall, *heart_tissues(section, wall_db, rng, strength), outside]
        tissues += streaks(grid, config.num_frames, outside_db, rng)
        per_mm2 = 0.9 if config.size_px <= 128 else 1.2
        self.scatterers = Scatterers(rng, tissues, per_mm2, rng.uniform(0.1, 0.5))
        rng = config.generator("artefact")
        loss = loss_db(grid, rng, strength)
        self._loss = _amplitude(loss)
        self._echo = mirror(grid, rng, strength)
        electronic_db = greys.range_db * rng.uniform(0.0, 0.16) + rng.uniform(0, 0.06) * (
            grid.ranges_mm - 0.6 * grid.probe.depth_mm
        )
        self._noise_level, es_level = (
            np.sqrt(
                10 ** ((level + 0.7 * loss) / 10) + 10 ** (electronic_db / 10), dtype=np.float32
            )
            for level in (blood_db, es_blood_db)
        )
        self._noise_change = es_level - self._noise_level
        self._static_level = _amplitude(clutter_db)
        self._noise_memory = float(rng.uniform(0, 0.1))
        self._persistence = float(rng.uniform(0, 0.12))
        self._turn_rad = float(rng.uniform(0.3, 1.3))

    def heart_label(self, frame_index: int, out: np.ndarray) -> None:
        """Mark the samples covered by the heart, [beam, range] uint8."""
        out[:] = 0
        for line in self.section.solids_mm:
            fill(*self.grid.place(line[frame_index]), 1, out)

    def frames(self) -> np.ndarray:
        """Simulate the frames, `T H W` uint8."""
        config, grid = self.config, self.grid
        rng = config.generator("noise")
        bank = grid.noise(rng, _BANK)
        still = grid.noise(rng, 1)[0]
        smeared = uniform_filter1d(still, 9, axis=1) * 2.2 + 0.5 * still
        shape = (2, grid.num_beams, grid.num_ranges)
        raw, tissue, state = (np.zeros(shape, np.float32) for _ in range(3))
        label = np.zeros(shape[1:], np.uint8)
        last, polar, noise = (np.zeros(shape[1:], np.float32) for _ in range(3))
        postprocess = PostprocessingFilter(self.postprocessing, grid, self.sector.spacing_mm)
        table, compression = self.greys.table()
        out = np.zeros((config.num_frames, config.size_px, config.size_px), np.uint8)
        wander = 0.036 * np.cumsum(rng.standard_normal(config.num_frames))
        for index in range(config.num_frames):
            self.heart_label(index, label)
            turn = self._turn_rad * float(self.squeeze[index]) + wander[index]
            share = float(self.squeeze[index])
            self.scatterers.echo(index, (turn, share), label, grid, raw)
            for part in (0, 1):
                grid.blurred(raw[part], tissue[part])
            self._next_noise(rng, bank, state, first=index == 0)
            np.multiply(self._noise_change, share, out=noise)
            noise += self._noise_level
            weight = np.float32(self._persistence if index else 0.0)
            compose(
                tissue, grid.tissue_gain, self._echo, state, noise, smeared,
                self._static_level, self._loss, compression, table, weight, last, polar,
            )  # fmt: skip
            self.sector.convert(postprocess(polar), out[index])
        return out

    def _next_noise(
        self, rng: np.random.Generator, bank: np.ndarray, state: np.ndarray, *, first: bool
    ) -> None:
        one, two = rng.permutation(len(bank))[:2]
        angle = rng.uniform(0, 2 * math.pi)
        shifts = rng.integers(0, self.grid.num_beams, 2)
        weights = np.array([math.cos(angle), math.sin(angle)])
        mix(bank, one, two, shifts, weights, 0.0 if first else self._noise_memory, state)
