"""Losses that accept partial masks.

Masks may be partial: unlabeled pixels (`IGNORE_LABEL`), and labels that a data set
does not distinguish (EchoNet-Dynamic has the LV only). There, "background" means "none of the known
labels", so its probability is the sum over background and all unknown labels, and clips of
different data sets can be trained on together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Label

IGNORE_LABEL = 255
"""Mask value of a pixel whose label is unknown; it adds nothing to a loss."""
MIN_CAVITY_FRACTION = 0.002
"""Fraction of a frame below which a cavity has no meaningful log area."""


def cross_entropy_dice_loss(
    logits: Tensor, masks: Tensor, known_labels: Tensor | None = None
) -> Tensor:
    """Sum of cross entropy and soft Dice loss, each over known pixels.

    Soft Dice pools each label over the batch, so a label absent from one frame costs nothing there.

    Args:
        logits: `N K H W`.
        masks: `N H W` integer labels; `IGNORE_LABEL` where unknown.
        known_labels: `N K` bool, labels that the item's mask distinguishes, including background;
            all when not given.

    Reference:
        Milletari, Navab and Ahmadi, 3DV 2016, equation of section 3, with |p| + |y| below.
    """
    known = (masks != IGNORE_LABEL).unsqueeze(1)
    log_probs = _with_unknown_labels_in_background(logits.log_softmax(1), known_labels)
    # nll_loss gives 0 / 0 where nothing at all is known
    num_known = known.sum().clamp(min=1)
    cross_entropy = (
        functional.nll_loss(log_probs, masks.long(), ignore_index=IGNORE_LABEL, reduction="sum")
        / num_known
    )
    probs = log_probs.exp() * known
    target = functional.one_hot(masks.long().masked_fill(~known[:, 0], 0), logits.shape[1])
    target = target.movedim(-1, 1) * known
    overlap = (probs * target).sum((0, 2, 3))
    size = (probs + target).sum((0, 2, 3))
    dice = (2 * overlap + 1) / (size + 1)
    return cross_entropy + (1 - dice[1:]).mean()


def level_loss(
    levels: Sequence[Tensor],
    masks: Tensor,
    known_labels: Tensor | None = None,
    *,
    weight: float = 0.4,
) -> Tensor:
    """Deep supervision: loss of the first logits, plus the weighted mean loss of the others.

    Args:
        levels: `N K H W` each; the first is the output of the network.
        masks: `N H W`, as for `cross_entropy_dice_loss`.
        known_labels: `N K` bool, the same.
        weight: Weight of the other levels together.
    """
    output, *others = (cross_entropy_dice_loss(each, masks, known_labels) for each in levels)
    return output + weight * torch.stack(others).mean() if others else output


def soft_target_loss(logits: Tensor, probs: Tensor, weights: Tensor) -> Tensor:
    """Return cross entropy and soft Dice loss against probabilities, pixel by pixel weighted.

    Cross entropy is a mean over all pixels, so a batch of low confidence has a small loss.
    Dice has squares below: it is lowest where the two agree, also between 0 and 1.

    Args:
        logits: `N K H W`.
        probs: `N K H W`, the target; not differentiated.
        weights: `N H W` in [0, 1].
    """
    probs, weights = probs.detach(), weights.detach().unsqueeze(1)
    log_probs = logits.log_softmax(1)
    cross_entropy = -(probs * log_probs * weights).sum(1).mean()
    own = log_probs.exp()
    overlap = (own * probs * weights).sum((0, 2, 3))
    size = ((own.square() + probs.square()) * weights).sum((0, 2, 3))
    dice = (2 * overlap + 1) / (size + 1)
    return cross_entropy + (1 - dice[1:]).mean() * weights.mean()


def area_ratio_loss(logits: Tensor, masks: Tensor, known_labels: Tensor) -> Tensor:
    """Mean |log (A_es / A_ed) - the truth's| over clips, A the area of the ventricle's cavity.

    The network's area is the sum of its probabilities. ED and ES are the frames of the largest and
    the smallest true area. Clips with fewer than two masks do not count.

    Args:
        logits: `B T K H W`.
        masks: `B T H W`; a frame with an unknown pixel has no area.
        known_labels: `B K` bool; clips whose masks do not know the cavity do not count.
    """
    predicted = logits.softmax(2)[:, :, Label.LV_CAVITY].sum((2, 3)).clamp(min=1e-3).log()
    area = (masks == Label.LV_CAVITY).sum((2, 3))
    is_known = (masks != IGNORE_LABEL).flatten(2).all(2) & known_labels[:, None, Label.LV_CAVITY]
    is_known &= area > MIN_CAVITY_FRACTION * masks.shape[-1] * masks.shape[-2]
    true = area.clamp(min=1).log()
    away = predicted - true  # (B, T)
    ed = true.masked_fill(~is_known, -torch.inf).argmax(1, keepdim=True)
    es = true.masked_fill(~is_known, torch.inf).argmin(1, keepdim=True)
    errors = (away.gather(1, es) - away.gather(1, ed))[:, 0].abs()
    counts = is_known.sum(1) > 1
    return errors.masked_fill(~counts, 0).sum() / counts.sum().clamp(min=1)


def _with_unknown_labels_in_background(log_probs: Tensor, known_labels: Tensor | None) -> Tensor:
    """`N K H W` -> the same, unknown labels at -inf and their probability added to background's."""
    if known_labels is None:
        return log_probs
    hidden = ~known_labels[:, :, None, None]
    is_background = torch.arange(log_probs.shape[1], device=log_probs.device) == 0
    summed = log_probs.masked_fill(~(hidden | is_background[:, None, None]), -torch.inf)
    background = summed.logsumexp(1, keepdim=True)
    return torch.cat([background, log_probs.masked_fill(hidden, -torch.inf)[:, 1:]], 1)
