"""Taking speckle off a picture and making more of it."""

import numpy as np
import pytest
import torch

from animated_makers import sector, stills
from echoseg.preprocess.speckle import GrainSource, area_of, bridge, texture_of


@pytest.fixture(scope="module")
def still():
    frames, _ = stills()
    area = area_of(frames)
    return frames[0], area, texture_of(frames[0], area)


def test_the_area_is_the_sector(still):
    _, area, _ = still
    np.testing.assert_array_equal(area.sector, sector())
    inside = area.inside.numpy() > 0
    assert inside[~sector()].sum() == 0
    assert inside.ravel()[area.nearest.numpy()].all()
    assert (area.nearest.numpy()[inside] == np.flatnonzero(inside)).all()


def test_the_parts_make_up_the_picture(still):
    frame, area, texture = still
    inside = area.inside > 0
    again = texture.picture()[inside]
    torch.testing.assert_close(again, torch.from_numpy(frame)[inside].float(), atol=0.01, rtol=0)


def test_grain_has_mean_0_and_variance_1_and_amplitude_is_the_speckles(still):
    _, area, texture = still
    grain = texture.grain[area.inside > 0]
    assert grain.mean() == pytest.approx(0, abs=0.05)
    assert grain.std() == pytest.approx(1, abs=0.1)
    assert 0.08 < texture.amplitude[area.inside > 0].median() < 0.2  # .2, less what is smooth


def test_beyond_the_edge_the_structure_goes_on(still):
    _, area, texture = still
    row = 60
    left = int(np.flatnonzero(area.inside[row] > 0)[0])
    assert texture.base[row, left - 4] == pytest.approx(float(texture.base[row, left]), abs=0.5)


def test_new_grain_is_independent_and_has_the_spectrum_of_the_old(still):
    texture = still[2]
    source = GrainSource(texture.grain, np.random.default_rng(0))
    draws = torch.stack([source.draw() for _ in range(8)])
    assert draws.mean() == pytest.approx(0, abs=0.01)
    assert draws.std() == pytest.approx(1, abs=0.01)
    correlations = np.corrcoef(draws.flatten(1))[np.triu_indices(8, 1)]
    assert np.abs(correlations).max() < 0.1
    old, new = (
        float((each[:, 1:] * each[:, :-1]).mean() / (each**2).mean())
        for each in (texture.grain, draws[0])
    )
    assert new == pytest.approx(old, abs=0.05)


def test_the_bridge_is_the_conditional_mean_of_the_process():
    """Between two anchors by the textbook formula, outside by powers of rho."""
    rho, first, last = 0.8, 2, 9
    weights = bridge(rho, 12, (first, last))
    for t in range(first, last + 1):
        whole = 1 - rho ** (2 * (last - first))
        expected = (rho ** (t - first) - rho ** (2 * last - first - t)) / whole
        assert weights[t, 0] == pytest.approx(expected)
    assert weights[[first, last]] == pytest.approx(np.eye(2))
    assert weights[0] == pytest.approx([rho**2, 0])
    assert weights[11] == pytest.approx([0, rho**2])


def test_a_pinned_process_keeps_its_correlation_from_frame_to_frame():
    rho, num, rng = 0.7, 10, np.random.default_rng(1)
    process = [rng.standard_normal(20_000)]
    for _ in range(num - 1):
        process.append(rho * process[-1] + np.sqrt(1 - rho**2) * rng.standard_normal(20_000))
    ends = rng.standard_normal((2, 20_000))
    weights = bridge(rho, num, (0, num - 1))
    pinned = np.array(process)
    pinned += weights @ (ends - pinned[[0, -1]])
    np.testing.assert_allclose(pinned[[0, -1]], ends, atol=1e-9)
    for t in range(num - 1):
        assert np.corrcoef(pinned[t], pinned[t + 1])[0, 1] == pytest.approx(rho, abs=0.08)
    np.testing.assert_allclose(pinned.std(1), 1, atol=0.05)
