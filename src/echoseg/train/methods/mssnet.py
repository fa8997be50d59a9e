"""MSSNet's way of learning from few labels: RAC makes new clips, DOC keeps correcting old masks.

    P      = teacher(plain)                           probabilities of the unlabelled clips
    M, t   = DOC store: P offered, M taken back, squared and normalised; t the trust in the clip
    w      = ramp t certainty(M) steadiness(M)        weight of a pixel; 1 where an expert drew
    x, y   = RAC of (frames, M, w) with labelled and other unlabelled clips
    L      = L_supervised + L_soft(student(x), y, w) + a L_prototypes

Without DOC, M = P and t = 1. Without RAC, x are the unlabelled clips themselves. As long as the
teacher knows little (ramp near 0), RAC takes labelled donors, and an unlabelled clip is the
background of an expert's mask rather than a place that teaches nothing.

RAC adapts to how much is labelled: of the hosts of a step a share n^2 / (n^2 + h^2) are labelled
clips, h = half_labeled_clips, with labelled donors, n being the labelled frames of the whole pool
counted in whole clips, those of `extra_data` too. With four patients and no extra data all
hosts are unlabelled; with a hundred nearly none, since a teacher that knows no more than the labels
still have to teach costs more than it brings.

Reference:
    The abstract of MSSNet; what its released code does otherwise and why stands in docs/method.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.errors import ConfigError
from echoseg.losses import IGNORE_LABEL, soft_target_loss
from echoseg.train.data.augment import move_frames
from echoseg.train.data.batches import Batch, BatchConfig
from echoseg.train.data.pool import Pool
from echoseg.train.ema import Teacher
from echoseg.train.methods.base import Terms, TrainingMethod, supervised_term, told_dice
from echoseg.train.methods.confidence import certainty, steadiness
from echoseg.train.methods.mssnet_cross_mix import Sample, cross_mix
from echoseg.train.methods.mssnet_memory_bank import PseudoLabelBank
from echoseg.train.methods.mssnet_prototypes import Prototypes

EVEN_CLIPS = 20.0
REACH_SHARE = 0.08
"""How far a wall may move between the frames of a clip, share of the side."""


class MSSNetMethod(TrainingMethod):
    """See the module.

    Args:
        rac: Mix regions.
        doc: Keep and correct masks, and learn prototypes.
        weight: Of what nobody labelled.
        mix_prob: Share of unlabelled clips that get a region of another.
        prototype_weight: a.
        half_labeled_clips: So many labelled clips make labelled and unlabelled hosts equally many.
    """

    def __init__(
        self,
        *,
        rac: bool = True,
        doc: bool = True,
        weight: float = 1.0,
        mix_prob: float = 1.0,
        prototype_weight: float = 0.05,
        half_labeled_clips: float = EVEN_CLIPS,
    ) -> None:
        super().__init__()
        self.rac, self.doc = rac, doc
        self.weight, self.mix_prob = weight, mix_prob
        self.prototype_weight, self.half_labeled_clips = prototype_weight, half_labeled_clips
        self.num_labelled_hosts = 0
        self.store: PseudoLabelBank | None = None
        self.prototypes: Prototypes | None = None

    def prepare(self, student: Any, pool: Pool) -> None:
        """See `TrainingMethod`."""
        if self.doc:
            head = getattr(student, "head", None)
            if not isinstance(head, torch.nn.Conv2d):
                raise ConfigError(
                    f"doc must see the features before a network's last layer, head, "
                    f"{type(student).__name__} has none; take another network or "
                    "method_options.doc=false"
                )
            self.store = PseudoLabelBank(pool)
            self.prototypes = Prototypes(head.in_channels, pool.known_labels.shape[1])
            if getattr(student, "is_pretrained", False):
                fill(self.store, student, pool)

    def share_out(self, pool: Pool, config: BatchConfig, num_processes: int) -> BatchConfig:
        """Make some of the hosts labelled ones; one of each process stays unlabelled."""
        if not self.rac:
            return config
        is_drawn = (pool.masks != IGNORE_LABEL).flatten(2).any(2)
        num_clips = float(is_drawn.float().mean(1).sum())
        share = num_clips**2 / max(num_clips**2 + self.half_labeled_clips**2, 1e-9)
        each = config.num_unlabeled // num_processes
        self.num_labelled_hosts = max(0, min(round(share * each), each - 1))
        more = num_processes * self.num_labelled_hosts
        return replace(
            config,
            num_labeled=config.num_labeled + more,
            num_unlabeled=config.num_unlabeled - more,
        )

    def share_with(self, gather: Any) -> None:
        """See `TrainingMethod`."""
        for part in (self.store, self.prototypes):
            if part is not None:
                part.gather = gather

    def forward(self, student: Any, teacher: Teacher, batch: Batch, ramp: float) -> Terms:
        """See `TrainingMethod`."""
        first = batch.num_labeled
        offered = teacher(batch.plain[first:])
        loose, trust = self._targets(batch, offered, ramp)
        drawn = _labelled_sample(batch)
        told = {
            "told_pseudo_dice": told_dice(batch.moved(offered, first), batch),
            "told_target_dice": told_dice(loose.probs, batch),
            "told_trust": trust.mean(),
        }
        mixed = self._mixed(loose, drawn, ramp) if self.rac else loose
        own = first - self.num_labelled_hosts
        with _features_of(None if self.prototypes is None else student.head) as seen:
            logits = student(torch.cat([batch.frames[:own], mixed.frames]))
        loss = soft_target_loss(
            logits[own:].float().flatten(0, 1),
            mixed.probs.flatten(0, 1),
            mixed.weights.flatten(0, 1),
        )
        terms = {"supervised": supervised_term(logits, batch, own), "mixed": self.weight * loss}
        if self.prototypes is not None:
            probs = torch.cat([drawn.probs[:own], mixed.probs])
            weights = torch.cat([drawn.weights[:own], mixed.weights * (mixed.weights > 0.5)])
            features = _clip_by_clip(seen)
            pull = self.prototypes(features, *_shrunk(probs, weights, features.shape[-1]))
            terms["prototypes"] = self.prototype_weight * pull
        return terms | told

    def _targets(self, batch: Batch, offered: Tensor, ramp: float) -> tuple[Sample, Tensor]:
        """Return the unlabelled clips with what is to be learnt of them, and the trust `B'`."""
        first = batch.num_labeled
        if self.store is None:
            probs, trust = offered, torch.ones(len(offered), device=offered.device)
        else:
            taken = self.store.take(batch.clips[first:], batch.times[first:], offered)
            probs, trust = taken.probs, taken.trust
        weights = certainty(probs) * steadiness(probs, round(REACH_SHARE * probs.shape[-1]))
        # beyond the old frame there is surely nothing
        weights = move_frames(weights - 1, batch.grid[first:]) + 1
        sample = Sample(
            frames=batch.frames[first:],
            probs=batch.moved(_sharpened(probs), first),
            weights=ramp * weights * trust[:, None, None, None],
            phases=batch.phases[first:],
        )
        return sample, trust

    def _mixed(self, loose: Sample, drawn: Sample, ramp: float) -> Sample:
        """Return the hosts, most with a region of another clip: labelled ones first."""
        num, num_drawn, extra = len(loose.frames), len(drawn.frames), self.num_labelled_hosts
        pot = Sample(
            frames=torch.cat([drawn.frames, loose.frames]),
            probs=torch.cat([drawn.probs, loose.probs]),
            weights=torch.cat([drawn.weights, loose.weights]),
            phases=torch.cat([drawn.phases, loose.phases]),
        )
        hosts = torch.arange(num_drawn - extra, num_drawn + num)
        from_drawn = torch.randint(num_drawn, (num,))
        from_loose = num_drawn + (torch.arange(num) + torch.randint(1, max(num, 2), (num,))) % num
        donors = torch.where(torch.rand(num) < 0.5 * ramp, from_loose, from_drawn)
        others = hosts[:extra] + torch.randint(1, max(num_drawn, 2), (extra,))
        host, num = pot.pick(hosts), num + extra
        mixed, _ = cross_mix(host, pot.pick(torch.cat([others % num_drawn, donors])))
        is_mixed = torch.rand(num) < self.mix_prob
        return Sample(
            **{
                name: torch.where(is_mixed.view(-1, *[1] * (old.ndim - 1)).to(old.device), new, old)
                for name in ("frames", "probs", "weights", "phases")
                for new, old in [(getattr(mixed, name), getattr(host, name))]
            }
        )


@torch.no_grad()
def fill(store: PseudoLabelBank, network: Any, pool: Pool, num_clips: int = 8) -> None:
    """Offer the store what a pretrained network finds on every clip without a mask.

    What is learnt later is folded into that, so that a mask remembers more than the few labels.
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    times = torch.arange(pool.frames.shape[1])
    for clips in (~pool.is_labeled).nonzero()[:, 0].split(num_clips):
        frames = pool.frames[clips].to(device)[:, :, None].float() / 255
        probs = network(frames).float().softmax(2)
        store.take(clips, times.expand(len(clips), -1), probs)
    network.train(was_training)


