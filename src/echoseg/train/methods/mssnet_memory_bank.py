"""DOC, first half: a stored pseudo-label per frame, corrected whenever an acceptable one comes.

The teacher gives probabilities P for a clip on the weak view (no flip, warp or zoom to be undone);
M is what the bank holds:

    quality   q = plausible * confidence in the foreground
    threshold c <- (1 - b) c + b quantile_r(q of the batch)
    accepted  q >= c and plausible
    then      s <- g s + q,   M <- M + (q / s) (P - M)

so M is the mean of the accepted predictions, weighted by quality, each g times as heavy as the
next. A prediction that is not accepted is mixed in once and not stored. The distance of P to M
does not enter q: a bad early mask would then refuse every better one.

A mask is plausible when the area fraction of each label is between half the minimum and twice the
maximum of the labeled masks, so a mask that has collapsed to nothing, however stable, is not.

Masks are 8-bit probabilities of all labels but the background, on a grid of at most `side_px`. The
bank holds at most `max_bytes` of them; the ones updated longest ago are dropped first. Its state is
saved with the run. Several processes share their predictions before they are stored, in one order,
so each holds the bank that a single process would.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.losses import IGNORE_LABEL
from echoseg.train.data.training_set import NUM_LABELS, TrainingSet
from echoseg.train.methods.confidence import confidence

ABSENT_FRACTION = 0.002
"""A label with a smaller area fraction than this in a labeled mask may also be absent."""


class Target(NamedTuple):
    """What the bank returns for a batch of clips."""

    probs: Tensor
    """`B T K S S`: the stored masks with the predictions mixed in."""
    reliability: Tensor
    """`B`: 1 where the prediction was accepted, 0.5 where masks were stored before, else 0."""
    quality: Tensor
    """`B`."""


class PseudoLabelBank(nn.Module):
    """Pseudo-labels per frame, corrected by quality-weighted means.

    Args:
        training_set: Its labeled masks define what is plausible.
        side_px: Maximum side of the stored masks.
        max_bytes: Maximum size of all stored masks.
        memory: g.
        quantile: r.
        rate: b.
    """

    threshold: Tensor
    min_area: Tensor
    max_area: Tensor

    def __init__(
        self,
        training_set: TrainingSet,
        *,
        side_px: int = 112,
        max_bytes: int = 2**29,
        memory: float = 0.3,
        quantile: float = 0.25,
        rate: float = 0.1,
    ) -> None:
        super().__init__()
        self.memory, self.quantile, self.rate = memory, quantile, rate
        self.side_px, self.max_bytes = side_px, max_bytes
        self.gather: Callable[[Tensor], Tensor] = lambda x: x
        self.entries: OrderedDict[tuple[int, int], tuple[Tensor, float]] = OrderedDict()
        """(clip, frame) -> mask `K-1 s s` uint8 and strength s."""
        low, high = _area_fractions(training_set)
        self.register_buffer("threshold", torch.tensor(torch.nan))
        self.register_buffer("min_area", low)
        self.register_buffer("max_area", high)

    def get_extra_state(self) -> dict[str, Tensor]:
        """The entries as tensors."""
        masks = [mask for mask, _ in self.entries.values()]
        return {
            "keys": torch.tensor(list(self.entries), dtype=torch.long).view(-1, 2),
            "masks": torch.stack(masks) if masks else torch.zeros(0, dtype=torch.uint8),
            "strength": torch.tensor([s for _, s in self.entries.values()], dtype=torch.float64),
        }

    def set_extra_state(self, state: Any) -> None:
        """Restore the entries."""
        rows = zip(state["keys"].tolist(), state["masks"], state["strength"].tolist(), strict=True)
        self.entries = OrderedDict(((clip, frame), (mask, s)) for (clip, frame), mask, s in rows)

    def is_stored(self, clips: Tensor, times: Tensor) -> Tensor:
        """`B T` bool: frames with a mask."""
        rows = zip(clips.tolist(), times.tolist(), strict=True)
        return torch.tensor([[(clip, t) in self.entries for t in row] for clip, row in rows])

    @torch.no_grad()
    def update(
        self, clips: Tensor, times: Tensor, predicted: Tensor, *, only: Tensor | None = None
    ) -> Target:
        """Store acceptable predictions of the teacher and return the targets to learn.

        Args:
            clips: `B`, index in the training set.
            times: `B T`, frames of the clips.
            predicted: Probabilities `B T K S S` on the weak view.
            only: `B` bool, clips whose predictions may be stored; all by default.
        """
        quality = self.quality(predicted)
        if only is not None:
            quality = quality * only
        everyones = self.gather(quality)
        positive = everyones[everyones > 0]
        if len(positive):
            now = positive.quantile(self.quantile)
            old = now if self.threshold.isnan() else self.threshold
            self.threshold.copy_(old + self.rate * (now - old))
        accepted = (quality > 0) & (quality >= self.threshold)
        stored, strength = self.read(clips, times, predicted.shape[-1])
        stored, strength = stored.to(predicted), strength.to(predicted)
        rate = (quality[:, None] / (self.memory * strength + quality[:, None])).nan_to_num(1.0)
        probs = stored + rate.view(*rate.shape, 1, 1, 1) * (predicted - stored)
        self._write(clips, times, predicted, quality * accepted)
        was_stored = (strength > 0).all(1)
        return Target(probs, torch.where(accepted, 1.0, 0.5 * was_stored), quality)

    def read(self, clips: Tensor, times: Tensor, size_px: int) -> tuple[Tensor, Tensor]:
        """The stored masks, `B T K S S`, and their strength s, `B T`; 0 where there is none."""
        blank = torch.zeros(NUM_LABELS - 1, 1, 1, dtype=torch.uint8), 0.0
        entries = [
            self.entries.get((clip, time), blank)
            for clip, row in zip(clips.tolist(), times.tolist(), strict=True)
            for time in row
        ]
        size = (size_px, size_px)
        maps = [
            functional.interpolate(
                mask[None].float() / 255, size=size, mode="bilinear", align_corners=False
            )
            for mask, _ in entries
        ]
        foreground = torch.cat(maps).unflatten(0, tuple(times.shape))  # (B, T, K - 1, S, S)
        foreground = foreground / foreground.sum(2, keepdim=True).clamp(min=1)
        background = 1 - foreground.sum(2, keepdim=True)
        strength = torch.tensor([s for _, s in entries]).view(times.shape)
        return torch.cat([background, foreground], 2), strength

    def quality(self, predicted: Tensor) -> Tensor:
        """q, `B`, of probabilities `B T K S S`."""
        inside = predicted[:, :, 1:].sum(2)
        sure = (confidence(predicted) * inside).sum((1, 2, 3))
        return self.is_plausible(predicted) * sure / inside.sum((1, 2, 3)).clamp(min=1e-6)

    def is_plausible(self, predicted: Tensor) -> Tensor:
        """Clips `B T K S S` whose areas are like those of labeled masks, `B` bool."""
        areas = predicted[:, :, 1:].mean((3, 4))
        fits = (areas >= 0.5 * self.min_area) & (areas <= 2 * self.max_area)
        return fits.all(2).all(1)

    def _write(self, clips: Tensor, times: Tensor, predicted: Tensor, quality: Tensor) -> None:
        """Store predictions with their quality; 0: not accepted."""
        side = min(self.side_px, predicted.shape[-1])
        small = functional.interpolate(
            predicted[:, :, 1:].flatten(0, 1), size=(side, side), mode="area"
        ).unflatten(0, tuple(times.shape))
        # 8 bits before they are shared: every process must round alike
        small = (255 * small).round().to(torch.uint8)
        shared = [self.gather(x.to(predicted.device)) for x in (clips, times, small, quality)]
        for clip, frames, masks, weight in zip(*(x.cpu() for x in shared), strict=True):
            if weight > 0:
                keys = [(int(clip), frame) for frame in frames.tolist()]
                old = {key: self.entries[key] for key in keys if key in self.entries}
                for key, mask in zip(keys, masks.float(), strict=True):
                    before, strength = old.get(key, (mask, 0.0))
                    strength = self.memory * strength + float(weight)
                    after = before + float(weight) / strength * (mask - before)
                    self.entries[key] = after.round().to(torch.uint8), strength
                    self.entries.move_to_end(key)
        num_bytes = (NUM_LABELS - 1) * side**2
        while len(self.entries) * num_bytes > self.max_bytes:
            self.entries.popitem(last=False)


def _area_fractions(training_set: TrainingSet) -> tuple[Tensor, Tensor]:
    """Minimum and maximum area fraction of each label but the background, over labeled clips.

    A label that no mask distinguishes may have any area.
    """
    low = torch.full((NUM_LABELS - 1,), torch.inf)
    high = torch.zeros(NUM_LABELS - 1)
    for index in training_set.sampled(labeled=True):
        clip, frames = training_set.clip(index), training_set.usable_frames(index)
        masks = clip.masks_at(frames)
        masks = masks[(masks != IGNORE_LABEL).flatten(1).all(1)]
        for label in clip.known_labels - {0}:
            areas = (masks == label).float().mean((1, 2))
            if len(areas):
                low[label - 1] = torch.minimum(low[label - 1], areas.min())
                high[label - 1] = torch.maximum(high[label - 1], areas.max())
    is_known = low.isfinite()
    return (
        torch.where(is_known & (low >= ABSENT_FRACTION), low, 0.0),
        torch.where(is_known, high, 1.0),
    )
