"""Train the view check, fit its rule, and measure both on patients and hearts not learned from.

    python scripts/train_view_check.py phantom
    python scripts/train_view_check.py camus --camus DIR

Run it again whenever the weights of the segmentation network change: its second part, the shape and
motion of the masks, rests on them. `phantom` learns from painted and simulated pictures alone
(Apache-2.0), `camus` from CAMUS's training patients too. See `view_pictures` and `view_augment` for
the pictures, `view_clips` for the clips of the rule.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
import torch
from torch import Tensor
from torch.nn import functional
from view_augment import augment
from view_clips import (
    RuleClip,
    camus_clips,
    fit_rule,
    painted_clips,
    phantom_clips,
    score_clips,
    segment_clips,
    verdicts,
)
from view_pictures import (
    A2C,
    A4C,
    NOT_APICAL,
    OTHER_APICAL,
    WIDE_PX,
    Pictures,
    add_root,
    bend_to_ring,
    painted,
    sector,
    turn_away,
)

from echoseg.clip import View
from echoseg.data.phantom import simulate_all, stills_of
from echoseg.inference.backends.select import open_session
from echoseg.phantom import PhantomConfig, Tier
from echoseg.phantom.benchmark import FIRST_SEED
from echoseg.phantom.config import Style
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames, letterbox_masks
from echoseg.quality.view_net import SUFFIX, ViewCard, ViewNet, load_view_net, save_view_net
from echoseg.weights.card import find_checkpoint

APICAL = {View.A4C: A4C, View.A2C: A2C, View.ALAX: OTHER_APICAL}
DAILY = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass",
    "gravel", "horse", "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina",
    "rocket", "text",
)  # fmt: skip
NUM_ASIDE = 50
"""Patients of CAMUS's training split kept aside for the rule."""
SHARES = {
    "CAMUS A4C": 20, "CAMUS A2C": 12, "CAMUS decoy": 6, "CAMUS root": 12, "CAMUS ring": 4,
    "CAMUS turned": 7, "painted": 22, "phantom": 11, "daily": 4,
}  # fmt: skip
"""Pictures of each source in a batch."""


def simulated(split: str, num_hearts: int, jobs: int) -> Pictures:
    """Two frames each of the three apical views of the phantom's hearts."""
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
    frames, classes, names = [], [], []
    for one in simulate_all(configs, jobs):
        frames.append(torch.from_numpy(boxed(one.clip.frames)[0]))
        classes += [APICAL[one.config.view]] * 2
        names += [str(one.config.view)] * 2
    return Pictures(torch.cat(frames)[:, None], torch.tensor(classes), tuple(names))


