import pytest
import torch

from echoseg.errors import ConfigError
from echoseg.losses import IGNORE_LABEL
from echoseg.train.data.batches import BatchConfig, Batches
from train.makers import disk_pool

CONFIG = BatchConfig(image_size=32, num_labeled=2, num_unlabeled=3)


def test_the_same_seed_draws_the_same_batches_and_a_state_goes_on():
    pool = disk_pool(12, num_labeled=4)
    one, other = (Batches(pool, CONFIG, seed=7) for _ in range(2))
    for _ in range(3):
        assert torch.equal(one.next().frames, other.next().frames)
    later = Batches(pool, CONFIG, seed=0)
    later.load_state_dict(one.state_dict())
    for _ in range(3):
        assert torch.equal(one.next().frames, later.next().frames)


def test_labelled_clips_come_first_and_hidden_masks_stay_hidden():
    batch = Batches(disk_pool(12, num_labeled=4), CONFIG).next()
    assert (batch.clips[:2] < 4).all()
    assert (batch.clips[2:] >= 4).all()
    assert (batch.masks[:2] != IGNORE_LABEL).all()
    assert (batch.masks[2:] == IGNORE_LABEL).all()
    assert (batch.truth != IGNORE_LABEL).all()


def test_every_unlabelled_clip_comes_once_in_a_round():
    batches = Batches(disk_pool(13, num_labeled=4), CONFIG)
    drawn = torch.cat([batches.next().clips[2:] for _ in range(3)])
    assert sorted(drawn.tolist()) == list(range(4, 13))


def test_what_is_found_on_the_plain_view_fits_the_varied_one():
    pool = disk_pool(12, size=48)
    batch = Batches(pool, BatchConfig(image_size=48, num_labeled=6, num_unlabeled=0)).next()
    truth = pool.truth[batch.clips[:, None], batch.times].long()
    probs = torch.nn.functional.one_hot(truth, 4).movedim(-1, 2).float()
    moved = batch.moved(probs)
    assert torch.allclose(moved.sum(2), torch.ones(()), atol=1e-5)
    agree = (moved.argmax(2) == batch.masks).float().mean()
    assert agree > 0.97  # borders fall between pixels


def test_all_labelled_serves_for_both_halves():
    batch = Batches(disk_pool(6), BatchConfig(image_size=32, num_labeled=2)).next()
    assert len(batch.clips) == 8


@pytest.mark.parametrize(
    ("num_labeled", "message"), [(0, "at least one labelled"), (10, "2 clips")]
)
def test_too_few_clips_are_refused(num_labeled, message):
    with pytest.raises(ConfigError, match=message):
        Batches(disk_pool(12, num_labeled=num_labeled), CONFIG)


def test_a_clip_shorter_than_asked_stands_still_before_and_after():
    config = BatchConfig(image_size=32, num_labeled=4, num_unlabeled=0, num_frames=5)
    times = Batches(disk_pool(6), config).next().times
    for row in times.tolist():
        assert set(row) == {0, 1}
        assert row in (sorted(row), sorted(row, reverse=True))
