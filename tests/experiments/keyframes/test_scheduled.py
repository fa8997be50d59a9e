"""A clip segmented by a schedule: what is shared, what it costs, and the rails."""

from itertools import combinations

import numpy as np
import pytest
import torch

from echoseg.errors import ArgumentError, ModelError
from echoseg.models.memory_unet import MemoryUNet
from experiments.keyframes import Budget, FixedInterval, WarpedNetwork, segment_clip
from experiments.keyframes.episode import ClipEpisode, mean_dice, play
from experiments.keyframes.observation import box_means
from experiments.keyframes.scheduled import beat_extremes
from experiments.keyframes.table import GainTable, TableEpisode, best_keys, gain_table


def net():
    torch.manual_seed(0)
    return WarpedNetwork(MemoryUNet().eval())


class Beating:
    """A made-up Segmenter: full frames show a disk that beats, cheap ones the last full one's."""

    def __init__(self, num_frames=40):
        self.radii = 12 + 4 * np.cos(2 * np.pi * np.arange(num_frames) / 20)
        self.num_full = 0

    def init_state(self, batch_size):
        return None

    def step(self, frame, state):
        self.num_full += 1
        return self.drawn(frame), frame

    def cheap_step(self, frame, state):
        return self.drawn(state), state

    def observe(self, frame, state):
        return (box_means(frame) - box_means(state))[0].abs()

    def drawn(self, frame):
        rows, columns = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
        radius = self.radii[round(frame.mean().item() * 1000)]
        inside = ((rows - 24) / 1.4) ** 2 + (columns - 24) ** 2 < radius**2
        return torch.stack([0.5 * torch.ones(48, 48), inside.float()])[None]

    def frames(self):
        return [torch.full((1, 1, 16, 16), i / 1000) for i in range(len(self.radii))]


def test_a_schedule_of_full_frames_is_the_network_itself():
    model, frames = net(), torch.rand(1, 4, 1, 32, 48)
    with torch.inference_mode():
        clip = segment_clip(model, frames[0].split(1), FixedInterval(1))
        assert (torch.stack(clip.logits, 1) - model.network(frames)).abs().max() <= 1e-4
    assert clip.is_full == [True] * 4 and clip.cost(0.3) == 1


def test_ed_and_es_are_computed_in_full_whatever_the_schedule():
    model = Beating()
    clip = segment_clip(model, model.frames(), FixedInterval(1000))
    labels = np.stack([logits[0].argmax(0).numpy() for logits in clip.logits])
    extremes = beat_extremes(labels)
    assert extremes and all(clip.is_full[index] for index in extremes)
    alone = beat_extremes(labels, margin=0)
    assert {frame + step for frame in alone for step in (-1, 0, 1)} & set(range(40)) == extremes
    assert clip.is_full.count(True) == 1 + clip.num_again
    assert clip.cost(0.0) == pytest.approx(clip.is_full.count(True) / 40)
    clip = segment_clip(model, model.frames(), FixedInterval(3))
    labels = np.stack([logits[0].argmax(0).numpy() for logits in clip.logits])
    assert {0, 10, 20, 30} & beat_extremes(labels)
    assert all(clip.is_full[index] for index in beat_extremes(labels))


def test_the_live_rail_catches_the_smallest_and_the_largest_at_once():
    model = Beating()
    frames = model.frames()
    loose = segment_clip(model, frames, FixedInterval(2), extremes=lambda labels: set())
    assert not all(loose.is_full[index] for index in (1, 39)) and loose.num_again == 0
    held = segment_clip(
        model, frames, FixedInterval(2), live_margin=0.05, extremes=lambda labels: set()
    )
    assert held.num_again > 0
    areas = [logits[0].argmax(0).sum().item() for logits in held.logits]
    assert all(held.is_full[i] for i, area in enumerate(areas) if area in (min(areas), max(areas)))


def test_a_budget_holds_at_run_time():
    model = Beating()
    clip = segment_clip(
        model,
        model.frames(),
        FixedInterval(1),
        budget=Budget(share=0.25, warm_up=1),
        extremes=lambda labels: set(),
    )
    assert clip.is_full.count(True) == 1 + 10


