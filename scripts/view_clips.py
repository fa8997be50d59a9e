"""Clips for the rule of the view check, segmented, and the rule fitted to them.

A clip is a short run of frames: painted, simulated, or of animated stills of CAMUS patients that
the network did not learn from, as they are or made into another view. Each has the grey map of
another machine, the same on all its frames.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from view_augment import regreyed
from view_pictures import (
    A2C,
    A4C,
    NOT_APICAL,
    OTHER_APICAL,
    PAINTED,
    WIDE_PX,
    add_root,
    bend_to_ring,
    paint,
    turn_away,
)

from echoseg.clip import Clip, View
from echoseg.data import load_dataset
from echoseg.data.animate import Heart
from echoseg.data.animate_config import AnimationConfig
from echoseg.data.phantom import simulate_all
from echoseg.inference.analyzer import segment_frames
from echoseg.inference.backends.base import InferenceSession
from echoseg.measure.clean import clean_masks
from echoseg.phantom import PhantomConfig, Tier
from echoseg.preprocess.frame_transform import FrameTransform
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames, letterbox_masks
from echoseg.preprocess.sector import Sector, sector_gain
from echoseg.quality.view import ViewRule
from echoseg.quality.view_net import ViewNet, score_frames
from echoseg.quality.view_shape import FEATURES, shape_features

NUM_FRAMES = 10
BOX = (0, 0, WIDE_PX, WIDE_PX)
RATES_HZ = (15.0, 60.0)


class RuleClip(NamedTuple):
    """Frames `T W W` in [0, 1], the class, and what they show."""

    frames: np.ndarray
    kind: int
    name: str


class Segmented(NamedTuple):
    """A clip's frames `T W W` uint8, their sector, features of its masks, class and name."""

    frames: np.ndarray
    area: Sector
    features: np.ndarray
    kind: int
    name: str


class Scored(NamedTuple):
    """What the check has of clips: scores `N 4`, features `N F`, classes `N`, names."""

    by_pictures: np.ndarray
    features: np.ndarray
    kinds: np.ndarray
    names: tuple[str, ...]


def painted_clips(num_hearts: int, first_seed: int) -> Iterator[RuleClip]:
    """One clip of each painted view that is not apical per heart.

    Apical ones are left out: the segmentation network, which never saw painted pictures, trembles
    on them, and that would count as a sign of an A4C.
    """
    rng = np.random.default_rng(first_seed)
    for heart in range(num_hearts):
        for index, (name, kind) in enumerate(PAINTED.items()):
            if kind != NOT_APICAL:
                continue
            start, step = rng.uniform(0, 2 * np.pi), 2 * np.pi / rng.uniform(12, 40)
            phases = 0.5 - 0.5 * np.cos(start + step * np.arange(NUM_FRAMES))
            frames = paint(name, first_seed + 100 * heart + index, tuple(phases.tolist()))
            yield RuleClip(frames, kind, f"painted {name}")


def phantom_clips(num_hearts: int, first_seed: int, jobs: int = 1) -> Iterator[RuleClip]:
    """One clip of each simulated view per heart."""
    rng = np.random.default_rng(first_seed)
    kinds = {View.A4C: A4C, View.A2C: A2C, View.ALAX: OTHER_APICAL}
    configs = [
        PhantomConfig(
            seed=first_seed + heart,
            view=view,
            tier=list(Tier)[heart % 3],
            size_px=WIDE_PX,
            num_frames=NUM_FRAMES,
            frame_rate_hz=float(rng.uniform(*RATES_HZ)),
        )
        for heart in range(num_hearts)
        for view in kinds
    ]
    for one in simulate_all(configs, jobs):
        view = one.config.view
        frames = one.clip.frames.astype(np.float32) / 255
        yield RuleClip(frames, kinds[view], f"phantom {view}")


def camus_clips(root: Path, split: str, patients: slice, seed: int) -> Iterator[RuleClip]:
    """A clip of each patient's A4C and A2C, as it is and made into one other view."""
    for view in (View.A4C, View.A2C):
        records = [r for r in load_dataset(root).split(split).records if r.view is view]
        for index, record in enumerate(records[patients]):
            rng = np.random.default_rng([seed, index, view is View.A2C])
            frames, masks = _animated(*record.load(), rng)
            yield RuleClip(frames, A4C if view is View.A4C else A2C, f"CAMUS {view}")
            yield _as_other_view(frames, masks[0], view, rng, index % 3)


