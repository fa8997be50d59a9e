"""Burned-in text is found where there is some, and nowhere else; tesseract agrees."""

import shutil
from importlib import resources

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from clip_makers import moving_frames, save_object
from ecg_makers import as_jpeg
from echoseg.clip import Clip
from echoseg.deidentify.ocr import read_words
from echoseg.io import load_clip
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.preprocess.burned_in import (
    find_passing_text,
    find_text,
    split_in_time,
    text_warnings,
)
from echoseg.preprocess.sector import BURNED_IN, blank_outside, find_sector


@pytest.fixture(scope="module")
def frames():
    heart = Phantom(PhantomConfig(seed=2, size_px=128, num_frames=16)).frames()
    return np.pad(heart, ((0, 0), (24, 8), (90, 90)))


def written(frames, text, at, size=14, level=220):
    picture = Image.new("L", frames.shape[:0:-1])
    ImageDraw.Draw(picture).text(at, text, fill=level, font=ImageFont.load_default(size))
    return np.maximum(frames, np.asarray(picture))


@pytest.mark.parametrize("size", [10, 14, 22])
@pytest.mark.parametrize("text", ["MILLER, ANN", "ID 4711", "31.01.1950"])
def test_text_is_found_where_it_stands(frames, text, size):
    lines = find_text(written(frames, text, (4, 2), size))
    assert len(lines) >= 1
    top, left, bottom, right = lines[0]
    assert top < 2 + 1.4 * size and bottom <= 2 + 1.6 * size and left < 4 + 3 * size < right + size


def test_dark_text_on_a_bright_bar_is_found(frames):
    bar = frames.copy()
    bar[:, :20] = 200
    dark = 255 - written(255 - bar, "MILLER, ANN", (4, 2), level=255)
    assert find_text(dark)


def test_speckle_ticks_and_boxes_are_not_text(frames):
    assert find_text(frames) == []
    ruler = frames.copy()
    ruler[:, 10:156:8, 6:10] = 220  # ticks down the side
    ruler[:, 10:14, 100:200:6] = 220  # and along the top
    ruler[:, 2:22, 20] = ruler[:, 2:22, 60] = ruler[:, 2, 20:61] = ruler[:, 21, 20:61] = 220
    assert find_text(ruler) == []


def test_the_gap_between_the_sector_and_an_ecg_below_it_is_not_text():
    path = resources.files("echoseg") / "weights" / "simulated_a4c.dcm"
    assert text_warnings(load_clip(str(path))) == ()


def test_text_that_moves_is_not_text_and_text_in_the_sector_is_asked_for_apart(frames):
    inside = written(frames, "MILLER", (120, 90))
    sector = find_sector(Clip(frames=inside))
    assert sector is not None
    assert find_text(inside, sector.mask) and not find_text(inside, ~sector.mask)
    flicker = inside.copy()
    flicker[::2] = frames[::2]
    assert find_text(flicker) == []


@pytest.mark.parametrize(("start", "stop"), [(0, 27), (12, 30), (9, 21), (0, 10)])
@pytest.mark.parametrize("quality", [None, 85])
@pytest.mark.parametrize("is_dark", [False, True])
def test_text_that_stands_on_a_part_of_the_clip_is_found(start, stop, quality, is_dark):
    frames = Phantom(PhantomConfig(seed=2, size_px=160, num_frames=30)).frames()
    if is_dark:  # on a light panel
        frames[start:stop, 84:116, 44:120] = 200
        dark = 255 - frames[start:stop]
        frames[start:stop] = 255 - written(dark, "MILLER", (50, 90), size=16, level=255)
    else:
        frames[start:stop] = written(frames[start:stop], "MILLER", (50, 90), size=16)
    frames = frames if quality is None else as_jpeg(frames, quality)
    everywhere = np.ones(frames.shape[1:], bool)
    assert find_text(frames, everywhere) == []
    (top, left, bottom, right), *more = find_passing_text(frames, everywhere)
    assert 86 < top < bottom < 114 and 46 < left < right < 114 and len(more) < 2


@pytest.mark.parametrize("rate_hz", [10, 20, 80])
@pytest.mark.parametrize("size_px", [128, 256])
def test_tissue_that_stands_still_for_a_while_is_not_text(rate_hz, size_px):
    for seed in range(3):
        config = PhantomConfig(seed=seed, size_px=size_px, num_frames=40, frame_rate_hz=rate_hz)
        frames = Phantom(config).frames()
        assert find_passing_text(frames, np.ones(frames.shape[1:], bool)) == []


def test_the_demo_clip_has_no_passing_text():
    clip = load_clip(str(resources.files("echoseg") / "weights" / "simulated_a4c.dcm"))
    assert find_passing_text(clip.frames, np.ones(clip.size, bool)) == []


@pytest.mark.parametrize(
    ("num_frames", "ends"),
    [
        (5, []),
        (11, [11]),
        (12, [6, 12]),
        (30, [6, 12, 18, 24, 30]),
        (120, [20, 40, 60, 80, 100, 120]),
    ],
)
def test_parts_in_time_cover_a_clip(num_frames, ends):
    parts = split_in_time(num_frames)
    assert [part.stop for part in parts] == ends
    assert [part.start for part in parts] == [0, *ends[:-1]][: len(ends)]


def test_the_warning_goes_when_the_surroundings_are_black(frames):
    clip = Clip(frames=written(frames, "MILLER, ANN", (4, 2)))
    (warning,) = text_warnings(clip)
    assert warning.code == BURNED_IN and "may name the patient" in warning.message
    assert "MILLER" not in warning.message and text_warnings(Clip(frames=frames)) == ()
    hidden = blank_outside(Clip(frames=clip.frames, warnings=(warning,)))
    assert hidden.warnings == () and not find_text(hidden.frames)
    assert blank_outside(Clip(frames=clip.frames[:1].repeat(3, 0))).frames.max() == 0


@pytest.mark.parametrize("at", [(100, 156), (170, 156), (30, 130), (100, 154), (230, 120)])
def test_text_below_the_fan_is_told_and_made_black(frames, at):
    below = np.pad(frames, ((0, 0), (0, 24), (0, 0)))
    text = "MILLER, ANN" if at[1] > 150 else "ID 4711"
    named = written(below, text, at, size=12)
    letters = named[0] != below[0]
    assert letters.sum() > 30
    (warning,) = text_warnings(Clip(frames=named))
    assert warning.code == BURNED_IN
    hidden = blank_outside(Clip(frames=named))
    assert hidden.frames[:, letters].max() == 0
    sector = find_sector(Clip(frames=below))
    assert sector is not None and hidden.frames.any(0).sum() > 0.9 * sector.mask.sum()


def test_burned_in_annotation_is_read(tmp_path):
    for value, codes in (("YES", {"burned_in_annotation"}), ("NO", set())):
        path = tmp_path / f"{value}.dcm"
        save_object(path, moving_frames(), FrameTime=40.0, BurnedInAnnotation=value)
        assert {warning.code for warning in load_clip(path).warnings} == codes


def test_tesseract_reads_what_the_detector_finds_and_nothing_where_it_finds_none(frames):
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract is not installed")
    named = written(frames, "MILLER, ANN 1950", (4, 2), 16)
    assert find_text(named) and read_words(named.min(0))
    blank = blank_outside(Clip(frames=named)).frames
    assert not find_text(blank) and read_words(blank.min(0)) == []
