"""Which data set a folder is: wrong folders, near misses, leaks and names that come twice."""

from pathlib import Path

import pytest

from dataset_makers import make_camus, make_echonet_dynamic
from echoseg.clip import View
from echoseg.data import detect, load_dataset
from echoseg.data.dataset import build_dataset
from echoseg.data.records import Issue, IssueKind, Record
from echoseg.errors import DatasetError


def record(name, patient, split=""):
    return Record(name=name, patient=patient, view=View.A4C, split=split, files=(), read=None)


def test_a_folder_that_is_none_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DatasetError, match=r"it holds notes\.txt, pictures\. Custom") as e:
        detect(tmp_path)
    assert "EchoNet-Dynamic" in str(e.value)
    assert len(str(e.value)) - len(str(tmp_path)) < 320
    with pytest.raises(DatasetError, match="it is empty"):
        detect(tmp_path / "pictures")
    with pytest.raises(DatasetError, match="does not exist"):
        detect(tmp_path / "none")
    with pytest.raises(DatasetError, match="it is a file"):
        detect(tmp_path / "notes.txt")


def test_an_empty_text_is_not_the_current_folder(tmp_path, monkeypatch):
    make_camus(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("."))
    with pytest.raises(DatasetError, match="a data set must be a folder or a CSV, got ''"):
        load_dataset("")


def test_the_folder_above_or_inside_a_data_set_is_told_the_right_one(tmp_path):
    make_camus(tmp_path / "data" / "camus")
    for wrong in (tmp_path / "data", tmp_path / "data" / "camus" / "database_nifti"):
        with pytest.raises(DatasetError, match=r"/data/camus is \(CAMUS, NIfTI release\)"):
            load_dataset(wrong)
    make_echonet_dynamic(tmp_path / "echonet")
    with pytest.raises(DatasetError, match=r"/echonet is \(EchoNet-Dynamic\)"):
        load_dataset(tmp_path / "echonet" / "Videos")


def test_a_patient_in_two_splits_is_in_neither():
    records = [record("a", "p1", "train"), record("b", "p1", "test"), record("c", "p2", "test")]
    dataset = build_dataset("camus", Path(), records)
    assert [one.name for one in dataset.records] == ["c"]
    (issue,) = dataset.issues
    assert (issue.place, issue.kind) == ("p1", IssueKind.INCONSISTENT)
    assert "in more than one split (test, train)" in issue.reason


def test_a_name_that_comes_twice_is_used_for_none():
    dataset = build_dataset("camus", Path(), [record("a", "p"), record("a", "q"), record("b", "r")])
    assert [one.name for one in dataset.records] == ["b"]
    assert dataset.issues[0].reason == "2 clips have this name"


def test_nothing_left_is_refused_with_the_first_reason():
    issue = Issue(place="x.avi", kind=IssueKind.MISSING, reason="gone")
    with pytest.raises(DatasetError, match=r"1 have an issue, the first x\.avi: gone"):
        build_dataset("camus", Path(), [], [issue])


def test_a_folder_that_may_not_be_read_is_refused_in_one_line(tmp_path, monkeypatch):
    def closed(root):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("echoseg.data.detect", closed)
    with pytest.raises(DatasetError, match=r"cannot be read \(Permission denied\)"):
        load_dataset(tmp_path)


def test_a_wrong_index_or_split_of_a_data_set_is_a_type_error_with_the_way_out(tmp_path):
    make_camus(tmp_path)
    data = load_dataset(tmp_path)
    with pytest.raises(TypeError, match=r"take data\.records\[a:b\]"):
        data[0:2]
    for name in (3, None):
        with pytest.raises(TypeError, match="split takes a name, one of "):
            data.split(name)


def test_clips_without_splits_say_so():
    data = build_dataset("custom", Path("clips"), [record("a", "p", ""), record("b", "q", "")])
    with pytest.raises(DatasetError, match=r"has clips without a split \(2\). The split all"):
        data.split("validation")
    assert data.split("all") is data
