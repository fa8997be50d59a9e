import torch
from torch.nn import functional

from echoseg.train.methods.mssnet_cross_mix import Sample, cross_mix
from train.makers import disk_set


def sample(first: int, num: int = 4, size: int = 48, weight: float = 1.0) -> Sample:
    data = disk_set(12, size=size)
    clips = data.sources[0].clips[first : first + num]
    masks = torch.stack([clip.masks for clip in clips])
    probs = functional.one_hot(masks.long(), 4).movedim(-1, 2).float()
    return Sample(
        frames=torch.stack([clip.frames for clip in clips])[:, :, None].float() / 255,
        probs=probs,
        weights=torch.full((num, 2, size, size), weight),
        phases=torch.linspace(0, 0.4, 2).expand(num, -1),
    )


def test_frame_label_and_weight_are_mixed_by_one_matte():
    background, source = sample(0, weight=0.25), sample(6, weight=1.0)
    source.frames[:] = background.frames  # the same hearts: nothing has to be moved
    source.probs[:] = background.probs
    torch.manual_seed(0)
    mixed, mask = cross_mix(background, source)
    assert mask.amax() > 0.9
    assert torch.allclose(mixed.weights, 0.25 + 0.75 * mask.expand_as(mixed.weights), atol=0.02)
    assert torch.allclose(mixed.probs, background.probs, atol=1e-3)
    assert torch.allclose(mixed.frames, background.frames, atol=1e-3)


def test_outside_the_region_the_host_is_untouched_and_targets_stay_probabilities():
    background, source = sample(0), sample(6)
    torch.manual_seed(1)
    mixed, mask = cross_mix(background, source)
    outside = (mask == 0).expand_as(mixed.weights)
    assert torch.equal(mixed.frames[:, :, 0][outside], background.frames[:, :, 0][outside])
    assert torch.allclose(mixed.probs.sum(2), torch.ones(()), atol=1e-5)
    assert not torch.equal(mixed.frames, background.frames)


def test_the_mixed_heart_lies_where_the_hosts_does():
    background, source = sample(0), sample(6)
    torch.manual_seed(2)
    mixed, _ = cross_mix(background, source)
    cavity, own = (each.probs[:, :, 1].sum((1, 2, 3)) for each in (mixed, background))
    assert ((cavity / own - 1).abs() < 0.35).all()
    both = (mixed.probs[:, :, 1] * background.probs[:, :, 1]).sum((1, 2, 3))
    assert (both / own > 0.7).all()


def test_a_donor_is_played_backwards_to_meet_the_hosts_phase():
    background, source = sample(0), sample(0)
    turned = Sample(
        frames=source.frames.flip(1),
        probs=source.probs.flip(1),
        weights=source.weights.flip(1),
        phases=source.phases.flip(1),
    )
    torch.manual_seed(3)
    mixed, _ = cross_mix(background, turned)
    assert torch.allclose(mixed.frames, background.frames, atol=1e-3)


def test_without_a_heart_nothing_is_mixed():
    background, source = sample(0), sample(6)
    source.probs[:] = 0
    source.probs[:, :, 0] = 1
    mixed, mask = cross_mix(background, source)
    assert mask.max() == 0
    assert torch.equal(mixed.frames, background.frames)


def test_a_surer_donor_gives_more():
    torch.manual_seed(4)
    sure = [cross_mix(sample(0, weight=0.1), sample(6, weight=1.0))[1].mean() for _ in range(20)]
    torch.manual_seed(4)
    loose = [cross_mix(sample(0, weight=1.0), sample(6, weight=0.1))[1].mean() for _ in range(20)]
    assert sum(sure) > sum(loose)


def test_the_seam_is_not_the_border():
    torch.manual_seed(5)
    for _ in range(10):
        background, source = sample(0), sample(6)
        mixed, mask = cross_mix(background, source)
        seam = ((mask > 0.3) & (mask < 0.7)).expand_as(mixed.weights)
        epi = mixed.probs[:, :, 1:3].sum(2) > 0.5
        grown = functional.max_pool2d(epi.float(), 3, 1, 1) > 0
        border = grown & ~epi
        assert (seam & border).sum() < 0.3 * border.sum()
