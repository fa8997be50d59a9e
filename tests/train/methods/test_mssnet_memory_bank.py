from itertools import pairwise

import torch
from torch.nn import functional

from echoseg.train.methods.mssnet_memory_bank import PseudoLabelBank
from train.makers import disk_pool


def truth_of(pool, clips: torch.Tensor, sharpness: float = 0.9) -> torch.Tensor:
    one_hot = functional.one_hot(pool.truth[clips].long(), 4).movedim(-1, 2).float()
    return sharpness * one_hot + (1 - sharpness) / 4


POOL = disk_pool(12, num_labeled=4)
CLIPS = torch.tensor([5, 6, 7])
TIMES = torch.tensor([[0, 1]] * 3)


def test_a_good_mask_is_stored_and_comes_back():
    store = PseudoLabelBank(POOL)
    offered = truth_of(POOL, CLIPS)
    taken = store.take(CLIPS, TIMES, offered)
    assert taken.trust.max() == 1
    accepted = taken.trust == 1
    assert torch.allclose(taken.probs[accepted], offered[accepted], atol=2 / 255)
    assert store.is_stored[CLIPS].all(1).tolist() == accepted.tolist()
    assert not store.is_stored[[0, 1, 2, 3, 4, 8, 9, 10, 11]].any()


def test_a_mask_that_collapses_to_nothing_is_never_stored():
    store = PseudoLabelBank(POOL)
    nothing = torch.zeros(3, 2, 4, 32, 32)
    nothing[:, :, 0] = 1  # sure, stable, and wrong
    for _ in range(50):
        taken = store.take(CLIPS, TIMES, nothing)
        assert taken.trust.max() == 0
        assert taken.quality.max() == 0
    assert not store.is_stored.any()


def test_a_collapse_later_does_not_wipe_out_what_is_stored():
    store = PseudoLabelBank(POOL, quantile=0.0)
    store.take(CLIPS, TIMES, truth_of(POOL, CLIPS))
    kept = store.masks.clone()
    nothing = torch.zeros(3, 2, 4, 32, 32)
    nothing[:, :, 0] = 1
    taken = store.take(CLIPS, TIMES, nothing)
    assert torch.equal(store.masks, kept)
    assert taken.trust.tolist() == [0.5] * 3
    assert (taken.probs.argmax(2) == POOL.truth[CLIPS]).float().mean() > 0.99


def test_one_label_filling_the_frame_is_no_heart():
    store = PseudoLabelBank(POOL)
    full = torch.zeros(3, 2, 4, 32, 32)
    full[:, :, 1] = 1
    assert not store.is_plausible(full).any()
    assert store.is_plausible(truth_of(POOL, CLIPS)).all()


def test_a_better_mask_corrects_the_old_one_little_by_little():
    store = PseudoLabelBank(POOL, quantile=0.0)
    true = truth_of(POOL, CLIPS)
    store.take(CLIPS, TIMES, true.roll(2, -1))
    away = []
    for _ in range(60):
        probs = store.take(CLIPS, TIMES, true).probs
        away.append((probs - true).abs().mean().item())
    assert all(later <= earlier + 1e-4 for earlier, later in pairwise(away))
    assert away[0] > 2 * away[-1]


def test_what_is_stored_is_the_mean_of_what_was_offered_weighted_by_quality_and_age():
    store = PseudoLabelBank(POOL, quantile=0.0, memory=0.5)
    offers = [truth_of(POOL, CLIPS, sharpness) for sharpness in (0.8, 0.85, 0.9)]
    weights = torch.zeros(3)
    mean = torch.zeros_like(offers[0])
    for offered in offers:
        taken = store.take(CLIPS, TIMES, offered)
        assert (taken.trust == 1).all()
        weights = 0.5 * weights + taken.quality
        mean += (taken.quality / weights).view(-1, 1, 1, 1, 1) * (offered - mean)
    assert torch.allclose(taken.probs, mean, atol=4 / 255)


def test_an_unsure_mask_is_of_lower_quality_than_a_sure_one():
    store = PseudoLabelBank(POOL)
    sure, unsure = truth_of(POOL, CLIPS, 0.95), truth_of(POOL, CLIPS, 0.5)
    assert (store.quality(sure) > store.quality(unsure)).all()


def test_the_threshold_follows_what_is_found():
    store = PseudoLabelBank(POOL, quantile=0.5, follow=0.5)
    store.take(CLIPS, TIMES, truth_of(POOL, CLIPS, 0.7))
    low = store.threshold.item()
    for _ in range(5):
        store.take(CLIPS, TIMES, truth_of(POOL, CLIPS, 0.95))
    assert store.threshold.item() > low


def test_a_state_brings_back_the_whole_store():
    store, other = PseudoLabelBank(POOL), PseudoLabelBank(POOL)
    store.take(CLIPS, TIMES, truth_of(POOL, CLIPS))
    other.load_state_dict(store.state_dict())
    offered = truth_of(POOL, CLIPS, 0.8)
    one, two = (each.take(CLIPS, TIMES, offered) for each in (store, other))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert torch.equal(store.masks, other.masks)


def test_it_takes_a_byte_for_a_pixel_and_label():
    store = PseudoLabelBank(disk_pool(4, size=160))
    assert store.masks.shape == (4, 2, 3, 112, 112)
    assert store.masks.element_size() == 1
