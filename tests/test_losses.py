import pytest
import torch

from echoseg.losses import IGNORE_LABEL, cross_entropy_dice_loss


def test_a_certain_right_answer_costs_nothing_and_a_wrong_one_much():
    masks = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(masks, 3).movedim(-1, 1) * 50.0
    assert cross_entropy_dice_loss(right, masks) == pytest.approx(0, abs=1e-3)
    assert cross_entropy_dice_loss(right.roll(1, 1), masks) > 10


def test_an_undecided_answer_costs_what_the_formula_says():
    masks = torch.zeros(1, 4, 4, dtype=torch.long)
    masks[0, :2] = 1
    loss = cross_entropy_dice_loss(torch.zeros(1, 2, 4, 4), masks)
    dice = (2 * 8 * 0.5 + 1) / (16 * 0.5 + 8 + 1)
    assert loss.item() == pytest.approx(torch.log(torch.tensor(2.0)).item() + 1 - dice, abs=1e-6)


def test_unknown_pixels_add_nothing():
    generator = torch.Generator().manual_seed(1)
    masks = torch.randint(0, 3, (1, 8, 8), generator=generator)
    masks[:, 5:] = IGNORE_LABEL
    logits = torch.randn(1, 3, 8, 8, generator=generator)
    changed = logits.clone()
    changed[:, :, 5:] += 7 * torch.randn(1, 3, 3, 8, generator=generator)
    assert cross_entropy_dice_loss(changed, masks) == cross_entropy_dice_loss(logits, masks)
