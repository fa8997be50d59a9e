"""Small training sets with a disk that a small network can learn in seconds."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from echoseg.clip import View
from echoseg.data.torch_dataset import SquareClip
from echoseg.train.config import TrainConfig, train_config
from echoseg.train.data.training_set import TrainingSet


class Clips:
    """Whole clips in memory."""

    def __init__(self, clips: Sequence[SquareClip]) -> None:
        self.clips = clips

    def clip(self, index: int) -> SquareClip:
        return self.clips[index]


def disk_clip(
    generator: torch.Generator, size: int, num_frames: int, labels: Sequence[int] = range(4)
) -> SquareClip:
    """A dark disk (LV) in a gray ring (wall) with a dark box (LA) below, noisy."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    frames = torch.zeros(num_frames, size, size, dtype=torch.uint8)
    masks = torch.zeros_like(frames)
    center = 0.42 * size + 2 * torch.randn(2, generator=generator)
    for t in range(num_frames):
        radius = (0.17 - 0.04 * t / max(num_frames - 1, 1)) * size
        away = ((rows - center[0]) ** 2 + (columns - center[1]) ** 2).sqrt()
        mask = torch.zeros(size, size, dtype=torch.uint8)
        below = (rows - center[0] > 0.3 * size) & (rows - center[0] < 0.5 * size)
        mask[below & ((columns - center[1]).abs() < 0.16 * size)] = 3
        mask[away < radius + 0.1 * size] = 2
        mask[away < radius] = 1
        level = torch.tensor([0.35, 0.12, 0.75, 0.12])[mask.long()]
        gray = level + 0.05 * torch.randn(size, size, generator=generator)
        frames[t] = (255 * gray.clamp(0.03, 1)).to(torch.uint8)
        masks[t] = mask
    return SquareClip(
        frames=frames,
        masks=masks,
        labeled_frames=tuple(range(num_frames)),
        known_labels=frozenset(labels),
        times_s=torch.arange(num_frames) / 50,
        spacing_mm=torch.ones(2),
    )


def set_of(clips: Sequence[SquareClip], num_labeled: int | None = None) -> TrainingSet:
    """Clips of as many patients; the first ones are labeled."""
    num = len(clips)
    return TrainingSet(
        sources=(Clips(clips),),
        places=tuple((0, index) for index in range(num)),
        patients=tuple(f"p{index}" for index in range(num)),
        views=(View.A4C,) * num,
        are_stills=torch.zeros(num, dtype=torch.bool),
        is_labeled=torch.arange(num) < (num if num_labeled is None else num_labeled),
        is_target=torch.ones(num, dtype=torch.bool),
        is_sparse=torch.zeros(num, dtype=torch.bool),
        weights=torch.ones(num),
    )


def disk_set(
    num: int = 12, size: int = 32, num_frames: int = 2, num_labeled: int | None = None
) -> TrainingSet:
    """Clips of disks."""
    generator = torch.Generator().manual_seed(3)
    return set_of([disk_clip(generator, size, num_frames) for _ in range(num)], num_labeled)


def sparse(clips: Sequence[SquareClip], frames: tuple[int, ...]) -> list[SquareClip]:
    """The clips with the masks of some frames only."""
    return [replace(clip, masks=clip.masks[list(frames)], labeled_frames=frames) for clip in clips]


def masks_of(training_set: TrainingSet, clips: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """All masks of drawn frames, `B T S S`."""
    pairs = zip(clips.tolist(), times.tolist(), strict=True)
    return torch.stack([training_set.clip(clip).masks_at(row) for clip, row in pairs])


def small_config(**fields: object) -> TrainConfig:
    """Batches of a few clips of 32 px."""
    return train_config(**{"image_size": 32, "num_labeled": 2, "num_unlabeled": 3, **fields})
