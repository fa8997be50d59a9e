"""The clips of a training run, from one or several data sets, and which of their masks are used.

A clip is read when it is drawn. What a step draws from it:

- of ED and ES stills: both, in either order; with more frames than stills each stands for a while;
- of a clip with fewer frames than asked: the clip, reflected in time;
- of a clip whose ED and ES are known: frames spread evenly between the two, as the literature
  trains on EchoNet-Dynamic and CAMUS, or
- consecutive frames at the clip's own rate, one of them labeled when a labeled clip is drawn.

Half of the draws run backwards in time.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from echoseg.clip import Label, View
from echoseg.data.torch_dataset import SquareClip, TorchDataset
from echoseg.errors import ConfigError, DatasetError, EchosegError
from echoseg.losses import IGNORE_LABEL

NUM_LABELS = len(Label)
ES_PHASE = 0.4
"""Phase of the beat, as a fraction, at which ES is assumed."""
NUM_SAMPLED = 32
"""Clips that are read before the first step, for the statistics of the data."""


class ClipSource(Protocol):
    """Whole clips on a square grid by index, such as a `TorchDataset`."""

    def clip(self, index: int) -> SquareClip:
        """The whole clip."""
        ...


class Draw(NamedTuple):
    """Frames drawn from one clip.

    Attributes:
        frames: `T S S` uint8.
        masks: `T S S` uint8 with the masks that training may use; else `IGNORE_LABEL`.
        all_masks: The same with the hidden masks too; for metrics, not for losses.
        phases: `T`, fraction of the beat since ED (ES lies at 0.4); nan when unknown.
        times: `T`, indices of the frames in the clip.
        known_labels: `K` bool, the labels that the masks distinguish.
        statistics: See `STATISTICS`.
    """

    frames: Tensor
    masks: Tensor
    all_masks: Tensor
    phases: Tensor
    times: Tensor
    known_labels: Tensor
    statistics: Tensor


STATISTICS = (
    "frame_interval_s",
    "clip_frames",
    "ef_percent",
    "a4c_fraction",
    "labeled_frame_fraction",
    "still_fraction",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSet:
    """Clips to draw from.

    Attributes:
        sources: Where clips are read.
        places: (source, index) of each of the `N` clips.
        patients: The patient of each clip.
        views: The view of each clip.
        are_stills: `N` bool, clips whose frames are single images.
        is_labeled: `N` bool, clips whose masks training may use.
        is_target: `N` bool, clips of the data that training is for; others only add masks.
        is_sparse: `N` bool, clips of which only the masks of ED and ES may be used.
        weights: `N`, how often a labeled clip is drawn relative to the others.
    """

    sources: tuple[ClipSource, ...]
    places: tuple[tuple[int, int], ...]
    patients: tuple[str, ...]
    views: tuple[View, ...]
    are_stills: Tensor
    is_labeled: Tensor
    is_target: Tensor
    is_sparse: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.places)

    def clip(self, index: int) -> SquareClip:
        """A whole clip.

        Raises:
            EchosegError: If it cannot be read.
        """
        source, place = self.places[index]
        return self.sources[source].clip(place)

    def labeled_fraction(self, fraction: float, seed: int = 0) -> "TrainingSet":
        """Use the masks of a fraction of the patients only (video-sparse), or of none.

        The patients of a smaller fraction are among those of a larger one with the same seed.

        Raises:
            ConfigError: If the fraction is out of range, or above 0 and leaves no patient.
        """
        if not 0 <= fraction <= 1:
            raise ConfigError(f"labeled_fraction must be in [0, 1], got {fraction:g}")
        names = sorted(set(self.patients))
        num = math.floor(fraction * len(names) + 0.5)
        if num == 0 and fraction:
            raise ConfigError(
                f"labeled_fraction must leave at least one patient, {fraction:.3%} of "
                f"{len(names)} leaves none; give {100 / len(names):.3g}% or more, or 0"
            )
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
        chosen = {names[i] for i in order[:num].tolist()}
        usable = torch.tensor([name in chosen for name in self.patients])
        return replace(self, is_labeled=self.is_labeled & usable)

    def ed_es_only(self) -> "TrainingSet":
        """Use the masks of ED and ES of each clip only (frame-sparse)."""
        return replace(self, is_sparse=torch.ones_like(self.is_sparse))

    def usable_frames(self, index: int) -> tuple[int, ...]:
        """Frames of a clip whose masks training may use."""
        if not self.is_labeled[index]:
            return ()
        clip = self.clip(index)
        return _ed_es(clip) if self.is_sparse[index] else clip.labeled_frames

    def draw(
        self, index: int, num_frames: int, generator: torch.Generator, *, sampling: str = "mixed"
    ) -> Draw:
        """Draw frames of a clip.

        Raises:
            EchosegError: If the clip cannot be read.
        """
        clip, usable = self.clip(index), self.usable_frames(index)
        numbers = torch.rand(4, generator=generator).tolist()
        if self.are_stills[index]:
            times = _still_times(len(clip.frames), num_frames, numbers)
        else:
            times = _clip_times(clip, usable, num_frames, sampling, numbers)
        if numbers[3] < 0.5:
            times = times[::-1]
        masks = clip.masks_at(times)
        hidden = torch.tensor([time not in usable for time in times])[:, None, None]
        at = torch.tensor(times)
        return Draw(
            frames=clip.frames[at],
            masks=torch.where(hidden, IGNORE_LABEL, masks).to(torch.uint8),
            all_masks=masks,
            phases=phases_of(clip, use_masks=len(usable) == len(clip.frames))[at],
            times=at,
            known_labels=torch.tensor([k in clip.known_labels for k in range(NUM_LABELS)]),
            statistics=self._statistics(index, clip, clip.times_s[at], len(usable)),
        )

    def _statistics(self, index: int, clip: SquareClip, times_s: Tensor, num: int) -> Tensor:
        steps_s = times_s.diff().abs()
        view, length = self.views[index], len(clip.frames)
        is_a4c = torch.nan if view is View.UNKNOWN else float(view is View.A4C)
        interval_s = float(steps_s.mean()) if len(steps_s) else torch.nan
        is_still = float(self.are_stills[index])
        return torch.tensor([interval_s, length, clip.ef_percent, is_a4c, num / length, is_still])

    def sampled(self, among: Tensor | None = None, *, num: int = NUM_SAMPLED) -> Iterator[int]:
        """Indices of readable clips spread over the set, or over some of its indices."""
        among = torch.arange(len(self)) if among is None else among
        if len(among):
            for place in torch.linspace(0, len(among) - 1, min(num, len(among))).round().long():
                index = int(among[place])
                try:
                    self.clip(index)
                except EchosegError:
                    continue
                yield index

    def summary(self) -> str:
        """One line on frame intervals, lengths, EF, views and labels of clips spread over the set.

        Raises:
            DatasetError: If none of them can be read.
        """
        indices = list(self.sampled())
        if not indices:
            raise DatasetError("no training clip can be read; run echoseg data check")
        rows = torch.stack(
            [
                self._statistics(i, c, c.times_s, len(self.usable_frames(i)))
                for i in indices
                for c in [self.clip(i)]
            ]
        )
        views = ", ".join(f"{self.views.count(view)} {view}" for view in sorted(set(self.views)))
        return (
            f"{len(self)} clips ({views}), {int(self.is_labeled.sum())} with masks; "
            f"of {len(rows)}: frame interval {_range(1000 * rows[:, 0], 'ms')}, length "
            f"{_range(rows[:, 1], 'frames')}, EF {_range(rows[:, 2], '%')}, "
            f"{float(rows[:, 4].mean()):.0%} of the frames labeled"
        )

    def short_clips(self, num_frames: int) -> str:
        """A sentence on the clips with fewer frames than asked, stills apart; empty for none.

        Clips spread over the set are read; where all of them are short, the others too.

        Raises:
            ConfigError: If every clip is shorter.
        """
        clips = (~self.are_stills).nonzero()[:, 0]
        lengths = [len(self.clip(i).frames) for i in self.sampled(clips)]
        num_short = sum(length < num_frames for length in lengths)
        if not num_short:
            return ""
        if num_short == len(lengths):
            max_length = max(lengths)
            for index in self.sampled(clips, num=len(clips)):
                max_length = max(max_length, len(self.clip(index).frames))
                if max_length >= num_frames:
                    break
            else:
                raise ConfigError(
                    f"num_frames must be at most {max_length}, the length of the longest training "
                    f"clip, got {num_frames}; set num_frames={max_length}, or give longer clips"
                )
        return (
            f"{num_short} of {len(lengths)} clips that were looked at are shorter than "
            f"num_frames={num_frames}; these are played forwards and backwards"
        )


def _range(values: Tensor, unit: str) -> str:
    known = values[~values.isnan()]
    if not len(known):
        return "unknown"
    low, high = round(float(known.min())), round(float(known.max()))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def joined(sets: Sequence[TrainingSet], weights: Sequence[float] | None = None) -> TrainingSet:
    """All clips of several sets.

    Args:
        sets: One per data set.
        weights: Probability that a labeled clip comes from each set; by numbers of clips if None.

    Raises:
        ConfigError: If there are not as many weights as sets, or one is not above 0.
    """
    if weights is not None and (len(weights) != len(sets) or min(weights) <= 0):
        raise ConfigError(
            f"data_weights must be a number above 0 for each of {len(sets)} data sets, "
            f"got {tuple(weights)}"
        )
    places, offset = [], 0
    for each in sets:
        places += [(source + offset, index) for source, index in each.places]
        offset += len(each.sources)
    factors = [1.0] * len(sets)
    if weights is not None:
        totals = [float(each.weights @ each.is_labeled.float()) for each in sets]
        factors = [weight / max(total, 1e-6) for weight, total in zip(weights, totals, strict=True)]
    return TrainingSet(
        sources=tuple(source for each in sets for source in each.sources),
        places=tuple(places),
        patients=tuple(name for each in sets for name in each.patients),
        views=tuple(view for each in sets for view in each.views),
        are_stills=torch.cat([each.are_stills for each in sets]),
        is_labeled=torch.cat([each.is_labeled for each in sets]),
        is_target=torch.cat([each.is_target for each in sets]),
        is_sparse=torch.cat([each.is_sparse for each in sets]),
        weights=torch.cat([f * each.weights for f, each in zip(factors, sets, strict=True)]),
    )


def _ed_es(clip: SquareClip) -> tuple[int, ...]:
    """Labeled frames of ED and ES; of the largest and smallest cavity if these are unknown."""
    if clip.ed_frame is not None and clip.es_frame is not None:
        return tuple(t for t in clip.labeled_frames if t in (clip.ed_frame, clip.es_frame))
    if not clip.labeled_frames:
        return ()
    areas = (clip.masks == Label.LV_CAVITY).sum((1, 2))
    ends = {int(areas.argmax()), int(areas.argmin())}
    return tuple(clip.labeled_frames[i] for i in sorted(ends))


def phases_of(clip: SquareClip, *, use_masks: bool = True) -> Tensor:
    """Phase of each frame, `T`: by the cavity's area or between ED and ES; nan when unknown."""
    length = len(clip.frames)
    if use_masks and len(clip.labeled_frames) == length:
        areas = (clip.masks == Label.LV_CAVITY).sum((1, 2)).float()
        return ES_PHASE * (areas.max() - areas) / (areas.max() - areas.min()).clamp(min=1)
    if clip.ed_frame is None or clip.es_frame is None or clip.ed_frame == clip.es_frame:
        return torch.full((length,), torch.nan)
    done = (torch.arange(length) - clip.ed_frame) / (clip.es_frame - clip.ed_frame)
    return torch.where((done >= 0) & (done <= 1), ES_PHASE * done, torch.nan)


