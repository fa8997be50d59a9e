"""Learn by supervision what a full frame gains: regress it, and cut at a budget's quantile.

    min |net(observation) - (Dice_full - Dice_cheap)|^2

over frames met under random schedules, so that frames close to a key frame and far from one are
both seen. A key frame is then spent where the expected gain passes a threshold; the threshold of a
budget is found by playing the clips.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.errors import ArgumentError
from experiments.keyframes.episode import Episode, play
from experiments.keyframes.net import KeyFrameNet
from experiments.keyframes.observation import Observation
from experiments.keyframes.schedulers import GainThreshold, Scheduler


def collect_gains(
    episodes: Sequence[Episode], key_share: float, generator: torch.Generator
) -> tuple[Observation, Tensor]:
    """Run clips under a random schedule; return observations and gains.

    Raises:
        ArgumentError: `key_share` is not between 0 and 1, or no clip has a second frame.
    """
    if not 0 <= key_share <= 1:
        raise ArgumentError(f"key_share must be from 0 to 1, got {key_share}")

    def by_chance(observation: Observation) -> Tensor:
        return torch.rand(len(observation.since_key), generator=generator) < key_share

    moves = play(episodes, by_chance, tell_all=True)
    if not moves:
        raise ArgumentError(
            f"episodes must hold a clip of two frames or more, got {len(episodes)} clips without; "
            "give clips to learn from"
        )
    observations = Observation(
        *(torch.cat(parts) for parts in zip(*(m.observation for m in moves), strict=True))
    )
    return observations, torch.cat([move.reward for move in moves])


def learn_gains(
    net: KeyFrameNet, observations: Observation, gains: Tensor, *, num_steps: int = 500
) -> list[float]:
    """Teach a network to expect gains; return the loss of each step. 64 frames per step."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(num_steps):
        chosen = torch.randint(len(gains), (64,), generator=generator)
        expected = net(Observation(*(part[chosen] for part in observations)))
        loss = functional.mse_loss(expected, gains[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def key_share(make_episodes: Callable[[], Sequence[Episode]], scheduler: Scheduler) -> float:
    """Return the share of key frames when clips are played without a budget.

    Raises:
        ArgumentError: No clips were given.
    """
    episodes = make_episodes()
    if not episodes:
        raise ArgumentError("make_episodes must give at least one clip, it gave none")
    moves = play(episodes, scheduler)
    keys = sum(int(move.is_key.sum()) for move in moves) + len(episodes)
    return keys / (sum(len(move.clips) for move in moves) + len(episodes))


def threshold_of_budget(
    make_scheduler: Callable[[float], Scheduler],
    make_episodes: Callable[[], Sequence[Episode]],
    share: float,
    bounds: tuple[float, float],
    *,
    num_halvings: int = 10,
) -> float:
    """Return the least threshold, by halving, that spends at most `share` of the frames in full.

    Raises:
        ArgumentError: `share` is not between 0 and 1, or not held at the upper of the bounds.
    """
    low, high = bounds
    if not 0 < share <= 1:
        raise ArgumentError(f"share must be over 0 and at most 1, got {share}")
    if not low < high:
        raise ArgumentError(f"bounds must be a lower and an upper one, got {low} and {high}")
    if (min_share := key_share(make_episodes, make_scheduler(high))) > share:
        raise ArgumentError(
            f"share {share:g} must be reached at the upper bound {high:g}, got {min_share:.3g}; "
            "raise the bound or the share (the first frame of a clip is always full)"
        )
    for _ in range(num_halvings):
        middle = (low + high) / 2
        if key_share(make_episodes, make_scheduler(middle)) > share:
            low = middle
        else:
            high = middle
    return high


def gain_scheduler(
    net: KeyFrameNet, make_episodes: Callable[[], Sequence[Episode]], share: float
) -> GainThreshold:
    """Return the scheduler of a network that learned gains, for a budget."""
    return GainThreshold(
        net, threshold_of_budget(lambda t: GainThreshold(net, t), make_episodes, share, (-0.5, 1))
    )
