import numpy as np

from echoseg.clip import Clip
from echoseg.preprocess.sector import find_sector


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
