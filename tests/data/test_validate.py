"""Is a copy whole: every fault planted is found, named once, and the rest goes on."""

import json

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from clip_makers import write_video
from dataset_makers import (
    MAKERS,
    made_clip,
    make_camus,
    make_echonet_dynamic,
    make_echonet_pediatric,
)
from echoseg.cli import app
from echoseg.data import IssueKind, load_dataset
from echoseg.data.validate import check


def run(*words):
    return CliRunner().invoke(app, ["data", "check", *map(str, words)])


@pytest.mark.parametrize("name", MAKERS)
def test_a_whole_copy_is_complete(tmp_path, name):
    copy = MAKERS[name](tmp_path / "copy")
    found = check(load_dataset(copy.root))
    assert [issue for issue in found.issues if issue.kind is not IssueKind.KNOWN] == []
    assert len(found.facts) == len(copy.names)
    assert found.is_complete


def image(shape=(48, 64), values=(0, 1), spacing=(0.7, 0.4)):
    pixels = np.resize(np.array(values, np.uint8), shape)
    found = nibabel.Nifti1Image(pixels, np.eye(4))
    found.header["pixdim"][1:3] = spacing
    return found


def plant(folder, kind):
    """Break one file of a CAMUS patient; the header is written as it is, mended by nobody."""
    picture = folder / f"{folder.name}_4CH_half_sequence.nii.gz"
    truth = folder / f"{folder.name}_4CH_half_sequence_gt.nii.gz"
    if kind == "truncated gzip":
        picture.write_bytes(picture.read_bytes()[:200])
    elif kind == "another shape":
        nibabel.save(image((48, 63, 5)), truth)
    elif kind in ("spacing zero", "spacing negative"):
        import gzip

        raw = bytearray(gzip.decompress(picture.read_bytes()))
        step = np.float32(0 if kind == "spacing zero" else -0.4)
        raw[80:84] = step.tobytes()  # pixdim[1] of NIfTI-1
        picture.write_bytes(gzip.compress(bytes(raw)))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated gzip", "patient0002_4CH_half_sequence.nii.gz is truncated or broken"),
        ("another shape", "must have its image's size, 5 x 64 x 48, it has 5 x 63 x 48"),
        ("spacing zero", "spacing must be 0.001 to 10 mm per pixel, it is 0.4 x 0;"),
        ("spacing negative", "spacing must be 0.001 to 10 mm per pixel, it is 0.4 x -0.4;"),
    ],
)
def test_a_broken_file_is_one_line_and_the_rest_goes_on(tmp_path, kind, words):
    copy = make_camus(tmp_path / "Jörg s Daten")
    plant(copy.root / "database_nifti" / "patient0002", kind)
    found = check(load_dataset(copy.root))
    (issue,) = found.issues
    assert (issue.place, issue.kind) == ("patient0002_4CH", IssueKind.BROKEN)
    assert words in issue.reason
    assert "\n" not in issue.reason
    assert len(found.facts) == len(copy.names) - 1
    done = run(copy.root)
    assert done.exit_code == 1
    assert done.output.count("broken:") == 1


def test_an_unknown_label_is_named(tmp_path):
    copy = make_camus(tmp_path)
    folder = tmp_path / "database_nifti" / "patient0002"
    truth = folder / "patient0002_4CH_half_sequence_gt.nii.gz"
    nibabel.save(image((48, 64, 5), (0, 1, 7)), truth)
    found = check(load_dataset(copy.root))
    assert "must hold labels 0 to 3 only, it holds 7" in found.issues[0].reason


def test_odd_clips_are_told(tmp_path):
    clip, _ = made_clip()
    for name, frames in (("flat", clip.frames * 0), ("one", clip.frames), ("two", clip.frames)):
        write_video(tmp_path / f"{name}.avi", frames)
    found = check(load_dataset(tmp_path))
    assert {(p.place, p.reason) for p in found.issues} == {
        ("flat.avi", "every pixel has the grey level 0"),
        ("two.avi", "its frames are those of one.avi"),
    }


def test_a_cavity_larger_at_es_is_told(tmp_path):
    copy = make_camus(tmp_path)
    cfg = tmp_path / "database_nifti" / "patient0001" / "Info_4CH.cfg"
    cfg.write_text(cfg.read_text().replace("ED: 1", "ED: 5").replace("ES: 5", "ES: 1"))
    (issue,) = check(load_dataset(copy.root)).issues
    assert "pixels at ED and" in issue.reason


