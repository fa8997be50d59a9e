"""What one step looks at: clips with and without labels, plain and varied.

The plain view is what the pool holds; a teacher sees it. The varied view has been moved, warped and
changed in grey; the student sees that. `Batch.moved` brings what was found on the plain view to the
varied one, so that a pseudo-mask fits its frame to the pixel.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from echoseg.errors import ConfigError
from echoseg.evaluation.corruptions import corrupt_frames
from echoseg.losses import IGNORE_LABEL
from echoseg.train.data.augment import (
    AugmentConfig,
    move_frames,
    move_masks,
    sampling_grid,
    vary_grey,
)
from echoseg.train.data.pool import Pool


class Batch(NamedTuple):
    """Clips of one step: the labelled ones first.

    Attributes:
        num_labeled: So many clips have a mask.
        clips: `B`, index in the pool.
        times: `B T`, index of the frame in its clip.
        plain: `B T 1 S S` in [0, 1], as in the pool.
        frames: `B T 1 S S`, varied.
        masks: `B T S S` labels of the varied view; `IGNORE_LABEL` where unknown.
        truth: The same, hidden masks too; for telling only.
        phases: `B T`, see `Pool`.
        known_labels: `B K`, see `Pool`.
        grid: `B S S 2`, where the varied view was taken from the plain one.
    """

    num_labeled: int
    clips: Tensor
    times: Tensor
    plain: Tensor
    frames: Tensor
    masks: Tensor
    truth: Tensor
    phases: Tensor
    known_labels: Tensor
    grid: Tensor

    def moved(self, maps: Tensor, start: int = 0) -> Tensor:
        """Bring maps `B' T K S S` of the plain view to the varied one, for clips from `start`.

        Outside the old frame there is background, label 0.
        """
        outside = torch.zeros_like(maps[:1, :1, :, :1, :1])
        outside[:, :, 0] = 1
        num, time = maps.shape[:2]
        flat = (maps - outside).flatten(1, 2)
        there = move_frames(flat, self.grid[start : start + num]).unflatten(1, (time, -1))
        return there + outside

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on a device."""
        return Batch._make(x.to(device) if isinstance(x, Tensor) else x for x in self)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchConfig:
    """How a step's clips are drawn.

    Attributes:
        image_size: Side of what the networks see, in pixels.
        num_labeled: Clips with a mask.
        num_unlabeled: Clips without.
        num_frames: Frames of a clip.
        augment_strength: Factor on every range of `AugmentConfig`.
        corruption_prob: Share of frames, the first of a clip apart, that are spoilt.
    """

    image_size: int = 112
    num_labeled: int = 6
    num_unlabeled: int = 6
    num_frames: int = 2
    augment_strength: float = 1.0
    corruption_prob: float = 0.0


class Batches:
    """Draws batches without end; the same seed draws the same ones.

    Raises:
        ConfigError: If the pool has no label, or fewer clips without than a batch takes.
    """

    def __init__(self, pool: Pool, config: BatchConfig, seed: int = 0) -> None:
        self.pool, self.config = pool, config
        self.generator = torch.Generator().manual_seed(seed)
        labelled = pool.is_labeled
        self._labelled, self._unlabelled = (each.nonzero()[:, 0] for each in (labelled, ~labelled))
        if not len(self._labelled):
            raise ConfigError("the pool must have at least one labelled clip, it has none")
        if not len(self._unlabelled):  # all are labelled: they serve for both
            self._unlabelled = self._labelled
        if len(self._unlabelled) < config.num_unlabeled:
            raise ConfigError(
                f"num_unlabeled must be at most the {len(self._unlabelled)} clips without a "
                f"label, got {config.num_unlabeled}; give more clips or smaller batches"
            )
        self._queue = torch.empty(0, dtype=torch.long)

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        return {"generator": self.generator.get_state(), "queue": self._queue}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another was."""
        self.generator.set_state(state["generator"])
        self._queue = state["queue"]

    def next(self) -> Batch:
        """Return the next batch."""
        config = self.config
        drawn = torch.multinomial(
            self.pool.weights[self._labelled], config.num_labeled, True, generator=self.generator
        )
        labelled = self._labelled[drawn]
        clips = torch.cat([labelled, self._next_unlabelled()])
        times = self._draw_times(clips)
        frames, masks, truth, phases = (
            each[clips[:, None], times]
            for each in (self.pool.frames, self.pool.masks, self.pool.truth, self.pool.phases)
        )
        plain = frames.float() / 255
        how = AugmentConfig().scaled(config.augment_strength)
        grid = sampling_grid(len(clips), config.image_size, how, self.generator)
        varied = vary_grey(move_frames(plain, grid), how, self.generator)
        varied, _ = corrupt_frames(varied, config.corruption_prob, self.generator)
        masks, truth = (_move_masks_into_background(each, grid) for each in (masks, truth))
        return Batch(
            num_labeled=config.num_labeled,
            clips=clips,
            times=times,
            plain=plain.unsqueeze(2),
            frames=varied.unsqueeze(2),
            masks=masks,
            truth=truth,
            phases=phases,
            known_labels=self.pool.known_labels[clips],
            grid=grid,
        )

    def _next_unlabelled(self) -> Tensor:
        """Return the next clips of a shuffled round through all; a batch holds none twice."""
        num = self.config.num_unlabeled
        if len(self._queue) < num:
            order = torch.randperm(len(self._unlabelled), generator=self.generator)
            self._queue = self._unlabelled[order]
        taken, self._queue = self._queue[:num], self._queue[num:]
        return taken

    def _draw_times(self, clips: Tensor) -> Tensor:
        """`B T` frames of each clip: neighbours, forwards or backwards.

        Where a clip has fewer frames than asked for, its first stands for a while, then its last:
        a memory so learns when *not* to trust the past.
        """
        want, have = self.config.num_frames, self.pool.lengths[clips, None]
        drawn, steps = torch.rand(len(clips), 1, generator=self.generator), torch.arange(want)
        turn = 1 + (drawn * (want - 1)).long()
        start = (drawn * (have - want + 1)).long()
        times = torch.where(have < want, (steps >= turn) * (have - 1), start + steps)
        backwards = torch.rand(len(clips), 1, generator=self.generator) < 0.5
        return torch.where(backwards, times.flip(1), times)


def _move_masks_into_background(masks: Tensor, grid: Tensor) -> Tensor:
    """Move masks; a frame without a mask stays so to its corners."""
    unknown = (masks == IGNORE_LABEL).flatten(2).all(2)
    return move_masks(masks, grid).masked_fill(unknown[..., None, None], IGNORE_LABEL)
