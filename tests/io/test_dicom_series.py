"""A folder of single-frame DICOM files of one series is a clip; stills and studies are not."""

import shutil

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UltrasoundImageStorage, generate_uid

from clip_makers import moving_frames, region, ultrasound, write_dicom
from echoseg.data.custom import clip_files
from echoseg.errors import DamagedError, FormatError, NotAClipError
from echoseg.io import find_format, load_clip
from echoseg.io.clip_header import read_clip_header

FRAMES = moving_frames(10)


def write_series(folder, times=None, series=None, **elements):
    """Files whose names are not in the order of their numbers."""
    folder.mkdir(exist_ok=True)
    series = series or generate_uid()
    for index, frame in enumerate(FRAMES):
        dataset = ultrasound(frame[None], SOPClassUID=UltrasoundImageStorage, **elements)
        dataset.NumberOfFrames = None
        del dataset.NumberOfFrames
        dataset.SeriesInstanceUID, dataset.InstanceNumber = series, index + 1
        dataset.PatientID, dataset.SequenceOfUltrasoundRegions = "p1", [region()]
        if times is not None:
            dataset.AcquisitionTime = times[index]
        dataset.save_as(folder / f"{(index * 7) % 10}.IMA", enforce_file_format=True)
    return folder


def test_the_frames_come_in_the_order_of_their_numbers(tmp_path):
    clip = load_clip(write_series(tmp_path / "s", FrameTime=25))
    assert clip.format_name == "dicom_series"
    assert np.array_equal(clip.frames, FRAMES)
    assert clip.spacing_mm == pytest.approx((0.5, 0.4))
    assert clip.frame_rate_hz == pytest.approx(40)


def test_times_of_acquisition_are_times_of_frames(tmp_path):
    times = [f"235959.{40 * n + 500:03d}" for n in range(10)]
    clip = load_clip(write_series(tmp_path / "s", times))
    assert np.allclose(np.diff(clip.times_s), 0.04)
    assert clip.decision("frame_rate_hz").value == pytest.approx(25)


def test_a_frame_time_that_the_times_of_acquisition_contradict_is_told(tmp_path):
    times = [f"120000.{20 * n:03d}" for n in range(10)]
    clip = load_clip(write_series(tmp_path / "s", times, FrameTime=40))
    assert clip.frame_rate_hz == pytest.approx(25)
    (note,) = clip.warnings
    assert "25 fps" in note.message and "Acquisition Time (0008,0032) 50 fps" in note.message
    assert load_clip(write_series(tmp_path / "t", times, FrameTime=20)).warnings == ()


def test_without_any_time_a_rate_is_assumed(tmp_path):
    clip = load_clip(write_series(tmp_path / "s", ["101500"] * 10))
    assert "assumed_frame_rate" in {note.code for note in clip.warnings}


def test_stills_taken_seconds_apart_are_no_clip(tmp_path):
    folder = write_series(tmp_path / "s", [f"1015{3 * n:02d}" for n in range(10)])
    with pytest.raises(FormatError, match="not one clip: they were acquired too far apart"):
        load_clip(folder)


def test_two_series_in_a_folder_are_no_clip(tmp_path):
    folder = write_series(tmp_path / "s")
    for file in write_series(tmp_path / "t").iterdir():
        file.rename(folder / f"t{file.name}")
    with pytest.raises(FormatError, match="not one clip: 2 have Instance Number"):
        find_format(folder)