def _still_times(length: int, num_frames: int, numbers: list[float]) -> list[int]:
    """Stills one after another, each repeated; some of them where there are more than asked."""
    if length >= num_frames:
        start = int(numbers[1] * (length - num_frames + 1))
        return list(range(start, start + num_frames))
    turn = 1 + int(numbers[1] * (num_frames - 1))
    return [0 if step < turn else length - 1 for step in range(num_frames)]


def _clip_times(
    clip: SquareClip, usable: Sequence[int], num: int, sampling: str, numbers: list[float]
) -> list[int]:
    length = len(clip.frames)
    if length < num:
        period = max(2 * (length - 1), 1)
        return [min(t % period, period - t % period) for t in range(num)]
    span = clip.ed_frame, clip.es_frame
    if None not in span and (sampling == "ed_to_es" or (sampling == "mixed" and numbers[0] < 0.5)):
        # a single frame is one of the two
        ends = torch.tensor(span if num > 1 else [span[numbers[1] < 0.5]] * 2).float()
        steps = torch.linspace(0, 1, num)
        times = (ends[0] + steps * (ends[1] - ends[0])).round().int().tolist()
        if not usable or set(usable) & set(times):
            return times
    first, last = 0, length - num
    if usable:
        labeled = usable[int(numbers[1] * len(usable))]
        first, last = max(0, labeled - num + 1), min(labeled, last)
    start = first + int(numbers[2] * (last - first + 1))
    return list(range(start, start + num))


