"""A DICOM file cut short is told by its frames, and its whole ones can be had."""

import io

import numpy as np
import pytest
from pydicom import examples
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from clip_makers import moving_frames, ultrasound
from echoseg.errors import DamagedError, FormatError
from echoseg.io import load_clip
from echoseg.io.dicom_pixels import open_dataset
from echoseg.io.frames import OpenOptions


def cut(path, kept):
    """Keep a share of a file, or all but some bytes."""
    raw = path.read_bytes()
    path.write_bytes(raw[:kept] if kept < 0 else raw[: int(len(raw) * kept)])
    return path


def allowed(path, words):
    with pytest.raises(DamagedError, match=words) as caught:
        load_clip(path)
    assert "--allow-damaged" in str(caught.value)
    clip = load_clip(path, allow_damaged=True)
    assert clip.damaged_frames == caught.value.damaged_frames
    return clip


def test_uncompressed_frames_that_are_whole_are_kept(tmp_path):
    frames = moving_frames(10)
    path = tmp_path / "cut.dcm"
    ultrasound(frames, FrameTime=40).save_as(path, enforce_file_format=True)
    clip = allowed(cut(path, 0.6), r"5 of 10 frames cannot be read \(frame 5, 6, 7, 8, 9\)")
    assert np.array_equal(clip.frames, frames[:5])
    assert clip.frame_rate_hz == pytest.approx(25)


def test_run_length_frames_that_are_whole_are_kept(tmp_path):
    frames = moving_frames(10)
    dataset = ultrasound(frames, FrameTime=40)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "cut.dcm", enforce_file_format=True)
    clip = allowed(cut(tmp_path / "cut.dcm", 0.6), "5 of 10 frames cannot be read")
    assert np.array_equal(clip.frames, frames[:5])


@pytest.mark.parametrize(("kept", "whole"), [(0.6, 16), (-20, 29)])
@pytest.mark.parametrize("num_fragments", [1, 3])
def test_jpeg_frames_that_are_whole_are_kept(tmp_path, kept, whole, num_fragments):
    dataset = examples.ybr_color
    jpegs = list(generate_frames(dataset.PixelData, number_of_frames=30))
    many = num_fragments > 1
    dataset.PixelData = encapsulate(jpegs, fragments_per_frame=num_fragments, has_bot=not many)
    path = tmp_path / "cut.dcm"
    dataset.save_as(path)
    frames = load_clip(path).frames
    clip = allowed(cut(path, kept), f"{30 - whole} of 30 frames cannot be read")
    assert np.array_equal(clip.frames, frames[:whole])


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_inside_its_first_frame_is_refused_as_cut(tmp_path, compressed):
    dataset = ultrasound(moving_frames(3), FrameTime=40)
    if compressed:
        dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "cut.dcm", enforce_file_format=True)
    with pytest.raises(FormatError, match=r"truncated within its first frame"):
        load_clip(cut(tmp_path / "cut.dcm", 0.3), allow_damaged=True)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, None])
def test_pixels_are_read_from_the_file_whatever_its_syntax(tmp_path, syntax):
    frames = np.tile(moving_frames(30), (1, 4, 4))
    dataset = ultrasound(frames, FrameTime=40)
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OW"
    else:
        dataset.compress(RLELossless)
    path = tmp_path / "clip.dcm"
    dataset.save_as(path, enforce_file_format=True)
    opened = open_dataset(path, OpenOptions())
    assert isinstance(opened.PixelData, io.BufferedIOBase)
    assert np.array_equal(load_clip(path).frames, frames)
