"""`echoseg dicom`, and `--dicom` of other commands."""

import pydicom
import pytest
from typer.testing import CliRunner

from dicom_makers import PATIENT_ID, write_result, write_source
from echoseg.cli import app
from echoseg.dicom.write import FILES


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom")
    masks = write_source(folder / "clip.dcm")
    write_result(folder / "result", folder / "clip.dcm", masks)
    return folder / "clip.dcm", folder / "result"


def test_a_result_folder_becomes_objects_once(case):
    source, folder = case
    result = run("dicom", folder, "--source", source)
    assert result.exit_code == 0, result.output
    files = sorted((folder / "dicom").iterdir())
    assert {file.name for file in files} <= FILES
    dataset = pydicom.dcmread(folder / "dicom" / "seg.dcm")
    assert dataset.PatientID == PATIENT_ID
    again = run("dicom", folder, "--source", source)
    assert again.exit_code == 2
    assert "exists; pass force (--force)" in again.output
    assert run("dicom", folder, "--source", source, "--force").exit_code == 0
    assert pydicom.dcmread(folder / "dicom" / "seg.dcm").SOPInstanceUID == dataset.SOPInstanceUID


def test_a_source_that_is_no_dicom_is_refused_before_the_work(tmp_path):
    import numpy as np

    np.save(tmp_path / "clip.npy", np.arange(8000, dtype=np.uint8).reshape(20, 20, 20))
    result = run("analyze", tmp_path / "clip.npy", "-o", tmp_path / "out", "--dicom")
    assert result.exit_code == 1
    assert "the source must be DICOM" in result.output
    assert not (tmp_path / "out").exists()


def test_a_cohort_is_refused_with_the_way_out(tmp_path):
    result = run("analyze", tmp_path, "-o", tmp_path / "out", "--dicom")
    assert result.exit_code == 2
    assert "--dicom does not apply to a cohort" in result.output
    assert "echoseg dicom" in result.output
