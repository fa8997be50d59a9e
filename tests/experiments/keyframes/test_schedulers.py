import math

import pytest
import torch

from echoseg.errors import ArgumentError
from experiments.keyframes.episode import play
from experiments.keyframes.observation import (
    Budget,
    History,
    Observation,
    observe,
)
from experiments.keyframes.schedulers import (
    DifferenceThreshold,
    FixedInterval,
    GainThreshold,
    NoLongerThan,
    UncertaintyThreshold,
)
from keyframes_toy import GRID, clips


def never(observation):
    return torch.zeros(len(observation.since_key), dtype=torch.bool)


def always(observation):
    return ~never(observation)


def keys_of(scheduler, budget=None):
    """Which frames of one clip are key frames, the first aside."""
    return [bool(move.is_key[0]) for move in play(clips(0, 1), scheduler, budget)]


@pytest.mark.parametrize("interval", [1, 3, 7])
def test_a_fixed_interval_keeps_it(interval):
    assert keys_of(FixedInterval(interval)) == [i % interval == 0 for i in range(1, 40)]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FixedInterval(0), "interval .* at least 1 frame, got 0"),
        (lambda: FixedInterval(2.5), "whole number .* got 2.5"),
        (lambda: NoLongerThan(never, 0), "max_gap .* got 0"),
        (lambda: DifferenceThreshold(math.nan), "threshold must be a number"),
        (lambda: GainThreshold(never, math.nan), "threshold must be a number"),
    ],
)
def test_schedulers_of_nothing_are_refused(make, told):
    with pytest.raises(ArgumentError, match=told):
        make()


def test_without_a_reason_a_key_frame_comes_after_the_longest_time():
    assert keys_of(never) == [False] * 39
    assert keys_of(NoLongerThan(never, 5)) == [i % 5 == 0 for i in range(1, 40)]


def test_a_threshold_looks_at_the_mean_deviation():
    seen = Observation(torch.tensor([0.2, 0.4]).view(2, 1, 1, 1), torch.ones(2), torch.ones(2))
    assert DifferenceThreshold(0.3)(seen).tolist() == [False, True]
    maps = torch.tensor([[9.0, 0.5, 0.4], [0.0, 0.5, 0.8]]).view(2, 3, 1, 1)
    seen = Observation(maps, torch.ones(2), torch.ones(2))
    assert UncertaintyThreshold(0.3)(seen).tolist() == [False, True]


def test_history_counts_the_first_frame_as_a_key():
    history = History()
    for is_key in (False, False, True, False):
        history.add(is_key)
    seen = observe([torch.zeros(1, GRID, GRID)], [history])
    assert seen.key_share.item() == pytest.approx(2 / 5)
    assert seen.since_key.item() == 2


def test_a_play_ends_where_the_budget_is_passed():
    """At a fifth, 4 of the first 20 frames, beside the very first."""
    moves = play(clips(0, 1), always, Budget(share=0.2, warm_up=20))
    assert len(moves) == 4


def test_a_budget_grows_with_the_frames():
    moves = play(clips(0, 1), FixedInterval(5), Budget(share=0.2, warm_up=1))
    assert len(moves) == 39
    assert len(play(clips(0, 1), FixedInterval(4), Budget(share=0.2, warm_up=1))) < 39


def test_clips_that_end_leave_the_others_going():
    episodes = [*clips(0, 1), *clips(1, 1)]
    episodes[0].index = 38
    moves = play(episodes, never, tell_all=True)
    assert [move.clips for move in moves[:3]] == [[0, 1], [0, 1], [1]]
    assert len(moves) == 39
