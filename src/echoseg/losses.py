"""What training minimises."""

from torch import Tensor
from torch.nn import functional

IGNORE_LABEL = 255
"""Mask value of a pixel whose label is unknown; it adds nothing to a loss."""


def cross_entropy_dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the sum of cross entropy and soft Dice loss, each over known pixels.

    Soft Dice pools each label over the batch, so that a label absent from one frame costs
    nothing there.

    Args:
        logits: `N K H W`.
        masks: `N H W` integer labels; `IGNORE_LABEL` where unknown.

    Reference:
        Milletari, Navab and Ahmadi, 3DV 2016, equation of section 3, with |p| + |y| below.
    """
    known = (masks != IGNORE_LABEL).unsqueeze(1)
    cross_entropy = functional.cross_entropy(logits, masks.long(), ignore_index=IGNORE_LABEL)
    probs = logits.softmax(1) * known
    target = functional.one_hot(masks.long().masked_fill(~known[:, 0], 0), logits.shape[1])
    target = target.movedim(-1, 1) * known
    overlap = (probs * target).sum((0, 2, 3))
    size = (probs + target).sum((0, 2, 3))
    dice = (2 * overlap + 1) / (size + 1)
    return cross_entropy + (1 - dice[1:]).mean()
