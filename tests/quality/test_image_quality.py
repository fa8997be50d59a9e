"""Contrast, unseen wall segments and the sector's edge, on hearts drawn for it."""

import numpy as np
import pytest

from echoseg.clip import Label
from echoseg.measure.frame import measure_each
from echoseg.quality.image_quality import frame_quality, quality_by_frame
from heart_makers import heart

MASK = heart(22, 80, spacing_mm=(1.0, 1.0), size=(128, 128))
GREYS = {Label.BACKGROUND: 60, Label.LV_CAVITY: 30, Label.LV_MYOCARDIUM: 120, Label.LA_CAVITY: 30}


def picture(noise=5.0):
    generator = np.random.default_rng(0)
    greys = sum(grey * (MASK == label) for label, grey in GREYS.items())
    return (greys + generator.normal(0, noise, MASK.shape)).clip(0, 255).astype(np.uint8)


def test_a_bright_wall_is_seen_all_round():
    found = frame_quality(picture(), MASK)
    assert found is not None
    assert found.segments_unseen == 0
    assert found.contrast == pytest.approx(90 / 5, rel=0.1)
    assert found.outside_percent == 0


def test_a_side_as_dark_as_the_cavity_is_three_segments_unseen():
    dark = picture()
    right = np.arange(128) > np.argwhere(MASK == Label.LV_CAVITY)[:, 1].mean()
    lateral = (MASK == Label.LV_MYOCARDIUM) & right
    dark[lateral] = picture()[MASK == Label.LV_CAVITY].mean().round()
    found = frame_quality(dark, MASK)
    assert found is not None
    assert found.segments_unseen == 3


def test_what_lies_outside_the_sector_is_counted():
    heart_pixels = np.isin(MASK, [Label.LV_CAVITY, Label.LV_MYOCARDIUM])
    sector = np.ones(MASK.shape, bool)
    sector[: np.argwhere(heart_pixels)[:, 0].min() + 10] = False
    found = frame_quality(picture(), MASK, sector)
    assert found is not None
    share = (heart_pixels & ~sector).sum() / heart_pixels.sum()
    assert found.outside_percent == pytest.approx(100 * share)


@pytest.mark.parametrize("label", [Label.LV_CAVITY, Label.LV_MYOCARDIUM])
def test_without_cavity_or_wall_there_is_nothing_to_judge(label):
    assert frame_quality(picture(), np.where(MASK == label, 0, MASK)) is None


def test_a_frame_out_of_line_is_told_by_its_jump():
    masks = np.zeros((5, 40, 40), np.uint8)
    masks[:, 10:30, 10:30] = 2
    masks[:, 12:28, 12:28] = 1
    masks[2, 12:20, 12:28] = 2  # half of the cavity is gone, on one frame
    frames = np.where(masks == 2, 200, 20).astype(np.uint8)
    rows = quality_by_frame(frames, masks)
    jumps = [row["lv_area_jump_percent"] for row in rows]
    mean = (4 * 256 + 128) / 5
    assert jumps[0] is None and jumps[4] is None
    assert jumps[1:4] == pytest.approx([100 * 64 / mean, 100 * 128 / mean, 100 * 64 / mean])
    axes = [frame.axis_px for frame in measure_each(masks, (0.4, 0.4))]
    assert quality_by_frame(frames, masks, axes) == rows
    empty = quality_by_frame(frames[:3], np.zeros_like(masks[:3]))
    assert all(value is None for row in empty for value in row.values())
