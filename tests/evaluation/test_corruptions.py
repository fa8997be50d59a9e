"""Spoilt frames: which, how much, and always the same."""

import pytest
import torch

from echoseg.evaluation.corruptions import Corruption, corrupt_frames


def frames():
    return 0.2 + 0.6 * torch.rand(8, 20, 24, 30, generator=torch.Generator().manual_seed(0))


def spoil(share, seed=1, **how):
    return corrupt_frames(frames(), share, torch.Generator().manual_seed(seed), **how)


def test_the_share_is_kept_and_the_first_frame_spared():
    spoilt, hit = spoil(0.3)
    assert hit[:, 1:].float().mean() == pytest.approx(0.3, abs=0.12)
    assert not hit[:, 0].any()
    changed = (spoilt != frames()).any(-1).any(-1)
    assert torch.equal(changed, hit)
    assert spoilt.min() >= 0
    assert spoilt.max() <= 1


def test_the_same_seed_spoils_the_same_and_nothing_is_written_into_the_input():
    before = frames()
    one = corrupt_frames(before, 0.5, torch.Generator().manual_seed(3))[0]
    assert torch.equal(before, frames())
    assert torch.equal(one, spoil(0.5, seed=3)[0])
    assert torch.equal(spoil(0.0)[0], frames())


def test_each_kind_does_what_it_says():
    clean = frames()
    dark, hit = spoil(1.0, kinds=(Corruption.DROPOUT,))
    assert ((dark < 0.01).float().mean((2, 3))[hit] > 0.15).all()
    noisy, hit = spoil(1.0, kinds=(Corruption.SPECKLE_BURST,))
    pairs = torch.stack([noisy[hit].flatten(1), clean[hit].flatten(1)], 1)
    alike = torch.stack([torch.corrcoef(pair)[0, 1] for pair in pairs])
    assert alike.median() < 0.6
    jumped, hit = spoil(1.0, kinds=(Corruption.GAIN_JUMP,))
    ratio = jumped[hit].mean((1, 2)) / clean[hit].mean((1, 2))
    assert ((ratio < 0.45) | (ratio > 1.3)).all()
