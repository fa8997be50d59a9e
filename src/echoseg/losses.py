"""Losses that accept partial masks.

Masks may be partial: unlabeled pixels (`IGNORE_LABEL`), and labels that a data set
does not distinguish (EchoNet-Dynamic has the LV only). There, "background" means "none of the known
labels", so its probability is the sum over background and all unknown labels, and clips of
different data sets can be trained on together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Label

IGNORE_LABEL = 255
"""Mask value of a pixel whose label is unknown; it adds nothing to a loss."""
MIN_CAVITY_FRACTION = 0.002
"""Fraction of a frame below which a cavity has no meaningful log area."""
MAX_CURVATURE = 0.06
"""Second difference of a cavity's log area that a heart may have where there is no mask: that of a
beat of 1.3 Hz and an area amplitude of 35 % at 20 frames per second."""


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


def boundary_loss(logits: Tensor, masks: Tensor, known_labels: Tensor | None = None) -> Tensor:
    """Mean of probability times signed distance to the label's border, at half the resolution.

    The distance is positive outside, as a fraction of the frame's height. A label counts in the
    frames that are wholly known and where it is, and not everywhere.

    Args:
        logits: `N K H W`.
        masks: `N H W`, as for `cross_entropy_dice_loss`.
        known_labels: `N K` bool, the same.

    Reference:
        Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019, equation 5
        (with distances in pixels there).
    """
    probs = _with_unknown_labels_in_background(logits.log_softmax(1), known_labels).exp()
    small = functional.avg_pool2d(probs, 2)[:, 1:]  # (N, K - 1, h, w)
    labels = torch.arange(1, logits.shape[1], device=masks.device)[:, None, None]
    regions = masks[:, None, : 2 * small.shape[2] : 2, : 2 * small.shape[3] : 2] == labels
    counts = regions.any((2, 3)) & ~regions.all((2, 3))
    counts &= (masks != IGNORE_LABEL).flatten(1).all(1)[:, None]
    if known_labels is not None:
        counts &= known_labels[:, 1:]
    distance = signed_distance_px(regions.flatten(0, 1)).view_as(small) / small.shape[2]
    each = (distance * small).mean((2, 3))  # (N, K - 1)
    return (each * counts).sum() / counts.sum().clamp(min=1)


def signed_distance_px(regions: Tensor) -> Tensor:
    """Distance of each pixel to the border of a region, negative inside, in pixels.

    The border lies halfway between the nearest two pixels of which one is inside. A map that is
    all inside or all outside gives 0.

    Args:
        regions: `N H W` bool.

    Reference:
        Exact in two passes: Felzenszwalb and Huttenlocher, "Distance transforms of sampled
        functions", Theory of Computing 8, 2012, section 2.1.
    """
    outside, inside = (_distance_px(each) for each in (regions, ~regions))
    signed = (outside - 0.5).clamp(min=0) - (inside - 0.5).clamp(min=0)
    there = regions.flatten(1).any(1) & ~regions.flatten(1).all(1)
    return signed.masked_fill(~there[:, None, None], 0)


def _distance_px(regions: Tensor) -> Tensor:
    """Distance of each pixel of `N H W` to the nearest one inside; over H + W if there is none."""
    rows, columns = regions.shape[1:]
    place = torch.arange(columns, device=regions.device)
    far = rows + columns
    left = torch.where(regions, place, -far).cummax(2).values
    right = torch.where(regions, -place, -far).flip(2).cummax(2).values.flip(2).neg()
    squared = torch.minimum(place - left, right - place).float().square()  # within the row
    nearest = squared.clone()
    for step in range(1, rows):
        for to, at in ((slice(step, None), slice(-step)), (slice(-step), slice(step, None))):
            nearest[:, to] = torch.minimum(nearest[:, to], squared[:, at] + step**2)
    return nearest.sqrt()


class VolumeLosses(NamedTuple):
    """Errors of the cavity's log area A over clips, each a scalar.

    Attributes:
        curve: Mean |log A - log A_true| over the frames with a mask.
        ratio: Mean |log (A_es / A_ed) - the truth's| over the clips with two masks; ED and ES are
            the frames of the largest and the smallest true area.
        smoothness: Mean excess of |A''| over the truth's, A'' the second difference of log A over
            three frames; over `MAX_CURVATURE` where not all three have a mask.
    """

    curve: Tensor
    ratio: Tensor
    smoothness: Tensor


def volume_losses(logits: Tensor, masks: Tensor, known_labels: Tensor) -> VolumeLosses:
    """Losses of the area of the ventricle's cavity, as summed probabilities, over clips.

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
    ratio = (away.gather(1, es) - away.gather(1, ed))[:, 0].abs()
    bends, true_bends = (each.diff(dim=1).diff(dim=1).abs() for each in (predicted, true))
    three_known = is_known.unfold(1, 3, 1).all(2) if is_known.shape[1] > 2 else bends.bool()
    excess = (bends - torch.where(three_known, true_bends, MAX_CURVATURE)).relu()
    return VolumeLosses(
        curve=_mean_where(away.abs(), is_known),
        ratio=_mean_where(ratio, is_known.sum(1) > 1),
        smoothness=_mean_where(excess, known_labels[:, Label.LV_CAVITY, None].expand_as(excess)),
    )


def _mean_where(values: Tensor, counts: Tensor) -> Tensor:
    return values.masked_fill(~counts, 0).sum() / counts.sum().clamp(min=1)


def _with_unknown_labels_in_background(log_probs: Tensor, known_labels: Tensor | None) -> Tensor:
    """`N K H W` -> the same, unknown labels at -inf and their probability added to background's."""
    if known_labels is None:
        return log_probs
    hidden = ~known_labels[:, :, None, None]
    is_background = torch.arange(log_probs.shape[1], device=log_probs.device) == 0
    summed = log_probs.masked_fill(~(hidden | is_background[:, None, None]), -torch.inf)
    background = summed.logsumexp(1, keepdim=True)
    return torch.cat([background, log_probs.masked_fill(hidden, -torch.inf)[:, 1:]], 1)