class ForeignClips:
    """Items of any map-style data set as whole clips; see `TorchDataset` for what an item holds.

    Args:
        items: The data set.
        size: Side that its frames must have.
    """

    def __init__(self, items: Any, size: int) -> None:
        self.items, self.size = items, size

    def clip(self, index: int) -> SquareClip:
        """The item as a clip.

        Raises:
            ConfigError: If it does not hold frames `T 1 S S` and masks `T S S`.
        """
        item = self.items[index]
        try:
            frames, masks = torch.as_tensor(item["frames"]), torch.as_tensor(item["masks"])
        except (TypeError, KeyError, IndexError) as error:
            raise ConfigError(
                "an item of data must be a dict with frames T 1 S S in [0, 1] and masks T S S, "
                f"item {index} is not ({type(error).__name__}: {error})"
            ) from error
        side = self.size
        shape = tuple(frames.shape)
        if shape[1:] != (1, side, side) or masks.shape != (shape[0], side, side):
            raise ConfigError(
                f"item {index} of data must have frames T 1 {side} {side} and masks T {side} "
                f"{side}, got {shape} and {tuple(masks.shape)}; change image_size or the data"
            )
        masks = masks.to(torch.uint8)
        labeled = tuple((masks != IGNORE_LABEL).flatten(1).any(1).nonzero()[:, 0].tolist())
        times_s = torch.as_tensor(item.get("times_s", torch.full(shape[:1], torch.nan)))
        known_labels = frozenset(range(NUM_LABELS))
        if isinstance(self.items, TorchDataset):
            known_labels = self.items.clip(index).known_labels
        return SquareClip(
            frames=(255 * frames[:, 0].float()).round().clamp(0, 255).to(torch.uint8),
            masks=masks[list(labeled)],
            labeled_frames=labeled,
            known_labels=known_labels,
            times_s=times_s,
            spacing_mm=torch.as_tensor(item.get("spacing_mm", (torch.nan, torch.nan))),
        )
