import pytest
import torch

from echoseg.errors import ConfigError, DatasetError
from echoseg.losses import IGNORE_LABEL
from echoseg.train.data.batches import Batches, batches_from
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


def test_all_labeled_serves_for_both_halves():
    assert len(Batches(disk_set(6), small_config(), 2, 6)[0].clips) == 8


@pytest.mark.parametrize(
    ("num_labeled", "message"),
    [(0, r"labeled clip.*extra_data=\[.phantom"), (10, "2 unlabeled clips")],
)
def test_too_few_clips_are_refused(num_labeled, message):
    with pytest.raises(ConfigError, match=message):
        Batches(disk_set(12, num_labeled=num_labeled), small_config(), 2, 3)


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
