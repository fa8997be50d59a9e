"""`echoseg measure`: masks of any tool in, the report out."""

import csv
import json
import re

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from clip_makers import write_dicom_series
from echoseg.cli import app
from echoseg.errors import NotAClipError
from echoseg.io import load_clip, load_masks
from echoseg.io.nifti import write_masks
from echoseg.measure.measure import measure_masks
from echoseg.measure.reference import ef_grade
from echoseg.report.schema import Report
from echoseg.report.writer import FILES, PDF
from heart_makers import beating, half_ellipsoid_ml, heart

SPACING_MM = (1.001, 1.001)
"""Exactly 1 mm in a header is taken for a default."""


def run(*args):
    return CliRunner().invoke(app, ["measure", *(str(arg) for arg in args)])


@pytest.fixture(scope="module")
def heart_file(tmp_path_factory):
    masks, times, truth = beating(80, phase=0.5)
    path = tmp_path_factory.mktemp("masks") / "theirs.nii.gz"
    write_masks(path, masks, SPACING_MM, 1 / 40)
    return path, masks, times, truth


@pytest.fixture(scope="module")
def measured(heart_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "result"
    result = run(heart_file[0], "-o", out, "--view", "A4C")
    assert result.exit_code == 0, result.output
    assert "reliability" in result.output and "not checked: no interval, no class" in result.output
    return out, json.loads((out / "report.json").read_text())


def test_the_report_holds_what_was_measured_by_the_headers_scale(heart_file, measured):
    _, masks, times, truth = heart_file
    out, report = measured
    found = measure_masks(masks, spacing_mm=SPACING_MM, times_s=times)
    told = report["results"]
    assert Report.model_validate(report).model is None
    assert {path.name for path in out.iterdir()} == FILES - {PDF}
    assert told["edv_ml"] == pytest.approx(truth.max(), rel=0.03)
    assert told["ef_percent"] == pytest.approx(found.ef_percent, abs=0.051)
    assert told["num_beats"] == len(told["beats"]) == 2
    assert told["stroke_volume_ml"] == pytest.approx(told["edv_ml"] - told["esv_ml"], abs=0.11)
    assert told["lv_length_ed_mm"] == pytest.approx(80, abs=1.5)
    assert told["peak_ejection_rate_ml_per_s"] == pytest.approx(
        told["peak_ejection_rate_edv_per_s"] * told["edv_ml"], rel=0.01
    )
    assert told["ef_grade"] is None  # no interval, no class
    assert [warning["code"] for warning in report["warnings"]] == ["few_beats"]


def test_scale_and_rate_given_replace_the_headers(heart_file, tmp_path):
    out = tmp_path / "out"
    result = run(heart_file[0], "-o", out, "--spacing-mm", "0.9", "0.9", "--fps", "20")
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["input"]["spacing_mm"] == [0.9, 0.9]
    assert report["input"]["frame_rate_hz"] == 20
    assert "view_not_apical" in {warning["code"] for warning in report["warnings"]}


def rows_of(page):
    """Return the last three cells of each table row of a page."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<td[^>]*>([^<]*)</td>", row)[-3:] for row in rows]


def test_the_page_shows_normal_ranges_with_their_scheme(measured):
    page = (measured[0] / "report.html").read_text()
    assert any(row[1:] == ["52 to 72", "54 to 74"] for row in rows_of(page))
    assert "Normal ranges: ASE/EACVI 2015, adults, biplane" in page
    assert "not speckle tracking" in page
    assert "masks from another tool" in page


def test_the_registry_has_one_row_that_names_nobody(measured):
    out, report = measured
    with (out / "registry.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["ef_percent"]) == report["results"]["ef_percent"]
    assert row["input_sha256"] == report["input"]["sha256"]
    assert row["warnings"] == "few_beats"
    assert "theirs" not in (out / "registry.csv").read_text()


def test_smoothing_can_be_left_out(heart_file, tmp_path):
    out = tmp_path / "out"
    assert run(heart_file[0], "-o", out, "--no-smoothing").exit_code == 0
    told = json.loads((out / "report.json").read_text())
    assert told["results"]["ef_percent"] == told["results"]["ef_unsmoothed_percent"]
    assert "regularised" not in {note["code"] for note in told["notes"]}


def test_tracings_of_the_cavity_alone_are_measured(heart_file, tmp_path):
    _, masks, _, truth = heart_file
    cavity = np.where(masks == 1, masks, 0)
    write_masks(tmp_path / "cavity.nii.gz", cavity, SPACING_MM, 1 / 40)
    result = run(tmp_path / "cavity.nii.gz", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "out" / "report.json").read_text())["results"]
    true = 100 * (1 - truth.min() / truth.max())
    assert told["ef_percent"] == pytest.approx(true, abs=3)
    assert told["la_volume_ml"] is None
    assert told["lv_mass_g"] is None


def test_the_pictures_may_be_given_and_must_fit(heart_file, tmp_path):
    path, masks, _, _ = heart_file
    frames = (60 + 40 * masks + np.arange(masks.shape[2]) % 9).astype(np.uint8)
    write_masks(tmp_path / "clip.nii.gz", frames, SPACING_MM, 1 / 40)
    write_masks(tmp_path / "other.nii.gz", frames[:9], SPACING_MM, 1 / 40)
    assert run(path, "-o", tmp_path / "a", "--clip", tmp_path / "clip.nii.gz").exit_code == 0
    refused = run(path, "-o", tmp_path / "b", "--clip", tmp_path / "other.nii.gz")
    assert refused.exit_code == 2
    assert "must have the clip's shape" in refused.output
    assert not (tmp_path / "b").exists()


def test_masks_of_every_frame_fit_a_clip_of_which_some_are_damaged(heart_file, tmp_path):
    path, masks, _, _ = heart_file
    write_dicom_series(tmp_path / "clip", (60 + 40 * masks).astype(np.uint8))
    sorted((tmp_path / "clip").iterdir())[3].unlink()
    words = [path, "--fps", "40", "--clip", tmp_path / "clip", "--allow-damaged"]
    result = run(*words, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(told["input"]["damaged_frames"]) == 1
    assert told["input"]["num_frames"] == len(masks) - 1
    refused = run(path, "--allow-damaged", "-o", tmp_path / "none")
    assert refused.exit_code == 2 and "--allow-damaged is of the clip; give it by --clip" in (
        refused.output
    )


@pytest.mark.parametrize(
    ("clip_mm", "masks_mm", "used_mm", "code"),
    [
        (0.9, None, 0.9, None),
        (None, 0.9, 0.9, None),
        (0.9, 0.9 * (1 + 1e-6), 0.9, None),
        (0.9, 0.9285, 0.9, "contradicted_pixel_spacing"),
        (0.9, 1.8, None, "contradicted_pixel_spacing"),
    ],
)
def test_the_clips_scale_comes_before_that_of_the_masks(tmp_path, clip_mm, masks_mm, used_mm, code):
    masks, _, _ = beating(80, phase=0.5)
    frames = (60 + 40 * masks + np.arange(masks.shape[2]) % 9).astype(np.uint8)
    for name, data, spacing_mm in (("clip", frames, clip_mm), ("masks", masks, masks_mm)):
        write_masks(tmp_path / f"{name}.nii.gz", data, spacing_mm and (spacing_mm,) * 2, 1 / 40)
    files = tmp_path / "masks.nii.gz", "--clip", tmp_path / "clip.nii.gz"
    assert run(*files, "-o", tmp_path / "out").exit_code == 0
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["input"]["spacing_mm"] == (used_mm and [pytest.approx(used_mm, rel=1e-7)] * 2)
    found = {one["code"] for one in told["warnings"]}
    assert (code in found) if code else not any("spacing" in one for one in found)
    assert run(*files, "-o", tmp_path / "user", "--spacing-mm", "0.8", "0.8").exit_code == 0
    told = json.loads((tmp_path / "user" / "report.json").read_text())
    assert told["input"]["spacing_mm"] == [0.8, 0.8]
    assert not any("spacing" in one["code"] for one in told["warnings"])


def wrong_files(folder):
    masks = np.zeros((4, 20, 20), np.uint8)
    write_masks(folder / "labels.nii.gz", masks + 9, SPACING_MM, None)
    (folder / "text.nii.gz").write_text("no masks")
    (folder / "empty.nii").write_bytes(b"")
    nibabel.Nifti1Image(np.zeros((20, 20), np.uint8), np.eye(4)).to_filename(folder / "flat.nii")
    nan = np.full((20, 20, 4), np.nan, np.float32)
    nibabel.Nifti1Image(nan, np.eye(4)).to_filename(folder / "nan.nii")
    whole = (folder / "labels.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("labels.nii.gz", "these hold 9; relabel it"),
        ("text.nii.gz", "not of a supported format"),
        ("empty.nii", "the file is empty"),
        ("flat.nii", "is one still; EF needs a clip (x, y, t), or ED and ES as two files"),
        ("nan.nii", "these hold nan"),
        ("cut.nii.gz", "cut.nii.gz"),
        ("none.nii.gz", "no such file"),
    ],
)
def test_what_are_no_masks_is_refused_in_one_line(tmp_path, name, words):
    wrong_files(tmp_path)
    result = run(tmp_path / name, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_options_out_of_range_and_a_folder_that_is_there_are_refused(heart_file, tmp_path):
    path = heart_file[0]
    (tmp_path / "mine.txt").write_text("x")
    for args, words in (
        (("--fps", "0"), "--fps"),
        (("--spacing-mm", "0", "1"), "--spacing-mm"),
        (("-o", tmp_path), "holds no report.json"),
    ):
        result = run(path, "-o", tmp_path / "out", *args, "--force")
        assert (result.exit_code, words in result.output) == (2, True), result.output


def test_masks_of_no_heart_give_no_ef_and_a_reason(tmp_path):
    write_masks(tmp_path / "none.nii.gz", np.zeros((8, 40, 40), np.uint8), SPACING_MM, 0.03)
    result = run(tmp_path / "none.nii.gz", "-o", tmp_path / "out")
    assert result.exit_code == 1
    told = json.loads((tmp_path / "out" / "report.json").read_text())["results"]
    assert told["ef_percent"] is None
    assert "0 of 8 frames" in told["refusal"]


def test_masks_read_back_as_they_were_written(heart_file):
    path, masks, times, _ = heart_file
    clip, read = load_masks(path)
    assert np.array_equal(read, masks)
    assert clip.spacing_mm == pytest.approx(SPACING_MM)
    assert clip.times_s == pytest.approx(times)
    with pytest.raises(NotAClipError, match="measure the masks with `echoseg measure`"):
        load_clip(path)


@pytest.mark.parametrize(
    ("ef_percent", "grade"),
    [(12, "reduced"), (40.4, "reduced"), (40.6, "mildly reduced"), (49.4, "mildly reduced"),
     (49.6, "preserved"), (70, "preserved")],
)  # fmt: skip
def test_the_class_of_an_ef_is_that_of_its_whole_percent(ef_percent, grade):
    assert ef_grade(ef_percent).name == grade


def still(path, mask, spacing_mm=(0.5, 0.5)):
    """Write one picture as CAMUS does: (x, y), millimetres in the header."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(mask.T), np.eye(4))
    image.header["pixdim"][1:3] = spacing_mm[1], spacing_mm[0]
    image.header.set_xyzt_units("mm", "sec")
    image.to_filename(path)
    return path


ED, ES = heart(22, 80), heart(16, 70)
TRUE_EF = 100 * (1 - half_ellipsoid_ml(16, 70) / half_ellipsoid_ml(22, 80))


def test_ed_and_es_as_two_stills_or_as_two_frames_give_the_same_ef(tmp_path):
    files = still(tmp_path / "ed.nii.gz", ED), still(tmp_path / "es.nii.gz", ES)
    write_masks(tmp_path / "both.nii.gz", np.stack([ED, ES]), (0.5, 0.5), None)
    for name, inputs in (("two", files), ("one", (tmp_path / "both.nii.gz",))):
        result = run(*inputs, "-o", tmp_path / name, "--view", "A4C")
        assert result.exit_code == 0, result.output
        told = json.loads((tmp_path / name / "report.json").read_text())
        assert told["results"]["ef_percent"] == pytest.approx(TRUE_EF, abs=1)
        assert told["results"]["edv_ml"] == pytest.approx(half_ellipsoid_ml(22, 80), rel=0.02)
        assert told["results"]["is_part_of_beat"] is False
        assert told["results"]["heart_rate_bpm"] is None
        assert [note["code"] for note in told["notes"]] == [
            "reliability_not_checked",
            "ed_es_stills",
        ]
        assert {path.name for path in (tmp_path / name).iterdir()} == FILES - {PDF}
        page = (tmp_path / name / "report.html").read_text()
        assert "two stills, ED and ES" in page and "two stills, ED and ES" in result.output
        assert told["results"]["num_beats"] == 0 and told["results"]["beats"] == []
        assert told["ef_reliable"] is None
        assert "reliability of this EF was not checked" in " ".join(result.output.split())
    assert read_nifti(tmp_path / "two" / "masks.nii.gz").shape == (300, 300, 2)


def read_nifti(path):
    return np.asarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize("view", ["PLAX", "psax"])
def test_a_view_that_disks_cannot_measure_is_refused(heart_file, tmp_path, view):
    result = run(heart_file[0], "-o", tmp_path / "out", "--view", view)
    assert result.exit_code == 2
    assert f"must be A4C, A2C, ALAX or unknown, got {view.upper()}" in result.output
    assert not (tmp_path / "out").exists()


def test_a_spacing_without_a_unit_is_told_and_two_that_differ_are_refused(tmp_path):
    files = []
    for name, mask, spacing_mm in (("ed", ED, 0.5), ("es", ES, 0.5), ("other", ES, 0.4)):
        image = nibabel.Nifti1Image(np.ascontiguousarray(mask.T), np.eye(4))
        image.header["pixdim"][1:3] = 0.5, spacing_mm
        image.header.set_xyzt_units("unknown", "unknown")
        files.append(tmp_path / f"{name}.nii.gz")
        image.to_filename(files[-1])
    ed, es, other = files
    result = run(ed, es, "-o", tmp_path / "bare")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "bare" / "report.json").read_text())
    message = {one["code"]: one["message"] for one in told["warnings"]}["spacing_without_unit"]
    assert (
        "0.5 x 0.5 unknown: it is without a unit of length. Give --spacing-mm (spacing_mm)"
        in message
    )
    assert told["results"]["edv_ml"] is None
    assert run(ed, es, "-o", tmp_path / "given", "--spacing-mm", "0.5", "0.5").exit_code == 0
    told = json.loads((tmp_path / "given" / "report.json").read_text())
    assert "spacing_without_unit" not in {one["code"] for one in told["warnings"]}
    assert told["results"]["edv_ml"] == pytest.approx(half_ellipsoid_ml(22, 80), rel=0.02)
    result = run(ed, other, "-o", tmp_path / "differ")
    assert result.exit_code == 2
    assert "pixel spacing (row, column) in the header is (0.4" in result.output
    assert not (tmp_path / "differ").exists()


