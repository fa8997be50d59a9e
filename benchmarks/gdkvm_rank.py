"""The rank of GDKVM's memory over a long clip, with and without OSA's orthogonal update.

    python benchmarks/gdkvm_rank.py CLIPS.npz [--num-steps N] [--num-frames N] [--json OUT]

For each number of orthogonal steps the network is trained from the same random weights for the
same steps on the same phantom clips, then streams one long phantom clip that it was not trained
on. After each frame the singular values s of each head's matrix are computed and reported as

    effective rank   exp(-sum p log p), p = s / sum s           (Roy and Vetterli, 2007)
    collapsed        share of matrices whose least s is under 1e-3 of the largest
    least            the least s over the largest, median

and the network's mean LV Dice on the clip. CLIPS.npz is made by `make_phantom_clips.py`.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from echoseg.losses import cross_entropy_dice_loss
from echoseg.phantom import Phantom
from echoseg.train.data.sources import phantom_config

sys.path.insert(0, str(Path(__file__).parents[1]))  # for experiments

from experiments.networks.gdkvm import GDKVM, GDKVMConfig


def resized(frames: np.ndarray, masks: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """`N T H W` uint8 frames and masks -> `N T 1 S S` in [0, 1] and `N T S S`."""
    square, labels = torch.from_numpy(frames).float() / 255, torch.from_numpy(masks).float()
    square = functional.interpolate(square, size=(size, size), mode="area")
    return square[:, :, None], functional.interpolate(labels, size=(size, size)).long()


def train(model: GDKVM, frames: Tensor, masks: Tensor, num_steps: int) -> None:
    """Take steps on two clips at a time, in an order that depends on the step alone."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(num_steps):
        chosen = torch.randperm(len(frames), generator=generator)[:2]
        logits = model(frames[chosen]).flatten(0, 1)
        loss = cross_entropy_dice_loss(logits, masks[chosen].flatten(0, 1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
    model.eval()


@torch.inference_mode()
def stream(model: GDKVM, frames: Tensor, masks: Tensor) -> tuple[Tensor, float]:
    """Return the singular values after each frame, `T heads D`, and the mean LV Dice."""
    state, values, dice = model.init_state(1), [], []
    for frame, mask in zip(frames[0], masks[0], strict=True):
        logits, state = model.step(frame[None], state)
        values.append(torch.linalg.svdvals(state.memory[0].double()))
        predicted, wanted = logits[0].argmax(0) == 1, mask == 1
        dice.append((2 * (predicted & wanted).sum() / (predicted.sum() + wanted.sum())).item())
    return torch.stack(values), float(np.mean(dice))


def spectrum_summary(values: Tensor) -> dict[str, float]:
    """Return the docstring's numbers of singular values `... D`."""
    share = values / values.sum(-1, keepdim=True)
    rank = torch.special.entr(share).sum(-1).exp()
    min_ratio = values[..., -1] / values[..., 0]
    return {
        "effective_rank": rank.mean().item(),
        "collapsed": (min_ratio < 1e-3).double().mean().item(),
        "least": min_ratio.median().item(),
    }


def main() -> None:
    """Train, stream, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--num-steps", type=int, default=200)
    parser.add_argument("--num-frames", type=int, default=96)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--steps-each", type=int, nargs="+", default=[0, 5, 10])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with np.load(args.clips) as file:
        frames, masks = resized(file["frames"], file["masks"], args.size)
    phantom = Phantom(phantom_config(10_001, 160, args.num_frames))
    long = resized(phantom.frames()[None], phantom.masks()[None], args.size)
    machine = f"{platform.machine()}, torch {torch.__version__}"
    print(f"{machine}; {args.num_steps} steps, then {args.num_frames} frames of {args.size} px")
    results: dict[str, dict] = {}
    for steps in args.steps_each:
        torch.manual_seed(0)
        model = GDKVM(GDKVMConfig(orthogonal_steps=steps))
        start = time.monotonic()
        train(model, frames, masks, args.num_steps)
        seconds = time.monotonic() - start
        values, dice = stream(model, *long)
        parts = {"all frames": spectrum_summary(values), "last frame": spectrum_summary(values[-1])}
        results[str(steps)] = {**parts, "lv_dice": dice, "train_s": round(seconds)}
        print(f"{steps} orthogonal steps, Dice {dice:.3f}, {seconds:.0f} s: {parts}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "found": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