def test_a_copy_of_stills_in_one_view_is_complete_and_says_what_it_lacks(tmp_path):
    copy = make_camus(tmp_path)
    for path in tmp_path.rglob("*"):
        if "half" in path.name or "2CH" in path.name or path.suffix == ".cfg":
            path.unlink()
    done = run(copy.root)
    assert done.exit_code == 0, done.output
    assert "none of the 3 patients has files of: 2CH view" in done.output
    assert "none of the 3 patients has files of: 4CH_half_sequence, 4CH_half" in done.output
    assert all(record.stills for record in load_dataset(copy.root).records)


def test_one_missing_file_of_many_is_told(tmp_path):
    copy = make_camus(tmp_path)
    (tmp_path / "database_nifti" / "patient0003" / "Info_2CH.cfg").unlink()
    found = check(load_dataset(copy.root))
    (issue,) = found.issues
    assert issue.kind is IssueKind.MISSING
    assert issue.place.endswith("patient0003/Info_2CH.cfg")
    (record,) = [r for r in found.dataset.records if r.name == "patient0003_2CH"]
    assert record.stills  # the two stills are there all the same


def test_sequences_from_es_to_ed_are_counted(tmp_path):
    found = check(load_dataset(make_camus(tmp_path).root))
    assert [fact.name for fact in found.facts if fact.es_before_ed] == [
        "patient0003_2CH",
        "patient0003_4CH",
    ]


def test_split_lists_with_a_bom_crlf_and_names_that_come_twice(tmp_path):
    copy = make_camus(tmp_path)
    lists = tmp_path / "database_split"
    text = "patient0001\r\npatient0001\r\n\r\npatient0044\r\n"
    (lists / "subgroup_training.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (lists / "subgroup_testing.txt").write_text("patient0003\npatient0002\n")
    found = load_dataset(copy.root)
    assert found.splits() == {"": 2, "test": 2, "train": 2}
    assert [(p.place, p.reason.split(";")[0]) for p in found.issues] == [
        ("patient0001", "the patient is listed twice in subgroup_training.txt"),
        ("patient0002", "the patient is listed in two splits"),
    ]


def test_the_quirks_of_echonet_pediatric_are_known(tmp_path):
    found = check(load_dataset(make_echonet_pediatric(tmp_path).root))
    assert found.is_complete
    assert {issue.kind for issue in found.issues} == {IssueKind.KNOWN}
    reasons = {issue.reason for issue in found.issues}
    assert reasons == {
        "20 traced points are not used: its frame is given as 'No Systolic'",
        "1 traced points are not used: X, Y or Frame is empty",
    }
    one, two = (record.load()[1] for record in found.dataset.records[:2])
    assert (one.ed_frame, one.es_frame, one.labelled_frames) == (1, 4, (1, 4))
    assert (two.ed_frame, two.es_frame, two.labelled_frames) == (None, None, (1,))
    radius = np.sqrt((one.masks[1] == 1).sum() / np.pi)
    assert radius == pytest.approx(30, abs=1)


def test_the_facts_are_written_and_the_sheet_is_drawn(tmp_path):
    copy = make_echonet_dynamic(tmp_path / "copy")
    words = ("--sheet", tmp_path / "sheet.png", "--json", tmp_path / "facts.json")
    done = run(copy.root, *words)
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "facts.json").read_text())
    assert told["numbers"]["ef_percent"] == {"n": 3, "min": 50, "median": 50, "max": 50}
    assert told["counts"]["split"] == {"test": 1, "train": 1, "validation": 1}
    assert "no pixel spacing: distances in mm and volumes in ml cannot" in done.output
    assert (tmp_path / "sheet.png").stat().st_size > 5000
    again = run(copy.root, *words)
    assert again.exit_code == 2
    assert "--force" in again.output


def test_another_folder_is_refused_in_one_line(tmp_path):
    done = run(tmp_path)
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert "it is empty" in done.output
    assert run(tmp_path, "--jobs", 0).exit_code == 2


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    copy = make_camus(tmp_path / "copy")
    monkeypatch.setattr("echoseg.data.validate.check", None)
    for words, said in (
        (("--sheet", tmp_path / "none" / "x.png"), "is not a folder; make it"),
        (("--json", tmp_path), "is not a file; choose another name"),
    ):
        done = run(copy.root, *words)
        assert done.exit_code == 2
        assert said in done.output
