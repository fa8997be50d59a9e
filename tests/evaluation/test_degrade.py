"""Copies: repeatable, of every kind, and of the stated strength."""

import numpy as np
import pytest

from echoseg.clip import Annotation, Clip, Label
from echoseg.evaluation.degrade import EXPORT_SIDE_PX, Degradation, degrade, export_copy

SIDE = 96


@pytest.fixture(scope="module")
def heart():
    """A ring of wall about a cavity in a lit fan whose grey changes from frame to frame."""
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(x - 48, (y - 55) / 1.4)
    mask = np.where(distance < 14, Label.LV_CAVITY, 0).astype(np.uint8)
    mask[(distance >= 14) & (distance < 22)] = Label.LV_MYOCARDIUM
    fan = np.abs(np.arctan2(x - 48, y + 1)) < 0.7
    noise = np.random.default_rng(0).uniform(20, 60, (12, SIDE, SIDE))
    frames = fan * (noise + 90 * (mask == Label.LV_MYOCARDIUM))
    masks = np.repeat(mask[None], 12, 0)
    clip = Clip(frames=frames.astype(np.uint8), times_s=np.arange(12) / 30)
    return clip, Annotation(masks=masks, ed_frame=0, es_frame=5)


@pytest.mark.parametrize("kind", Degradation)
def test_a_copy_is_changed_in_the_same_way_each_time(heart, kind):
    clip, annotation = heart
    copy, given = degrade(clip, annotation, "a", kind)
    assert given is kind
    assert copy.frames.shape == clip.frames.shape and copy.frames.dtype == np.uint8
    assert not np.array_equal(copy.frames, clip.frames)
    assert np.array_equal(copy.frames, degrade(clip, annotation, "a", kind)[0].frames)
    assert copy.times_s is clip.times_s


def test_an_export_is_small_and_black_where_it_was_dark_and_shows_the_same_size(heart):
    clip, _ = heart
    wide = Clip(frames=np.repeat(clip.frames, 2, 2), spacing_mm=(0.8, 0.4))
    copy = export_copy(wide)
    assert copy.size == (EXPORT_SIDE_PX // 2, EXPORT_SIDE_PX)
    assert np.multiply(copy.size, copy.spacing_mm) == pytest.approx([96 * 0.8, 192 * 0.4])
    assert (copy.frames < 8).mean() > (wide.frames < 8).mean() + 0.1
    assert copy.frames.max() > 100 and np.array_equal(copy.frames, export_copy(wide).frames)


def test_the_name_draws_the_kind(heart):
    kinds = {degrade(*heart, f"patient{index}")[1] for index in range(40)}
    assert kinds == set(Degradation)


def test_a_hidden_wall_is_dark_on_one_side_only(heart):
    clip, annotation = heart
    wall = annotation.masks == Label.LV_MYOCARDIUM
    copy = degrade(clip, annotation, "b", Degradation.HIDDEN_WALL)[0]
    left = np.arange(SIDE) < 48
    kept = [
        copy.frames[wall & side].mean() / clip.frames[wall & side].mean() for side in (left, ~left)
    ]
    assert min(kept) < 0.75 < 0.85 < max(kept)


def test_clipped_blacks_darken_the_cavity_more_than_the_wall(heart):
    clip, annotation = heart
    copy = degrade(clip, annotation, "c", Degradation.CLIPPED_BLACKS)[0]
    kept = [
        copy.frames[annotation.masks == label].mean()
        / clip.frames[annotation.masks == label].mean()
        for label in (Label.LV_CAVITY, Label.LV_MYOCARDIUM)
    ]
    assert kept[0] < kept[1]
