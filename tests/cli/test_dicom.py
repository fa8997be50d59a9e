"""`echoseg dicom`, and `--dicom` of other commands."""

import json

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from clip_makers import write_video
from dicom.test_sr import items_of
from dicom_makers import PATIENT_ID, write_result, write_source
from echoseg.cli import app
from echoseg.clip import View
from echoseg.data.phantom import simulate
from echoseg.io import dicom_writer, load_masks
from echoseg.io.nifti import write_masks
from echoseg.phantom import Phantom, PhantomConfig


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
    assert (folder / "dicom" / "fhir.json").is_file()
    dataset = pydicom.dcmread(folder / "dicom" / "seg.dcm")
    assert dataset.PatientID == PATIENT_ID
    again = run("dicom", folder, "--source", source)
    assert again.exit_code == 2
    assert "exists; pass --force (force)" in again.output
    assert run("dicom", folder, "--source", source, "--force").exit_code == 0
    assert pydicom.dcmread(folder / "dicom" / "seg.dcm").SOPInstanceUID == dataset.SOPInstanceUID


def test_a_source_that_is_no_dicom_is_refused_before_the_work(tmp_path):
    np.save(tmp_path / "clip.npy", np.arange(8000, dtype=np.uint8).reshape(20, 20, 20))
    result = run("analyze", tmp_path / "clip.npy", "-o", tmp_path / "out", "--dicom")
    assert result.exit_code == 1
    assert "the source must be DICOM" in result.output
    assert not (tmp_path / "out").exists()


def texts(path):
    items = pydicom.dcmread(path).ContentSequence
    return [one.TextValue for one in items if one.ValueType == "TEXT"]


def test_a_corrected_seg_comes_back_as_a_report_that_says_so(case, tmp_path):
    source, folder = case
    run("dicom", folder, "--source", source, "-o", tmp_path / "sent")
    seg = tmp_path / "sent" / "seg.dcm"
    dataset = pydicom.dcmread(seg)
    edited = dataset.pixel_array.copy()
    edited[:60] = np.roll(edited[:60], 1, axis=1)  # a reader moves the cavity by a row
    dataset.PixelData = np.packbits(edited.ravel(), bitorder="little").tobytes()
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.save_as(seg)
    out = tmp_path / "again"
    result = run("measure", seg, "--clip", source, "-o", out, "--dicom", "--corrected")
    assert result.exit_code == 0, result.output
    assert "Masks corrected by reader." in texts(out / "dicom" / "sr.dcm")
    assert "corrected by reader" in (out / "report.html").read_text()
    before, after = (load_masks(one / "masks.nii.gz")[1] for one in (folder, out))
    assert 0 < np.mean(before != after) < 0.05
    old, new = (
        pydicom.dcmread(one) for one in (tmp_path / "sent" / "sr.dcm", out / "dicom" / "sr.dcm")
    )
    assert old.StudyInstanceUID == new.StudyInstanceUID
    assert old.SOPInstanceUID != new.SOPInstanceUID


def test_masks_corrected_by_itk_come_back_as_a_report(case, tmp_path):
    """ITK reads and writes NIfTI for ITK-SNAP and 3D Slicer."""
    itk = pytest.importorskip("SimpleITK")
    source, folder = case
    image = itk.ReadImage(str(folder / "masks.nii.gz"))
    before = load_masks(folder / "masks.nii.gz")[1]
    labels = itk.GetArrayFromImage(image)
    assert sorted(np.unique(labels)) == [0, 1, 2, 3] and labels.size == before.size
    edited = np.where(np.roll(labels == 1, 1, axis=-1) & (labels == 2), 1, labels)
    changed = itk.GetImageFromArray(edited.astype(np.int16))
    changed.CopyInformation(image)
    itk.WriteImage(changed, str(tmp_path / "corrected.nii.gz"))
    out = tmp_path / "out"
    result = run("measure", tmp_path / "corrected.nii.gz", "--clip", source, "-o", out,
                 "--dicom", "--corrected")  # fmt: skip
    assert result.exit_code == 0, result.output
    after = load_masks(out / "masks.nii.gz")[1]
    assert np.count_nonzero(after != before) == np.count_nonzero(edited != labels) > 0
    assert np.array_equal(np.sort(after, axis=None), np.sort(edited, axis=None))
    assert "Masks corrected by reader." in texts(out / "dicom" / "sr.dcm")


def keep_frames_of_seg(path, frames):
    """Leave all but some frames of the clip out of a SEG, as a viewer does."""
    dataset = pydicom.dcmread(path)
    pixels, groups = dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence
    images = [one.DerivationImageSequence[0].SourceImageSequence[0] for one in groups]
    kept = [n for n, image in enumerate(images) if image.ReferencedFrameNumber - 1 in frames]
    dataset.PerFrameFunctionalGroupsSequence = [groups[index] for index in kept]
    dataset.NumberOfFrames = len(kept)
    bits = np.packbits(pixels[kept].ravel(), bitorder="little").tobytes()
    dataset.PixelData = bits + b"\0" * (len(bits) % 2)
    dataset.save_as(path)


