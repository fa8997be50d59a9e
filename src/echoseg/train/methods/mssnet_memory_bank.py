"""DOC's first half: a mask for every clip, corrected a little whenever a better one is found.

For a clip the teacher gives probabilities P on the plain view (no flip, warp or zoom to be undone),
and M is what the store holds:

    quality   q = plausible * certainty in the foreground
    threshold c <- (1 - b) c + b quantile_r(q of the batch)
    accepted  q >= c and plausible
    then      s <- g s + q,   M <- M + (q / s) (P - M)

so that M is the mean of what was accepted, weighted by quality, each offer g times as heavy as the
next: a teacher that learns soon outweighs what it thought at first. What is not accepted is mixed
in for this once and not kept. Nearness of P to M is no part of q: a bad early mask would then
refuse every better one (docs/log.md has the numbers).

A mask is plausible when the share of the frame that each label takes is between half the least and
twice the most of the labelled masks: a mask that has collapsed to nothing, however stable, is not.

Masks are kept as 8-bit probabilities of all labels but the background, on a grid of at most
`side_px`, in buffers: they are saved with the run. Several processes share what they found before
it is stored, in one order, so that each holds the same store as a single process would.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.losses import IGNORE_LABEL
from echoseg.train.data.pool import Pool
from echoseg.train.methods.confidence import certainty

LEAST_ABSENT = 0.002
"""A label of less than this share of a frame may also be absent."""


class Taken(NamedTuple):
    """What the store gives for a batch of clips."""

    probs: Tensor
    """`B T K S S`: what is stored, with what was offered mixed in."""
    trust: Tensor
    """`B`: 1 where the offer was accepted, a half where a mask was stored before, else 0."""
    quality: Tensor
    """`B`."""


class PseudoLabelBank(nn.Module):
    """See the module.

    Args:
        pool: Whose clips are kept; its labelled masks say what is plausible.
        side_px: Side of the stored masks at most.
        memory: g.
        quantile: r.
        follow: b.
    """

    masks: Tensor
    strength: Tensor
    threshold: Tensor
    least_share: Tensor
    most_share: Tensor

    def __init__(
        self,
        pool: Pool,
        *,
        side_px: int = 112,
        memory: float = 0.3,
        quantile: float = 0.25,
        follow: float = 0.1,
    ) -> None:
        super().__init__()
        self.memory, self.quantile, self.follow = memory, quantile, follow
        self.gather: Callable[[Tensor], Tensor] = lambda x: x
        num, time, rows, _ = pool.frames.shape
        num_labels = pool.known_labels.shape[1]
        side = min(side_px, rows)
        least, most = _area_shares(pool)
        for name, value in (
            ("masks", torch.zeros(num, time, num_labels - 1, side, side, dtype=torch.uint8)),
            ("strength", torch.zeros(num, time)),
            ("threshold", torch.tensor(torch.nan)),
            ("least_share", least),
            ("most_share", most),
        ):
            self.register_buffer(name, value)

    @property
    def is_stored(self) -> Tensor:
        """`N T` bool: frames with a mask."""
        return self.strength > 0

    @torch.no_grad()
    def take(self, clips: Tensor, times: Tensor, offered: Tensor) -> Taken:
        """Offer the teacher's probabilities; take back what shall be learnt.

        Args:
            clips: `B`, index in the pool.
            times: `B T`, frames of the clips.
            offered: `B T K S S` on the plain view.
        """
        quality = self.quality(offered)
        everyones = self.gather(quality)
        found = everyones[everyones > 0]
        if len(found):
            here = found.quantile(self.quantile)
            old = here if self.threshold.isnan() else self.threshold
            self.threshold.copy_(old + self.follow * (here - old))
        accepted = (quality > 0) & (quality >= self.threshold)
        stored, strength = self.read(clips, times, offered.shape[-1])
        rate = (quality[:, None] / (self.memory * strength + quality[:, None])).nan_to_num(1.0)
        probs = stored + rate.view(*rate.shape, 1, 1, 1) * (offered - stored)
        self._write(clips, times, offered, quality * accepted)
        was_stored = (strength > 0).all(1)
        return Taken(probs, torch.where(accepted, 1.0, 0.5 * was_stored), quality)

    def read(self, clips: Tensor, times: Tensor, size_px: int) -> tuple[Tensor, Tensor]:
        """Return what is stored, `B T K S S`, and its strength s, `B T`; 0 where nothing is."""
        kept = self.masks[clips[:, None], times].float() / 255
        kept = functional.interpolate(
            kept.flatten(0, 1), size=(size_px, size_px), mode="bilinear", align_corners=False
        ).unflatten(0, times.shape)
        kept = kept / kept.sum(2, keepdim=True).clamp(min=1)
        background = 1 - kept.sum(2, keepdim=True)
        return torch.cat([background, kept], 2), self.strength[clips[:, None], times]

    def quality(self, offered: Tensor) -> Tensor:
        """Return q, `B`, of probabilities `B T K S S`."""
        inside = offered[:, :, 1:].sum(2)
        sure = (certainty(offered) * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1e-6)
        return self.is_plausible(offered) * sure

    def is_plausible(self, offered: Tensor) -> Tensor:
        """Return which clips `B T K S S` have areas as labelled masks have them, `B` bool."""
        shares = offered[:, :, 1:].mean((3, 4))
        right = (shares >= 0.5 * self.least_share) & (shares <= 2 * self.most_share)
        return right.all(2).all(1)

    def _write(self, clips: Tensor, times: Tensor, offered: Tensor, accepted: Tensor) -> None:
        """Store what was accepted: `accepted` is its quality, 0 where it was not."""
        side = self.masks.shape[-1]
        small = functional.interpolate(
            offered[:, :, 1:].flatten(0, 1), size=(side, side), mode="area"
        ).unflatten(0, times.shape)
        # 8 bits before they are shared: every process must round alike
        small = (255 * small).round().to(torch.uint8)
        shared = (self.gather(each) for each in (clips, times, small, accepted))
        for clip, frames, mask, quality in zip(*shared, strict=True):
            if quality > 0:
                old = self.masks[clip, frames].float()
                strength = self.memory * self.strength[clip, frames] + quality
                new = old + (quality / strength).view(-1, 1, 1, 1) * (mask.float() - old)
                self.masks[clip, frames] = new.round().to(torch.uint8)
                self.strength[clip, frames] = strength


def _area_shares(pool: Pool) -> tuple[Tensor, Tensor]:
    """Return the least and the most share of a frame that each label but the background has.

    Labels that no mask tells apart may have any share.
    """
    least, most = [], []
    known_frames = (pool.masks != IGNORE_LABEL).flatten(2).all(2)
    for label in range(1, pool.known_labels.shape[1]):
        counts = known_frames & pool.known_labels[:, label, None]
        shares = (pool.masks == label).float().mean((2, 3))[counts]
        low = float(shares.min()) if len(shares) else 0.0
        least.append(low if low >= LEAST_ABSENT else 0.0)
        most.append(float(shares.max()) if len(shares) else 1.0)
    return torch.tensor(least), torch.tensor(most)
