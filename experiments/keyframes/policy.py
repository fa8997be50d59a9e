"""Learn by reinforcement where key frames pay: policy gradient with a floor under the entropy.

With p_t the probability of what was chosen, R_t the discounted rewards from t on, b_t their mean
over several plays of the same clip, and h the policy's mean entropy:

    loss = - mean (R_t - b_t) log p_t / spread(R - b) + weight max(0, floor - h)

A clip's play ends where it would pass its budget (`schedule.episode`), so keys spent early on
little are missing later. The floor keeps the policy from being sure before it has looked around;
the paper adds 1 / h instead, which grows without bound.

Reference:
    Wang et al., CVPR 2020, section 3.4; Williams, Machine Learning 8:229-256, 1992.
"""

from collections.abc import Callable, Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from echoseg.errors import ArgumentError
from experiments.keyframes.episode import Episode, Move, play
from experiments.keyframes.net import KeyFrameNet
from experiments.keyframes.observation import Budget
from experiments.keyframes.schedulers import Policy


class PolicyConfig(BaseModel):
    """How a policy is learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: Budget
    num_updates: int = Field(default=200, ge=1)
    """Each plays one round of clips."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """At the start; it falls to 0 on a line."""
    num_plays: int = Field(default=8, ge=2)
    """Times each clip is played in a round."""
    discount: float = Field(default=0.98, ge=0, le=1)
    entropy_floor: float = Field(default=0.2, ge=0, le=0.69)
    """In nats; 0.69 is a coin."""
    entropy_weight: float = Field(default=1.0, ge=0)
    seed: int = 0


def learn_policy(
    net: KeyFrameNet,
    make_episodes: Callable[[int], Sequence[Episode]],
    config: PolicyConfig,
) -> list[float]:
    """Teach a network to choose key frames; `Policy(net)` then uses it.

    Args:
        net: Is changed.
        make_episodes: Number of the update -> the clips of this round, just begun, the same each
            time it is asked.
        config: Budget and rates.

    Returns:
        Mean sum of rewards of a clip in each round.

    Raises:
        ArgumentError: If a round has no clip.
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
    returns = []
    for update in range(config.num_updates):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - update / config.num_updates)
        episodes = [each for _ in range(config.num_plays) for each in make_episodes(update)]
        if not episodes:
            raise ArgumentError(
                f"make_episodes must give at least one clip, it gave none for update {update}"
            )
        moves = play(episodes, Policy(net, generator), config.budget)
        returns.append(sum(float(move.reward.sum()) for move in moves) / len(episodes))
        if not moves:
            continue
        loss = _loss(net, moves, len(episodes), config)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return returns


def discounted(moves: Sequence[Move], num_clips: int, discount: float) -> Tensor:
    """Return the rewards from each move on, `moves clips`, 0 after a clip's last."""
    returns, ahead = [], torch.zeros(num_clips)
    for move in reversed(moves):
        reward = torch.zeros(num_clips)
        reward[move.clips] = move.reward
        ahead = reward + discount * ahead
        returns.append(ahead)
    return torch.stack(returns[::-1])


def _loss(net: KeyFrameNet, moves: list[Move], num_clips: int, config: PolicyConfig) -> Tensor:
    """The module's loss over all moves of a round."""
    returns = discounted(moves, num_clips, config.discount)
    # plays that ended earn nothing more: they count in the mean
    plays = returns.unflatten(1, (config.num_plays, -1))
    better = (plays - plays.mean(1, keepdim=True)).flatten(1)
    advantage = torch.cat([row[move.clips] for row, move in zip(better, moves, strict=True)])
    advantage = advantage / (advantage.std(unbiased=False) + 1e-6)
    logits = torch.cat([net(move.observation) for move in moves])
    chosen = torch.cat([move.is_key for move in moves]).float()
    log_p = -functional.binary_cross_entropy_with_logits(logits, chosen, reduction="none")
    p = torch.sigmoid(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, p)
    lacking = (config.entropy_floor - entropy).clamp(min=0)
    return -(advantage * log_p).mean() + config.entropy_weight * lacking
