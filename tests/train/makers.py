"""Small pools with a disk that a small network can learn in seconds."""

import torch

from echoseg.losses import IGNORE_LABEL
from echoseg.train.data.pool import Pool, pool_of


def disk_pool(num: int = 12, size: int = 32, num_frames: int = 2, num_labeled: int | None = None):
    """Return clips of a dark disk (LV) in a grey ring (wall) with a dark box (LA) below, noisy."""
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    frames = torch.zeros(num, num_frames, size, size, dtype=torch.uint8)
    masks = torch.zeros_like(frames)
    for n in range(num):
        middle = 0.42 * size + 2 * torch.randn(2, generator=generator)
        for t in range(num_frames):
            radius = (0.17 - 0.04 * t / max(num_frames - 1, 1)) * size
            away = ((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2).sqrt()
            mask = torch.zeros(size, size, dtype=torch.uint8)
            below = (rows - middle[0] > 0.3 * size) & (rows - middle[0] < 0.5 * size)
            mask[below & ((columns - middle[1]).abs() < 0.16 * size)] = 3
            mask[away < radius + 0.1 * size] = 2
            mask[away < radius] = 1
            level = torch.tensor([0.35, 0.12, 0.75, 0.12])[mask.long()]
            grey = level + 0.05 * torch.randn(size, size, generator=generator)
            frames[n, t] = (255 * grey.clamp(0.03, 1)).to(torch.uint8)
            masks[n, t] = mask
    phases = torch.linspace(0, 0.4, num_frames).expand(num, -1).clone()
    pool = pool_of(frames, masks, phases, [f"p{n}" for n in range(num)])
    if num_labeled is None:
        return pool
    hidden = masks.clone()
    hidden[num_labeled:] = IGNORE_LABEL
    return Pool(
        frames=frames,
        masks=hidden,
        truth=masks,
        phases=phases,
        patients=pool.patients,
        known_labels=pool.known_labels,
        weights=pool.weights,
        lengths=pool.lengths,
    )
