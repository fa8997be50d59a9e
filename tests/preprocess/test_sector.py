from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from ecg_makers import as_jpeg, strip_below
from echoseg.clip import Clip
from echoseg.io import load_clip
from echoseg.preprocess.frame_transform import FrameTransform
from echoseg.preprocess.sector import box_slices, find_sector


def screen(num_frames=12, *, moving=True):
    """A fan of speckle on a screen with still text and a small blinking mark."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:200, :300]
    depth, angle = np.hypot(rows - 20, columns - 150), np.arctan2(columns - 150, rows - 20)
    fan = (depth < 150) & (np.abs(angle) < 0.6)
    frames = np.zeros((num_frames, 200, 300), np.uint8)
    speckle = rng.integers(10, 120, (num_frames if moving else 1, 200, 300), dtype=np.uint8)
    frames[:] = np.where(fan, speckle, 0)
    frames[:, 5:12, 5:60] = 255  # text
    frames[::2, 190:194, 290:294] = 255  # a blinking mark
    return Clip(frames=frames), fan


def test_the_fan_is_found_without_text_and_marks():
    clip, fan = screen()
    sector = find_sector(clip)
    overlap = (sector.mask & fan).sum() / (sector.mask | fan).sum()
    assert overlap > 0.9
    assert not sector.mask[5:12, 5:60].any()
    assert not sector.mask[190:194, 290:294].any()


def test_a_dark_cavity_stays_inside_the_sector():
    clip, _ = screen()
    clip.frames[:, 70:120, 140:165] = 0
    assert find_sector(clip).mask[70:120, 140:165].all()


def test_the_files_own_box_bounds_the_search():
    clip, _ = screen()
    boxed = Clip(frames=clip.frames, sector_box=(60, 100, 150, 200))
    top, left, bottom, right = find_sector(boxed).box
    assert (top, left) >= (60, 100)
    assert bottom <= 150
    assert right <= 200


def test_a_still_picture_has_no_sector():
    clip, _ = screen(moving=False)
    clip.frames[::2, 190:194, 290:294] = 0
    assert find_sector(clip) is None
    assert find_sector(Clip(frames=np.zeros((5, 64, 64), np.uint8))) is None


def test_a_moving_ecg_strip_larger_than_the_moving_heart_is_not_the_sector():
    rng = np.random.default_rng(0)
    frames = np.zeros((12, 200, 320), np.uint8)
    frames[:, 40:100, 130:190] = rng.integers(40, 200, (12, 60, 60))  # the heart
    frames[:, 150:180, 5:315] = rng.integers(40, 200, (12, 30, 310))  # larger
    sector = find_sector(Clip(frames=frames))
    assert sector is not None
    top, left, bottom, right = sector.box
    assert 35 <= top and bottom <= 105 and 125 <= left and right <= 195
    frames[:, 40:100, 130:190] = 90
    assert find_sector(Clip(frames=frames)) is None


@pytest.mark.parametrize("gap_px", [-10, 0, 3, 6, 15])
def test_an_ecg_that_runs_close_below_the_fan_is_not_of_the_sector(gap_px):
    clip, fan, (top, _) = strip_below(gap_px)
    sector = find_sector(clip)
    assert sector is not None
    assert (sector.mask & fan).sum() > 0.98 * fan.sum()
    assert (sector.mask & ~fan).sum() < 0.06 * fan.sum()
    assert sector.box[2] < max(top, 168) + 12
    assert sector.box[1] > 20 and sector.box[3] < 300


def overlap(sector, fan):
    return (sector.mask & fan).sum() / (sector.mask | fan).sum()


@pytest.mark.parametrize("gap_px", [0, 3, 6, 15])
@pytest.mark.parametrize("turns", range(4))
def test_an_ecg_in_a_jpeg_is_not_of_the_sector_on_any_side(gap_px, turns):
    clip, fan, _ = strip_below(gap_px)
    frames = np.rot90(as_jpeg(clip.frames), turns, (1, 2)).copy()
    clip.frames[:, ~fan] = 0
    alone = find_sector(Clip(frames=np.rot90(as_jpeg(clip.frames), turns, (1, 2)).copy()))
    assert overlap(find_sector(Clip(frames=frames)), alone.mask) > 0.9


@pytest.mark.parametrize("level", [40, 90])
def test_a_faint_trace_without_lines_is_not_of_the_sector(level):
    clip, fan, (top, bottom) = strip_below(6)
    clip.frames[:, ~fan] = 0
    rng = np.random.default_rng(1)
    clip.frames[:, top : bottom - 8] = rng.integers(0, level, (40, bottom - 8 - top, 320))
    assert overlap(find_sector(clip), fan) > 0.96


def test_a_counter_below_the_fan_is_not_of_the_sector():
    clip, fan, _ = strip_below(6)
    clip.frames[:, ~fan] = 0
    clip.frames[:, 173:185, 130:190] = np.random.default_rng(1).integers(0, 250, (40, 12, 60))
    sector = find_sector(clip)
    assert not sector.mask[173:].any() and overlap(sector, fan) > 0.96


def test_the_sector_of_the_demo_clip_is_its_fan_without_the_ecg():
    clip = load_clip(Path(str(files("echoseg") / "weights" / "simulated_a4c.dcm")))
    rows, columns = np.mgrid[:200, :200]
    across, down = columns - 99.5, rows - 27
    fan = (np.abs(across) < 0.9 * down) & (np.hypot(across, down) < 147)
    sector = find_sector(clip)
    assert overlap(sector, fan) > 0.78 and not sector.mask[183:].any()  # JPEG about it moves too


def test_what_moves_in_a_few_frames_only_keeps_its_corners():
    clip, fan, _ = strip_below(15, num_frames=2)
    clip.frames[:, ~fan] = 0
    clip.frames[:, 150:158] = 7  # nothing moves there
    assert overlap(find_sector(clip), fan) > 0.96


def test_without_an_ecg_the_sector_is_that_of_all_that_moves():
    clip, fan, _ = strip_below(15)
    clip.frames[:, ~fan] = 0
    clip.frames[::9, 80:84, 150:170] = 250  # a bright valve, seldom in place
    mask = find_sector(clip).mask
    assert (mask & fan).sum() > 0.99 * fan.sum() and mask[80:84, 150:170].all()


@pytest.mark.parametrize("columns", [(0, 320), (120, 200)])
def test_no_picture_and_no_mask_lie_in_a_trace_that_the_file_names(columns):
    clip, fan, rows = strip_below(-12)
    box = (rows[0], columns[0], rows[1], columns[1])
    clip = replace(clip, trace_boxes=(box,))
    sector = find_sector(clip)
    inside = box_slices(box)
    assert not sector.mask[inside].any() and sector.mask[fan].mean() > 0.8
    for one, there in ((sector, inside), (sector.mirror(), inside)):
        transform = FrameTransform(clip.size, 64, sector=one)
        white = np.zeros(clip.size, np.uint8)
        white[there] = 255
        assert transform.apply(white).max() < 0.2  # of the network's resampling at the edge
        logits = np.zeros((1, 4, 64, 64), np.float32)
        logits[:, 1] = 9
        mask = transform.invert(logits)
        assert not mask[there].any() and mask.any()