def _sharpened(probs: Tensor) -> Tensor:
    """Return probabilities `B T K S S` squared and normalised again: what is learnt is decided."""
    squared = probs.square()
    return squared / squared.sum(2, keepdim=True)


def _labelled_sample(batch: Batch) -> Sample:
    """Return the labelled clips; pixels whose label is not told have no weight."""
    num = batch.num_labeled
    masks = batch.masks[:num]
    known = masks != IGNORE_LABEL
    # where not all labels are told apart, background may be one of them
    all_told = batch.known_labels[:num].all(1)[:, None, None, None]
    weights = known & (all_told | (masks != 0))
    one_hot = functional.one_hot(masks.long().masked_fill(~known, 0), batch.known_labels.shape[1])
    return Sample(
        frames=batch.frames[:num],
        probs=one_hot.movedim(-1, 2).to(batch.frames.dtype),
        weights=weights.to(batch.frames.dtype),
        phases=batch.phases[:num],
    )


@contextmanager
def _features_of(head: Any) -> Iterator[list[Tensor]]:
    """Yield a list that gets what the network's last layer sees each time; none, no layer."""
    seen: list[Tensor] = []
    if head is None:
        yield seen
        return
    handle = head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        handle.remove()


def _clip_by_clip(seen: list[Tensor]) -> Tensor:
    """Return features `B*T C h w`: seen at once so, or `B C h w` of each frame in turn."""
    return seen[0] if len(seen) == 1 else torch.stack(seen, 1).flatten(0, 1)


def _shrunk(probs: Tensor, weights: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return labels and weights `N h w` on the features' grid."""
    small = functional.interpolate(probs.flatten(0, 1), size=(side, side), mode="area")
    most, labels = small.max(1)
    light = functional.interpolate(weights.flatten(0, 1)[:, None], size=(side, side), mode="area")
    return labels, light[:, 0] * most
