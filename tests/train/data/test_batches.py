from dataclasses import replace

import pytest
import torch

from echoseg.data.torch_dataset import ClipCache
from echoseg.errors import ConfigError, DatasetError
from echoseg.losses import IGNORE_LABEL
from echoseg.train.data.batches import Batches, batches_from
from echoseg.train.data.sources import Reader
from echoseg.train.data.training_set import joined
from train.makers import disk_set, masks_of, small_config


def test_a_batch_depends_on_seed_and_step_alone():
    data = disk_set(12, num_labeled=4)
    one, other, another = (Batches(data, small_config(seed=seed), 2, 3) for seed in (7, 7, 8))
    assert torch.equal(one[0].strong, other[0].strong)
    for _ in range(3):
        one[1]  # drawing before changes nothing
    assert torch.equal(one[5].strong, other[5].strong)
    assert not torch.equal(one[5].strong, another[5].strong)
    assert not torch.equal(one[5].strong, one[4].strong)


@pytest.mark.slow
def test_worker_processes_make_the_same_batches():
    data = disk_set(12, num_labeled=4)
    own, ahead = (
        batches_from(Batches(data, small_config(num_workers=num), 2, 3), 2, torch.device("cpu"))
        for num in (0, 2)
    )
    for _ in range(3):
        assert torch.equal(next(own).strong, next(ahead).strong)


def test_labeled_clips_come_first_and_hidden_masks_stay_hidden():
    batch = Batches(disk_set(12, num_labeled=4), small_config(), 2, 3)[0]
    assert (batch.clips[:2] < 4).all()
    assert (batch.clips[2:] >= 4).all()
    assert (batch.masks[:2] != IGNORE_LABEL).all()
    assert (batch.masks[2:] == IGNORE_LABEL).all()
    assert (batch.all_masks != IGNORE_LABEL).all()


def test_every_unlabeled_clip_comes_once_per_round():
    batches = Batches(disk_set(13, num_labeled=4), small_config(), 2, 3)
    for first in (0, 3):
        drawn = torch.cat([batches[first + step].clips[2:] for step in range(3)])
        assert sorted(drawn.tolist()) == list(range(4, 13))


def test_predictions_on_the_weak_view_fit_the_strong_one():
    data = disk_set(12, size=48)
    batch = Batches(data, small_config(image_size=48), 6, 0)[0]
    masks = masks_of(data, batch.clips, batch.times).long()
    probs = torch.nn.functional.one_hot(masks, 4).movedim(-1, 2).float()
    warped = batch.to_strong(probs)
    assert torch.allclose(warped.sum(2), torch.ones(()), atol=1e-5)
    agreement = (warped.argmax(2) == batch.masks).float().mean()
    assert agreement > 0.97  # borders fall between pixels


def test_the_hidden_map_lies_where_the_strong_view_shows_an_artefact():
    data = disk_set(12, size=48, num_frames=8)
    fields = {"image_size": 48, "num_frames": 8}
    clean, spoilt = (
        Batches(data, small_config(artefact_prob=prob, **fields), 4, 2)[3] for prob in (1e-9, 1.0)
    )
    assert torch.equal(clean.weak, spoilt.weak)
    assert not clean.hidden.any()
    assert spoilt.hidden.shape == (6, 8, 48, 48)
    assert 0.3 < spoilt.hidden.max() <= 1
    whole = Batches(data, small_config(corruption_prob=0.5, **fields), 4, 2)[3]
    assert not whole.hidden[:, 0].any()
    assert whole.hidden.flatten(2).mean(2).max() > 0.4


def test_mirrored_clips_are_their_twins_left_for_right():
    data = disk_set(12, size=48)
    fields = {"image_size": 48, "augment_strength": 0}
    plain, mirrored = (
        Batches(data, small_config(mirror_prob=prob, **fields), 6, 0)[0] for prob in (0, 1)
    )
    assert torch.equal(plain.masks.flip(-1), mirrored.masks)
    assert torch.allclose(plain.strong.flip(-1), mirrored.strong, atol=1e-4)
    half = Batches(data, small_config(mirror_prob=0.5, **fields), 40, 0)[0]
    assert 0.2 < (half.grid[:, 0, 0, 0] > half.grid[:, 0, -1, 0]).float().mean() < 0.8


def stills_and_clips(num_stills=30, num_clips=10, num_labeled=None):
    """Pairs of stills beside clips of 16 frames."""
    sets = [disk_set(num_stills, num_labeled=num_labeled), disk_set(num_clips, num_frames=16)]
    stills = replace(sets[0], are_stills=torch.ones(num_stills, dtype=torch.bool))
    return joined([stills, sets[1]])


def test_stills_and_clips_have_steps_of_their_own_with_as_many_frames():
    data, config = stills_and_clips(), small_config(num_frames=12)
    batches = Batches(data, config, 2, 0)
    kinds = []
    for step in range(8):
        batch = batches[step]
        are_stills = data.are_stills[batch.clips]
        assert are_stills.all() or not are_stills.any()
        assert tuple(batch.times.shape) == ((12, 2) if are_stills.all() else (2, 12))
        assert batch.num_labeled == len(batch.clips)
        kinds.append(bool(are_stills.all()))
        assert batch.statistics[-1] == kinds[-1]
    assert kinds == [False, True, True, True] * 2  # 30 of 40 clips are stills
    assert batches.summary() == (
        "75% of the steps: stills, 12 labeled and 0 unlabeled x 2 frames; others: 2 labeled and "
        "0 unlabeled x 12 frames"
    )


