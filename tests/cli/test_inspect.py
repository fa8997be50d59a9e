"""`echoseg inspect`: every source of time and scale is named, and no identity is printed."""

import pytest
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from clip_makers import (
    moving_frames,
    region,
    ultrasound,
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
    assert said["PhysicalDeltaX"] == "0.04" and said["RegionLocationMaxX1"] == "63"
    assert "Cine Rate" in result.output and ": used" in result.output
    assert said["TransferSyntaxUID"] == "Explicit VR Little Endian (1.2.840.10008.1.2.1)"
    assert said["dicom"] == "Clip(30 frames, 64 x 48, unknown, 25 fps, 0.4 x 0.5 mm)"
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
    assert said["FrameTimeVector"].startswith("30 values, 0 33.3 ... 33.3, 33.3 to 33.3")


@pytest.mark.parametrize(("write", "name"), [(write_video, "video"), (write_nifti, "nifti")])
def test_other_formats_say_what_is_used(tmp_path, write, name):
    write(tmp_path / "a.bin", moving_frames())
    result, said = inspect(tmp_path / "a.bin")
    assert result.exit_code == 0, result.output
    assert said[name].startswith("Clip(6 frames, 64 x 48, unknown, 25 fps")


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
