"""The first training loop: phantom clips and CAMUS stills in, a checkpoint out.

Run as `python -m echoseg.learn.train --out FILE --phantom NPZ... [--camus DIR --start FILE]`.
CAMUS gives two frames a patient; they are shown as a clip in which one of them stands for a while
and then the other, which teaches the memory when *not* to trust the past. Phantom clips give
neighbouring frames. Some frames are spoilt (`corruptions`) and must be segmented all the same.
"""

import argparse
import math
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from echoseg.corruptions import corrupt_frames
from echoseg.datasets import camus
from echoseg.learn.evaluate import camus_scores
from echoseg.losses import cross_entropy_dice_loss
from echoseg.models import MODELS
from echoseg.models.checkpoint import Card, load_checkpoint, save_checkpoint
from echoseg.models.segmenter import Segmenter
from echoseg.transforms import AugmentConfig, augment, letterbox_for, to_square


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One run."""

    image_size: int = 160
    num_steps: int | None = None
    """Steps; the learning rate falls to zero over them. None: as many as `minutes` allow."""
    minutes: float = 12
    """Wall time of a run without `num_steps`; a repeat then gives near, not equal, weights."""
    num_clips: int = 10
    """Clips a step."""
    camus_share: float = 0.0
    """Share of a step's clips that come from CAMUS."""
    num_frames: int = 2
    """Frames a clip."""
    spoilt_share: float = 0.0
    """Share of frames, the first of a clip apart, that are spoilt."""
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    averaging: float = 0.995
    """Decay of the averaged weights that are kept."""
    augment_strength: float = 1.0
    """Factor on every range of `AugmentConfig`."""
    seed: int = 0