def boxed(frames: np.ndarray, masks: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Frames `T H W` uint8, and masks, cut to where there is ultrasound, on the wide square."""
    lit = (frames > 8).mean(0) > 0
    rows, columns = np.nonzero(lit.any(1))[0], np.nonzero(lit.any(0))[0]
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    letterbox = letterbox_for(box, WIDE_PX)
    squares = letterbox_frames(torch.from_numpy(frames).float() / 255, letterbox)
    masks = np.zeros_like(frames) if masks is None else masks
    return (
        squares.clamp(0, 1).numpy(),
        letterbox_masks(torch.from_numpy(masks), letterbox).numpy(),
    )


def real(root: Path, split: str) -> dict[View, tuple[np.ndarray, np.ndarray]]:
    """CAMUS's frames and masks, each `N W W`, of each view of a split: ED and ES in turn."""
    by_view = {}
    for view in (View.A4C, View.A2C):
        stills = [boxed(s.picture[None], s.mask[None]) for s in stills_of(root, split, view)]
        frames, masks = zip(*stills, strict=True)
        by_view[view] = np.concatenate(frames), np.concatenate(masks)
    return by_view


def changed(stills: dict[View, tuple[np.ndarray, np.ndarray]], seed: int) -> dict[str, Pictures]:
    """CAMUS's pictures as they are, and made into other views."""
    rng = np.random.default_rng(seed)
    kinds: dict[str, list[tuple[np.ndarray, int, str]]] = {
        name: [] for name in SHARES if name.startswith("CAMUS")
    }
    for view, (frames, masks) in stills.items():
        side, root = (-1, "A5C") if view is View.A4C else (1, "ALAX")
        for frame, mask in zip(frames, masks, strict=True):
            kinds[f"CAMUS {view}"].append((frame, APICAL[view], str(view)))
            decoy = add_root(frame, mask, rng, 0)
            kinds["CAMUS decoy"].append((decoy, APICAL[view], str(view)))
            rooted = add_root(frame, mask, rng, side)
            kinds["CAMUS root"].append((rooted, OTHER_APICAL, root))
            kinds["CAMUS ring"].append((bend_to_ring(frame, mask, rng), NOT_APICAL, "ring"))
            kinds["CAMUS turned"].append((turn_away(frame, rng), NOT_APICAL, "turned"))
    return {name: _pictures(rows) for name, rows in kinds.items()}


def _pictures(rows: list[tuple[np.ndarray, int, str]]) -> Pictures:
    frames, classes, names = zip(*rows, strict=True)
    stacked = torch.from_numpy(np.stack(frames)).float()[:, None]
    return Pictures(stacked, torch.tensor(classes), names)


def daily(num: int, seed: int) -> Pictures:
    """Cuts of pictures of daily life, and noise, half of them in a sector."""
    rng, sources, rows = np.random.default_rng(seed), [], []
    for name in DAILY:
        picture = np.asarray(getattr(skimage.data, name)(), np.float32)
        picture = picture.mean(-1) if picture.ndim == 3 else picture
        sources.append(torch.from_numpy(picture / max(float(picture.max()), 1.0)))
    for _ in range(num):
        if rng.random() < 0.3:
            grain = torch.from_numpy(rng.rayleigh(0.25, (int(rng.integers(6, 97)),) * 2)).float()
            cut = grain.clamp(0, 1)
        else:
            source = sources[rng.integers(len(sources))]
            side = int(min(source.shape) * rng.uniform(0.3, 1))
            top, left = (int(rng.integers(0, length - side + 1)) for length in source.shape)
            cut = source[top : top + side, left : left + side]
        size = (WIDE_PX, WIDE_PX)
        square = functional.interpolate(cut[None, None], size, mode="bilinear", antialias=True)
        square = square[0, 0].numpy()
        square = square * sector(rng) if rng.random() < 0.6 else square
        rows.append((square, NOT_APICAL, "daily"))
    return _pictures(rows)


def train(sources: dict[str, Pictures], steps: int, seed: int) -> ViewNet:
    """Train a network for `steps` steps."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = ViewNet().train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 4e-3, weight_decay=2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        x, y, mirrored, is_sided = _batch(sources, generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(x)
        logits = logits.float()
        loss = functional.cross_entropy(logits[:, :-1], y, label_smoothing=0.03)
        loss = loss + 0.5 * functional.binary_cross_entropy_with_logits(
            logits[is_sided, -1], mirrored[is_sided].float()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"{step}/{steps}  loss {loss.item():.3f}", flush=True)
    return network.eval()


def _batch(
    sources: dict[str, Pictures], generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures, classes, whether each is mirrored, and whether left and right differ in it."""
    frames, classes, is_sided = [], [], []
    times = sum(SHARES.values()) // sum(SHARES[name] for name in sources)
    for name, pictures in sources.items():
        count = times * SHARES[name]
        index = torch.randint(0, len(pictures.classes), (count,), generator=generator)
        frames.append(pictures.frames[index])
        classes.append(pictures.classes[index])
        is_sided.append(pictures.classes[index] == A4C)
    x, y = torch.cat(frames), torch.cat(classes)
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    return augment(x, generator), y, mirrored, torch.cat(is_sided)


@torch.inference_mode()
def confusion(network: ViewNet, pictures: Pictures) -> dict[str, list[int]]:
    """Percent of the pictures taken for each of the four classes, by what they show."""
    small = functional.interpolate(pictures.frames, (64, 64), mode="bilinear", antialias=True)
    classes = network(small)[:, :-1].argmax(1)
    table: dict[str, list[int]] = {}
    for name in dict.fromkeys(pictures.names):
        rows = classes[torch.tensor([each == name for each in pictures.names])]
        table[name] = (torch.bincount(rows, minlength=4) / len(rows) * 100).round().int().tolist()
    return table


def pictures_of(args: argparse.Namespace) -> dict[str, Pictures]:
    """The pictures to learn from, by source."""
    sources = {
        "painted": painted(args.hearts, 0),
        "phantom": simulated("train", args.hearts, args.jobs),
        "daily": daily(600, args.seed),
    }
    if args.camus:
        stills = real(args.camus, "training")
        aside = 2 * NUM_ASIDE
        sources |= changed({v: (f[:-aside], m[:-aside]) for v, (f, m) in stills.items()}, args.seed)
    return sources


def clips_of(args: argparse.Namespace, split: str) -> Iterator[RuleClip]:
    """Clips of one part: `aside` for the rule, `validation` to measure it."""
    is_aside = split == "aside"
    yield from painted_clips(5 if is_aside else 4, 20_000_000 if is_aside else 30_000_000)
    first = FIRST_SEED["train"] + 800_000 if is_aside else FIRST_SEED["validation"]
    yield from phantom_clips(6, first, args.jobs)
    if args.camus and is_aside:
        yield from camus_clips(args.camus, "train", slice(-NUM_ASIDE, None, 3), args.seed)
    elif not is_aside and (root := args.camus or args.evaluate):
        yield from camus_clips(root, "validation", slice(None, None, 2), args.seed)


def main() -> None:
    """Make pictures, train, fit the rule, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="camus, phantom, or a checkpoint: the segmentation network")
    parser.add_argument("-o", "--output", type=Path, help="default: beside the checkpoint")
    parser.add_argument("--camus", type=Path, help="CAMUS, to learn from")
    parser.add_argument("--evaluate", type=Path, help="CAMUS, only to evaluate on")
    parser.add_argument("--keep-network", action="store_true", help="fit only the rule anew")
    parser.add_argument("--hearts", type=int, default=90)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    start = time.monotonic()
    checkpoint = find_checkpoint(args.model)
    output = args.output or checkpoint.with_suffix(SUFFIX)
    if args.keep_network:
        network = load_view_net(output)[0]
    else:
        network = train(pictures_of(args), args.steps, args.seed)
    session = open_session(args.model, "torch", device="cpu", num_threads=torch.get_num_threads())
    rule = fit_rule(score_clips(segment_clips(clips_of(args, "aside"), session), network))
    card = ViewCard(
        licence="CC-BY-NC-SA-4.0" if args.camus else "Apache-2.0",
        trained_on="painted and simulated pictures"
        + (", CAMUS's A4C and A2C as they are and made into other views" if args.camus else ""),
        rule=rule,
    )
    save_view_net(output, network, card)
    pictures = {
        "painted": painted(12, 10_000_000),
        "phantom test hearts": simulated("test", 25, args.jobs),
        "phantom held-out style": simulated("held_out_style", 25, args.jobs),
    }
    if root := args.camus or args.evaluate:
        pictures |= changed(real(root, "validation"), 2)
    document = {
        "card": card.model_dump(),
        "steps": args.steps,
        "hearts": args.hearts,
        "seed": args.seed,
        "machine": f"{platform.processor() or platform.machine()}, torch {torch.__version__}",
        "seconds": round(time.monotonic() - start),
        "pictures": {name: confusion(network, each) for name, each in pictures.items()},
        "clips": verdicts(
            rule, score_clips(segment_clips(clips_of(args, "validation"), session), network)
        ),
    }
    print(json.dumps(document, indent=1))
    if args.json:
        args.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
