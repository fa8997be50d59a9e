"""MetaImage whose pixels lie in several files, or are cut off."""

import dataclasses
import os
import zlib

import numpy as np
import pytest
from PIL import Image

from clip_makers import moving_frames
from echoseg.clip import View
from echoseg.data.hashing import hash_sources
from echoseg.data.records import Record
from echoseg.errors import DamagedError, FormatError
from echoseg.io import FORMATS, load_clip, source_sha256
from echoseg.io.describe import describe

FRAMES = moving_frames(4, rows=16, columns=24)
KNOWN = {"spacing_mm": (0.5, 0.5), "fps": 30}


def header(path, data_file, extra="", size="24 16 4"):
    text = (
        f"NDims = 3\nDimSize = {size}\n{extra}ElementType = MET_UCHAR\n"
        f"ElementDataFile = {data_file}\n"
    )
    path.write_bytes(os.fsencode(text))
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


@pytest.mark.parametrize("name", ["Anna %s %(x)s", "Größe", os.fsdecode(b"Gr\xf6\xdfe")])
def test_any_name_of_a_file_is_read_as_it_stands(tmp_path, name):
    """With the signs of a format, in UTF-8, in bytes of another encoding."""
    for number, frame in enumerate(FRAMES, 1):
        (tmp_path / f"{name}{number:02d}.raw").write_bytes(frame.tobytes())
    (tmp_path / f"{name}.raw").write_bytes(FRAMES.tobytes())
    for data_file in (f"{name}.raw", f"{name}%02d.raw 1 4 1", f"LIST\n{name}01.raw\n{name}02.raw"):
        size = "24 16 2" if data_file.startswith("LIST") else "24 16 4"
        path = header(tmp_path / "a.mhd", data_file, size=size)
        clip = load_clip(path, **KNOWN)
        assert np.array_equal(clip.frames, FRAMES[: clip.num_frames])
        assert source_sha256(path) == clip.source_sha256


def test_frames_in_a_folder_may_have_names_that_are_not_utf8(tmp_path):
    for number, frame in enumerate(FRAMES, 1):
        Image.fromarray(frame).save(os.path.join(tmp_path, os.fsdecode(b"Gr\xf6%d.png" % number)))
    clip = load_clip(tmp_path, **KNOWN)
    assert np.array_equal(clip.frames, FRAMES)
    assert source_sha256(tmp_path) == clip.source_sha256


def test_a_pattern_with_other_signs_of_a_format_is_refused_in_words(tmp_path):
    path = header(tmp_path / "a.mhd", "a%s%03d.raw 1 4 1")
    with pytest.raises(FormatError, match=r"file 1 of the 4 .* is not there"):
        load_clip(path, **KNOWN)
    assert "is not there" in describe(path)["refusal"]
    assert len(source_sha256(path)) == 64


def test_a_format_of_your_own_whose_files_cannot_be_listed_ends_nothing(tmp_path, monkeypatch):
    def files(path):
        raise TypeError("not all arguments converted")

    own = dataclasses.replace(FORMATS["metaimage"], files=files)
    monkeypatch.setitem(FORMATS, "metaimage", own)
    path = header(tmp_path / "a.mhd", "LOCAL")
    assert source_sha256(path) == ""
    known = describe(path)
    assert known["file"]["files"] == "cannot be listed: a value in it is of another kind"
    assert known["file"]["sha256"] == "none" and known["clip"] is None and known["refusal"]


@pytest.mark.parametrize("data_file", ["LIST\n", "x" * 300])
def test_a_record_whose_files_cannot_be_listed_has_no_hash(tmp_path, data_file):
    path = header(tmp_path / "a.mhd", data_file)
    record = Record(name="a", patient="a", view=View.A4C, files=(path,), read=lambda: None)
    assert hash_sources(record) == ""


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
