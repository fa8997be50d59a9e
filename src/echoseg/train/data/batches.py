"""The batches of a run as a map-style data set: item n is what step n sees.

The weak view is what the data set holds; a teacher sees it. The strong view has been warped and
changed in intensity; the student sees that. `Batch.to_strong` brings predictions on the weak view
to the strong one, so that a pseudo-label fits its frame to the pixel.

Workers only read and decode (`Drawn`); augmentation runs where the network does (`augmented`).
Every draw depends on the seed and the step alone, so a run resumes exactly with any number of
`DataLoader` workers.
"""

import math
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
    # a frame without a mask stays without one to its corners
    all_masks = warp_masks(draws.all_masks, grid)
    all_masks = all_masks.masked_fill(_has_no_mask(draws.all_masks), IGNORE_LABEL)
    return Batch(
        num_labeled=drawn.num_labeled,
        clips=drawn.clips,
        times=draws.times,
        weak=weak.unsqueeze(2),  # (B, T, 1, S, S)
        strong=strong.unsqueeze(2),
        hidden=hidden,
        masks=all_masks.masked_fill(_has_no_mask(draws.masks), IGNORE_LABEL),
        all_masks=all_masks,
        phases=draws.phases,
        known_labels=draws.known_labels,
        grid=grid,
        statistics=draws.statistics.nanmean(0),
    )


class StepKind(NamedTuple):
    """What one kind of step draws: numbers of clips and frames, and from which clips.

    Attributes:
        num_frames: Frames per clip.
        num_labeled: Labeled clips.
        num_unlabeled: Unlabeled clips.
        labeled: Indices of the labeled clips.
        unlabeled: Indices of the unlabeled clips.
    """

    num_frames: int
    num_labeled: int
    num_unlabeled: int
    labeled: Tensor
    unlabeled: Tensor

    def __str__(self) -> str:
        counts = f"{self.num_labeled} labeled and {self.num_unlabeled} unlabeled"
        return f"{counts} x {self.num_frames} frames"


class Batches(MapDataset[Batch]):
    """Item n is the batch of step n.

    With more than `still_frames` frames per clip, a step draws either stills or clips. Stills have
    `still_frames` frames there and are as many more, so that all steps have about the same number
    of frames. The two kinds alternate evenly, by the shares of stills and clips among what is
    drawn. Where one kind has no labeled (or no unlabeled) clips, its steps take the other's.

    Args:
        training_set: What is drawn from.
        config: Frames, sizes, augmentation and seed.
        num_labeled: Labeled clips per batch.
        num_unlabeled: Unlabeled clips per batch, at most all of the target's. Where all are
            labeled, those serve for both.
        with_sources: Whether a batch holds its labeled clips twice; see `Batch`.

    Raises:
        ConfigError: If no clip is labeled.
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
        self.training_set, self.config, self.with_sources = training_set, config, with_sources
        is_labeled, target = training_set.is_labeled, training_set.is_target
        labeled, unlabeled = (x.nonzero()[:, 0] for x in (is_labeled, target & ~is_labeled))
        if not len(labeled):
            raise ConfigError(
                "data must have at least one labeled clip, it has none; set labeled_fraction above "
                'zero or add clips with masks, such as extra_data=["phantom:400"]'
            )
        if not len(unlabeled):
            unlabeled = target.nonzero()[:, 0]
        num_unlabeled = min(num_unlabeled, len(unlabeled))
        self.clips = StepKind(config.num_frames, num_labeled, num_unlabeled, labeled, unlabeled)
        self.stills, self.stills_share = self.clips, 0.0
        if config.num_frames > config.still_frames:
            self._split_stills()

    def _split_stills(self) -> None:
        """Let stills and clips have steps of their own."""
        every, are_stills = self.clips, self.training_set.are_stills
        weights = self.training_set.weights[every.labeled]
        shares = [
            float(weights @ are_stills[every.labeled].float() / weights.sum()),
            float(are_stills[every.unlabeled].float().mean()),
        ]
        counts = every.num_labeled, every.num_unlabeled
        self.stills_share = sum(n * s for n, s in zip(counts, shares, strict=True)) / sum(counts)
        (labeled, unlabeled), (labeled_stills, unlabeled_stills) = (
            [_those(part, chosen, num) for part, num in zip(every[3:], (1, counts[1]), strict=True)]
            for chosen in (~are_stills, are_stills)
        )
        self.clips = every._replace(labeled=labeled, unlabeled=unlabeled)
        factor = self.config.num_frames // self.config.still_frames
        if counts[1]:
            factor = min(factor, len(unlabeled_stills) // counts[1])
        self.stills = StepKind(
            self.config.still_frames,
            factor * counts[0],
            factor * counts[1],
            labeled_stills,
            unlabeled_stills,
        )

    def summary(self) -> str:
        """What the steps draw, in words."""
        if not 0 < self.stills_share < 1:
            return f"each step: {self.stills if self.stills_share else self.clips}"
        return f"{self.stills_share:.0%} of the steps: stills, {self.stills}; others: {self.clips}"

    def kind(self, step: int) -> tuple[StepKind, int]:
        """What a step draws, and how many steps of this kind came before it."""
        before, after = (math.floor(n * self.stills_share + 1e-9) for n in (step, step + 1))
        return (self.stills, before) if after > before else (self.clips, step - before)

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
        kind, before = self.kind(step)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step * 1_009 + 17)
        weights = self.training_set.weights[kind.labeled]
        places = torch.multinomial(weights, kind.num_labeled, replacement=True, generator=generator)
        chosen = [
            *((int(place), kind.labeled) for place in places),
            *((place, kind.unlabeled) for place in self._unlabeled_places(kind, before)),
        ]
        drawn = [self._draw(place, among, kind.num_frames, generator) for place, among in chosen]
        clips = torch.tensor([index for index, _ in drawn])
        draws = Draw._make(map(torch.stack, zip(*(draw for _, draw in drawn), strict=True)))
        return Drawn(step, kind.num_labeled, clips, draws, self.with_sources)

    def _unlabeled_places(self, kind: StepKind, before: int) -> list[int]:
        """Places of a step in shuffled rounds through all; no clip comes twice in a round."""
        if not kind.num_unlabeled:
            return []
        number, place = divmod(before, len(kind.unlabeled) // kind.num_unlabeled)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + number)
        order = torch.randperm(len(kind.unlabeled), generator=generator)
        return order[place * kind.num_unlabeled :][: kind.num_unlabeled].tolist()

    def _draw(
        self, place: int, among: Tensor, num_frames: int, generator: torch.Generator
    ) -> tuple[int, Draw]:
        """Draw from a clip, or from the next one that can be read."""
        sampling, reason = self.config.frame_sampling, ""
        state = generator.get_state()
        for offset in range(len(among)):
            index = int(among[(place + offset) % len(among)])
            generator.set_state(state)
            try:
                return index, self.training_set.draw(
                    index, num_frames, generator, sampling=sampling
                )
            except ConfigError:
                raise
            except EchosegError as error:
                reason = str(error)
        raise DatasetError(f"no training clip can be read ({reason}); run echoseg data check")


def _those(indices: Tensor, chosen: Tensor, num: int) -> Tensor:
    """Indices that are chosen; all where those are fewer than needed."""
    some = indices[chosen[indices]]
    return some if len(some) >= max(num, 1) else indices


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


def _has_no_mask(masks: Tensor) -> Tensor:
    """Frames of `B T S S` whose label is unknown everywhere, `B T 1 1`."""
    return (masks.flatten(2).amin(2) == IGNORE_LABEL)[..., None, None]
