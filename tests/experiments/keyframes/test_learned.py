"""The learned schedulers on a problem whose best schedule is known."""

import pytest
import torch

from echoseg.errors import ArgumentError
from experiments.keyframes.episode import Move, play
from experiments.keyframes.gains import (
    collect_gains,
    gain_scheduler,
    key_share,
    learn_gains,
    threshold_of_budget,
)
from experiments.keyframes.net import KeyFrameNet
from experiments.keyframes.observation import Budget
from experiments.keyframes.policy import PolicyConfig, discounted, learn_policy
from experiments.keyframes.schedulers import (
    DifferenceThreshold,
    FixedInterval,
    GainThreshold,
    Policy,
)
from keyframes_toy import GRID, best, clips

BUDGET = Budget(share=0.15, warm_up=40)


def score(scheduler):
    """Mean sum of rewards over clips that nothing learned from."""
    episodes = clips(10_000, 64)
    return sum(float(m.reward.sum()) for m in play(episodes, scheduler, BUDGET)) / len(episodes)


@pytest.fixture(scope="module")
def best_score():
    return score(best)


@pytest.mark.slow
def test_the_policy_finds_the_best_schedule_and_beats_clock_and_threshold(best_score):
    torch.manual_seed(0)
    net = KeyFrameNet(GRID, key_share=BUDGET.share)
    config = PolicyConfig(budget=BUDGET, num_updates=70)
    rewards = learn_policy(net, lambda update: clips(4 * update, 4), config)
    assert sum(rewards[-10:]) > 1.5 * sum(rewards[:10])
    found = score(Policy(net))
    assert found > 0.93 * best_score
    assert all(score(FixedInterval(n)) < 0.6 * found for n in (2, 4, 7, 10, 14))
    assert all(score(DifferenceThreshold(t)) < 0.7 * found for t in (0.1, 0.3, 0.5, 0.58, 0.65))


def test_regressed_gains_find_it_too(best_score):
    torch.manual_seed(0)
    net = KeyFrameNet(GRID)
    seen, gains = collect_gains(clips(0, 64), 0.3, torch.Generator().manual_seed(0))
    losses = learn_gains(net, seen, gains, num_steps=300)
    assert sum(losses[-20:]) < 0.1 * sum(losses[:20])
    assert score(GainThreshold(net, 0.5)) > 0.93 * best_score
    scheduler = gain_scheduler(net, lambda: clips(5000), 0.15)
    assert score(scheduler) > 0.9 * best_score


def test_the_floor_keeps_the_policy_from_being_sure():
    """With nothing to gain, entropy falls to the floor at most."""

    def sure(floor, weight):
        torch.manual_seed(0)
        net = KeyFrameNet(GRID)
        torch.nn.init.constant_(net.out.bias, 4.0)  # sure from the start
        config = PolicyConfig(
            budget=Budget(share=1),
            num_updates=40,
            num_plays=2,
            entropy_floor=floor,
            entropy_weight=weight,
        )
        learn_policy(net, lambda update: clips(update, 1), config)
        p = torch.sigmoid(net(play(clips(0, 4), best)[0].observation)).mean()
        return max(p, 1 - p).item()

    assert sure(0.6, 5.0) < 0.85 < sure(0.0, 0.0)


def test_rewards_are_discounted_to_the_moves_before_them():
    observation, key = None, torch.ones(2, dtype=torch.bool)
    moves = [
        Move(observation, key, torch.tensor([1.0, 0.0]), [0, 1]),
        Move(observation, key[:1], torch.tensor([4.0]), [1]),
    ]
    assert discounted(moves, 2, 0.5).tolist() == [[1, 2], [0, 4]]


def test_the_threshold_of_a_budget_spends_no_more():
    threshold = threshold_of_budget(DifferenceThreshold, lambda: clips(0), 0.2, (0, 2))
    assert key_share(lambda: clips(0), DifferenceThreshold(threshold)) <= 0.2
    assert key_share(lambda: clips(0), DifferenceThreshold(threshold - 0.1)) > 0.2


@pytest.mark.parametrize(
    ("share", "bounds", "told"),
    [
        (0.2, (0, 0.01), "share 0.2 must be reached at the upper bound 0.01, got 1"),
        (0.2, (2, 0), "bounds must be a lower and an upper one"),
        (0, (0, 2), "share must be over 0"),
        (float("nan"), (0, 2), "share must be over 0"),
        (0.01, (0, 99), "the first frame of a clip is always full"),
    ],
)
def test_a_budget_that_no_threshold_within_bounds_holds_is_refused(share, bounds, told):
    with pytest.raises(ArgumentError, match=told):
        threshold_of_budget(DifferenceThreshold, lambda: clips(0), share, bounds)


@pytest.mark.parametrize("share", [0, 1, float("nan")])
def test_a_key_frame_that_is_sure_or_impossible_is_no_start(share):
    with pytest.raises(ArgumentError, match="key_share must be over 0 and under 1"):
        KeyFrameNet(key_share=share)


def test_nothing_is_learned_from_no_clips():
    config = PolicyConfig(budget=BUDGET, num_updates=1)
    for learn in (
        lambda: collect_gains([], 0.3, torch.Generator()),
        lambda: key_share(list, best),
        lambda: learn_policy(KeyFrameNet(GRID), lambda update: [], config),
    ):
        with pytest.raises(ArgumentError, match="clip"):
            learn()
    with pytest.raises(ArgumentError, match="key_share must be from 0 to 1"):
        collect_gains(clips(0, 1), 1.5, torch.Generator())
