"""Stacks and folders whose pictures are not, one after another, the frames of one clip."""

from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from clip_makers import moving_frames
from echoseg.errors import DamagedError, FormatError
from echoseg.io import load_clip
from echoseg.io.frames import OpenOptions, numbered_row

FRAMES = moving_frames(12)


@pytest.mark.parametrize(
    ("axes", "words"), [("TCYX", "12 frames x 2 channels"), ("TZYX", "12 frames x 2 slices")]
)
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_channels_and_slices_between_the_frames_are_refused(tmp_path, axes, words, kind):
    stack = np.stack([FRAMES, 255 - FRAMES], 1)
    known: dict[str, Any] = {kind: True, "metadata": {"axes": axes}}
    tifffile.imwrite(tmp_path / "a.tif", stack, **known)
    with pytest.raises(FormatError, match=words):
        load_clip(tmp_path / "a.tif")


@pytest.mark.parametrize("axes", ["TYX", "ZYX"])  # ImageJ opens a clip as slices
def test_one_axis_of_pages_is_time(tmp_path, axes):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, imagej=True, metadata={"axes": axes})
    assert np.array_equal(load_clip(tmp_path / "a.tif").frames, FRAMES)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_whose_zero_is_white_is_inverted_at_any_depth(tmp_path, kind):
    white = np.iinfo(kind).max
    stored = white - FRAMES.astype(kind) * (white // 255)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    assert np.array_equal(load_clip(tmp_path / "a.tif").frames, FRAMES)


def folder(path, frames, name="frame_{:03}.png"):
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / name.format(index))
    return path


def test_a_single_picture_of_another_name_is_no_frame(tmp_path):
    path = folder(tmp_path / "a", FRAMES)
    Image.fromarray(255 - FRAMES[0]).save(path / "cover.png")
    clip = load_clip(path)
    assert np.array_equal(clip.frames, FRAMES)
    assert "cover.png" in {one.code: one.message for one in clip.warnings}["pictures_left_out"]


def test_pictures_without_numbers_are_all_frames(tmp_path):
    (tmp_path / "a").mkdir()
    for letter, frame in zip("abcdefghijkl", FRAMES, strict=True):
        Image.fromarray(frame).save(tmp_path / "a" / f"{letter}.png")
    assert np.array_equal(load_clip(tmp_path / "a").frames, FRAMES)


def test_a_missing_number_keeps_the_times_of_the_others(tmp_path):
    path = folder(tmp_path / "a", FRAMES)
    (path / "frame_004.png").unlink()
    with pytest.raises(DamagedError, match=r"leave out 1 of 12, such as 4; .*--allow-damaged"):
        load_clip(path)
    clip = load_clip(path, allow_damaged=True, fps=50)
    assert clip.damaged_frames == (4,)
    assert clip.times_s == pytest.approx(np.delete(np.arange(12), 4) / 50)


@pytest.mark.parametrize(
    ("numbers", "places"),
    [
        (range(5, 15), range(10)),
        (range(0, 50, 5), range(10)),
        ([0, 33, 67, 100, 133], range(5)),  # milliseconds
        ([1, 900, 1000, 2000], range(4)),
        ([0, 1, 2, 4, 5], [0, 1, 2, None, 3, 4]),
        ([0, 5, 10, 15, 30, 35], [0, 1, 2, 3, None, None, 4, 5]),
    ],
)
def test_which_numbers_count_frames(tmp_path, numbers, places):
    files, options = list(range(len(numbers))), OpenOptions(allow_damaged=True)
    assert numbered_row(tmp_path, files, list(numbers), options) == list(places)


@pytest.mark.parametrize("known", [{"imagej": True}, {"photometric": "miniswhite"}, {}])
def test_a_tiff_that_is_cut_off_is_named_as_such(tmp_path, known):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, contiguous=False, **known)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="the TIFF is cut off or broken; get a whole copy"):
        load_clip(tmp_path / "a.tif")
