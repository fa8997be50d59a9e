"""Train the view check and measure it on pictures it has not learned from.

    python scripts/train_view_check.py -o src/echoseg/weights/phantom.view.safetensors
    python scripts/train_view_check.py -o src/echoseg/weights/camus.view.safetensors --camus DIR

A4C, A2C and ALAX are the phantom's, with --camus CAMUS's A4C training frames too. `other` are
pictures of daily life (scikit-image's), noise in a sector, and apical views turned by a quarter or
a half, upside down, or cut. Every picture is turned, moved, stretched, brightened and blurred at
random; half of them are mirrored. Thresholds come from A4C pictures kept aside, CAMUS's where there
are some and else the phantom's: `least_share` is three quarters of the share that 99 of 100 of them
reach, `flipped_share` what 99 of 100 stay under, 0.8 at least. --evaluate measures on CAMUS's
validation frames without learning from CAMUS.
"""

import argparse
import json
import math
import platform
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import View
from echoseg.data.phantom import simulate_all, stills_of
from echoseg.phantom import PhantomConfig, Tier
from echoseg.phantom.benchmark import FIRST_SEED
from echoseg.phantom.config import Style
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames
from echoseg.quality.reliability import VIEW_CLASSES as CLASSES
from echoseg.quality.view_net import SIZE_PX, ViewCard, ViewNet, save_view_net

WIDE_PX = 96
"""Side on which pictures are kept, so that turning and zooming lose nothing."""
APICAL = (View.A4C, View.A2C, View.ALAX)
DAILY = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass",
    "gravel", "horse", "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina",
    "rocket", "text",
)  # fmt: skip
OTHER = len(APICAL)
FLAGGED_SHARE, MARGIN = 0.01, 0.75


class Pictures(NamedTuple):
    """Pictures `N 1 W W` in [0, 1] and the class of each."""

    frames: Tensor
    classes: Tensor


def simulated(split: str, num_hearts: int, jobs: int) -> Pictures:
    """Return two frames each of the three apical views of the phantom's hearts."""
    style = Style.HELD_OUT if split == "held_out_style" else Style.TRAIN
    first = FIRST_SEED["train"] + 700_000 if split == "train" else FIRST_SEED[split]
    configs = [
        PhantomConfig(
            seed=first + heart,
            view=view,
            tier=list(Tier)[heart % 4],
            size_px=WIDE_PX,
            num_frames=2,
            frame_rate_hz=5.0,
            style=style,
        )
        for heart in range(num_hearts)
        for view in APICAL
    ]
    frames, classes = [], []
    for one in simulate_all(configs, jobs):
        frames.append(torch.from_numpy(boxed(one.clip.frames)))
        classes += [APICAL.index(one.config.view)] * 2
    return Pictures(torch.cat(frames)[:, None].float() / 255, torch.tensor(classes))


def boxed(frames: np.ndarray) -> np.ndarray:
    """Return frames `T H W` uint8 cut to where there is ultrasound, on the wide square."""
    lit = (frames > 8).mean(0) > 0
    rows, columns = np.nonzero(lit.any(1))[0], np.nonzero(lit.any(0))[0]
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    squares = letterbox_frames(torch.from_numpy(frames).float(), letterbox_for(box, WIDE_PX))
    return squares.round().clamp(0, 255).to(torch.uint8).numpy()


def real(root: Path, split: str) -> Pictures:
    """Return CAMUS's A4C frames of a split."""
    stills = [torch.from_numpy(boxed(s.picture[None])) for s in stills_of(root, split)]
    return Pictures(torch.stack(stills).float() / 255, torch.zeros(len(stills), dtype=torch.long))


def daily(rng: np.random.Generator, num: int) -> Tensor:
    """Return cuts of pictures of daily life, and noise, half of them in a sector."""
    sources = []
    for name in DAILY:
        picture = np.asarray(getattr(skimage.data, name)(), np.float32)
        picture = picture.mean(-1) if picture.ndim == 3 else picture
        sources.append(torch.from_numpy(picture / max(float(picture.max()), 1.0)))
    results = []
    for _ in range(num):
        if rng.random() < 0.2:
            grain = torch.from_numpy(rng.rayleigh(0.25, (int(rng.integers(6, 97)),) * 2)).float()
            cut = grain.clamp(0, 1)
        else:
            source = sources[rng.integers(len(sources))]
            side = int(min(source.shape) * rng.uniform(0.3, 1))
            top, left = (int(rng.integers(0, length - side + 1)) for length in source.shape)
            cut = source[top : top + side, left : left + side]
        size = (WIDE_PX, WIDE_PX)
        square = functional.interpolate(cut[None, None], size, mode="bilinear", antialias=True)[0]
        results.append(square * sector(rng) if rng.random() < 0.6 else square)
    return torch.stack(results)