def phantom_clips(paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Return all frames and masks, each `N T S S` uint8, of .npz files with those two arrays."""
    loaded = [np.load(path) for path in paths]
    frames = np.concatenate([file["frames"] for file in loaded])
    masks = np.concatenate([file["masks"] for file in loaded])
    return torch.from_numpy(frames), torch.from_numpy(masks)


def camus_pairs(root: Path, size: int = 256) -> tuple[Tensor, Tensor]:
    """Return ED and ES of each training patient, letterboxed, `N 2 S S` uint8 each."""
    frames, masks = [], []
    for still in camus.stills(root, "training"):
        letterbox = letterbox_for((0, 0, *still.picture.shape), size)
        picture = torch.from_numpy(still.picture)[None].float()
        frames.append(to_square(picture, letterbox).round().to(torch.uint8)[0])
        rows, columns = letterbox.inner_size
        mask = torch.zeros(size, size, dtype=torch.uint8)
        mask[letterbox.top : letterbox.top + rows, letterbox.left : letterbox.left + columns] = (
            torch.nn.functional.interpolate(
                torch.from_numpy(still.mask)[None, None].float(),
                (rows, columns),
                mode="nearest-exact",
            )[0, 0].to(torch.uint8)
        )
        masks.append(mask)
    return (
        torch.stack(frames).unflatten(0, (-1, 2)),
        torch.stack(masks).unflatten(0, (-1, 2)),
    )


class Batches:
    """Draws augmented clips from one or two stores, by seed."""

    def __init__(self, stores: list[tuple[Tensor, Tensor]], config: TrainConfig) -> None:
        self.stores, self.config = stores, config
        self.generator = torch.Generator().manual_seed(config.seed)

    def _draw(self, store: tuple[Tensor, Tensor], num: int) -> tuple[Tensor, Tensor]:
        frames, masks = store
        want, have = self.config.num_frames, frames.shape[1]
        chosen = torch.randint(frames.shape[0], (num,), generator=self.generator)
        if have < want:  # the first stands, then the last
            turn = torch.randint(1, want, (num, 1), generator=self.generator)
            index = (torch.arange(want) >= turn).long() * (have - 1)
        else:
            start = torch.randint(have - want + 1, (num, 1), generator=self.generator)
            index = start + torch.arange(want)
        if torch.rand((), generator=self.generator) < 0.5:
            index = index.flip(1)
        batch = frames[chosen[:, None], index].float() / 255, masks[chosen[:, None], index]
        how = AugmentConfig().scaled(self.config.augment_strength)
        frames, masks = augment(*batch, self.config.image_size, how, self.generator)
        return corrupt_frames(frames, self.config.spoilt_share, self.generator)[0], masks

    def next(self) -> tuple[Tensor, Tensor]:
        """Return frames `N T 1 S S` and masks `N T S S`."""
        num_camus = round(self.config.num_clips * self.config.camus_share)
        counts = [self.config.num_clips - num_camus, num_camus]
        drawn = [self._draw(s, n) for s, n in zip(self.stores, counts, strict=False) if n]
        frames, masks = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        return frames.unsqueeze(2), masks


def train(model: Segmenter, batches: Batches, config: TrainConfig) -> torch.nn.Module:
    """Train for the steps or minutes of the config; return the averaged weights as a model."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    averaged = torch.optim.swa_utils.AveragedModel(
        model,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.averaging),
        use_buffers=True,
    )
    start, step = time.monotonic(), 0

    def share_done() -> float:
        if config.num_steps is not None:
            return step / config.num_steps
        return (time.monotonic() - start) / (60 * config.minutes)

    while (done := share_done()) < 1:
        warm = min(1.0, (step + 1) / 50)
        optimizer.param_groups[0]["lr"] = (
            warm * config.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        )
        frames, masks = batches.next()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(frames)
        loss = cross_entropy_dice_loss(logits.float().flatten(0, 1), masks.flatten(0, 1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        averaged.update_parameters(model)
        step += 1
        if step % 50 == 0:
            print(f"step {step} done {done:.1%} loss {loss.item():.4f}", flush=True)
    print(f"{step} steps", flush=True)
    return averaged.module


def main(argv: list[str] | None = None) -> None:
    """Parse, train, score on CAMUS validation where it is there, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--phantom", type=Path, nargs="+", required=True)
    parser.add_argument("--camus", type=Path, help="CAMUS copy to train on as well")
    parser.add_argument("--validate", type=Path, help="CAMUS copy to score on, not to train on")
    parser.add_argument("--start", type=str, help="checkpoint to start from")
    parser.add_argument("--model", default="memory_unet", choices=sorted(MODELS))
    parser.add_argument("--config", default="{}", help="the model's, as JSON")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--spoilt-share", type=float, default=0.0)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--num-steps", type=int, help="fixed number, instead of --minutes")
    parser.add_argument("--camus-share", type=float, default=0.7)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--num-clips", type=int, default=10)
    parser.add_argument("--num-frames", type=int, default=2)
    parser.add_argument("--augment-strength", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    config = TrainConfig(
        image_size=args.image_size,
        spoilt_share=args.spoilt_share,
        minutes=args.minutes,
        num_steps=args.num_steps,
        camus_share=args.camus_share if args.camus else 0.0,
        learning_rate=args.learning_rate,
        num_clips=args.num_clips,
        num_frames=args.num_frames,
        augment_strength=args.augment_strength,
        seed=args.seed,
    )
    torch.manual_seed(config.seed)
    if args.start:
        model, started = load_checkpoint(args.start)
        model, architecture = model.train(), started.card.architecture
    else:
        kind, architecture = MODELS[args.model], args.model
        model = kind(kind.config_class.model_validate_json(args.config))
    model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    stores = [phantom_clips(args.phantom)] + ([camus_pairs(args.camus)] if args.camus else [])
    averaged = train(model, Batches(stores, config), config).eval()
    scores = {}
    if validation := args.validate or args.camus:
        scores = camus_scores(averaged, validation, config.image_size)
        print(scores)
    card = Card(
        architecture=architecture,
        image_size=config.image_size,
        licence="CC-BY-NC-SA-4.0" if args.camus else "Apache-2.0",
        notice=CAMUS_NOTICE if args.camus else "",
        trained_on="phantom clips and the CAMUS training patients' A4C ED and ES frames"
        if args.camus
        else "phantom clips only",
        recipe=f"{' '.join(argv or sys.argv[1:])}; torch {torch.__version__}, {platform.machine()}",
        camus_validation=scores,
    )
    save_checkpoint(args.out, averaged, card)


CAMUS_NOTICE = (
    "weights trained on CAMUS (Leclerc et al., IEEE TMI 2019): CC BY-NC-SA 4.0, non-commercial "
    "research only; --model phantom is free of this"
)

if __name__ == "__main__":
    main()
