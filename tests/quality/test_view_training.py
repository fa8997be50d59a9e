"""What the view classifier learns from: painted pictures, changed ones, and the fit of its rule."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from echoseg.quality.view_net import ViewNet
from echoseg.quality.view_shape import FEATURES

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(SCRIPTS))
    import view_augment
    import view_clips
    import view_pictures

    yield view_pictures, view_augment, view_clips
    sys.path.remove(str(SCRIPTS))


def test_a_painted_heart_is_its_seed_and_beats(scripts):
    pictures = scripts[0]
    for name in pictures.PAINTED:
        frames = pictures.paint(name, 3, (0.0, 0.5, 1.0))
        assert frames.shape == (3, 96, 96) and frames.dtype == np.float32
        assert 0 <= frames.min() and frames.max() <= 1 and not frames[:, 0, 0].any()
        assert np.array_equal(frames, pictures.paint(name, 3, (0.0, 0.5, 1.0)))
    apart = pictures.paint("A4C", 3, (0.0,)) - pictures.paint("A2C", 3, (0.0,))
    assert np.abs(apart).mean() > 0.02


def test_a_root_is_beside_the_atrium_and_the_ventricle_stays(scripts):
    rng = np.random.default_rng(0)
    mask = np.zeros((96, 96), np.uint8)
    mask[15:60, 35:61], mask[18:58, 40:56], mask[60:80, 38:58] = 2, 1, 3
    picture = rng.uniform(0.2, 0.9, (96, 96)).astype(np.float32)
    for side in (-1, 1):
        changed = scripts[0].add_root(picture, mask, np.random.default_rng(1), side) != picture
        assert changed[62:75].any() and not changed[:45].any()
        assert np.argwhere(changed)[:, 1].mean() * side > 48 * side
    nothing = np.zeros_like(mask)
    assert scripts[0].add_root(picture, nothing, rng, 1) is picture


def test_pictures_turned_away_or_bent_keep_their_size(scripts):
    rng = np.random.default_rng(0)
    frame = scripts[0].paint("A4C", 1, (0.0,))[0]
    mask = np.zeros((96, 96), np.uint8)
    mask[20:60, 35:65], mask[25:58, 40:60] = 2, 1
    for seed in range(6):
        rng = np.random.default_rng(seed)
        for new in (scripts[0].turn_away(frame, rng), scripts[0].bend_to_ring(frame, mask, rng)):
            assert new.shape == (96, 96) and new.dtype == np.float32
            assert 0 <= new.min() and new.max() <= 1.001
            assert np.abs(new - frame).mean() > 0.02


def test_the_changes_of_a_picture_follow_the_generator(scripts):
    x = torch.from_numpy(scripts[0].paint("A4C", 1, (0.0, 1.0)))[:, None].repeat(8, 1, 1, 1)
    one, two, three = (
        scripts[1].augment(x, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert one.shape == (16, 1, 64, 64) and 0 <= one.min() and one.max() <= 1
    assert torch.equal(one, two) and not torch.equal(one, three)


def test_a_network_learns_painted_views(scripts):
    """Four classes at a quarter each by chance; here pictures that it saw, to be quick."""
    data = scripts[0].painted(1, 0)
    small = functional.interpolate(data.frames, (64, 64), mode="bilinear", antialias=True)
    torch.manual_seed(0)
    network = ViewNet().train()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    first = None
    for _ in range(12):
        loss = functional.cross_entropy(network(small)[:, :-1], data.classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    assert loss.item() < 0.6 < first


def test_the_rule_refuses_clips_whose_masks_tremble_whatever_their_pictures(scripts):
    clips = scripts[2]
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2, 3], 30)
    features = rng.normal(0.9, 0.02, (120, len(FEATURES)))
    features[kinds == 3, 1] = rng.normal(0.5, 0.05, 30)
    pictures = np.eye(4)[kinds] * 0.6 + 0.1
    names = tuple(str(kind) for kind in kinds)
    scored = clips.Scored(pictures, features, kinds, names)
    rule = clips.fit_rule(scored)
    table = clips.verdicts(rule, scored)
    assert table["0"]["refused"] == table["1"]["refused"] == 0
    assert table["3"]["passes as A4C"] == 0
    good, trembling = features[0], features[-1]
    a4c = np.array([0.8, 0.1, 0.05, 0.05])
    assert rule.combine(a4c, good)[0] > 0.6 > rule.combine(a4c, trembling)[0]
    assert rule.by_shape(features[kinds == 3]).max() < 0.5 < rule.by_shape(features[:30]).min()