def sector(rng: np.random.Generator) -> Tensor:
    """Return a sector whose tip is on top, `1 W W` of 0 and 1."""
    y, x = np.mgrid[:WIDE_PX, :WIDE_PX] / WIDE_PX
    across, down = x - 0.5, y + rng.uniform(0, 0.1)
    angle = np.abs(np.arctan2(across, np.maximum(down, 1e-6)))
    inside = (angle < np.radians(rng.uniform(30, 45))) & (np.hypot(across, down) < 1)
    return torch.from_numpy(inside[None].astype(np.float32))


def varied(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures `N 1 W W` turned, moved, stretched and changed in grey, `N 1 64 64`."""
    num = len(pictures)

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(num, generator=generator)

    angle, scale = torch.deg2rad(drawn(-18, 18)), drawn(0.85, 1.3)
    wide = drawn(0.88, 1.14)
    zero = torch.zeros(num)
    theta = torch.stack(
        [
            torch.stack([torch.cos(angle) * scale * wide, -torch.sin(angle) * scale, zero], 1),
            torch.stack([torch.sin(angle) * scale, torch.cos(angle) * scale, zero], 1),
        ],
        1,
    )
    theta[:, :, 2] = torch.stack([drawn(-0.15, 0.15), drawn(-0.15, 0.15)], 1)
    grid = functional.affine_grid(theta, [num, 1, SIZE_PX, SIZE_PX], align_corners=False)
    x = functional.grid_sample(pictures, grid, align_corners=False)
    lit = x > 0
    gamma, gain = drawn(0.55, 1.7), drawn(0.7, 1.4)
    x = (x.clamp(0, 1) ** gamma[:, None, None, None]) * gain[:, None, None, None]
    noise = torch.randn(x.shape, generator=generator) * drawn(0, 0.08)[:, None, None, None]
    x = torch.where(lit, x + noise, x).clamp(0, 1)
    blurred = functional.avg_pool2d(x, 3, 1, 1)
    sharp = drawn(0, 1.2).clamp(max=1)[:, None, None, None]
    return sharp * x + (1 - sharp) * blurred


def turned(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Apical pictures in orientations that do not occur: rotated, upside down, or cut."""
    results = []
    for picture in pictures:
        how = int(torch.randint(0, 5, (1,), generator=generator))
        if how < 3:
            results.append(torch.rot90(picture, how + 1, (1, 2)))
        elif how == 3:
            results.append(picture.flip(1))
        else:  # a corner of it, where no ventricle is whole
            top, left = (int(torch.randint(0, 2, (1,), generator=generator)) for _ in range(2))
            side = int(WIDE_PX * 0.4)
            cut = picture[:, top * (WIDE_PX - side) :, left * (WIDE_PX - side) :][:, :side, :side]
            size = (WIDE_PX, WIDE_PX)
            results.append(functional.interpolate(cut[None], size, mode="bilinear")[0])
    return torch.stack(results)


def batch(sources: list[Pictures], others: Tensor, generator: torch.Generator, num: int = 96):
    """Return pictures, their classes and whether each is mirrored."""
    frames, classes = [], []
    shares = [num * 3 // 4 // len(sources)] * len(sources)
    for source, count in zip(sources, shares, strict=True):
        weights = 1 / torch.bincount(source.classes, minlength=OTHER).clamp(min=1).float()
        index = torch.multinomial(weights[source.classes], count, True, generator=generator)
        frames.append(source.frames[index])
        classes.append(source.classes[index])
    plain = torch.cat(frames)
    index = torch.randint(0, len(others), (num // 8,), generator=generator)
    again = torch.randint(0, len(plain), (num // 8,), generator=generator)
    x = torch.cat([plain, others[index], turned(plain[again], generator)])
    y = torch.cat([*classes, torch.full((2 * (num // 8),), OTHER)])
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    return varied(x, generator), y, mirrored


def train(sources: list[Pictures], others: Tensor, steps: int, seed: int) -> ViewNet:
    """Train a network for `steps` steps."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = ViewNet().train()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        x, y, mirrored = batch(sources, others, generator)
        logits = network(x)
        loss = functional.cross_entropy(logits[:, :-1], y, label_smoothing=0.02)
        apical = y < OTHER
        loss = loss + functional.binary_cross_entropy_with_logits(
            logits[apical, -1], mirrored[apical].float()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            print(f"{step}/{steps}  loss {loss.item():.3f}", flush=True)
    return network.eval()


@torch.inference_mode()
def class_shares(network: ViewNet, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return shares `N 4`, and the share of mirrored, of pictures `N 1 W W`."""
    small = functional.interpolate(frames, (SIZE_PX, SIZE_PX), mode="bilinear", antialias=True)
    logits = network(small)
    return logits[:, :-1].softmax(1), logits[:, -1].sigmoid()


def scores(network: ViewNet, pictures: Pictures, card: ViewCard) -> dict[str, float]:
    """Return how often pictures are right, flagged, and seen as mirrored when they are."""
    shares, flipped = class_shares(network, pictures.frames)
    _, mirrored = class_shares(network, pictures.frames.flip(3))
    own = shares[torch.arange(len(shares)), pictures.classes]
    is_a4c = pictures.classes == 0
    results = {
        "pictures": len(shares),
        "right": float((shares.argmax(1) == pictures.classes).float().mean()),
        "right_view_flagged": float((own < card.least_share).float().mean()),
        "taken_for_mirrored": float((flipped >= card.flipped_share).float().mean()),
        "mirrored_found": float((mirrored >= card.flipped_share).float().mean()),
    }
    if (~is_a4c).any():
        said_a4c = shares[~is_a4c, 0] >= card.least_share
        results["another_view_passes_as_a4c"] = float(said_a4c.float().mean())
    return results


def card_of(network: ViewNet, held_out: Pictures, is_real: bool) -> ViewCard:
    """Return the card with thresholds from A4C pictures kept aside."""
    shares, flipped = class_shares(network, held_out.frames[held_out.classes == 0])
    min_share = MARGIN * float(torch.quantile(shares[:, 0], FLAGGED_SHARE))
    flip = max(float(torch.quantile(flipped, 1 - FLAGGED_SHARE)), 0.8)
    return ViewCard(
        licence="CC-BY-NC-SA-4.0" if is_real else "Apache-2.0",
        trained_on="the phantom's apical views" + (", CAMUS's A4C frames" if is_real else ""),
        least_share=math.floor(1000 * min_share) / 1000,
        flipped_share=math.ceil(1000 * flip) / 1000,
    )


def main() -> None:
    """Simulate, train, set thresholds, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--camus", type=Path)
    parser.add_argument("--evaluate", "--judge", type=Path, help="CAMUS, only to evaluate on")
    parser.add_argument("--hearts", type=int, default=600)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    start = time.monotonic()
    rng = np.random.default_rng(args.seed)
    sources, held_out = [simulated("train", args.hearts, args.jobs)], []
    held_out.append(simulated("validation", 60, args.jobs))
    if args.camus:
        frames, classes = real(args.camus, "training")
        sources.append(Pictures(frames[:-100], classes[:-100]))
        held_out.append(Pictures(frames[-100:], classes[-100:]))  # 50 patients kept aside
    others, other_kept = daily(rng, 1500), daily(rng, 300)
    network = train(sources, others, args.steps, args.seed)

    card = card_of(network, held_out[-1], bool(args.camus))
    save_view_net(args.output, network, card)
    measured = {
        "phantom test hearts": scores(network, simulated("test", 60, args.jobs), card),
        "held-out style": scores(network, simulated("held_out_style", 60, args.jobs), card),
        "daily life and noise": scores(
            network, Pictures(other_kept, torch.full((len(other_kept),), OTHER)), card
        ),
    }
    if args.camus or args.evaluate:
        there = real(args.camus or args.evaluate, "validation")
        measured["CAMUS validation"] = scores(network, there, card)
        upside = Pictures(there.frames.flip(2), torch.full_like(there.classes, OTHER))
        measured["CAMUS validation upside down"] = scores(network, upside, card)
        aside = Pictures(torch.rot90(there.frames, 1, (2, 3)), upside.classes)
        measured["CAMUS validation on its side"] = scores(network, aside, card)
    document = {
        "card": {name: getattr(card, name) for name in card.__slots__},
        "classes": CLASSES,
        "steps": args.steps,
        "hearts": args.hearts,
        "seed": args.seed,
        "machine": f"{platform.processor() or platform.machine()}, torch {torch.__version__}",
        "seconds": round(time.monotonic() - start),
        "measured": measured,
    }
    print(json.dumps(document, indent=1))
    if args.json:
        args.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
