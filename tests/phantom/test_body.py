"""Volumes and cuts of ring bodies against shapes whose answers are known."""

import math

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from echoseg.phantom.body import Plane, RingBody


def half_ellipse(length_mm, half_width_mm, num=25):
    turn = np.linspace(-math.pi / 2, math.pi / 2, num)
    border = np.stack([length_mm * (1 - np.cos(turn)), half_width_mm * np.sin(turn)], 1)
    return border


def ellipsoid(length_mm=80.0, half_mm=25.0, roundness=1.0, bend=0.0, shrink=0.8):
    ed = half_ellipse(length_mm, half_mm)
    es = half_ellipse(length_mm, half_mm) * shrink + [(1 - shrink) * 4, 0]
    rings = (len(ed) + 1) // 2
    return RingBody(np.stack([ed, es]), np.full(rings, roundness), np.full(rings, bend))


def uniform(values):
    values = np.atleast_1d(np.asarray(values, float))
    return lambda ring, angle: (
        values[:, None] + 0 * np.broadcast_to(angle, (len(values), ring.size))
    )


@pytest.mark.parametrize("roundness", [1.0, 0.8])
def test_volume_of_half_an_ellipsoid(roundness):
    """2/3 pi a b c."""
    exact = 2 / 3 * math.pi * 80 * 25 * 25 * roundness / 1000
    assert ellipsoid(roundness=roundness).volume_ml(uniform(0))[0] == pytest.approx(exact, rel=5e-3)


def test_volume_shrinks_with_the_cube():
    body = ellipsoid(shrink=0.7)
    ed, es = body.volume_ml(uniform([0.0, 1.0]))
    assert es / ed == pytest.approx(0.7**3, rel=1e-3)


def test_volume_of_an_odd_body_is_that_of_the_hull_of_its_surface():
    """The body is convex."""
    body = ellipsoid(roundness=1.15, bend=0.06)
    angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    surface = np.concatenate(
        [body.points(np.full((1, 49), a), np.zeros((1, 49)))[0] for a in angles]
    )
    hull_ml = ConvexHull(surface).volume / 1000
    assert body.volume_ml(uniform(0))[0] == pytest.approx(hull_ml, rel=0.01)


def plane(azimuth=0.0, tilt=0.0, offset=0.0, pivot=80.0):
    return Plane(azimuth_rad=azimuth, tilt_rad=tilt, pivot_mm=pivot, offset_mm=np.array([offset]))


def width_at(points, y):
    left = points[: len(points) // 2 + 1]
    right = points[len(points) // 2 :]
    xs = [np.interp(y, side[order, 1], side[order, 0]) for side in (left, right)
          for order in [side[:, 1].argsort()]]  # fmt: skip
    return xs[1] - xs[0]


def test_cut_through_the_axis_is_the_border():
    cut = ellipsoid().cut(plane(), uniform(0), 65)
    assert width_at(cut.points_mm[0], 40.0) == pytest.approx(2 * 25 * math.sqrt(0.75), rel=0.01)
    assert cut.points_mm[0, 32, 1] == pytest.approx(0.0, abs=0.3)


def test_cut_beside_the_axis_is_a_smaller_ellipse():
    """At offset d a round body shows half widths sqrt(R^2 - d^2) and ends where R = d."""
    cut = ellipsoid().cut(plane(offset=10.0), uniform(0), 65)
    half = math.sqrt(25**2 * 0.75 - 100)
    assert width_at(cut.points_mm[0], 40.0) == pytest.approx(2 * half, rel=0.01)
    tip = 80 * (1 - math.sqrt(1 - (10 / 25) ** 2))
    assert cut.points_mm[0, :, 1].min() == pytest.approx(tip, abs=0.6)


def test_a_turned_plane_shows_the_other_width():
    body = ellipsoid(roundness=0.8)
    across = body.cut(plane(azimuth=math.pi / 2), uniform(0), 65).points_mm[0]
    assert width_at(across, 40.0) == pytest.approx(0.8 * 2 * 25 * math.sqrt(0.75), rel=0.01)


def test_foreshortening_shortens():
    body = ellipsoid()
    lengths = [
        80 - body.cut(plane(tilt=math.radians(t)), uniform(0), 65).points_mm[0, :, 1].min()
        for t in (0, 10, 20)
    ]
    assert lengths[0] > lengths[1] > lengths[2]


def test_cut_points_lie_on_the_plane_and_on_the_body():
    body, at = ellipsoid(roundness=0.9, bend=0.05), plane(math.radians(60), 0.1, 3.0)
    cut = body.cut(at, uniform(0), 65)
    u = body.points(
        np.interp(body.rings, cut.ring[0, :33], cut.angle_rad[0, :33])[None], np.zeros((1, 49))
    )[0]
    height = -math.sin(at.azimuth_rad) * u[:, 1] + math.cos(at.azimuth_rad) * u[:, 2]
    expected = 3.0 + (80 - u[:, 0]) * math.tan(0.1)
    inside = (body.rings > 0.05) & (body.rings < cut.ring[0].max() - 0.05)
    assert np.abs(height - expected)[inside].max() < 0.15
