"""A clip segmented by a schedule: some frames in full, the others cheaply; ED and ES in full.

Works with any network that has, beside `step`, a cheap path that shares its state,
`cheap_step(frame, state) -> (logits, state)`, and maps to decide from, `observe(frame, state)`;
`warp.WarpedNetwork` gives them to every Segmenter that streams.

Two guard rails. **Recorded**: after the clip, every frame that is the ED or ES of a beat, or a
neighbour of one, is computed again in full from the state before it, until none is left that was
cheap; so what EF is read off was never cheap. **Live** (`live_margin`): a cheap frame whose cavity
is as small as the smallest seen, or as large as the largest, but for a margin, is computed again in
full at once. Frames of either rail do not count against the budget; `num_again` tells them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echoseg.clip import Label
from echoseg.errors import ArgumentError
from echoseg.measure.curve import ASSUMED_FRAME_S, smooth
from echoseg.measure.phases import find_beats, part_of_beat
from echoseg.measure.volumes import mask_volume_ml
from experiments.keyframes.episode import check_cheap
from experiments.keyframes.observation import Budget, History, observe
from experiments.keyframes.schedulers import Scheduler


@dataclass(kw_only=True)
class ScheduledClip:
    """What came out, and how."""

    logits: list[Tensor] = field(default_factory=list)
    """`1 K H W` of each frame."""
    is_full: list[bool] = field(default_factory=list)
    """Whether these come from the full network."""
    num_again: int = 0
    """Frames that were computed cheaply first and then in full."""

    def cost(self, cheap_cost: float) -> float:
        """Return the work as a share of all frames in full; `cheap_cost` is a cheap frame's."""
        num_cheap = self.is_full.count(False) + self.num_again
        return (self.is_full.count(True) + cheap_cost * num_cheap) / max(1, len(self.is_full))


@torch.inference_mode()
def segment_clip(
    model: Any,
    frames: Iterable[Tensor],
    scheduler: Scheduler,
    *,
    budget: Budget | None = None,
    live_margin: float | None = None,
    extremes: Callable[[np.ndarray], set[int]] | None = None,
) -> ScheduledClip:
    """Segment one clip by a schedule.

    Args:
        model: A Segmenter with a cheap path, in evaluation mode.
        frames: `1 1 H W` each.
        scheduler: Decides; a key frame it cannot afford is computed cheaply.
        budget: Of key frames.
        live_margin: Share of the cavity's range so far, for the live rail; not given, none.
        extremes: Label maps `T H W` -> frames that must be in full; ED and ES of all beats when
            not given.

    Raises:
        ModelError: If the model has no cheap path.
        ArgumentError: If a frame is of several clips, or `extremes` contains a missing frame.
    """
    check_cheap(model)
    clip, history, areas = ScheduledClip(), History(), list[float]()
    recent: list[Tensor] = []
    before: list[Any] = []
    state = model.init_state(1)
    for frame in frames:
        if frame.ndim != 4 or frame.shape[0] != 1:
            raise ArgumentError(
                f"frames must be 1 1 H W, of one clip, got {' '.join(map(str, frame.shape))}; "
                "segment clips one by one"
            )
        is_key = not clip.logits
        if not is_key:
            observation = observe([model.observe(frame, state)], [history])
            is_key = history.affords(budget) and bool(scheduler(observation)[0])
            history.add(is_key)
        path = model.step if is_key else model.cheap_step
        logits, after = path(frame, state)
        area = _area(logits)
        is_full = is_key
        if not is_key and live_margin is not None and _is_extreme(area, areas, live_margin):
            logits, after = model.step(frame, state)
            is_full, clip.num_again = True, clip.num_again + 1
        areas.append(_area(logits))
        recent.append(frame)
        before.append(state)
        clip.logits.append(logits)
        clip.is_full.append(is_full)
        state = after
    _settle(model, clip, recent, before, extremes or beat_extremes)
    return clip


def _settle(
    model: Any,
    clip: ScheduledClip,
    frames: list[Tensor],
    before: list[Any],
    extremes: Callable[[np.ndarray], set[int]],
) -> None:
    """The rail for recorded clips; each round computes a frame in full, so there is an end."""
    while clip.logits:
        labels = np.stack([_labels(logits).cpu().numpy() for logits in clip.logits])
        wanted = sorted(extremes(labels))
        if odd := set(wanted) - set(range(len(labels))):
            raise ArgumentError(
                f"extremes must tell frames from 0 to {len(labels) - 1}, got {min(odd)}"
            )
        cheap = [i for i in wanted if not clip.is_full[i]]
        if not cheap:
            return
        for index in cheap:
            clip.logits[index], _ = model.step(frames[index], before[index])
            clip.is_full[index] = True
            clip.num_again += 1


def beat_extremes(labels: np.ndarray, *, margin: int = 1) -> set[int]:
    """Return ED and ES of every beat of label maps `T H W`, with `margin` frames on either side."""
    spacing = (1.0, 1.0)
    volumes = np.array(
        [
            mask_volume_ml(mask, spacing)[0] if (mask == Label.LV_CAVITY).any() else np.nan
            for mask in labels
        ]
    )
    known = np.isfinite(volumes)
    if known.sum() < 2:
        return set()
    filled = np.interp(np.arange(len(volumes)), np.flatnonzero(known), volumes[known])
    curve = smooth(filled)
    beats = [*find_beats(curve, ASSUMED_FRAME_S, (), known), part_of_beat(curve, known)]
    extremes = {frame for beat in beats for frame in (beat.ed_frame, beat.es_frame)}
    near = {frame + step for frame in extremes for step in range(-margin, margin + 1)}
    return near & set(range(len(labels)))


def _labels(logits: Tensor) -> Tensor:
    """`1 K H W` -> `H W`."""
    return logits[0].argmax(0) if logits.shape[1] > 1 else (logits[0, 0] > 0).long()


def _area(logits: Tensor) -> float:
    return float((_labels(logits) == Label.LV_CAVITY).sum())


def _is_extreme(area: float, areas: list[float], margin: float) -> bool:
    """Return whether an area is at or beyond the ends of those seen, but for a margin."""
    low, high = min(areas), max(areas)
    near = margin * (high - low)
    return area <= low + near or area >= high - near
