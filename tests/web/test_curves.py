"""The modules that draw curves and move points, run by node against scipy and exact answers."""

import json

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from node_js import run

KINDS = ["septal", "", "", "apex", "", "", "lateral", ""]
POINTS = [[40, 100], [30, 70], [35, 40], [60, 20], [85, 40], [90, 70], [80, 100], [60, 104]]


def spline(points):
    """The same curve by scipy, as a function of control point and share, and its knots."""
    closed = np.array([*points, points[0]], float)
    knots = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    return CubicSpline(knots, closed, bc_type="periodic"), knots


@pytest.mark.parametrize("num_points", [4, 5, 12, 64])
def test_the_curve_is_the_periodic_spline_of_scipy(num_points):
    rng = np.random.default_rng(num_points)
    angles = np.sort(rng.uniform(0, 2 * np.pi, num_points))
    radius = rng.uniform(50, 90, num_points)
    points = np.stack([200 + radius * np.cos(angles), 150 + radius * np.sin(angles)], 1).tolist()
    curve, knots = spline(points)
    samples = run("spline.js", "m.sampleCurve(v)", points)
    for sample in samples:
        i = sample["segment"]
        at = curve(knots[i] + sample["share"] * (knots[i + 1] - knots[i]))
        np.testing.assert_allclose([sample["x"], sample["y"]], at, atol=1e-8)
    assert {sample["segment"] for sample in samples} == set(range(num_points))


def test_a_repeated_point_counts_once():
    once = run("spline.js", "m.sampleCurve(v)", POINTS)
    twice = run("spline.js", "m.sampleCurve(v)", [*POINTS[:3], POINTS[2], *POINTS[3:]])
    assert [(s["x"], s["y"]) for s in once] == [(s["x"], s["y"]) for s in twice]


def moved(index, by, alone=False):
    contour = {"points": POINTS, "kinds": KINDS}
    code = f"m.movePoint(v, {index}, {list(by)}, {json.dumps(alone)})"
    return np.array(run("shape.js", code, contour)) - POINTS


def test_the_wall_follows_a_point_but_hinges_and_apex_stay():
    shift = moved(5, (10, 0))
    np.testing.assert_allclose(shift[5], (10, 0))
    assert np.all(shift[[0, 3, 6]] == 0)
    assert np.all(np.abs(shift) <= 10)
    assert np.count_nonzero(moved(5, (10, 0), alone=True)) == 1


def test_a_hinge_takes_its_wall_along_and_the_annulus_stays_a_line():
    shift = moved(6, (8, -4))
    np.testing.assert_allclose(shift[6], (8, -4))
    assert np.all(shift[[0, 1, 2, 3]] == 0)  # the other wall, and the apex
    assert 0 < shift[4][0] < shift[5][0] < 8
    np.testing.assert_allclose(shift[7], (4, -2))  # half-way between the hinges


def test_the_apex_takes_both_walls_along_and_the_annulus_stays():
    shift = moved(3, (0, -12))
    np.testing.assert_allclose(shift[3], (0, -12))
    assert np.all(shift[[0, 6, 7]] == 0)
    assert shift[2][1] < shift[1][1] < 0
    assert shift[4][1] < shift[5][1] < 0


def test_an_added_point_hardly_changes_the_curve_and_keeps_the_kinds():
    added = run("shape.js", "m.addPoint(v, [94, 56])", {"points": POINTS, "kinds": KINDS})
    assert [k for k in added["kinds"] if k] == [k for k in KINDS if k]
    assert len(added["points"]) == len(POINTS) + 1
    before, after = spline(POINTS), spline(added["points"])
    dense = [curve(np.linspace(0, knots[-1], 2000)) for curve, knots in (before, after)]
    distance = np.hypot(*(dense[0][:, None] - dense[1][None]).transpose(2, 0, 1)).min(1)
    assert distance.max() < 1


@pytest.mark.parametrize(("index", "may"), [(1, True), (0, False), (3, False)])
def test_hinges_and_apex_cannot_be_removed(index, may):
    fewer = run("shape.js", f"m.removePoint(v, {index})", {"points": POINTS, "kinds": KINDS})
    assert (fewer is not None) == may


def test_a_contour_keeps_four_points_and_takes_no_more_than_64():
    few = {"points": POINTS[:4], "kinds": [""] * 4}
    assert run("shape.js", "m.removePoint(v, 0)", few) is None
    angles = np.linspace(0, 6, 64)
    many = np.stack([100 + 50 * np.cos(angles), 100 + 50 * np.sin(angles)], 1).tolist()
    assert run("shape.js", "m.addPoint(v, [100, 50])", {"points": many, "kinds": [""] * 64}) is None


BEATS = [{"ed_frame": 2, "es_frame": 8}, {"ed_frame": 20, "es_frame": 26}]
TIMES = [n / 10 for n in range(40)]


@pytest.mark.parametrize(
    ("time", "other"),
    [
        (0.2, 0.0),  # ED
        (0.8, 0.5),  # ES
        (0.5, 0.25),  # half-way between them
        (1.4, 1.1),  # diastole of a clip with one beat: as long after ES
        (2.0, 0.0),  # the next ED: it begins again
        (2.3, 0.25),
        (3.0, 0.9),  # after the last mark: as long after ES
        (0.1, -0.1),  # before the first one
    ],
)
def test_two_clips_are_in_step_by_the_phase_of_the_beat(time, other):
    one = run("step.js", "m.phasesOf(v[0], v[1])", [BEATS, TIMES])
    assert one == [[0, 0.2], [0.5, 0.8], [1, 2.0], [1.5, 2.6]]
    there = run("step.js", "m.timeInStep(...v)", [time, one, [[0, 0.0], [0.5, 0.5]]])
    assert there == pytest.approx(other)
    assert run("step.js", "m.timeInStep(...v)", [time, one, one]) == pytest.approx(time)


def test_clips_without_a_beat_are_in_step_by_time():
    assert run("step.js", "m.timeInStep(...v)", [0.7, [], [[0, 0.1]]]) == 0.7
    assert run("step.js", "m.phasesOf(v[0], v[1])", [[], TIMES]) == []
