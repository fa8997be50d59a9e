import math

import pytest
import torch

from echoseg.losses import (
    IGNORE_LABEL,
    area_ratio_loss,
    cross_entropy_dice_loss,
    soft_target_loss,
)


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


def test_a_label_nobody_tells_apart_counts_as_background():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 4, 6, 6, generator=generator, dtype=torch.float64)
    masks = torch.randint(0, 2, (2, 6, 6), generator=generator)
    only_lv = torch.tensor([[True, True, False, False]]).expand(2, -1)
    merged = torch.stack([logits[:, [0, 2, 3]].logsumexp(1), logits[:, 1]], 1)
    # the labels that are in no mask are right by being absent, and are averaged in
    expected = cross_entropy_dice_loss(merged, masks)
    found = cross_entropy_dice_loss(logits, masks, only_lv)
    dice = 1 - (expected - torch.nn.functional.cross_entropy(merged, masks))
    assert found == pytest.approx((expected - (1 - dice) * 2 / 3).item(), abs=1e-9)


def test_clips_with_different_labels_train_together():
    logits = torch.randn(2, 4, 6, 6, requires_grad=True)
    masks = torch.zeros(2, 6, 6, dtype=torch.long)
    known = torch.tensor([[True, True, False, False], [True, True, True, True]])
    cross_entropy_dice_loss(logits, masks, known).backward()
    # LA where the first clip knows no LA: nothing to unlearn against background but LV
    first, second = logits.grad[0, 3], logits.grad[1, 3]
    assert first.max() <= 0  # it helps to say background, and LA is part of it there
    assert second.min() >= 0
    assert torch.isfinite(logits.grad).all()


def test_a_batch_without_any_label_costs_nothing():
    masks = torch.full((2, 4, 4), IGNORE_LABEL)
    assert cross_entropy_dice_loss(torch.randn(2, 3, 4, 4), masks).item() == 0


def test_the_soft_loss_is_lowest_at_its_target():
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(1, 3, 5, 5, generator=generator).softmax(1)
    logits = target.log().clone().requires_grad_()
    soft_target_loss(logits, target, torch.ones(1, 5, 5)).backward()
    assert logits.grad.abs().max() < 2e-3  # the 1 that keeps Dice finite pulls a little


def test_pixels_without_weight_pull_nothing():
    logits = torch.randn(1, 3, 5, 5, requires_grad=True)
    weights = torch.ones(1, 5, 5)
    weights[:, 2:] = 0
    soft_target_loss(logits, torch.rand(1, 3, 5, 5).softmax(1), weights).backward()
    assert logits.grad[:, :, 2:].abs().max() == 0
    assert logits.grad[:, :, :2].abs().max() > 0


def square_clip(areas, size=16):
    """Masks `1 T S S` with so many cavity pixels, and logits that draw them."""
    masks = (torch.arange(size * size) < torch.tensor(areas)[:, None]).long()
    masks = masks.view(1, -1, size, size)
    return masks, torch.nn.functional.one_hot(masks, 3).movedim(-1, 2) * 60.0


ALL_KNOWN = torch.ones(1, 3, dtype=torch.bool)


def test_the_ratio_loss_is_the_error_of_the_log_ratio_of_the_areas():
    true, right = square_clip([200, 150, 100, 140])
    _, logits = square_clip([200, 180, 120, 140])
    assert area_ratio_loss(right, true, ALL_KNOWN).item() < 1e-5
    loss = area_ratio_loss(logits, true, ALL_KNOWN)
    assert loss.item() == pytest.approx(math.log(1.2), abs=1e-5)
    _, larger = square_clip([240, 180, 120, 168])  # all areas 1.2 times as large: EF is right
    assert area_ratio_loss(larger, true, ALL_KNOWN).item() < 1e-5


def test_two_labeled_frames_are_enough_for_the_ratio():
    true, _ = square_clip([200, 150, 150, 100])
    true[:, 1:3] = IGNORE_LABEL
    _, logits = square_clip([180, 20, 250, 100])
    loss = area_ratio_loss(logits, true, ALL_KNOWN)
    assert loss.item() == pytest.approx(math.log(200 / 180), abs=1e-5)


def test_the_ratio_loss_needs_two_masks_with_a_known_cavity():
    true, _ = square_clip([200, 100, 150])
    _, logits = square_clip([90, 200, 150])
    unknown = torch.tensor([[True, False, True]])
    for masks, known in ((true, unknown), (torch.zeros_like(true), ALL_KNOWN)):
        assert area_ratio_loss(logits, masks, known) == 0
    assert area_ratio_loss(logits[:, :1], true[:, :1], ALL_KNOWN) == 0


def test_the_gradient_of_the_ratio_loss_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(1, 4, 3, 8, 8, generator=generator, dtype=torch.float64)
    masks, _ = square_clip([40, 30, 22, 31], size=8)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: area_ratio_loss(x, masks, ALL_KNOWN), (logits,), fast_mode=True
    )
