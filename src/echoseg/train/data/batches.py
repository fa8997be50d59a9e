"""The batches of a run as a map-style data set: item n is what step n sees.

The weak view is what the data set holds; a teacher sees it. The strong view has been warped and
changed in intensity; the student sees that. `Batch.to_strong` brings predictions on the weak view
to the strong one, so that a pseudo-label fits its frame to the pixel.

Workers only read and decode (`Drawn`); augmentation runs where the network does (`augmented`).
Every draw depends on the seed and the step alone, so a run resumes exactly with any number of
`DataLoader` workers.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from echoseg.errors import ConfigError, DatasetError, EchosegError
from echoseg.evaluation.artefacts import add_artefacts
from echoseg.evaluation.corruptions import corrupt_frames
from echoseg.losses import IGNORE_LABEL
from echoseg.train.data.augment import (
    AugmentConfig,
    augment_intensity,
    sampling_grid,
    warp_frames,
    warp_masks,
    warp_probs,
)
from echoseg.train.data.training_set import Draw, TrainingSet

if TYPE_CHECKING:
    from echoseg.train.config import TrainConfig


class Batch(NamedTuple):
    """Clips of one step: the labeled ones first.

    Attributes:
        num_labeled: Number of labeled clips.
        clips: `B`, index in the training set.
        times: `B T`, index of the frame in its clip.
        weak: `B T 1 S S` in [0, 1], as in the training set.
        strong: `B T 1 S S`, augmented.
        hidden: `B T S S` in [0, 1], how far an artefact hides the picture in the strong view.
        masks: `B T S S` labels of the strong view; `IGNORE_LABEL` where unknown.
        all_masks: The same with hidden masks too; for metrics only.
        phases: `B T`, see `Draw`.
        known_labels: `B K`, see `Draw`.
        grid: `B S S 2`, where the strong view was sampled in the weak one.
        statistics: Means over the clips; see `training_set.STATISTICS`.
        sources: The labeled clips again, augmented anew, where the method mixes them into others.
    """

    num_labeled: int
    clips: Tensor
    times: Tensor
    weak: Tensor
    strong: Tensor
    hidden: Tensor
    masks: Tensor
    all_masks: Tensor
    phases: Tensor
    known_labels: Tensor
    grid: Tensor
    statistics: Tensor
    sources: "Batch | None" = None

    def to_strong(self, maps: Tensor, start: int = 0) -> Tensor:
        """Bring probabilities `B' T K S S` of the weak view to the strong one, clips from `start`.

        Outside the old frame there is background, label 0.
        """
        return warp_probs(maps, self.grid[start : start + len(maps)])


class Drawn(NamedTuple):
    """Frames of one step as they were read: what a worker process makes.

    Attributes:
        step: The step.
        num_labeled: Number of labeled clips, which come first.
        clips: `B`, index in the training set.
        draws: Each field with a `B` axis in front.
        with_sources: Whether the labeled clips are augmented twice.
    """

    step: int
    num_labeled: int
    clips: Tensor
    draws: Draw
    with_sources: bool = False

    def to(self, device: torch.device) -> "Drawn":
        """The same on a device; frames and masks are moved as bytes."""
        moved = (each.to(device, non_blocking=True) for each in self.draws)
        return self._replace(clips=self.clips.to(device), draws=Draw._make(moved))


def augmented(drawn: Drawn, config: "TrainConfig") -> Batch:
    """Make the batch of a step, on the device where its frames are.

    Draws depend on the seed and the step alone (and on the kind of device: the generator of a GPU
    gives other numbers than that of a CPU).
    """
    generator = torch.Generator(drawn.draws.frames.device)
    generator.manual_seed(config.seed * 1_000_003 + drawn.step * 1_009 + 23)
    batch = _augmented(drawn, config, generator)
    if not drawn.with_sources:
        return batch
    num = drawn.num_labeled
    labeled = Draw._make(each[:num] for each in drawn.draws)
    again = drawn._replace(clips=drawn.clips[:num], draws=labeled)
    return batch._replace(sources=_augmented(again, config, generator))


def _augmented(drawn: Drawn, config: "TrainConfig", generator: torch.Generator) -> Batch:
    draws, num = drawn.draws, len(drawn.clips)
    settings = AugmentConfig(mirror_prob=config.mirror_prob).scaled(config.augment_strength)
    weak = draws.frames.float() / 255  # (B, T, S, S)
    strong, hidden = weak, torch.zeros_like(weak)
    if config.artefact_prob:  # before the warp: the probe is still at the top
        strong, hidden = add_artefacts(weak, config.artefact_prob, generator, masks=draws.masks)
    grid = sampling_grid(num, config.image_size, settings, generator)
    if config.artefact_prob:
        hidden = warp_frames(hidden, grid)
    strong = augment_intensity(warp_frames(strong, grid), settings, generator)
    if config.corruption_prob:
        strong, also_hidden = corrupt_frames(strong, config.corruption_prob, generator)
        hidden = torch.maximum(hidden, also_hidden)
    return Batch(
        num_labeled=drawn.num_labeled,
        clips=drawn.clips,
        times=draws.times,
        weak=weak.unsqueeze(2),  # (B, T, 1, S, S)
        strong=strong.unsqueeze(2),
        hidden=hidden,
        masks=_warp_into_background(draws.masks, grid),
        all_masks=_warp_into_background(draws.all_masks, grid),
        phases=draws.phases,
        known_labels=draws.known_labels,
        grid=grid,
        statistics=draws.statistics.nanmean(0),
    )


class Batches(MapDataset[Batch]):
    """Item n is the batch of step n.

    Args:
        training_set: What is drawn from.
        config: Frames, sizes, augmentation and seed.
        num_labeled: Labeled clips per batch.
        num_unlabeled: Unlabeled clips per batch; the target's only. Where all are labeled, those
            serve for both.
        with_sources: Whether a batch holds its labeled clips twice; see `Batch`.

    Raises:
        ConfigError: If no clip is labeled, or a batch takes more unlabeled clips than there are.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        config: "TrainConfig",
        num_labeled: int,
        num_unlabeled: int,
        *,
        with_sources: bool = False,
    ) -> None:
        self.training_set, self.config = training_set, config
        self.num_labeled, self.num_unlabeled = num_labeled, num_unlabeled
        self.with_sources = with_sources
        labeled, target = training_set.is_labeled, training_set.is_target
        self._labeled, self._unlabeled = (x.nonzero()[:, 0] for x in (labeled, target & ~labeled))
        if not len(self._labeled):
            raise ConfigError(
                "data must have at least one labeled clip, it has none; set labeled_fraction above "
                'zero or add clips with masks, such as extra_data=["phantom:400"]'
            )
        if not len(self._unlabeled):
            self._unlabeled = target.nonzero()[:, 0]
        if len(self._unlabeled) < num_unlabeled:
            raise ConfigError(
                f"num_unlabeled must be at most the {len(self._unlabeled)} unlabeled clips, got "
                f"{num_unlabeled}; give more clips or smaller batches"
            )

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, on the CPU.

        Raises:
            DatasetError: If no clip can be read.
        """
        return augmented(self.drawn(step), self.config)

    def drawn(self, step: int) -> Drawn:
        """Read what a step sees.

        Raises:
            DatasetError: If no clip can be read.
        """
        config, num = self.config, self.num_labeled
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step * 1_009 + 17)
        weights = self.training_set.weights[self._labeled]
        places = torch.multinomial(weights, num, replacement=True, generator=generator)
        chosen = [
            *((int(place), self._labeled) for place in places),
            *((place, self._unlabeled) for place in self._unlabeled_places(step)),
        ]
        drawn = [self._draw(place, among, generator) for place, among in chosen]
        clips = torch.tensor([index for index, _ in drawn])
        draws = Draw._make(map(torch.stack, zip(*(draw for _, draw in drawn), strict=True)))
        return Drawn(step, num, clips, draws, self.with_sources)

    def _unlabeled_places(self, step: int) -> list[int]:
        """Places of a step in shuffled rounds through all; no clip comes twice in a round."""
        if not self.num_unlabeled:
            return []
        per_round = len(self._unlabeled) // self.num_unlabeled
        number, place = divmod(step, per_round)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + number)
        order = torch.randperm(len(self._unlabeled), generator=generator)
        return order[place * self.num_unlabeled :][: self.num_unlabeled].tolist()

    def _draw(self, place: int, among: Tensor, generator: torch.Generator) -> tuple[int, Draw]:
        """Draw from a clip, or from the next one that can be read."""
        config, reason = self.config, ""
        state = generator.get_state()
        for offset in range(len(among)):
            index = int(among[(place + offset) % len(among)])
            generator.set_state(state)
            try:
                return index, self.training_set.draw(
                    index, config.num_frames, generator, sampling=config.frame_sampling
                )
            except ConfigError:
                raise
            except EchosegError as error:
                reason = str(error)
        raise DatasetError(f"no training clip can be read ({reason}); run echoseg data check")


class _Read(MapDataset[Drawn]):
    """What the steps see before augmentation."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Drawn:
        return self.batches.drawn(step)


def batches_from(batches: Batches, step: int, device: torch.device) -> Iterator[Batch]:
    """Batches from a step on: read by `num_workers` processes ahead, augmented on the device."""
    loader = DataLoader(
        _Read(batches),
        batch_size=None,
        sampler=range(step, 2**31),
        num_workers=batches.config.num_workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else it draws from the one that the model uses
    )
    for drawn in loader:
        yield augmented(drawn.to(device), batches.config)


def _warp_into_background(masks: Tensor, grid: Tensor) -> Tensor:
    """Warp masks; a frame without a mask stays without one to its corners."""
    unknown = (masks == IGNORE_LABEL).flatten(2).all(2)
    return warp_masks(masks, grid).masked_fill(unknown[..., None, None], IGNORE_LABEL)
