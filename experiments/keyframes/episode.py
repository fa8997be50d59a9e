"""A clip played frame by frame, where each key frame is worth what it gains over a cheap one.

The first frame is a key frame. From then on, with Dice_full and Dice_cheap of the same frame from
the same state,

    reward = Dice_full - Dice_cheap   for a key frame, 0 else

and the play ends where a key frame is asked for that the budget does not afford.

Reference:
    Wang et al., CVPR 2020, sections 3.2 and 3.4.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from echoseg.errors import ArgumentError, ModelError
from echoseg.metrics.segmentation import dice
from experiments.keyframes.observation import Budget, History, Observation, observe
from experiments.keyframes.schedulers import Scheduler


def check_cheap(model: Any) -> None:
    """Refuse a network that has no cheap path.

    Raises:
        ModelError: If so.
    """
    if not hasattr(model, "cheap_step"):
        raise ModelError(
            f"a schedule needs a network with a cheap_step, {type(model).__name__} has none; use "
            "WarpedNetwork"
        )


def check_played(model: Any, frames: Tensor, masks: Tensor) -> None:
    """Refuse what cannot be played: a network without a cheap path, other than one clip's frames.

    Raises:
        ModelError: If the network has no cheap path.
        ArgumentError: If frames or masks have another shape.
    """
    check_cheap(model)
    if frames.ndim != 5 or not len(frames) or frames.shape[1] != 1 or len(masks) != len(frames):
        raise ArgumentError(
            f"frames must be one clip's, T 1 1 H W, with a mask each, got "
            f"{' '.join(map(str, frames.shape))} and {len(masks)} masks; give clips one by one"
        )


class Episode(Protocol):
    """One clip after its first frame."""

    def maps(self) -> Tensor | None:
        """Return `C G G` of the frame that comes, None after the last."""
        ...

    def gain(self) -> float:
        """Return what a full frame would gain over a cheap one."""
        ...

    def take(self, is_key: bool) -> None:
        """Go on to the next frame."""
        ...


class ClipEpisode:
    """A clip with masks, and a Segmenter with a cheap path.

    Args:
        model: In evaluation mode.
        frames: `T 1 1 H W`.
        masks: `T H W`, the truth, or a teacher's.

    Raises:
        ModelError: If the model has no cheap path.
        ArgumentError: If frames and masks are not one clip's.
    """

    def __init__(self, model: Any, frames: Tensor, masks: Tensor) -> None:
        check_played(model, frames, masks)
        self.model, self.frames, self.masks = model, frames, masks
        with torch.inference_mode():
            _, self.state = model.step(frames[0], model.init_state(1))
        self.index = 1

    @torch.inference_mode()
    def maps(self) -> Tensor | None:
        """Return `C G G` of the frame that comes, None after the last."""
        if self.index == len(self.frames):
            return None
        return self.model.observe(self.frames[self.index], self.state)

    @torch.inference_mode()
    def gain(self) -> float:
        """Return Dice of a full frame less that of a cheap one; runs both."""
        frame, mask = self.frames[self.index], self.masks[self.index]
        full, _ = self.model.step(frame, self.state)
        cheap, _ = self.model.cheap_step(frame, self.state)
        return mean_dice(full, mask) - mean_dice(cheap, mask)

    @torch.inference_mode()
    def take(self, is_key: bool) -> None:
        """Go on to the next frame, in full or cheaply."""
        frame = self.frames[self.index]
        path = self.model.step if is_key else self.model.cheap_step
        _, self.state = path(frame, self.state)
        self.index += 1


def mean_dice(logits: Tensor, mask: Tensor) -> float:
    """Mean Dice over the labels that are in either: logits `1 K H W` and label map `H W`."""
    predicted = logits[0].argmax(0) if logits.shape[1] > 1 else (logits[0, 0] > 0).long()
    labels = range(1, max(2, logits.shape[1]))
    scores = [score for k in labels if (score := dice(predicted, mask, k)) is not None]
    return sum(scores) / len(scores) if scores else 1.0


class Move(NamedTuple):
    """One decision of E clips that were still being played."""

    observation: Observation
    is_key: Tensor
    """`E` bool."""
    reward: Tensor
    """`E`."""
    clips: list[int]
    """Which of the clips."""


def play(
    episodes: Sequence[Episode],
    scheduler: Scheduler,
    budget: Budget | None = None,
    *,
    tell_all: bool = False,
) -> list[Move]:
    """Play clips side by side, each until it ends or its budget is passed.

    Args:
        episodes: Just begun.
        scheduler: Decides.
        budget: Passing it ends a play; the move that would is not in what is returned.
        tell_all: Rewards of cheap frames too are their gains, which costs running both paths.
    """
    histories = [History() for _ in episodes]
    going, moves = list(range(len(episodes))), []
    while going:
        maps = {i: each for i in going if (each := episodes[i].maps()) is not None}
        if not maps:
            break
        observation = observe(list(maps.values()), [histories[i] for i in maps])
        wanted = scheduler(observation)
        choice = dict(zip(maps, wanted.tolist(), strict=True))
        stays = torch.tensor([not key or histories[i].affords(budget) for i, key in choice.items()])
        going = [i for i, stay in zip(maps, stays.tolist(), strict=True) if stay]
        rewards = [episodes[i].gain() if choice[i] or tell_all else 0.0 for i in going]
        for i in going:
            episodes[i].take(choice[i])
            histories[i].add(choice[i])
        if going:
            remaining = Observation(*(part[stays] for part in observation))
            moves.append(Move(remaining, wanted[stays], torch.tensor(rewards), going))
    return moves
