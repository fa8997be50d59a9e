"""Corrupted frames: which, how much, and reproducibly."""

import numpy as np
import pytest
import torch

from echoseg.evaluation.corruptions import Corruption, corrupt_frames, corrupt_records
from echoseg.evaluation.run import phantom_records


def frames():
    return 0.2 + 0.6 * torch.rand(8, 20, 24, 30, generator=torch.Generator().manual_seed(0))


def corrupt(prob, seed=1, **how):
    """Corrupted frames, which of them are corrupted, and the hidden map."""
    clean = frames()
    new, hidden = corrupt_frames(clean, prob, torch.Generator().manual_seed(seed), **how)
    return new, (new != clean).flatten(2).any(2), hidden


def test_the_share_is_kept_and_the_first_frame_spared():
    corrupted, hit, _ = corrupt(0.3)
    assert hit[:, 1:].float().mean() == pytest.approx(0.3, abs=0.12)
    assert not hit[:, 0].any()
    assert corrupted.min() >= 0
    assert corrupted.max() <= 1


def test_the_same_seed_spoils_the_same_and_nothing_is_written_into_the_input():
    before = frames()
    one = corrupt_frames(before, 0.5, torch.Generator().manual_seed(3))[0]
    assert torch.equal(before, frames())
    assert torch.equal(one, corrupt(0.5, seed=3)[0])
    assert torch.equal(corrupt(0.0)[0], frames())


def test_each_kind_does_what_it_says():
    clean = frames()
    dark, hit, hidden = corrupt(1.0, kinds=(Corruption.DROPOUT,))
    assert ((dark < 0.01).float().mean((2, 3))[hit] > 0.15).all()
    assert torch.allclose(dark, clean * (1 - hidden))
    noisy, hit, _ = corrupt(1.0, kinds=(Corruption.SPECKLE_BURST,))
    pairs = torch.stack([noisy[hit].flatten(1), clean[hit].flatten(1)], 1)
    alike = torch.stack([torch.corrcoef(pair)[0, 1] for pair in pairs])
    assert alike.median() < 0.6
    jumped, hit, hidden = corrupt(1.0, kinds=(Corruption.GAIN_JUMP,))
    ratio = jumped[hit].mean((1, 2)) / clean[hit].mean((1, 2))
    assert ((ratio < 0.45) | (ratio > 1.3)).all()
    darker = ratio < 1  # the rest is hidden where it is saturated
    assert torch.allclose(1 - hidden[hit][darker].mean((1, 2)), ratio[darker], atol=0.01)
    bright, lost = jumped[hit][~darker], hidden[hit][~darker]
    assert lost[bright < 1].max() < 1e-6
    assert lost[bright == 1].mean() > 0.1


def test_corrupted_records_are_the_same_at_every_load_except_for_the_first_frame():
    records = phantom_records("test", ["easy"], hearts=2)
    for clean, corrupted in zip(records, corrupt_records(records, 0.3), strict=True):
        before, one, two = (r.load()[0].frames for r in (clean, corrupted, corrupted))
        assert np.array_equal(one, two)
        changed = [i for i in range(len(one)) if np.abs(one[i] - before[i].astype(int)).max() > 2]
        assert 0 not in changed and 3 <= len(changed) < len(one) / 2
