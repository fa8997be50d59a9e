"""How near two masks are: answers by hand, empties, spacing, refusals."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echoseg.errors import ArgumentError
from echoseg.metrics.segmentation import area_jitter_percent, compare_masks, dice


def square(top, left, side=10, size=(40, 50)):
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def by_brute_force(predicted, reference, spacing):
    """Surfaces and pairwise distances written out pixel by pixel."""

    def surface(mask):
        padded = np.pad(mask, 1)
        return np.array(
            [
                (r * spacing[0], c * spacing[1])
                for r, c in np.argwhere(mask)
                if not all(
                    padded[r + 1 + dr, c + 1 + dc] for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0))
                )
            ]
        )

    a, b = surface(predicted), surface(reference)
    gaps = np.linalg.norm(a[:, None] - b[None], axis=2)
    forth, back = gaps.min(1), gaps.min(0)
    return (
        max(forth.max(), back.max()),
        max(np.percentile(forth, 95), np.percentile(back, 95)),
        np.concatenate([forth, back]).mean(),
    )


def test_equal_masks_are_at_no_distance():
    found = compare_masks(square(5, 5), square(5, 5))
    assert (found.dice, found.iou, found.hd, found.hd95, found.asd) == (1, 1, 0, 0, 0)
    assert (found.status, found.unit) == ("ok", "px")


def test_a_square_shifted_by_three_columns():
    # they share 7 of 10 columns; the 10 pixels of the far side lie 3 away: over 5 % of 36
    found = compare_masks(square(5, 5), square(5, 8))
    assert found.dice == pytest.approx(0.7)
    assert found.iou == pytest.approx(70 / 130)
    assert found.hd == 3
    assert found.hd95 == 3
    expected = by_brute_force(square(5, 5), square(5, 8), (1, 1))
    assert (found.hd, found.hd95, found.asd) == pytest.approx(expected)


def test_one_pixel_against_another_is_their_distance_in_millimetres():
    found = compare_masks(square(0, 0, 1), square(3, 4, 1), (1.0, 2.0))
    assert found.hd == found.hd95 == found.asd == pytest.approx(math.hypot(3, 8))
    assert (found.dice, found.iou, found.unit) == (0, 0, "mm")


def test_hd95_is_the_larger_of_the_two_directed_percentiles():
    reference = square(5, 5)
    predicted = reference | square(35, 45, 1)  # one stray pixel of 37: above the 95th percentile
    found = compare_masks(predicted, reference)
    assert found.hd == pytest.approx(math.hypot(21, 31))
    assert found.hd95 == 0


def test_the_edge_of_the_picture_is_surface():
    whole = np.ones((9, 9), bool)
    found = compare_masks(whole, square(4, 4, 1, (9, 9)))
    assert found.hd == pytest.approx(math.hypot(4, 4))
    ring = np.pad(np.zeros((7, 7), bool), 1, constant_values=True)
    assert compare_masks(whole, ring).hd == 0


def test_one_empty_mask_is_the_diagonal_away():
    for pair in ((square(5, 5), square(5, 5, 0)), (square(5, 5, 0), square(5, 5))):
        found = compare_masks(*pair, (0.5, 2.0))
        assert (found.dice, found.iou, found.status) == (0, 0, "one_empty")
        assert found.hd == found.hd95 == found.asd == pytest.approx(math.hypot(39 * 0.5, 49 * 2))


def test_two_empty_masks_have_no_score():
    empty = np.zeros((4, 4), bool)
    found = compare_masks(empty, empty, (1, 1))
    assert found.dice is found.iou is found.hd is found.hd95 is found.asd is None
    assert (found.status, found.unit) == ("both_empty", "mm")
    assert dice(empty, empty) is None


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_label_maps_and_tensors_score_as_boolean_masks_do(convert):
    rng = np.random.default_rng(0)
    predicted, reference = rng.integers(0, 4, (2, 3, 20, 30))
    for label in (1, 3, (1, 2)):
        expected = dice(np.isin(predicted, label), np.isin(reference, label))
        assert dice(convert(predicted), convert(reference), label) == expected
        assert dice(convert(predicted), reference, label) == expected
    assert dice(convert(predicted == 1), convert(reference == 1)) == dice(predicted, reference, 1)
    assert dice(convert(predicted), convert(reference), 9) is None
    with pytest.raises(ArgumentError, match="select a structure, such as label="):
        dice(convert(predicted), convert(reference))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    spacing=st.sampled_from([(1.0, 1.0), (0.3, 0.9), (2.0, 0.5)]),
)
def test_distances_are_those_of_a_pixel_by_pixel_count(seed, size, spacing):
    rng = np.random.default_rng(seed)
    predicted, reference = rng.random((2, *size)) < rng.uniform(0.1, 0.95)
    there, back = (
        compare_masks(predicted, reference, spacing),
        compare_masks(reference, predicted, spacing),
    )
    assert (there.dice, there.hd, there.hd95) == (back.dice, back.hd, back.hd95)
    if there.status == "ok":
        expected = by_brute_force(predicted, reference, spacing)
        assert (there.hd, there.hd95, there.asd) == pytest.approx(expected)
        assert there.dice == pytest.approx(2 * there.iou / (1 + there.iou))


def test_masks_that_cannot_be_compared_are_refused():
    mask = square(5, 5)
    with pytest.raises(ValueError, match="must have the same shape"):
        compare_masks(mask, mask[1:])
    with pytest.raises(ValueError, match="must be boolean"):
        dice(mask.astype(np.uint8), mask)
    with pytest.raises(ValueError, match="one frame at a time"):
        compare_masks(mask[None], mask[None])
    with pytest.raises(ValueError, match="positive and finite"):
        compare_masks(mask, mask, (0.0, 1.0))


def test_a_straight_area_curve_does_not_tremble_and_a_zigzag_does():
    assert area_jitter_percent(np.linspace(100, 200, 11)) == pytest.approx(0, abs=1e-10)
    assert area_jitter_percent(np.array([9.0, 11, 9, 11, 9, 11])) == pytest.approx(40)
    with pytest.raises(ValueError, match="at least 3 frames"):
        area_jitter_percent(np.array([1.0, 2.0]))


@pytest.mark.parametrize("spacing", [None, (0.31, 0.154), (1.2, 0.4)])
def test_hearts_at_full_size_are_those_of_a_pixel_by_pixel_count(spacing):
    rows, columns = np.mgrid[:120, :100]

    def heart(top, left, height, width):
        return ((rows - top) / height) ** 2 + ((columns - left) / width) ** 2 < 1

    for seed in range(5):
        rng = np.random.default_rng(seed)
        predicted, reference = (
            heart(*(np.array([60, 50, 40, 20]) + rng.normal(0, 3, 4))) for _ in range(2)
        )
        predicted |= rng.random(predicted.shape) < 0.001  # stray pixels
        found = compare_masks(predicted, reference, spacing)
        expected = by_brute_force(predicted, reference, spacing or (1, 1))
        assert (found.hd, found.hd95, found.asd) == pytest.approx(expected, abs=1e-9)
        assert found.unit == ("px" if spacing is None else "mm")


def test_a_thousand_pairs_are_compared_in_seconds():
    """Asked for: 5 s on one core; the test leaves room for a busy machine."""
    rows, columns = np.mgrid[:256, :256]
    predicted = ((rows - 128) / 80) ** 2 + ((columns - 128) / 35) ** 2 < 1
    reference = ((rows - 130) / 76) ** 2 + ((columns - 126) / 37) ** 2 < 1
    start = time.process_time()
    for _ in range(100):
        compare_masks(predicted, reference, (0.6, 0.6))
    assert time.process_time() - start < 1.5