def test_beats_extremes_are_none_without_a_cavity():
    assert beat_extremes(np.zeros((5, 16, 16), int)) == set()


def test_the_gain_of_a_key_frame_is_the_dice_it_adds():
    model = Beating()
    frames = torch.stack(model.frames())
    masks = torch.stack([model.drawn(frame)[0].argmax(0) for frame in frames])
    episode = ClipEpisode(model, frames, masks)
    assert episode.gain() == pytest.approx(1 - mean_dice(model.drawn(frames[0]), masks[1]))
    gains = []
    for is_key in (False, True):
        episode = ClipEpisode(model, frames, masks)
        for step in (False, is_key):
            episode.take(step)
        gains.append(episode.gain())
    assert gains[0] > gains[1] > 0
    moves = play([ClipEpisode(model, frames, masks)], FixedInterval(2))
    assert len(moves) == 39
    assert all(move.reward.item() == 0 for move in moves if not move.is_key[0])


@pytest.mark.parametrize("interval", [1, 2, 5])
def test_a_table_tells_the_gains_of_a_network_whose_cheap_frames_show_the_last_full_one(interval):
    model = Beating(12)
    frames = torch.stack(model.frames())
    masks = torch.stack([model.drawn(frame)[0].argmax(0) for frame in frames])
    table = gain_table(model, frames, masks, max_gap=6)
    schedule = FixedInterval(interval)
    found = play([TableEpisode(table)], schedule, tell_all=True)
    expected = play([ClipEpisode(model, frames, masks)], schedule, tell_all=True)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.observation.maps, other.observation.maps)
        assert torch.equal(one.is_key, other.is_key)
        assert torch.allclose(one.reward, other.reward)


def test_beyond_its_longest_wait_a_table_tells_the_last_it_knows():
    model = Beating(6)
    frames = torch.stack(model.frames())
    masks = torch.stack([model.drawn(frame)[0].argmax(0) for frame in frames])
    episode = TableEpisode(gain_table(model, frames, masks, max_gap=2))
    for _ in range(3):
        episode.take(False)
    known = mean_dice(model.drawn(frames[2]), masks[4])  # frame 4 as if frame 2 had been in full
    assert episode.gain() == pytest.approx(1 - known)
    for _ in range(2):
        episode.take(True)
    assert episode.maps() is None


@pytest.mark.parametrize("num_keys", [1, 2, 3, 6])
def test_the_best_key_frames_are_those_of_trying_all(num_keys):
    torch.manual_seed(1)
    table = GainTable(torch.zeros(6, 5, 1, 1, 1), torch.rand(6), torch.rand(6, 5))

    def dice(keys):
        found, last = [], 0
        for index in range(6):
            last = index if index in keys else last
            found.append(
                table.full[index] if index == last else table.cheap[last, index - last - 1]
            )
        return float(sum(found)) / 6

    tried = [(0, *others) for n in range(num_keys) for others in combinations(range(1, 6), n)]
    score, keys = best_keys(table, num_keys)
    assert score == pytest.approx(max(map(dice, tried)))
    assert dice(keys) == pytest.approx(score)


def test_a_network_without_a_cheap_path_is_refused():
    model, frames, masks = MemoryUNet(), torch.rand(2, 1, 1, 32, 32), torch.zeros(2, 32, 32)
    for run in (
        lambda: segment_clip(model, frames, FixedInterval(1)),
        lambda: ClipEpisode(model, frames, masks),
        lambda: gain_table(model, frames, masks),
    ):
        with pytest.raises(ModelError, match="MemoryUNet has none; use WarpedNetwork"):
            run()


def test_frames_and_schedules_that_are_not_one_clips_are_refused():
    model, frames = net(), torch.rand(2, 2, 1, 32, 32)
    with pytest.raises(ArgumentError, match="of one clip, got 2 1 32 32"):
        segment_clip(model, frames, FixedInterval(1))
    with pytest.raises(ArgumentError, match="one clip's"):
        ClipEpisode(model, frames, torch.zeros(2, 32, 32))
    for odd in (-1, 2):
        with pytest.raises(ArgumentError, match=f"frames from 0 to 1, got {odd}"):
            segment_clip(
                model, frames[:, :1], FixedInterval(1), extremes=lambda labels, odd=odd: {odd}
            )
