from itertools import pairwise

import torch
from torch.nn import functional

from echoseg.train.methods.mssnet_memory_bank import PseudoLabelBank
from train.makers import disk_set, masks_of


def truth_of(data, clips: torch.Tensor, sharpness: float = 0.9) -> torch.Tensor:
    masks = masks_of(data, clips, torch.tensor([[0, 1]] * len(clips))).long()
    one_hot = functional.one_hot(masks, 4).movedim(-1, 2).float()
    return sharpness * one_hot + (1 - sharpness) / 4


DATA = disk_set(12, num_labeled=4)
CLIPS = torch.tensor([5, 6, 7])
TIMES = torch.tensor([[0, 1]] * 3)


def test_a_good_mask_is_stored_and_comes_back():
    bank = PseudoLabelBank(DATA)
    offered = truth_of(DATA, CLIPS)
    taken = bank.update(CLIPS, TIMES, offered)
    assert taken.reliability.max() == 1
    accepted = taken.reliability == 1
    assert torch.allclose(taken.probs[accepted], offered[accepted], atol=2 / 255)
    assert bank.is_stored(CLIPS, TIMES).all(1).tolist() == accepted.tolist()
    assert {clip for clip, _ in bank.entries} <= set(CLIPS.tolist())


def test_a_mask_that_collapses_to_nothing_is_never_stored():
    bank = PseudoLabelBank(DATA)
    nothing = torch.zeros(3, 2, 4, 32, 32)
    nothing[:, :, 0] = 1  # sure, stable, and wrong
    for _ in range(50):
        taken = bank.update(CLIPS, TIMES, nothing)
        assert taken.reliability.max() == 0
        assert taken.quality.max() == 0
    assert not bank.entries


def test_a_collapse_later_does_not_wipe_out_what_is_stored():
    bank = PseudoLabelBank(DATA, quantile=0.0)
    bank.update(CLIPS, TIMES, truth_of(DATA, CLIPS))
    before = bank.get_extra_state()["masks"]
    nothing = torch.zeros(3, 2, 4, 32, 32)
    nothing[:, :, 0] = 1
    taken = bank.update(CLIPS, TIMES, nothing)
    assert torch.equal(bank.get_extra_state()["masks"], before)
    assert taken.reliability.tolist() == [0.5] * 3
    assert (taken.probs.argmax(2) == masks_of(DATA, CLIPS, TIMES)).float().mean() > 0.99


def test_one_label_filling_the_frame_is_no_heart():
    bank = PseudoLabelBank(DATA)
    full = torch.zeros(3, 2, 4, 32, 32)
    full[:, :, 1] = 1
    assert not bank.is_plausible(full).any()
    assert bank.is_plausible(truth_of(DATA, CLIPS)).all()


def test_a_better_mask_corrects_the_old_one_little_by_little():
    bank = PseudoLabelBank(DATA, quantile=0.0)
    true = truth_of(DATA, CLIPS)
    bank.update(CLIPS, TIMES, true.roll(2, -1))
    away = []
    for _ in range(60):
        probs = bank.update(CLIPS, TIMES, true).probs
        away.append((probs - true).abs().mean().item())
    assert all(later <= earlier + 1e-4 for earlier, later in pairwise(away))
    assert away[0] > 2 * away[-1]


def test_what_is_stored_is_the_mean_of_what_was_offered_weighted_by_quality_and_age():
    bank = PseudoLabelBank(DATA, quantile=0.0, memory=0.5)
    offers = [truth_of(DATA, CLIPS, sharpness) for sharpness in (0.8, 0.85, 0.9)]
    weights = torch.zeros(3)
    mean = torch.zeros_like(offers[0])
    for offered in offers:
        taken = bank.update(CLIPS, TIMES, offered)
        assert (taken.reliability == 1).all()
        weights = 0.5 * weights + taken.quality
        mean += (taken.quality / weights).view(-1, 1, 1, 1, 1) * (offered - mean)
    assert torch.allclose(taken.probs, mean, atol=4 / 255)


def test_an_unsure_mask_is_of_lower_quality_than_a_sure_one():
    bank = PseudoLabelBank(DATA)
    sure, unsure = truth_of(DATA, CLIPS, 0.95), truth_of(DATA, CLIPS, 0.5)
    assert (bank.quality(sure) > bank.quality(unsure)).all()


def test_the_threshold_follows_what_is_found():
    bank = PseudoLabelBank(DATA, quantile=0.5, rate=0.5)
    bank.update(CLIPS, TIMES, truth_of(DATA, CLIPS, 0.7))
    low = bank.threshold.item()
    for _ in range(5):
        bank.update(CLIPS, TIMES, truth_of(DATA, CLIPS, 0.95))
    assert bank.threshold.item() > low


def test_a_state_brings_back_the_whole_bank():
    bank, other = PseudoLabelBank(DATA), PseudoLabelBank(DATA)
    bank.update(CLIPS, TIMES, truth_of(DATA, CLIPS))
    other.load_state_dict(bank.state_dict())
    offered = truth_of(DATA, CLIPS, 0.8)
    one, two = (each.update(CLIPS, TIMES, offered) for each in (bank, other))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    states = bank.get_extra_state(), other.get_extra_state()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_it_takes_a_byte_per_pixel_and_label_up_to_a_limit():
    data = disk_set(4, size=160)
    bank = PseudoLabelBank(data, quantile=0.0, max_bytes=3 * 3 * 112**2)
    clips, times = torch.tensor([0, 1]), torch.tensor([[0, 1]] * 2)
    bank.update(clips, times, truth_of(data, clips))
    assert list(bank.entries) == [(0, 1), (1, 0), (1, 1)]  # the oldest is dropped
    mask, _ = bank.entries[(1, 1)]
    assert mask.shape == (3, 112, 112)
    assert mask.dtype == torch.uint8


def test_clips_that_may_not_be_stored_are_not():
    bank = PseudoLabelBank(DATA, quantile=0.0)
    bank.update(CLIPS, TIMES, truth_of(DATA, CLIPS), only=torch.tensor([True, False, False]))
    assert {clip for clip, _ in bank.entries} == {5}