@pytest.mark.parametrize("kind", ["seg", "nifti"])
@pytest.mark.parametrize("ed_is_first", [True, False])
def test_corrected_ed_and_es_alone_keep_their_frame_numbers(case, tmp_path, kind, ed_is_first):
    source, folder = case
    masks = load_masks(folder / "masks.nii.gz")[1].copy()
    es = json.loads((folder / "report.json").read_text())["results"]["es_frame"]
    indices, sizes = np.arange(len(masks)), (masks == 1).sum((1, 2))
    ed = int(np.argmax(np.where((indices < es) == ed_is_first, sizes, 0)))
    if kind == "seg":
        run("dicom", folder, "--source", source, "-o", tmp_path / "sent")
        given = tmp_path / "sent" / "seg.dcm"
        keep_frames_of_seg(given, (ed, es))
    else:
        given = tmp_path / "two.nii.gz"
        masks[~np.isin(indices, (ed, es))] = 0
        write_masks(given, masks, (1.001, 1.001), 1 / 40)
    out = tmp_path / "again"
    result = run("measure", given, "--clip", source, "-o", out, "--dicom", "--corrected")
    assert result.exit_code == 0, result.output
    sr = pydicom.dcmread(out / "dicom" / "sr.dcm")
    assert f"frame {ed + 1} is taken as ED, frame {es + 1} as ES" in " ".join(
        texts(out / "dicom" / "sr.dcm")
    )
    images = [one.ReferencedSOPSequence[0] for _, kind, _, one in items_of(sr) if kind == "IMAGE"]
    frames = {one.ReferencedFrameNumber for one in images if "ReferencedFrameNumber" in one}
    assert frames == {ed + 1, es + 1}
    seg = pydicom.dcmread(out / "dicom" / "seg.dcm")
    references = [one.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
                  for one in seg.PerFrameFunctionalGroupsSequence]  # fmt: skip
    positions = [one.FrameContentSequence[0].TemporalPositionIndex
                 for one in seg.PerFrameFunctionalGroupsSequence]  # fmt: skip
    assert references == [ed + 1, es + 1] * 3
    assert positions == [1 + (ed > es), 1 + (ed < es)] * 3


def test_a_seg_of_another_clip_and_dicom_without_a_clip_are_refused(case, tmp_path):
    source, folder = case
    run("dicom", folder, "--source", source, "-o", tmp_path / "sent")
    write_source(tmp_path / "other.dcm")
    dataset = pydicom.dcmread(tmp_path / "other.dcm")
    dataset.SOPInstanceUID = "1.2.3.9"
    dataset.save_as(tmp_path / "other.dcm")
    seg = tmp_path / "sent" / "seg.dcm"
    result = run("measure", seg, "--clip", tmp_path / "other.dcm", "-o", tmp_path / "r")
    assert result.exit_code == 2
    assert "it refers to another object" in result.output
    result = run("measure", seg, "-o", tmp_path / "r", "--dicom")
    assert result.exit_code == 2
    assert "give --clip" in result.output
    assert not (tmp_path / "r").exists()


def test_a_study_gives_objects_of_each_heart_whose_source_is_dicom(tmp_path):
    folder, out = tmp_path / "study", tmp_path / "out"
    folder.mkdir()
    for view in (View.A4C, View.A2C):
        config = PhantomConfig(seed=1, view=view, size_px=96, num_frames=16, frame_rate_hz=16.0)
        dicom_writer.write(folder / f"{view}.dcm", simulate(config).clip, pseudonym="HEART1")
    write_video(folder / "other_A4C.avi", Phantom(config).frames())
    options = ["--model", "phantom", "--device", "cpu", "--jobs", "1", "--dicom"]
    done = run("analyze", "--study", folder, "-o", out, *options)
    assert done.exit_code == 1, done.output  # a video has no patient and study
    assert "DICOM objects of 1 of 2 results" in done.output
    assert "the source must be DICOM" in done.output
    (objects,) = out.glob("*/dicom")
    held = [pydicom.dcmread(path) for path in sorted(objects.glob("*.dcm"))]
    modalities = sorted(one.Modality for one in held)
    assert modalities == ["DOC", "OT", "OT", "SEG", "SEG", "SR"]
    source = pydicom.dcmread(folder / "A4C.dcm")
    assert {one.StudyInstanceUID for one in held} == {source.StudyInstanceUID}
    assert {one.PatientID for one in held} == {"HEART1"}
    resumed = run("analyze", "--study", folder, "-o", out, *options, "--resume")
    assert resumed.exit_code == 1
    again = [pydicom.dcmread(path) for path in sorted(objects.glob("*.dcm"))]
    assert [one.SOPInstanceUID for one in again] == [one.SOPInstanceUID for one in held]
