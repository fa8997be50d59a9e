"""`echoseg inspect`: every source of time and scale is named, and no identity is printed."""

import numpy as np
import pytest
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from clip_makers import (
    moving_frames,
    region,
    ultrasound,
    write_metaimage,
    write_nifti,
    write_video,
)
from echoseg.cli import app


def inspect(path):
    result = CliRunner().invoke(app, ["inspect", str(path)])
    lines = (line.strip().partition("  ") for line in result.output.splitlines())
    return result, {name: value.strip() for name, _, value in lines}


def test_dicom_states_its_sources_and_hides_who_it_is(tmp_path):
    path = tmp_path / "Miller.dcm"
    clip = ultrasound(
        moving_frames(30), FrameTime="40", CineRate="25", FrameIncrementPointer=0x00181063,
        RWaveTimeVector=[100.0, 900.0], SequenceOfUltrasoundRegions=[region()],
        PatientName="Miller^Ann", PatientID="4711", InstitutionName="Saint Elsewhere",
        StudyDate="20200131", StudyInstanceUID=generate_uid(), SeriesDescription="Miller rest",
    )  # fmt: skip
    clip.add_new(0x00090010, "LO", "MILLER PRIVATE")
    clip.save_as(path, enforce_file_format=True)
    result, said = inspect(path)
    assert result.exit_code == 0, result.output
    assert said["FrameTime"] == "40" and said["CineRate"] == "25"
    assert said["FrameIncrementPointer"] == "FrameTime"
    assert said["RWaveTimeVector"] == "100.0 900.0" and said["R waves"] == "2"
    assert (
        said["region 0"].startswith("(0,0)-(63,47)") and "PhysicalDeltaX 0.04" in said["region 0"]
    )
    assert said["TransferSyntaxUID"] == "Explicit VR Little Endian (1.2.840.10008.1.2.1)"
    assert said["time"] == "25 fps" and said["spacing (row x column)"] == "0.5 x 0.4 mm"
    for name in ("PatientName", "PatientID", "InstitutionName", "StudyDate", "SeriesDescription"):
        assert name in said["present"]
    assert "private elements" in said["present"]
    for secret in ("Miller", "MILLER", "4711", "Elsewhere", "20200131"):
        assert secret not in result.output


def test_a_number_that_is_none_is_shown_and_long_vectors_are_short(tmp_path):
    path = tmp_path / "a.dcm"
    steps = [0.0, *[33.3] * 29]
    clip = ultrasound(moving_frames(30), FrameTimeVector=steps, FrameTime="33.333")
    clip.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes().replace(b"33.333", b"33,333", 1))
    _, said = inspect(path)
    assert "33,333" in said["FrameTime"]
    assert said["FrameTimeVector"].startswith("30 values, 0 33.3 ... 33.3, least 33.3")


@pytest.mark.parametrize(
    ("write", "name", "section", "value"),
    [
        (write_video, "a.avi", "codec", "mjpeg"),
        (write_nifti, "a.nii.gz", "time", "sec"),
        (write_metaimage, "a.mhd", "DimSize", "64 48 6"),
    ],
)
def test_other_formats_state_what_they_hold(tmp_path, write, name, section, value):
    write(tmp_path / name, moving_frames())
    result, _ = inspect(tmp_path / name)
    assert result.exit_code == 0, result.output
    assert any(
        line.split()[:1] == [section] and line.endswith(value)
        for line in result.output.splitlines()
    ), result.output


def test_a_file_that_is_no_clip_is_described_and_refused_without_its_path(tmp_path):
    path = tmp_path / "Miller" / "x.dcm"
    path.parent.mkdir()
    clip = ultrasound(moving_frames(3), Modality="CT")
    clip.save_as(path, enforce_file_format=True)
    result, said = inspect(path)
    assert result.exit_code == 1 and said["Modality"] == "CT"
    assert result.output.splitlines()[-1].startswith("no clip: .dcm:")
    assert "Miller" not in result.output
    missing = CliRunner().invoke(app, ["inspect", str(tmp_path / "none.avi")])
    assert missing.exit_code == 1 and "no such file" in missing.output


def test_a_folder_of_frames_counts_its_pictures(tmp_path):
    from PIL import Image

    for index, frame in enumerate(moving_frames()):
        Image.fromarray(np.stack([frame] * 3, -1)).save(tmp_path / f"{index}.png")
    result, said = inspect(tmp_path)
    assert result.exit_code == 0, result.output
    assert "6 files" in result.output and said["files"] == "6"