def test_es_larger_than_ed_is_no_ef(tmp_path):
    result = run(
        still(tmp_path / "es.nii.gz", ES), still(tmp_path / "ed.nii.gz", ED), "-o", tmp_path / "out"
    )
    assert result.exit_code == 1
    assert "larger at ES than at ED" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("small.nii.gz", "the size (rows, columns) is (299, 300), but (300, 300)"),
        ("fine.nii.gz", "the pixel spacing (row, column) in mm is (0.4"),
        ("clip.nii.gz", "must hold one still (x, y), this holds 2 frames"),
        ("none.nii.gz", "no such file"),
        ("ed.nii.gz third.nii.gz", "give one file of masks, or two: ED, then ES; got 3"),
    ],
)
def test_two_files_that_do_not_fit_are_refused(tmp_path, other, words):
    still(tmp_path / "ed.nii.gz", ED)
    still(tmp_path / "small.nii.gz", ES[1:])
    still(tmp_path / "fine.nii.gz", ES, (0.4, 0.5))
    write_masks(tmp_path / "clip.nii.gz", np.stack([ED, ES]), (0.5, 0.5), None)
    files = [tmp_path / name for name in other.split()]
    result = run(tmp_path / "ed.nii.gz", *files, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert words in result.output
    assert not (tmp_path / "out").exists()
