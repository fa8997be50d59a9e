import torch
from torch.nn import functional

from echoseg.train.methods.mssnet_cross_mix import Sample, cross_mix
from train.makers import disk_pool


def sample(first: int, num: int = 4, size: int = 48, weight: float = 1.0) -> Sample:
    pool = disk_pool(12, size=size)
    index = slice(first, first + num)
    probs = functional.one_hot(pool.truth[index].long(), 4).movedim(-1, 2).float()
    return Sample(
        frames=pool.frames[index, :, None].float() / 255,
        probs=probs,
        weights=torch.full((num, 2, size, size), weight),
        phases=pool.phases[index],
    )


def test_frame_label_and_weight_are_mixed_by_one_matte():
    host, donor = sample(0, weight=0.25), sample(6, weight=1.0)
    donor.frames[:] = host.frames  # the same hearts: nothing has to be moved
    donor.probs[:] = host.probs
    torch.manual_seed(0)
    mixed, matte = cross_mix(host, donor)
    assert matte.amax() > 0.9
    assert torch.allclose(mixed.weights, 0.25 + 0.75 * matte.expand_as(mixed.weights), atol=0.02)
    assert torch.allclose(mixed.probs, host.probs, atol=1e-3)
    assert torch.allclose(mixed.frames, host.frames, atol=1e-3)


def test_outside_the_region_the_host_is_untouched_and_targets_stay_probabilities():
    host, donor = sample(0), sample(6)
    torch.manual_seed(1)
    mixed, matte = cross_mix(host, donor)
    outside = (matte == 0).expand_as(mixed.weights)
    assert torch.equal(mixed.frames[:, :, 0][outside], host.frames[:, :, 0][outside])
    assert torch.allclose(mixed.probs.sum(2), torch.ones(()), atol=1e-5)
    assert not torch.equal(mixed.frames, host.frames)


def test_the_mixed_heart_lies_where_the_hosts_does():
    host, donor = sample(0), sample(6)
    torch.manual_seed(2)
    mixed, _ = cross_mix(host, donor)
    cavity, own = (each.probs[:, :, 1].sum((1, 2, 3)) for each in (mixed, host))
    assert ((cavity / own - 1).abs() < 0.35).all()
    both = (mixed.probs[:, :, 1] * host.probs[:, :, 1]).sum((1, 2, 3))
    assert (both / own > 0.7).all()


def test_a_donor_is_played_backwards_to_meet_the_hosts_phase():
    host, donor = sample(0), sample(0)
    turned = Sample(
        frames=donor.frames.flip(1),
        probs=donor.probs.flip(1),
        weights=donor.weights.flip(1),
        phases=donor.phases.flip(1),
    )
    torch.manual_seed(3)
    mixed, _ = cross_mix(host, turned)
    assert torch.allclose(mixed.frames, host.frames, atol=1e-3)


def test_without_a_heart_nothing_is_mixed():
    host, donor = sample(0), sample(6)
    donor.probs[:] = 0
    donor.probs[:, :, 0] = 1
    mixed, matte = cross_mix(host, donor)
    assert matte.max() == 0
    assert torch.equal(mixed.frames, host.frames)


def test_a_surer_donor_gives_more():
    torch.manual_seed(4)
    sure = [cross_mix(sample(0, weight=0.1), sample(6, weight=1.0))[1].mean() for _ in range(20)]
    torch.manual_seed(4)
    loose = [cross_mix(sample(0, weight=1.0), sample(6, weight=0.1))[1].mean() for _ in range(20)]
    assert sum(sure) > sum(loose)


def test_the_seam_is_not_the_border():
    torch.manual_seed(5)
    for _ in range(10):
        host, donor = sample(0), sample(6)
        mixed, matte = cross_mix(host, donor)
        seam = ((matte > 0.3) & (matte < 0.7)).expand_as(mixed.weights)
        epi = mixed.probs[:, :, 1:3].sum(2) > 0.5
        grown = functional.max_pool2d(epi.float(), 3, 1, 1) > 0
        border = grown & ~epi
        assert (seam & border).sum() < 0.3 * border.sum()
