import math

import pytest
import torch
from torch.nn import functional

from echoseg.metrics.segmentation import dice
from echoseg.train.methods.mssnet_shape import HeartShapes, drawn, signed_distance

SHAPES = HeartShapes()
ED_ES = torch.tensor([[0.0, 1.0]])
ALL = torch.ones(3, dtype=torch.bool)


def heart(size: int = 80, scores: float = 0.0, at: tuple[float, float] = (0.5, 0.22)):
    """Sure probabilities `1 2 4 S S` of a heart of the model, with its apex at a place."""
    row = torch.zeros(len(SHAPES.modes))
    row[:4] = scores
    points = SHAPES.mean + torch.einsum("m,mtpc->tpc", row, SHAPES.modes)
    points = 0.42 * points + torch.tensor(at)
    return sure(drawn(points[None], size, ALL).argmax(2))


def sure(masks: torch.Tensor) -> torch.Tensor:
    return 0.96 * functional.one_hot(masks, 4).movedim(-1, 2) + 0.01


def mean_dice(one: torch.Tensor, other: torch.Tensor) -> float:
    masks = one.argmax(2), other.argmax(2)
    return sum(dice(*masks, k) for k in (1, 2, 3)) / 3


@pytest.mark.parametrize("scores", [0.0, 0.8, -0.8])
def test_a_right_mask_stays(scores):
    probs = heart(scores=scores)
    corrected, reliability = SHAPES(probs, ED_ES)
    assert mean_dice(corrected, probs) > 0.985
    assert reliability.item() > 0.95
    assert torch.allclose(corrected.sum(2), torch.ones(()), atol=1e-5)


def test_a_dented_heart_is_mended():
    """The wall has lost a piece on one side, and there the cavity spills over it."""
    probs = heart()
    masks = probs.argmax(2)
    dent = torch.zeros(80, 80, dtype=torch.bool)
    dent[28:41, 46:60] = True
    for broken in (masks.masked_fill(dent, 0), torch.where(dent & (masks == 2), 1, masks)):
        near = dent & (broken != masks)
        assert near.sum() > 40
        is_mended = []
        for doubt in (0.0, 0.5):  # of the teacher in its error
            wrong = torch.where(
                dent, torch.lerp(sure(broken), torch.tensor(0.25), doubt), sure(broken)
            )
            corrected, _ = SHAPES(wrong, ED_ES)
            is_mended.append((corrected.argmax(2) == masks)[near].float().mean())
            assert mean_dice(corrected, probs) > mean_dice(sure(broken), probs)
        assert is_mended[0] > 0.2
        assert is_mended[1] > max(0.6, is_mended[0])


def test_a_strength_of_none_changes_nothing():
    probs = heart().masked_fill(torch.rand(80, 80) < 0.1, 0.25)
    kept, _ = HeartShapes(strength=0)(probs, ED_ES)
    assert torch.allclose(kept, probs / probs.sum(2, keepdim=True), atol=1e-5)


def test_the_correction_follows_mirror_place_and_resolution():
    probs = heart(scores=0.5)
    corrected, _ = SHAPES(probs, ED_ES)
    mirrored, _ = SHAPES(probs.flip(-1), ED_ES)
    assert mean_dice(mirrored.flip(-1), corrected) > 0.99
    moved, _ = SHAPES(probs.roll((3, -5), (3, 4)), ED_ES)
    assert mean_dice(moved.roll((-3, 5), (3, 4)), corrected) > 0.99
    large, _ = SHAPES(heart(160, 0.5), ED_ES)
    small = functional.interpolate(large[0], size=(80, 80), mode="area")[None]
    assert mean_dice(small, corrected) > 0.97


def test_frames_between_ed_and_es_lie_between_their_shapes():
    contraction = torch.linspace(0, 1, 5)[None]
    ends = heart(scores=0.5)
    blend = SHAPES.mean + torch.einsum("mtpc->tpc", 0.5 * SHAPES.modes[:4])
    shapes = torch.stack([torch.lerp(blend[0], blend[1], t) for t in contraction[0].tolist()])
    points = 0.42 * shapes + torch.tensor((0.5, 0.22))
    probs = sure(drawn(points[None], 80, ALL).argmax(2))
    corrected, _ = SHAPES(probs, contraction)
    assert mean_dice(corrected, probs) > 0.98
    assert mean_dice(corrected[:, ::4], ends) > 0.98


@pytest.mark.parametrize("label", [0, 1])
def test_what_is_no_heart_is_not_reliable(label):
    probs = torch.zeros(2, 2, 4, 64, 64)
    probs[:, :, label] = 1
    corrected, reliability = SHAPES(probs, ED_ES.expand(2, 2))
    assert corrected.isfinite().all()
    assert reliability.max() < (1e-6 if label == 0 else 0.35)


def test_borders_that_no_label_draws_are_left_out():
    probs = heart()
    ventricle = torch.stack([1 - probs[:, :, 1], probs[:, :, 1]], 2)
    ventricle = torch.cat([ventricle, torch.zeros_like(ventricle)], 2)
    corrected, _ = HeartShapes(labels=(0, 1))(ventricle, ED_ES)
    assert set(corrected.argmax(2).unique().tolist()) == {0, 1}
    assert dice(corrected.argmax(2), ventricle.argmax(2), 1) > 0.97


def test_distances_from_a_circle_are_exact():
    turn = torch.linspace(0, 2 * math.pi, 401)[:-1]
    circle = 0.5 + 0.3 * torch.stack([turn.cos(), turn.sin()], 1)
    axis = (torch.arange(50) + 0.5) / 50
    away = ((axis[:, None] - 0.5) ** 2 + (axis - 0.5) ** 2).sqrt()
    assert torch.allclose(signed_distance(circle[None], 50)[0], 0.3 - away, atol=1e-4)