def test_a_series_per_file_is_a_clip_where_the_numbers_run_on(tmp_path):
    folder = write_series(tmp_path / "s", FrameTime=25)
    for file in folder.iterdir():
        dataset = dcmread(file)
        dataset.SeriesInstanceUID = generate_uid()
        dataset.save_as(file)
    assert np.array_equal(load_clip(folder).frames, FRAMES)
    next(folder.glob("4.IMA")).unlink()
    with pytest.raises(FormatError, match="they are of 9 series"):
        find_format(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one, n: one.pop("InstanceNumber"), "10 have no Instance Number"),
        (lambda one, n: setattr(one, "InstanceNumber", n // 2), "2 have Instance Number"),
        (lambda one, n: setattr(one, "Rows", 47 + n % 2), "they differ in size"),
    ],
)
def test_files_whose_order_is_unknown_are_refused_by_the_reason(tmp_path, change, words):
    folder = write_series(tmp_path / "s", FrameTime=25)
    for index, file in enumerate(sorted(folder.iterdir())):
        dataset = dcmread(file)
        change(dataset, index)
        dataset.save_as(file)
    with pytest.raises(FormatError, match=f"not one clip: {words}"):
        load_clip(folder)


def test_a_copy_of_a_file_is_no_frame_and_a_missing_number_leaves_its_time(tmp_path):
    folder = write_series(tmp_path / "s", FrameTime=25)
    shutil.copy(folder / "4.IMA", folder / "4 (1).IMA")
    assert np.array_equal(load_clip(folder).frames, FRAMES)
    (folder / "4 (1).IMA").unlink()
    (folder / "4.IMA").unlink()  # the third frame
    with pytest.raises(DamagedError, match=r"leave out 1 of 10, such as 3; .*--allow-damaged"):
        load_clip(folder)
    clip = load_clip(folder, allow_damaged=True)
    assert np.array_equal(clip.frames, np.delete(FRAMES, 2, 0))
    assert clip.damaged_frames == (2,)
    assert clip.times_s == pytest.approx(np.delete(np.arange(10), 2) * 0.025)


def test_a_broken_frame_is_named(tmp_path):
    folder = write_series(tmp_path / "s", FrameTime=25)
    broken = folder / "4.IMA"  # 4 = 2 * 7 mod 10: the third frame
    broken.write_bytes(broken.read_bytes()[:-1000])
    with pytest.raises(DamagedError, match=r"1 of 10 frames cannot be read \(frame 2\)"):
        load_clip(folder)
    clip = load_clip(folder, allow_damaged=True)
    assert np.array_equal(clip.frames, np.delete(FRAMES, 2, 0))


def test_a_first_file_without_pixels_is_one_damaged_frame(tmp_path):
    folder = write_series(tmp_path / "s", FrameTime=25)
    dataset = dcmread(folder / "0.IMA")
    del dataset.PixelData
    dataset.save_as(folder / "0.IMA")
    with pytest.raises(DamagedError, match=r"1 of 10 frames cannot be read \(frame 0\)"):
        load_clip(folder)
    clip = load_clip(folder, allow_damaged=True)
    assert np.array_equal(clip.frames, FRAMES[1:]) and clip.damaged_frames == (0,)


def test_a_slice_thickness_makes_no_volume_of_pictures_taken_one_after_the_other(tmp_path):
    times = [f"120000.{40 * n:03d}" for n in range(10)]
    clip = load_clip(write_series(tmp_path / "s", times, SliceThickness=1))
    assert clip.frame_rate_hz == pytest.approx(25)


def test_a_study_lists_the_folder_once_and_not_its_files(tmp_path):
    write_series(tmp_path / "s")
    write_dicom(tmp_path / "clip.dcm", FRAMES)
    assert list(clip_files(tmp_path)) == [tmp_path / "clip.dcm", tmp_path / "s"]
    header = read_clip_header(tmp_path / "s")
    assert header.no_clip_reason == ""
    assert header.patient


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_pictures_of_another_modality_are_no_clip(tmp_path, modality):
    with pytest.raises(NotAClipError, match=f"Modality must be US .ultrasound., got {modality}"):
        load_clip(write_series(tmp_path / "s", FrameTime=25, Modality=modality))


def test_files_without_a_meta_header_are_read(tmp_path):
    for path in write_series(tmp_path / "s", FrameTime=25).iterdir():
        dataset = dcmread(path)
        dataset.file_meta = FileMetaDataset()
        dataset.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=False)
    assert np.array_equal(load_clip(tmp_path / "s").frames, FRAMES)
