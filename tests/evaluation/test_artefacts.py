"""Artefacts that are local and last: where, how long, and what the hidden map says."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from echoseg.evaluation.artefacts import (
    MAX_FRAMES,
    MIN_FRAMES,
    Artefact,
    add_artefacts,
    sector_of,
)
from echoseg.evaluation.corruptions import corrupt_frames

SIDE = 64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sector_clips(num=1, time=48, half_angle=0.7, origin=(4, 31), depth=44.0):
    """Grey noise in a sector of a known shape, black outside."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    down, across = rows - origin[0], columns - origin[1]
    inside = (torch.atan2(across, down).abs() <= half_angle) & (
        (down**2 + across**2).sqrt() <= depth
    )
    grey = 0.1 + 0.6 * torch.rand(num, time, SIDE, SIDE, generator=generator(5))
    return grey * inside, inside


def wall_masks(clips):
    """A wall on either side of the middle."""
    masks = torch.zeros(clips.shape, dtype=torch.uint8)
    masks[..., 24:36, 36:40] = masks[..., 24:36, 22:26] = 2
    return masks


def test_the_sector_is_found_by_its_moments():
    sector = sector_of(sector_clips()[0])
    assert sector.origin_px[0].tolist() == pytest.approx([4, 31], abs=2)
    assert float(sector.half_angle) == pytest.approx(0.7, abs=0.06)
    assert float(sector.depth_px) == pytest.approx(44, abs=3)
    assert float(sector.middle) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("kind", list(Artefact))
def test_outside_the_hidden_map_nothing_changes(kind):
    frames, inside = sector_clips(12)
    spoilt, hidden = add_artefacts(frames, 1.0, generator(1), kinds=(kind,))
    assert hidden.min() == 0
    assert 0.3 < hidden.max() <= 1
    assert spoilt.min() >= 0
    assert spoilt.max() <= 1
    assert not hidden[:, :, ~inside].any()
    changed = spoilt != frames
    if kind is Artefact.GAIN_BAND:  # what is brighter and not saturated is not hidden
        brighter = (spoilt > frames) & (spoilt < 1)
        assert hidden[brighter].max() < 1e-6
        changed &= ~brighter
    assert not changed[hidden == 0].any()
    share = (hidden > 0.5).float().mean((2, 3)).amax(1)  # of the picture, on its worst frame
    assert (share < 0.6).all()


def test_the_hidden_map_is_the_contrast_that_is_lost():
    frames, _ = sector_clips(40)
    brighter = (frames + 0.1).clamp(max=1) * (frames > 0)
    for kind in (Artefact.SHADOW, Artefact.EDGE_DROPOUT, Artefact.HAZE):
        one, hidden = add_artefacts(frames, 1.0, generator(1), kinds=(kind,))
        other, _ = add_artefacts(brighter, 1.0, generator(1), kinds=(kind,))
        seen = (frames > 0) & (one > 0) & (other < 1)
        lost = 1 - (other - one)[seen] / 0.1
        assert torch.allclose(lost, hidden[seen], atol=1e-4)


def test_they_last_4_to_20_frames_and_a_fifth_is_there_from_the_first():
    frames, _ = sector_clips(600, time=60, depth=20.0)
    _, hidden = add_artefacts(frames[..., :40, :], 1.0, generator(2), kinds=(Artefact.SHADOW,))
    there = hidden.flatten(2).amax(2) > 0
    first, lengths = there.float().argmax(1), there.sum(1)
    assert (there.int().diff(dim=1).abs().sum(1) <= 2).all()  # one stretch of frames
    assert (first == 0).float().mean() == pytest.approx(0.2, abs=0.05)
    cut = first + lengths == 60
    assert lengths[~cut].min() == MIN_FRAMES
    assert lengths.max() == MAX_FRAMES
    assert lengths[~cut].float().mean() == pytest.approx(12, abs=1)


def test_with_masks_they_lie_over_the_wall():
    frames, inside = sector_clips(200, time=24)
    masks = wall_masks(frames)
    wall = masks[0, 0] == 2
    kinds = (Artefact.SHADOW, Artefact.EDGE_DROPOUT)
    _, aimed = add_artefacts(frames, 1.0, generator(3), masks=masks, kinds=kinds)
    _, free = add_artefacts(frames, 1.0, generator(3), kinds=kinds)
    on_wall = [(each.amax(1) > 0.3)[:, wall].any(1).float().mean() for each in (aimed, free)]
    assert on_wall[0] > 0.9
    assert on_wall[0] > on_wall[1] + 0.1
    share = (aimed.amax(1) > 0.3)[:, inside].float().mean()
    assert share < 0.5  # and the rest of the picture is left


def test_the_probability_is_that_of_a_clip_and_draws_depend_on_the_seed():
    frames, _ = sector_clips(400, time=4)
    one, hidden = add_artefacts(frames, 0.3, generator(4))
    assert (hidden.flatten(1).amax(1) > 0).float().mean() == pytest.approx(0.3, abs=0.07)
    assert torch.equal(one, add_artefacts(frames, 0.3, generator(4))[0])
    assert not torch.equal(one, add_artefacts(frames, 0.3, generator(5))[0])
    assert torch.equal(add_artefacts(frames, 0.0, generator(4))[0], frames)


class Factories(TorchFunctionMode):
    """Collects calls that make a tensor of numbers of its own without saying on which device."""

    NAMES = ("rand", "randn", "arange", "linspace", "zeros", "ones", "full", "tensor", "eye")

    def __init__(self):
        super().__init__()
        self.careless = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in self.NAMES and "device" not in kwargs:
            self.careless.append(name)
        return func(*args, **kwargs)


def test_every_tensor_is_made_on_the_device_of_the_frames():
    frames, _ = sector_clips(40, time=8)
    masks = wall_masks(frames)
    with Factories() as made:
        add_artefacts(frames, 1.0, generator(), masks=masks)
        corrupt_frames(frames, 0.9, generator())
    assert made.careless == []
