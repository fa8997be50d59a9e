"""Curves and label maps: there and back, and which neighbors give way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.draw import polygon2mask

from echoseg.measure.clean import clean_mask
from echoseg.measure.frame import measure_frame
from echoseg.measure.measure import measure_masks
from echoseg.web.reading.contours import draw_contour, frame_contour
from echoseg.web.reading.packing import pack, unpack
from echoseg.web.reading.regions import STRUCTURES, brushed, region_of, set_region
from echoseg.web.reading.spline import fill_curve, fill_polygon, sample_curve
from heart_makers import beating, heart

MASK = heart(spacing_mm=(1.0, 1.0), size=(150, 150), tilt_deg=10)
SMALL = heart(spacing_mm=(1.6, 1.6), size=(112, 112), tilt_deg=-8)


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-20, 60), st.floats(-20, 50)), min_size=3, max_size=12, unique=True
    )
)
def test_a_polygon_is_filled_as_skimage_fills_it(corners):
    corners = np.add(corners, (0.00137, 0.00253))  # rules differ for centers on an edge
    ours = fill_polygon(corners, (40, 50))
    theirs = polygon2mask((40, 50), corners[:, ::-1])
    assert (ours != theirs).sum() <= 1  # an edge through a center, but for rounding


def test_the_curve_through_points_of_a_circle_is_the_circle():
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    circle = np.stack([75 + 40 * np.cos(angles), 70 + 40 * np.sin(angles)], 1)
    away = np.linalg.norm(sample_curve(circle) - [75, 70], axis=1)
    assert away == pytest.approx(40, abs=0.02)
    assert fill_curve(circle, (150, 150)).sum() == pytest.approx(np.pi * 1600, rel=0.005)


@pytest.mark.parametrize("mask", [MASK, SMALL], ids=["150 px", "112 px"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_fitted_curve_gives_its_region_back_with_few_points(mask, structure):
    contour = frame_contour(measure_frame(mask, None), structure)
    region = region_of(mask, structure)
    assert dice(fill_curve(np.array(contour.points), mask.shape), region) >= 0.99
    assert len(contour.points) <= 32
    assert {"septal", "lateral"} <= set(contour.kinds)


def test_ef_of_all_curves_is_that_of_the_masks():
    masks, times_s, _ = beating(40)
    drawn = masks.copy()
    for mask in drawn:
        frame = measure_frame(mask.copy(), None)
        for structure in ("la", "lv_epi", "lv_cavity"):
            points = np.array(frame_contour(frame, structure).points)
            mask[:] = set_region(mask, structure, fill_curve(points, mask.shape))
    own, of_curves = (
        measure_masks(some, spacing_mm=(1.0, 1.0), times_s=times_s) for some in (masks, drawn)
    )
    assert of_curves.ef_percent == pytest.approx(own.ef_percent, abs=0.3)


def test_a_curve_that_is_not_moved_changes_no_pixel():
    frame = measure_frame(MASK, None)
    for structure in STRUCTURES:
        contour = frame_contour(frame, structure)
        again = draw_contour(frame, structure, contour.points, contour)
        assert np.array_equal(again, MASK)


@settings(max_examples=40, deadline=None)
@given(
    structure=st.sampled_from(STRUCTURES),
    index=st.integers(0, 13),
    step=st.tuples(st.floats(-12, 12), st.floats(-12, 12)),
)
def test_a_moved_point_changes_only_what_lies_near_it(structure, index, step):
    frame = measure_frame(MASK, None)
    contour = frame_contour(frame, structure)
    points = [list(point) for point in contour.points]
    index %= len(points)
    points[index] = [points[index][0] + step[0], points[index][1] + step[1]]
    moved = draw_contour(frame, structure, tuple(map(tuple, points)), contour)
    cavity, epi, atrium = (region_of(moved, one) for one in STRUCTURES)
    assert (cavity <= epi).all() and not (atrium & epi).any()
    rows, columns = np.nonzero(moved != MASK)
    around = np.array(contour.points)[[index - 3, (index + 3) % len(points)]]
    reach = 14 + max(np.linalg.norm(around - contour.points[index], axis=1))
    far = np.hypot(columns - contour.points[index][0], rows - contour.points[index][1])
    assert (far > reach).sum() <= 4  # ripples of a spline fall by 3/4 from point to point
    # and back again: the pixels between both curves are as the first curve has them
    back = draw_contour(
        measure_frame(moved, None), structure, contour.points,
        contour.model_copy(update={"points": tuple(map(tuple, points))}),
    )  # fmt: skip
    assert dice(region_of(back, structure), region_of(MASK, structure)) > 0.985


def plainly_set(mask, structure, region):
    """`set_region` on the whole picture."""
    before, own = region_of(mask, structure), {"lv_cavity": 1, "lv_epi": 2, "la": 3}[structure]
    labels = {"lv_cavity": (0, 2, 3), "lv_epi": (0, 3), "la": (0,)}[structure]
    changed = mask.copy()
    changed[region & ~before & np.isin(mask, labels)] = own
    leaves = before & ~region & (mask == own)
    others = np.isin(changed, labels) & ~leaves
    if region.any() and others.any():
        _, nearest = ndimage.distance_transform_edt(~others, return_indices=True)
        changed[leaves] = changed[tuple(nearest[:, leaves])]
    else:
        changed[leaves] = 0
    return clean_mask(changed)


@settings(max_examples=60, deadline=None)
@given(
    structure=st.sampled_from(STRUCTURES),
    step=st.tuples(st.integers(-25, 25), st.integers(-25, 25)),
    times=st.integers(0, 8),
)
def test_a_region_is_set_about_its_change_as_on_the_whole_picture(structure, step, times):
    region = ndimage.binary_erosion(region_of(MASK, structure), iterations=1 + times)
    region = np.roll(region, step, (0, 1))
    assert np.array_equal(set_region(MASK, structure, region), plainly_set(MASK, structure, region))


def test_what_the_cavity_leaves_is_wall_at_the_sides_and_atrium_at_the_annulus():
    cavity = region_of(MASK, "lv_cavity")
    rows, columns = np.nonzero(cavity)
    base = rows.max()
    raised = cavity.copy()
    raised[base - 3 :] = False
    higher = set_region(MASK, "lv_cavity", raised)
    left = (MASK == 1) & (higher != 1)
    assert (higher[left] == 3).mean() > 0.8
    narrow = cavity.copy()
    narrow[:, : columns.min() + 12] = False
    thick = set_region(MASK, "lv_cavity", narrow)
    left = (MASK == 1) & (thick != 1)
    assert (thick[left] == 2).mean() > 0.75  # at the corner the nearer of both


def test_a_structure_can_be_absent_and_drawn_anew():
    none = set_region(MASK, "la", np.zeros(MASK.shape, bool))
    assert not (none == 3).any() and np.array_equal(none == 1, MASK == 1)
    again = set_region(none, "la", MASK == 3)
    assert np.array_equal(again, MASK)


def test_a_stroke_is_all_within_its_radius():
    line = np.array([[20.0, 30.0], [60.0, 30.0]])
    stroke = brushed(np.zeros((80, 90), bool), line, 5.0, is_erasing=False)
    assert stroke.sum() == pytest.approx(40 * 11 + np.pi * 25, abs=8)
    assert not brushed(stroke, line, 6.0, is_erasing=True).any()
    outside = brushed(stroke, np.array([[-50.0, -50.0]]), 5.0, is_erasing=False)
    assert np.array_equal(outside, stroke)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=4, unique=True), st.integers(0, 9))
def test_packed_masks_come_back_bit_by_bit(frames, seed):
    rng = np.random.default_rng(seed)
    masks = {one: (rng.integers(0, 4, (30, 40)) * (one > 0)).astype(np.uint8) for one in frames}
    again = unpack(pack(masks), (30, 40))
    assert again.keys() == masks.keys()
    assert all(np.array_equal(again[one], masks[one]) for one in masks)
