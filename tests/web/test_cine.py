"""The cine of a clip: frames as JPEG, and everything else exact."""

import io
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from echoseg.clip import Clip, ClipWarning, Ecg
from echoseg.errors import ArgumentError, DamagedError, OutputError
from echoseg.io import load_clip
from echoseg.web.analysis import plain_reason
from echoseg.web.cine import read_cine, read_frames, read_jpeg, write_cine
from worklist_makers import write_clip


@pytest.fixture
def clip(tmp_path):
    return load_clip(write_clip(tmp_path / "a.dcm"), alias="clip-1")


def test_a_clip_comes_back_with_all_but_what_jpeg_loses(clip, tmp_path):
    write_cine(clip, tmp_path)
    cine = read_cine(tmp_path)
    back = cine.clip(read_frames(tmp_path, cine))
    assert np.abs(back.frames.astype(int) - clip.frames).mean() < 4  # of white noise
    assert np.array_equal(back.times_s, clip.times_s) and cine.frame_rate_hz == clip.frame_rate_hz
    same = {one.name for one in fields(Clip)} - {"frames", "times_s", "ecg"}
    assert {name: getattr(back, name) for name in same} == {
        name: getattr(clip, name) for name in same
    }


def test_an_ecg_and_missing_times_come_back(tmp_path):
    ecg = Ecg(times_s=np.array([0.0, 0.1]), values=np.array([3.0, -4.0]))
    notes = (ClipWarning(code="no_times", message="none"),)
    write_cine(Clip(frames=np.zeros((2, 9, 7), np.uint8), ecg=ecg, warnings=notes), tmp_path)
    back = read_cine(tmp_path).clip()
    assert back.times_s is None and back.spacing_mm is None and back.warnings == notes
    assert back.ecg is not None and back.ecg.values.tolist() == [3.0, -4.0]
    assert back.frames.shape == (2, 9, 7) and back.frames.base is not None  # one pixel in memory


def test_a_frame_is_a_jpeg_of_the_clips_size(clip, tmp_path):
    write_cine(clip, tmp_path)
    cine = read_cine(tmp_path)
    picture = Image.open(io.BytesIO(read_jpeg(tmp_path, cine, clip.num_frames - 1)))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", clip.size[::-1], "L")
    for frame in (-1, clip.num_frames):
        with pytest.raises(ArgumentError, match="frame must be"):
            read_jpeg(tmp_path, cine, frame)


def test_a_damaged_file_has_a_way_out_that_a_browser_has_too(tmp_path):
    error = DamagedError("48 of 64 frames cannot be read", "pass --allow-damaged to use the others")
    reason = plain_reason(error, tmp_path / "x.dcm", "clip-1")
    assert reason.startswith("48 of 64 frames cannot be read; export it again")
    assert "--" not in reason


def test_what_is_not_there_or_damaged_is_said(clip, tmp_path):
    assert read_cine(tmp_path) is None
    write_cine(clip, tmp_path)
    cine = read_cine(tmp_path)
    (tmp_path / "cine.bin").write_bytes(b"\xff" * cine.offsets[-1])
    with pytest.raises(OutputError, match="frame 0 is damaged"):
        read_frames(tmp_path, cine)
    (tmp_path / "cine.bin").unlink()
    with pytest.raises(OutputError, match="cannot be read"):
        read_jpeg(tmp_path, cine, 0)
    (tmp_path / "cine.json").write_text("{}")
    with pytest.raises(OutputError, match="add the clip again"):
        read_cine(tmp_path)
