import torch
from torch.nn import functional

from echoseg.train.methods.mssnet_cross_mix import (
    Sample,
    _at_matched_phase,
    _with_greys_of,
    cross_mix,
)
from train.makers import disk_set


def sample(
    first: int, num: int = 4, size: int = 48, weight: float = 1.0, num_frames: int = 2
) -> Sample:
    data = disk_set(12, size=size, num_frames=num_frames)
    clips = data.sources[0].clips[first : first + num]
    masks = torch.stack([clip.masks for clip in clips])
    probs = functional.one_hot(masks.long(), 4).movedim(-1, 2).float()
    return Sample(
        frames=torch.stack([clip.frames for clip in clips])[:, :, None].float() / 255,
        probs=probs,
        weights=torch.full((num, num_frames, size, size), weight),
        phases=torch.linspace(0, 0.4, num_frames).expand(num, -1),
        hidden=torch.zeros(num, num_frames, size, size),
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
        hidden=source.hidden,
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


def test_frames_of_a_source_are_resampled_to_the_phases_of_the_background():
    """A background that contracts twice as fast and fills again; the source only contracts."""
    source = sample(6, num_frames=12)
    background = sample(0, num_frames=12)
    phases = torch.cat([torch.linspace(0, 0.4, 6), torch.linspace(0.4, 0, 6)]).expand(4, -1)
    matched = _at_matched_phase(source, background._replace(phases=phases))
    assert (matched.phases - phases).abs().max() < 0.4 / 11
    steps = (matched.phases.diff(dim=1) * 11 / 0.4).round().abs()
    assert steps.max() <= 3  # no leap through the beat
    same = _at_matched_phase(source, background)
    assert torch.equal(same.frames, source.frames)


def test_unknown_phases_follow_the_cavity_of_the_target():
    background, source = sample(0, num_frames=6), sample(0, num_frames=6)
    turned = Sample._make(x.flip(1) for x in source)
    turned.phases[:] = torch.nan
    matched = _at_matched_phase(turned, background)
    assert torch.equal(matched.frames, background.frames)


def test_gray_levels_of_the_source_follow_those_along_the_seam():
    background, mask = torch.rand(2, 3, 1, 32, 32) * 0.4 + 0.3, torch.zeros(2, 1, 1, 32, 32)
    mask[:, :, :, 8:24, 8:24] = 0.5
    source = 0.7 * background + 0.25  # another gain and offset
    assert (_with_greys_of(background, source, mask) - background).abs().max() < 0.03
    brighter = background + 0.2
    assert torch.allclose(_with_greys_of(background, brighter, mask), background, atol=1e-3)


def test_hidden_maps_are_mixed_with_the_frames():
    background, source = sample(0), sample(0)
    hidden = torch.zeros_like(source.hidden)
    hidden[:, 1] = 1
    torch.manual_seed(6)
    mixed, mask = cross_mix(background, source._replace(hidden=hidden))
    assert torch.allclose(mixed.hidden[:, 1], mask[:, 0], atol=0.02)
    assert mixed.hidden[:, 0].max() == 0
