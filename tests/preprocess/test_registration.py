"""Signed distances, flows, and the registration of two stills whose motion is known."""

import numpy as np
import pytest
import torch

from animated_makers import stills
from echoseg.preprocess.registration import (
    FIELD_SIZE,
    compose,
    flow,
    heart_box,
    register,
    sample,
    signed_distances,
    smooth,
)


@pytest.fixture(scope="module")
def velocity():
    return register(*stills())


def test_distances_have_the_sign_of_the_labels_and_their_border_between_pixels():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 15:25] = 1
    distances = signed_distances(mask)
    np.testing.assert_array_equal(distances[0] > 0, mask == 1)
    assert distances[0, 20, 14:17].tolist() == [-0.5, 0.5, 1.5]
    assert (distances[2] < 0).all()  # no atrium


def test_the_box_holds_all_labels_with_a_margin():
    masks = np.zeros((2, 100, 50), np.uint8)
    masks[0, 30, 20], masks[1, 60, 25] = 1, 3
    assert heart_box(masks) == (slice(20, 71), slice(15, 31))
    assert heart_box(np.zeros((10, 10), np.uint8)) == (slice(0, 11), slice(0, 11))


def test_a_constant_velocity_flows_by_its_time():
    velocity = torch.tensor([0.1, -0.2]).view(1, 2, 1, 1).expand(1, 2, 16, 16)
    moved = flow(velocity, torch.tensor([0.0, 0.5, -1.0]))
    expected = torch.tensor([[0.0, 0.0], [0.05, -0.1], [-0.1, 0.2]])
    torch.testing.assert_close(moved[..., 8, 8], expected)


def test_a_flow_forth_and_back_is_no_motion_and_halves_add_up(velocity):
    whole, back, half = flow(velocity[None], torch.tensor([1.0, -1.0, 0.5])).split(1)
    inner = (..., slice(4, -4), slice(4, -4))
    assert compose(back, whole)[inner].abs().max() < 0.02  # 0.6 cells
    torch.testing.assert_close(compose(half, half)[inner], whole[inner], atol=0.02, rtol=0)


def test_a_linear_velocity_flows_exponentially():
    """dx/dt = a x has the solution x exp(a t)."""
    coordinate = torch.linspace(-1 + 1 / 32, 1 - 1 / 32, 32)
    velocity = torch.stack([-0.3 * coordinate.expand(32, 32), torch.zeros(32, 32)])[None]
    moved = flow(velocity, torch.tensor([1.0]))[0, 0, 16]
    expected = coordinate * (np.exp(-0.3) - 1)
    torch.testing.assert_close(moved, expected, atol=3e-3, rtol=0)


def test_registration_moves_the_borders_of_ed_onto_those_of_es(velocity):
    _, masks = stills()
    before = torch.nn.functional.interpolate(
        torch.stack([signed_distances(mask) for mask in masks]), (FIELD_SIZE, FIELD_SIZE)
    )
    moved = sample(before[:1], flow(velocity[None], torch.tensor([-1.0])))
    for label, at_least in ((0, 0.97), (1, 0.97), (2, 0.95)):
        one, other = moved[0, label] > 0, before[1, label] > 0
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > at_least


def test_the_motion_folds_nowhere(velocity):
    moved = flow(velocity[None], torch.tensor([1.0]))[0] * (FIELD_SIZE / 2)
    (x_rows, x_columns), (y_rows, y_columns) = (torch.gradient(each) for each in moved)
    assert ((1 + x_columns) * (1 + y_rows) - x_rows * y_columns).min() > 0


def test_equal_stills_do_not_move():
    frames, masks = (np.repeat(each[:1], 2, 0) for each in stills())
    assert register(frames, masks).abs().max() < 1e-3


def test_smoothing_keeps_constants_and_spreads_a_point():
    assert smooth(torch.full((1, 9, 9), 3.0), 1.5) == pytest.approx(3.0)
    point = torch.zeros(1, 21, 21)
    point[0, 10, 10] = 1
    spread = smooth(point, 2.0)[0]
    assert spread.sum() == pytest.approx(1, abs=1e-3)
    assert spread[10, 10] == pytest.approx(1 / (2 * np.pi * 4), rel=0.03)