def _animated(clip: Clip, annotation, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames and masks, each `T W W`, of a beat of two stills."""
    ends = [annotation.ed_frame, annotation.es_frame]
    frames, masks = clip.frames[ends], annotation.masks[ends]
    lit = (frames > 8).any(0)
    rows, columns = np.nonzero(lit.any(1))[0], np.nonzero(lit.any(0))[0]
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    letterbox = letterbox_for(box, WIDE_PX)
    small = letterbox_frames(torch.from_numpy(frames).float(), letterbox).clamp(0, 255)
    heart = Heart(
        small.round().to(torch.uint8).numpy(),
        letterbox_masks(torch.from_numpy(masks), letterbox).numpy(),
    )
    config = AnimationConfig(
        seed=int(rng.integers(1 << 30)),
        frame_rate_hz=float(rng.uniform(24, RATES_HZ[1])),
        num_beats=1,
    )
    animated = heart.animate(config)
    start = int(rng.integers(0, max(1, animated.clip.num_frames - NUM_FRAMES)))
    part = slice(start, start + NUM_FRAMES)
    return animated.clip.frames[part].astype(np.float32) / 255, animated.annotation.masks[part]


def _as_other_view(
    frames: np.ndarray, mask: np.ndarray, view: View, rng: np.random.Generator, how: int
) -> RuleClip:
    """The same change on all frames; `how` is 0 for a root, 1 for a ring, 2 for a turn."""
    draw = int(rng.integers(1 << 30))
    side, root = (-1, "A5C") if view is View.A4C else (1, "ALAX")
    changed = []
    for frame in frames:
        same = np.random.default_rng(draw)
        if how == 0:
            changed.append(add_root(frame, mask, same, side))
        else:
            changed.append(bend_to_ring(frame, mask, same) if how == 1 else turn_away(frame, same))
    kind, name = ((OTHER_APICAL, root), (NOT_APICAL, "ring"), (NOT_APICAL, "turned"))[how]
    return RuleClip(np.stack(changed), kind, f"CAMUS made {name}")


def machine(frames: np.ndarray, seed: int) -> np.ndarray:
    """Frames `T W W` in [0, 1] as of another machine: one grey map and sharpness for all."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(frames)[:, None]
    new = [regreyed(x[k : k + 1], torch.Generator().manual_seed(seed), 0.8) for k in range(len(x))]
    x = torch.cat(new)
    side = int(rng.integers(56, WIDE_PX + 1))
    x = functional.interpolate(x, (side, side), mode="bilinear", antialias=True)
    return functional.interpolate(x, frames.shape[1:], mode="bilinear")[:, 0].numpy()


def segment_clips(clips: Iterator[RuleClip], session: InferenceSession) -> Iterator[Segmented]:
    """Segment clips as another machine shows them."""
    for index, clip in enumerate(clips):
        frames = (255 * machine(clip.frames, index)).round().astype(np.uint8)
        area = Sector(mask=(clip.frames > 0).any(0), box=BOX)
        gain = sector_gain(Clip(frames=frames), area) if area.mask.any() else 1.0
        transform = FrameTransform(frames.shape[1:], session.size_px, sector=area, gain=gain)
        masks = clean_masks(segment_frames(session, frames, transform))
        yield Segmented(frames, area, shape_features(masks, BOX), clip.kind, clip.name)


def score_clips(clips: Iterable[Segmented], network: ViewNet) -> Scored:
    """Score the pictures of segmented clips."""
    rows = [(score_frames(c.frames, c.area, network)[0], c.features, c.kind, c.name) for c in clips]
    pictures, features, kinds, names = zip(*rows, strict=True)
    return Scored(np.stack(pictures), np.stack(features), np.array(kinds), names)


def fit_rule(scored: Scored, *, mirrored_from: float = 0.25, decay: float = 0.02) -> ViewRule:
    """Fit weights by logistic regression, and the limits by the clips.

    A view is refused below half of what 99 of 100 clips of their own view reach, at most at 0.1;
    it is accepted from where at most 2 of 100 other clips pass, at least at 0.5.
    """
    used = scored.kinds != OTHER_APICAL
    is_good = scored.kinds <= A2C
    center = scored.features[used].mean(0)
    spread = np.maximum(scored.features[used].std(0), 0.02)
    x = torch.from_numpy(np.clip((scored.features[used] - center) / spread, -3, 3))
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    y = torch.from_numpy(is_good[used]).double()
    balance = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y).mean())
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(x @ weights, y, balance)
        loss = loss + decay * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    rule = ViewRule(
        center=tuple(center.round(4).tolist()),
        spread=tuple(spread.round(4).tolist()),
        weights=tuple(weights.detach().numpy().round(3).tolist()),
        floor=0.05,
        min_probability=0.5,
        refuse_below=0.1,
        mirrored_from=mirrored_from,
    )
    assert len(rule.center) == len(FEATURES)
    probabilities = rule.combine(scored.by_pictures, scored.features)
    own = probabilities[np.arange(len(probabilities)), scored.kinds]
    others = probabilities[~is_good, :2].max(1)
    limit = min(0.1, 0.5 * float(np.quantile(own[is_good], 0.01)))
    accept = min(max(0.5, float(np.quantile(others, 0.98))), 0.9)
    return rule.model_copy(
        update={"refuse_below": round(limit, 3), "min_probability": round(accept, 2)}
    )


def verdicts(rule: ViewRule, scored: Scored) -> dict[str, dict[str, int]]:
    """How many clips of each kind are taken for what, and refused as the view they are said to be.

    Of A4C and A2C, "refused" is as their own view; of all others, as A4C.
    """
    probabilities = rule.combine(scored.by_pictures, scored.features)
    table: dict[str, dict[str, int]] = {}
    for name in sorted(set(scored.names)):
        rows = np.array([each == name for each in scored.names])
        kind = int(scored.kinds[rows][0])
        stated = probabilities[rows, kind if kind <= A2C else A4C]
        both = probabilities[rows, :2]
        table[name] = {
            "clips": int(rows.sum()),
            "right": int((probabilities[rows].argmax(1) == kind).sum()),
            "passes as A4C": int((probabilities[rows, A4C] >= rule.min_probability).sum()),
            "passes as A2C": int((probabilities[rows, A2C] >= rule.min_probability).sum()),
            "refused": int(
                (
                    (stated < rule.refuse_below) & (probabilities[rows].argmax(1) != min(kind, 4))
                ).sum()
                if kind <= A2C
                else (both.sum(1) < rule.refuse_below).sum()
            ),
        }
    return table
