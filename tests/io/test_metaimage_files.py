"""MetaImage whose pixels lie in several files, or are cut off."""

import zlib

import numpy as np
import pytest

from clip_makers import moving_frames
from echoseg.errors import DamagedError, FormatError
from echoseg.io import load_clip, source_sha256
from echoseg.io.describe import describe

FRAMES = moving_frames(4, rows=16, columns=24)
KNOWN = {"spacing_mm": (0.5, 0.5), "fps": 30}


def header(path, data_file, extra="", size="24 16 4"):
    path.write_text(
        f"NDims = 3\nDimSize = {size}\n{extra}ElementType = MET_UCHAR\n"
        f"ElementDataFile = {data_file}\n"
    )
    return path


@pytest.fixture
def parts(tmp_path):
    """One file per frame, with the frame's number from 1."""
    for number, frame in enumerate(FRAMES, 1):
        (tmp_path / f"f{number:03d}.raw").write_bytes(frame.tobytes())
    return tmp_path


@pytest.mark.parametrize(
    "data_file",
    [
        "LIST\nf001.raw\nf002.raw\nf003.raw\nf004.raw",
        "LIST 2D\nf001.raw\r\nf002.raw\r\n\nf003.raw\nf004.raw\n",
        "f%03d.raw 1 4 1",
        "f%03d.raw 1 4",
    ],
)
def test_a_file_per_frame_is_read_in_order(parts, data_file):
    path = header(parts / "a.mhd", data_file)
    assert np.array_equal(load_clip(path, **KNOWN).frames, FRAMES)
    before = source_sha256(path)
    (parts / "f003.raw").write_bytes(FRAMES[0].tobytes())
    assert source_sha256(path) != before
    assert "4 files, 1536 bytes" in str(describe(path))


def test_steps_headers_and_packed_files(parts):
    path = header(parts / "a.mhd", "f%03d.raw 1 3 2", size="24 16 2")
    assert np.array_equal(load_clip(path, **KNOWN).frames, FRAMES[::2])
    for index, frame in enumerate(FRAMES):
        (parts / f"h{index}.raw").write_bytes(b"head" + frame.tobytes())
        (parts / f"z{index}.zraw").write_bytes(zlib.compress(frame.tobytes()))
    path = header(parts / "a.mhd", "h%d.raw 0 3 1", "HeaderSize = 4\n")
    assert np.array_equal(load_clip(path, **KNOWN).frames, FRAMES)
    path = header(parts / "a.mhd", "z%d.zraw 0 3 1", "CompressedData = True\n")
    assert np.array_equal(load_clip(path, **KNOWN).frames, FRAMES)


@pytest.mark.parametrize(
    ("data_file", "reason"),
    [
        ("LIST\nf001.raw\nf002.raw\nf003.raw", "3 files of pixels for 4 frames"),
        ("LIST\nf001.raw\nf002.raw\nf003.raw\ng.raw", "file 4 of the 4 .* is not there"),
        ("f%03d.raw 1 5 1", "file 5 of the 5 .* is not there"),
        ("LIST\nf001.raw\nf002.raw\nf003.raw\n../secret.raw", "allow-outside"),
        ("../secret%d.raw 1 4 1", "allow-outside"),
        ("f%03d.raw 1 900000 1", "1 to 20000 files"),
        ("LIST\n", "1 to 20000 files"),
        ("f001.raw", "DimSize states 1536 bytes, 384 are there"),
    ],
)
def test_what_is_missing_outside_or_cut_off_is_named(parts, data_file, reason):
    with pytest.raises(FormatError, match=reason):
        load_clip(header(parts / "a.mhd", data_file), **KNOWN)


def test_cut_off_pixels_in_one_file_and_in_a_packed_one(tmp_path):
    pixels = FRAMES.tobytes()
    for packed in (False, True):
        data = zlib.compress(pixels)[:-40] if packed else pixels[:-700]
        (tmp_path / "a.raw").write_bytes(data)
        extra = f"CompressedData = {packed}\n"
        with pytest.raises(FormatError, match="cut off: DimSize states 1536 bytes"):
            load_clip(header(tmp_path / "a.mhd", "a.raw", extra), **KNOWN)


@pytest.mark.parametrize("extra", ["", "CompressedData = True\n"])
def test_the_whole_frames_of_a_cut_file_are_used_where_that_is_allowed(tmp_path, extra):
    content = np.random.default_rng(0).integers(0, 255, FRAMES.shape, np.uint8)
    packed = zlib.compress(content.tobytes()) if extra else content.tobytes()
    path = header(tmp_path / "a.mhd", "a.raw", extra)
    (tmp_path / "a.raw").write_bytes(packed[: len(packed) * 7 // 8])
    with pytest.raises(DamagedError, match=r"cut off: .*--allow-damaged"):
        load_clip(path, **KNOWN)
    clip = load_clip(path, **KNOWN, allow_damaged=True)
    assert np.array_equal(clip.frames, content[:3])
    assert clip.damaged_frames == (3,)
    (tmp_path / "a.raw").write_bytes(packed[: len(packed) // 8])
    with pytest.raises(DamagedError, match="cut off"):
        load_clip(path, **KNOWN, allow_damaged=True)


def test_pixels_as_text_and_time_as_the_first_axis_are_refused(tmp_path):
    path = header(tmp_path / "a.mhd", "a.raw", "BinaryData = False\n")
    (tmp_path / "a.raw").write_text(" ".join(map(str, FRAMES.ravel())))
    with pytest.raises(FormatError, match="pixels are text, BinaryData = False"):
        load_clip(path, **KNOWN)
    frames = np.pad(moving_frames(30), ((0, 0), (9, 9), (9, 9)))
    rows, columns = frames.shape[1:]
    (tmp_path / "a.raw").write_bytes(np.moveaxis(frames, 0, -1).tobytes())
    path = header(tmp_path / "a.mhd", "a.raw", size=f"30 {columns} {rows}")
    with pytest.raises(FormatError, match="the first seems to be time"):
        load_clip(path, **KNOWN)
