"""A folder or a table of one's own clips: what is said of them, and what cannot be."""

import numpy as np
import pytest

from clip_makers import moving_frames, ultrasound, write_video
from dataset_makers import SPACING_MM, made_clip, make_custom
from echoseg.clip import View
from echoseg.data import IssueKind, load_dataset
from echoseg.errors import DatasetError, EchosegError
from echoseg.io.nifti import write_masks

HEADER = "clip,patient,view,split,quality,masks,row_mm,column_mm,fps,ed_frame,es_frame,ef_percent"


@pytest.fixture
def folder(tmp_path):
    clip, known = made_clip()
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.avi", clip.frames)
    write_masks(tmp_path / "truth.nii.gz", known.masks, SPACING_MM, 0.04)
    return tmp_path


def table(folder, *rows, header=HEADER, start=b"", end="\n"):
    path = folder / "clips.csv"
    path.write_bytes(start + "".join(f"{row}{end}" for row in (header, *rows)).encode())
    return path


FULL = "a.avi,p1,A4C,training,Good,truth.nii.gz,0.4,0.7,25,0,4,50"


def test_what_a_row_says_is_what_is_loaded(folder):
    path = table(folder, FULL, "b.avi,p2,,test,,,,,,,,")
    for root in (folder, path):
        dataset = load_dataset(root)
        one, two = dataset.records
        clip, known = one.load()
        assert (one.patient, one.view, one.split, one.quality) == ("p1", View.A4C, "train", "Good")
        assert (clip.spacing_mm, clip.frame_rate_hz) == ((0.4, 0.7), pytest.approx(25))
        assert (known.ed_frame, known.es_frame, known.ef_percent) == (0, 4, 50)
        assert np.array_equal(known.masks, made_clip()[1].masks)
        assert two.load()[1] is None
        assert (two.view, two.split, two.labelled) == (View.UNKNOWN, "test", False)


def test_a_bom_crlf_and_extra_columns_change_nothing(folder):
    table(folder, FULL + ",note", header=HEADER + ",more", start=b"\xef\xbb\xbf", end="\r\n")
    (record,) = load_dataset(folder).records
    assert (record.name, record.quality) == ("a.avi", "Good")


@pytest.mark.parametrize(
    ("row", "kind", "words"),
    [
        ("c.avi,,,,,,,,,,,", IssueKind.MISSING, "clip .*c.avi is missing"),
        ("a.avi,,,,,no.nii.gz,,,,,,", IssueKind.MISSING, "masks .*no.nii.gz is missing"),
        ("a.avi,,A9C,,,,,,,,,", IssueKind.INCONSISTENT, "view must be one of A4C, .*, got 'A9C'"),
        ("a.avi,,,,,,0.4,,,,,", IssueKind.INCONSISTENT, "row_mm and column_mm must both be given"),
        ("a.avi,,,,,,x,1,,,,", IssueKind.INCONSISTENT, "row_mm must be a number, got 'x'"),
        ("a.avi,,,,,,,,,-1,,", IssueKind.INCONSISTENT, "ed_frame must be a whole number, got -1"),
        (",,,,,,,,,,,", IssueKind.INCONSISTENT, "clip must be a path, it is empty"),
        ("a.avi,p1", IssueKind.INCONSISTENT, "must have 12 fields"),
    ],
)
def test_a_bad_row_is_one_line_and_the_rest_goes_on(folder, row, kind, words):
    table(folder, row, "b.avi,,,,,,,,,,,")
    dataset = load_dataset(folder)
    assert [record.name for record in dataset.records] == ["b.avi"]
    (issue,) = dataset.issues
    assert issue.kind is kind
    assert "line 2" in issue.place and "line 2" not in issue.reason
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(issue.reason)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.avi,,,,,,0,-1,,,,", "spacing_mm.* must be two lengths of 0.001 to 10 mm"),
        ("a.avi,,,,,,,,0.1,,,", "fps .* must be 1 to 10000"),
        ("a.avi,,,,,truth.nii.gz,,,,0,44,", "es_frame must be 0 to 5"),
        ("a.avi,,,,,truth.nii.gz,,,,0,4,140", "ef_percent must be 0 to 100, got 140"),
    ],
)
def test_values_that_cannot_be_are_refused_when_loaded(folder, row, words):
    table(folder, row)
    (record,) = load_dataset(folder).records
    with pytest.raises(EchosegError, match=words):
        record.load()


