import pytest
import torch
from torch.nn import functional

from echoseg.preprocess.letterbox import LetterboxResampler, letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames
from echoseg.train.data.augment import (
    AugmentConfig,
    augment_intensity,
    sampling_grid,
    warp_frames,
    warp_masks,
)


def augment(frames, masks, size, config, generator):
    grid = sampling_grid(len(frames), size, config, generator)
    strong = augment_intensity(warp_frames(frames, grid), config, generator)
    return strong, warp_masks(masks, grid)


@pytest.mark.parametrize(
    "box", [(0, 0, 200, 300), (10, 20, 211, 133), (0, 0, 64, 64), (5, 5, 7, 90)]
)
def test_a_circle_stays_a_circle(box):
    letterbox = letterbox_for(box, 160)
    rows, columns = letterbox.inner_size
    assert max(rows, columns) == 160
    assert abs(rows - (box[2] - box[0]) * letterbox.scale) <= 1
    assert abs(columns - (box[3] - box[1]) * letterbox.scale) <= 1


def test_what_is_outside_the_box_is_black():
    square = letterbox_frames(torch.ones(2, 100, 200), letterbox_for((0, 0, 100, 200), 64))
    assert square.shape == (2, 64, 64)
    assert square[:, :16].max() == 0
    assert square[:, 48:].max() == 0
    assert square[:, 17:47].min() == pytest.approx(1, abs=1e-5)


def test_a_mask_comes_back_to_the_pictures_own_grid():
    rows, columns = torch.meshgrid(torch.arange(210), torch.arange(330), indexing="ij")
    disk = (((rows - 110) / 60) ** 2 + ((columns - 150) / 80) ** 2 < 1).float()
    letterbox = letterbox_for((20, 10, 200, 320), 160)
    square = letterbox_frames(disk[None], letterbox)
    logits = torch.cat([0.5 - square, square - 0.5]).numpy()
    back = torch.from_numpy(LetterboxResampler(letterbox, (210, 330)).unletterbox(logits))
    inside = disk.clone()
    inside[:20], inside[200:] = 0, 0
    dice = 2 * (back * inside).sum() / (back.sum() + inside.sum())
    assert dice > 0.99
    assert back[:20].max() == 0


def test_the_same_seed_gives_the_same_clips_and_another_gives_others():
    frames, masks = torch.rand(2, 3, 48, 48), torch.randint(0, 4, (2, 3, 48, 48))
    draws = [
        augment(frames, masks, 40, AugmentConfig(), torch.Generator().manual_seed(seed))[0]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_picture_and_mask_move_together_and_labels_stay_labels():
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disk = ((rows - 30) ** 2 + (columns - 34) ** 2 < 200).long()
    frames = disk.float().expand(8, 1, 64, 64) * 0.8
    calm = AugmentConfig(
        speckle=0, cutout_prob=0, gain_field=0, log_gamma=0, blur_prob=0, black_prob=0
    )
    moved, masks = augment(
        frames, disk.expand(8, 1, 64, 64), 64, calm, torch.Generator().manual_seed(0)
    )
    assert set(masks.unique().tolist()) <= {0, 1}
    bright = functional.threshold(moved, 0.3, 0) > 0
    dice = 2 * (bright & (masks == 1)).sum() / (bright.sum() + (masks == 1).sum())
    assert dice > 0.97
    assert not torch.equal(masks, disk.expand(8, 1, 64, 64))


@pytest.fixture
def calm():
    return AugmentConfig(
        **dict.fromkeys(("log_gamma", "gain_field", "speckle"), 0.0),
        **dict.fromkeys(("blur_prob", "cutout_prob", "black_prob", "coarse_prob"), 0.0),
    )


def varied(config, frames):
    """Frames with the same draws of level, with and without a change."""
    return augment_intensity(frames, config, torch.Generator().manual_seed(3))


def test_cut_blacks_are_black_and_the_order_of_grays_stays(calm):
    frames = torch.linspace(0.05, 0.9, 64).expand(6, 2, 64, 64)
    plain = varied(calm, frames)
    cut = varied(calm.model_copy(update={"black_prob": 1.0}), frames)
    assert ((cut == 0) & (plain > 0.02)).any()
    assert (cut.diff(dim=-1) >= -1e-6).all()
    changed = (cut > 0) & (plain < 1)
    level = ((plain - cut) / (1 - cut))[changed]  # cut = (plain - level) / (1 - level)
    assert 0 < level.min() < level.max() < 0.25
    assert torch.equal(varied(calm.model_copy(update={"black_prob": 0.0}), frames), plain)


def test_a_coarse_clip_keeps_its_means_and_loses_its_grain(calm):
    generator = torch.Generator().manual_seed(0)
    frames = 0.3 + 0.3 * torch.rand((6, 2, 64, 64), generator=generator)
    plain = varied(calm, frames)
    coarse = varied(calm.model_copy(update={"coarse_prob": 1.0}), frames)
    assert torch.allclose(coarse.mean((2, 3)), plain.mean((2, 3)), atol=0.01)
    assert (coarse.var((2, 3)) < 0.7 * plain.var((2, 3))).all()