def test_the_kind_of_a_step_follows_the_weights_and_the_unlabeled_clips():
    data = stills_and_clips(num_labeled=6)  # 24 stills are without masks
    data = replace(data, weights=torch.where(data.are_stills, 1 / 6, 1 / 10))
    batches = Batches(data, small_config(num_frames=8), 2, 2)
    assert batches.stills_share == pytest.approx((0.5 + 1) / 2)
    many = [batches.kind(step)[0] is batches.stills for step in range(400)]
    assert sum(many) == 300
    order = [batches.kind(step)[1] for step in range(400) if many[step]]
    assert order == list(range(300))
    # clips have no unlabeled ones: these steps take stills, which stand longer
    assert batches[0].times.shape == (4, 8)
    assert batches[1].times.shape == (16, 2)


def test_every_unlabeled_still_comes_once_per_round_of_its_steps():
    batches = Batches(stills_and_clips(num_labeled=6), small_config(num_frames=8), 2, 2)
    steps = [step for step in range(40) if batches.kind(step)[0] is batches.stills][:3]
    drawn = torch.cat([batches[step].clips[8:] for step in steps])
    assert sorted(drawn.tolist()) == list(range(6, 30))


def test_a_small_pool_of_stills_is_not_drawn_twice_in_a_step():
    batches = Batches(stills_and_clips(7, 10, 2), small_config(num_frames=12), 2, 2)
    assert (batches.stills.num_labeled, batches.stills.num_unlabeled) == (4, 4)


def test_short_clips_and_stills_share_their_steps():
    batches = Batches(stills_and_clips(), small_config(num_frames=2), 6, 0)
    assert batches.stills_share == 0
    mixed = [stills_and_clips().are_stills[batches[step].clips] for step in range(4)]
    assert any(each.any() and not each.all() for each in mixed)


def test_phantom_clips_are_long_enough_and_at_a_clips_own_rate():
    clips = Reader(64, ClipCache()).open("phantom:3").clips
    batch = Batches(clips, small_config(image_size=64, num_frames=16), 3, 0)[0]
    assert batch.strong.shape == (3, 16, 1, 64, 64)
    assert (batch.masks != IGNORE_LABEL).all()
    rates = [1 / clips.clip(n).times_s.diff().mean().item() for n in range(3)]
    assert all(20 <= rate <= 60 for rate in rates)
    assert len({round(rate, 2) for rate in rates}) == 3


def test_all_labeled_serves_for_both_halves():
    assert len(Batches(disk_set(6), small_config(), 2, 6)[0].clips) == 8


def test_no_labeled_clip_is_refused():
    with pytest.raises(ConfigError, match=r"labeled clip.*extra_data=\[.phantom"):
        Batches(disk_set(12, num_labeled=0), small_config(), 2, 3)


def test_a_step_takes_all_unlabeled_clips_where_there_are_fewer():
    batches = Batches(disk_set(12, num_labeled=10), small_config(), 2, 3)
    assert batches.summary() == "each step: 2 labeled and 2 unlabeled x 2 frames"
    assert sorted(batches[0].clips[2:].tolist()) == [10, 11]
    assert len(Batches(disk_set(4), small_config(), 2, 6)[0].clips) == 6  # all are labeled


def test_sources_are_the_labeled_clips_in_other_views():
    data = disk_set(12, num_labeled=4)
    with_sources = Batches(data, small_config(), 2, 3, with_sources=True)
    batch, plain = with_sources[4], Batches(data, small_config(), 2, 3)[4]
    again = batch.sources
    assert torch.equal(batch.strong, plain.strong)  # nothing else changes
    assert torch.equal(again.clips, batch.clips[:2])
    assert torch.equal(again.weak, batch.weak[:2])
    assert (again.strong - batch.strong[:2]).abs().mean((1, 2, 3, 4)).min() > 0.01
    assert (again.grid - batch.grid[:2]).abs().amax((1, 2, 3)).min() > 0.01
    masks = masks_of(data, again.clips, again.times).long()
    probs = torch.nn.functional.one_hot(masks, 4).movedim(-1, 2).float()
    assert (again.to_strong(probs).argmax(2) == again.masks).float().mean() > 0.95


def test_a_clip_that_cannot_be_read_is_replaced_by_the_next(monkeypatch):
    data = disk_set(6)
    source, read = data.sources[0], data.sources[0].clip

    def clip(index):
        if index in broken:
            raise DatasetError("cut off")
        return read(index)

    monkeypatch.setattr(source, "clip", clip)
    broken = {0, 2, 4}
    batch = Batches(data, small_config(), 4, 0)[0]
    assert set(batch.clips.tolist()) <= {1, 3, 5}
    broken = set(range(6))
    with pytest.raises(DatasetError, match=r"no training clip can be read \(cut off"):
        Batches(data, small_config(), 4, 0)[0]
