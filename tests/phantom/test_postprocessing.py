"""Makers' filters and grey maps: what each must do, and what none may."""

import numpy as np
import pytest

from echoseg.phantom.config import Style
from echoseg.phantom.greymap import SPECKLE_LOSS_DB, GreyMap
from echoseg.phantom.postprocessing import (
    Filter,
    Postprocessing,
    PostprocessingFilter,
    averaging_kernels,
)
from echoseg.phantom.probe import PolarGrid, Probe


@pytest.fixture(scope="module")
def grid():
    return PolarGrid(Probe.draw(np.random.default_rng(1), Style.TRAIN, 1.0, 150.0), 112)


def filtered(grid, polar, kind, strength=0.6, width_mm=0.01):
    look = Postprocessing(axial_mm=width_mm, lateral_mm=width_mm, filter=kind, strength=strength)
    return PostprocessingFilter(look, grid, 0.01)(polar.astype(np.float32)).copy()


def picture(grid, seed=0):
    """A dark cavity between bright walls, with grain."""
    rng = np.random.default_rng(seed)
    level = np.full((grid.num_beams, grid.num_ranges), 130.0)
    level[30:60, 60:200] = 60
    return np.clip(level + 14 * rng.standard_normal(level.shape), 0, 255)


@pytest.mark.parametrize("kind", Filter)
def test_an_even_picture_stays_as_it_is(grid, kind):
    even = np.full((grid.num_beams, grid.num_ranges), 90.0)
    assert np.abs(filtered(grid, even, kind) - 90).max() < 0.01


@pytest.mark.parametrize("kind", Filter)
def test_the_wall_stays_brighter_than_the_cavity(grid, kind):
    out = filtered(grid, picture(grid), kind, strength=1.0)
    assert out[5:25, 60:200].mean() - out[32:58, 70:190].mean() > 25
    assert out.min() >= 0
    assert out.max() <= 255


def test_each_filter_does_its_work(grid):
    flat = (slice(5, 25), slice(60, 200))
    before = picture(grid)
    grain = {kind: filtered(grid, before, kind)[flat].std() for kind in Filter}
    assert grain[Filter.NONE] == pytest.approx(before[flat].std(), rel=0.02)
    assert grain[Filter.LEE] < 0.85 * grain[Filter.NONE]
    assert grain[Filter.MEDIAN] < 0.8 * grain[Filter.NONE]
    assert grain[Filter.UNSHARP] > 1.3 * grain[Filter.NONE]
    dim = before * 0.4  # one half of the picture much dimmer
    dim[60:] = before[60:]
    steps = {
        kind: filtered(grid, dim, kind, 1.0)[70:, :50].mean()
        - filtered(grid, dim, kind, 1.0)[:25, :50].mean()
        for kind in (Filter.NONE, Filter.LOCAL_CONTRAST)
    }
    assert steps[Filter.LOCAL_CONTRAST] < 0.9 * steps[Filter.NONE]


def test_averaging_keeps_the_mean(grid):
    axial, lateral = averaging_kernels(Postprocessing(axial_mm=0.6, lateral_mm=0.9), grid, 1.3)
    assert axial.sum() == pytest.approx(1, abs=1e-5)
    assert lateral[0] + 2 * lateral[1:].sum(0) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("seed", range(5))
def test_a_grey_goes_to_decibels_and_back(style, seed):
    greys = GreyMap.draw(np.random.default_rng(seed), style)
    table, (per_db, start) = greys.table()
    wanted = np.linspace(20, 240, 45)
    index = ((greys.to_db(wanted) - SPECKLE_LOSS_DB - start) * per_db).round().astype(int)
    assert np.abs(table[index] - wanted).max() < 2.5
    assert (np.diff(table) >= 0).all()


def test_held_out_looks_and_maps_are_none_of_the_training_ones():
    rng = np.random.default_rng(0)
    for draw, names in (
        (Postprocessing.draw, ("axial_mm", "lateral_mm", "strength")),
        (GreyMap.draw, ("range_db", "s_curve")),
    ):
        train, held = ([draw(rng, style) for _ in range(300)] for style in Style)
        for name in names:
            seen = [getattr(one, name) for one in train]
            assert not any(min(seen) < getattr(one, name) < max(seen) for one in held)