def test_a_name_that_comes_twice_is_told(folder):
    table(folder, FULL, FULL, "b.avi,,,,,,,,,,,")
    dataset = load_dataset(folder)
    assert [record.name for record in dataset.records] == ["b.avi"]
    assert dataset.issues[0].reason == "2 clips have this name"


def test_a_table_without_its_column_or_that_is_no_text_is_refused(folder):
    table(folder, "a.avi", header="file")
    with pytest.raises(DatasetError, match="must have the columns clip; clip is missing"):
        load_dataset(folder)
    for content, words in (
        (b"clip\n\xff\xfe\x00", "must be text in UTF-8; save it as CSV UTF-8"),
        ("clip,view\n".encode("utf-16"), "must be text in UTF-8"),
        (b"", "is empty; its first line must be the names of columns"),
        (b"clip;patient\na.avi;p1\n", "must be separated by commas, got ';'; save it so"),
        (b"clip\tpatient\na.avi\tp1\n", "must be separated by commas"),
    ):
        (folder / "clips.csv").write_bytes(content)
        with pytest.raises(DatasetError, match=words):
            load_dataset(folder / "clips.csv")


def test_masks_beside_a_clip_are_its_masks_and_a_file_of_no_format_is_told(tmp_path):
    copy = make_custom(tmp_path)
    (tmp_path / "odd.avi").write_bytes(b"nothing")
    dataset = load_dataset(copy.root)
    assert all(record.labelled for record in dataset.records)
    (issue,) = dataset.issues
    assert issue.kind is IssueKind.BROKEN
    assert "not of a supported format" in issue.reason


def test_masks_of_another_shape_are_refused(folder):
    write_masks(folder / "a_masks.nii.gz", made_clip()[1].masks[:3], SPACING_MM, 0.04)
    record = next(r for r in load_dataset(folder).records if r.name == "a.avi")
    with pytest.raises(DatasetError, match=r"a_masks\.nii\.gz must have its image's size"):
        record.load()


def test_only_the_frames_said_to_be_labelled_are(folder):
    table(folder, "a.avi,truth.nii.gz,0 4", header="clip,masks,labelled_frames")
    assert load_dataset(folder).records[0].load()[1].labelled_frames == (0, 4)
    table(folder, "a.avi,truth.nii.gz,0;4", "b.avi,,", header="clip,masks,labelled_frames")
    dataset = load_dataset(folder)
    assert "must be whole numbers separated by spaces, got '0;4'" in dataset.issues[0].reason
    table(folder, "a.avi,truth.nii.gz,4 9", header="clip,masks,labelled_frames")
    with pytest.raises(EchosegError, match="labelled_frames must be 0 to 5"):
        load_dataset(folder).records[0].load()


def test_clips_of_one_patient_id_stay_in_one_split(tmp_path):
    frames, records = moving_frames(5), {}
    for name, patient in (("a", "17"), ("b", "17"), ("c", "18"), ("d", "anonymous"), ("e", "")):
        dataset = ultrasound(frames, FrameTime=40, PatientID=patient)
        dataset.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    for record in load_dataset(tmp_path).records:
        records[record.name[0]] = record.patient
    assert records["a"] == records["b"] != records["c"]
    assert "17" not in (records["a"], records["c"])
    assert (records["d"], records["e"]) == ("d.dcm", "e.dcm")  # shared by many, so by none


def test_zea_names_its_subjects_and_splits(tmp_path):
    h5py = pytest.importorskip("h5py")
    for place, subject in (("train/1.hdf5", "s1"), ("train/2.hdf5", "s1"), ("val/3.hdf5", "s2")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        with h5py.File(tmp_path / place, "w") as file:
            file["data/image_sc"] = moving_frames(5)
            file["metadata/subject/id"] = subject
    one, two, three = load_dataset(tmp_path).records
    assert (one.split, two.split, three.split) == ("train", "train", "validation")
    assert one.patient == two.patient != three.patient
    assert one.load()[0].num_frames == 5
