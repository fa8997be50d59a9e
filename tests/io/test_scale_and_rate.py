"""A scale or a rate that cannot be is never used: the user's is refused, the file's is dropped."""

import math

import nibabel
import numpy as np
import pytest

from clip_makers import moving_frames, region, ultrasound, write_metaimage, write_nifti, write_video
from echoseg.errors import ConfigError, EchosegError
from echoseg.io import load_clip


def codes(clip):
    return {warning.code for warning in clip.warnings}


@pytest.mark.parametrize("pixdim", [0.0, -0.5, math.nan, math.inf, 1e-6, 500.0])
def test_a_nifti_scale_that_cannot_be_is_dropped_and_said(tmp_path, capfd, pixdim):
    write_nifti(tmp_path / "clip.nii.gz", moving_frames())
    image = nibabel.load(tmp_path / "clip.nii.gz")
    image.header["pixdim"][2] = pixdim
    raw = image.header.binaryblock + bytes(4) + moving_frames().transpose(2, 1, 0).tobytes("F")
    (tmp_path / "clip.nii").write_bytes(raw)
    clip = load_clip(tmp_path / "clip.nii")
    assert clip.spacing_mm is None
    assert codes(clip) == {"invalid_scale"}
    assert clip.frame_rate_hz == pytest.approx(25)
    assert capfd.readouterr() == ("", "")
    told = load_clip(tmp_path / "clip.nii", spacing_mm=(0.3, 0.4))
    assert (told.spacing_mm, codes(told)) == ((0.3, 0.4), set())


def test_a_metaimage_scale_that_cannot_be_is_dropped_and_said(tmp_path):
    write_metaimage(tmp_path / "clip.mhd", moving_frames())
    text = (tmp_path / "clip.mhd").read_text()
    (tmp_path / "clip.mhd").write_text(text.replace("ElementSpacing = 0.4", "ElementSpacing = 0"))
    clip = load_clip(tmp_path / "clip.mhd")
    assert clip.spacing_mm is None
    assert "invalid_scale" in codes(clip)


def test_a_dicom_region_of_no_size_is_dropped_and_said(tmp_path):
    part = region(PhysicalDeltaX=0.0)
    dataset = ultrasound(moving_frames(), FrameTime=40, SequenceOfUltrasoundRegions=[part])
    dataset.save_as(tmp_path / "clip.dcm", enforce_file_format=True)
    clip = load_clip(tmp_path / "clip.dcm")
    assert clip.spacing_mm is None
    assert codes(clip) == {"invalid_scale"}


@pytest.mark.parametrize("frame_ms", [5000, 1e-4])
def test_a_files_rate_at_which_nobody_films_is_not_used(tmp_path, frame_ms):
    dataset = ultrasound(moving_frames(), FrameTime=frame_ms)
    dataset.save_as(tmp_path / "clip.dcm", enforce_file_format=True)
    clip = load_clip(tmp_path / "clip.dcm")
    assert clip.frame_rate_hz == pytest.approx(30)
    (warning,) = clip.warnings
    assert warning.code == "assumed_frame_rate"
    assert "implausible frame rate" in warning.message


@pytest.mark.parametrize("spacing_mm", [(1e-300, 1), (0, 1), (1, -1), (1, math.nan), (11, 1)])
def test_a_scale_given_that_cannot_be_is_refused_by_its_options_name(tmp_path, spacing_mm):
    write_video(tmp_path / "clip.avi", moving_frames())
    with pytest.raises(ConfigError, match=r"--spacing-mm.* 0.001 to 10 mm per pixel, got"):
        load_clip(tmp_path / "clip.avi", spacing_mm=spacing_mm)


@pytest.mark.parametrize("rate_hz", [0, -3, 0.5, math.nan, math.inf])
def test_a_rate_given_that_cannot_be_is_refused_by_its_options_name(tmp_path, rate_hz):
    write_video(tmp_path / "clip.avi", moving_frames())
    with pytest.raises(ConfigError, match=r"--fps.* 1 to 10000 frames per second, got"):
        load_clip(tmp_path / "clip.avi", fps=rate_hz)


def test_one_equal_frame_is_told_in_the_singular(tmp_path):
    frames = moving_frames()
    frames[2] = frames[1]
    write_metaimage(tmp_path / "clip.mhd", frames)
    (warning,) = (
        w for w in load_clip(tmp_path / "clip.mhd").warnings if w.code == "duplicate_frames"
    )
    assert warning.message.startswith("1 frame equals the one before")


def test_what_a_clip_refuses_is_an_error_of_echoseg_and_a_value_error():
    from echoseg import Clip

    frames = np.zeros((2, 4, 4), np.uint8)
    for changes in ({"spacing_mm": (0, 1)}, {"times_s": np.array([0, np.nan])}):
        with pytest.raises(EchosegError) as caught:
            Clip(frames=frames, **changes)
        assert isinstance(caught.value, ValueError)
