"""A block of even tissue must give fully developed speckle, of even power and known grain."""

import math

import numpy as np
import pytest

from echoseg.phantom.config import Style
from echoseg.phantom.probe import PolarGrid, Probe
from echoseg.phantom.scatterers import Scatterers, Tissue

BANDS_MM = ((25, 50), (50, 80), (80, 110), (110, 145))


def even_tissue(grid, per_mm2, clumping=0.0, es_change_db=0.0):
    angle = np.linspace(grid.angles_rad[0], grid.angles_rad[-1], 60)[:, None] * 1.1
    radius = np.linspace(1, 1.05 * grid.probe.depth_mm, 60)[None]
    mesh = np.stack([radius * np.sin(angle), radius * np.cos(angle)], -1)[None]
    change = np.full((2, 2), es_change_db)
    tissue = Tissue(vertices_mm=mesh, level_db=np.zeros((2, 2)), es_change_db=change)
    return Scatterers(np.random.default_rng(3), [tissue], per_mm2, clumping)


@pytest.fixture(scope="module")
def speckle():
    probe = Probe.draw(np.random.default_rng(0), Style.TRAIN, 1.0, 160.0)
    grid = PolarGrid(probe, 256)
    shape = (2, grid.num_beams, grid.num_ranges)
    raw, seen = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    even_tissue(grid, 8.0).echo(0, (0.7, 0.0), np.zeros(shape[1:], np.uint8), grid, raw)
    for part in (0, 1):
        grid.blurred(raw[part], seen[part])
    return grid, (seen[0] + 1j * seen[1]) * grid.tissue_gain


def band(grid, field, band_mm):
    inside = (grid.ranges_mm > band_mm[0]) & (grid.ranges_mm < band_mm[1])
    return field[12:-12, inside]


@pytest.mark.parametrize("band_mm", BANDS_MM)
def test_envelope_is_rayleigh(speckle, band_mm):
    envelope = np.abs(band(*speckle, band_mm))
    assert 1.75 <= envelope.mean() / envelope.std() <= 2.1  # theory 1.91


@pytest.mark.parametrize("band_mm", BANDS_MM)
def test_power_is_flat_with_depth(speckle, band_mm):
    power_db = 10 * math.log10((np.abs(band(*speckle, band_mm)) ** 2).mean())
    assert abs(power_db) < 0.5


def correlation(field, axis, lag):
    first = np.take(field, range(field.shape[axis] - lag), axis)
    second = np.take(field, range(lag, field.shape[axis]), axis)
    both = np.sqrt((np.abs(first) ** 2).mean() * (np.abs(second) ** 2).mean())
    return abs((first * second.conj()).mean()) / both


def expected_correlation(kernel, lag):
    """Autocorrelation of the spread, widened by the splat on two points (2/3, 1/6 at lag 1)."""
    own = np.correlate(kernel, kernel, "full")
    own = np.convolve(own, [1 / 6, 2 / 3, 1 / 6])
    middle = len(own) // 2
    return own[middle + lag] / own[middle]


def test_grain_is_the_point_spread_functions(speckle):
    """The field's correlation is the autocorrelation of the spread, along and across."""
    grid, field = speckle
    part = band(grid, field, (30, 130))
    kernel = grid.axial.astype(float)
    for lag in (1, 2, 3):
        expected = expected_correlation(kernel, lag)
        assert correlation(part, 1, lag) == pytest.approx(expected, abs=0.05)
    part = band(grid, field, (65, 95))
    column = np.abs(grid.ranges_mm - 80).argmin()
    half = grid.lateral[:, column].astype(float)
    kernel = np.concatenate([half[:0:-1], half])
    for lag in (1, 2):
        expected = expected_correlation(kernel, lag)
        assert correlation(part, 0, lag) == pytest.approx(expected, abs=0.06)


def test_noise_has_unit_power_everywhere():
    grid = PolarGrid(Probe.draw(np.random.default_rng(1), Style.TRAIN, 1.0, 150.0), 112)
    noise = grid.noise(np.random.default_rng(2), 4)
    power = (noise**2).sum(1).mean((0, 1))
    assert power[20:-20].reshape(-1, 2).mean() == pytest.approx(1, abs=0.1)
    assert np.abs(power[20:-20] - 1).max() < 0.6


def test_held_out_probes_are_none_of_the_training_ones():
    rng = np.random.default_rng(0)
    train = [Probe.draw(rng, Style.TRAIN, 1.0, 150.0) for _ in range(300)]
    held = [Probe.draw(rng, Style.HELD_OUT, 1.0, 150.0) for _ in range(300)]
    for name in ("axial_mm", "lateral_rad", "half_angle_rad"):
        seen = [getattr(probe, name) for probe in train]
        low, high = min(seen), max(seen)
        assert not any(low < getattr(probe, name) < high for probe in held)


def test_material_turns_in_and_out_of_the_plane():
    """Speckle a quarter turn later is new, and comes back with the old angle."""
    grid = PolarGrid(Probe.draw(np.random.default_rng(1), Style.TRAIN, 1.0, 150.0), 112)
    tissue = even_tissue(grid, 3.0)
    fields = []
    for turn in (0.0, math.pi / 2, 0.0):
        raw = np.zeros((2, grid.num_beams, grid.num_ranges), np.float32)
        tissue.echo(0, (turn, 0.0), np.zeros(raw.shape[1:], np.uint8), grid, raw)
        fields.append(raw[0] + 1j * raw[1])
    same = abs(np.vdot(fields[0], fields[2])) / np.vdot(fields[0], fields[0]).real
    other = abs(np.vdot(fields[0], fields[1])) / np.vdot(fields[0], fields[0]).real
    assert same == pytest.approx(1, abs=1e-5)
    assert other < 0.1


def test_echoes_take_the_level_of_es_as_the_heart_contracts():
    """Amplitude is linear in the contraction and changes by what the tissue says, here +6 dB."""
    grid = PolarGrid(Probe.draw(np.random.default_rng(1), Style.TRAIN, 1.0, 150.0), 112)
    tissue = even_tissue(grid, 3.0, es_change_db=20 * math.log10(2))
    power = []
    for contraction in (0.0, 0.5, 1.0):
        raw = np.zeros((2, grid.num_beams, grid.num_ranges), np.float32)
        tissue.echo(0, (0.3, contraction), np.zeros(raw.shape[1:], np.uint8), grid, raw)
        power.append(float((raw**2).sum()))
    assert power[1] / power[0] == pytest.approx(1.5**2, rel=1e-4)
    assert power[2] / power[0] == pytest.approx(4.0, rel=1e-4)
