"""A study: clips are sorted into hearts and views, the most reliable are used, the rest told."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from clip_makers import make_disc, moving_frames, save_object
from echoseg.cli import app
from echoseg.clip import View
from echoseg.errors import ConfigError, FormatError, NotAClipError
from echoseg.io.dicom_view import view_code
from echoseg.report.study import Heart, StudyClip, find_hearts
from report.test_biplane import analysis

FRAMES = moving_frames(3)


def hearts(root):
    found = {heart.name: heart for heart in find_hearts(root)[0]}
    return {
        name: {c.name: (c.view, c.view_from) for c in heart.clips} for name, heart in found.items()
    }


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def coded(view):
    from pydicom.dataset import Dataset

    code, item = view_code(view), Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return {"ViewCodeSequence": [item]}


def test_files_are_of_one_heart_by_what_their_names_share(tmp_path):
    touch(tmp_path, "p2_2CH.avi", "p1_A4C.mp4", "p1_a2c.mp4", "p2_4CH.nii.gz", "p3_A4C.avi")
    (tmp_path / "tables.csv").write_text("x")
    found = hearts(tmp_path)
    assert {name: sorted(clips) for name, clips in found.items()} == {
        "p1": ["p1_A4C.mp4", "p1_a2c.mp4"],
        "p2": ["p2_2CH.avi", "p2_4CH.nii.gz"],
        "p3": ["p3_A4C.avi"],
    }
    assert found["p1"]["p1_a2c.mp4"] == (View.A2C, "name")


def test_a_folder_with_one_clip_of_each_view_is_one_heart_and_folders_are_hearts(tmp_path):
    touch(tmp_path, "smith/IM1_A4C.avi", "smith/IM9_A2C.avi", "smith/x.avi", "jones/1.avi")
    found = hearts(tmp_path)
    assert {name: len(clips) for name, clips in found.items()} == {"smith": 3, "jones": 1}
    assert found["smith"]["smith/x.avi"] == (View.UNKNOWN, "pictures")


def test_objects_of_one_study_are_one_heart_and_the_header_states_the_view(tmp_path):
    for name, study, elements in (
        ("a/1", "1.2.3", coded(View.A4C)),
        ("b/2", "1.2.3", coded(View.PLAX)),
        ("b/3", "1.2.3", {}),
        ("b/4", "1.2.4", {}),
    ):
        save_object(tmp_path / name, FRAMES, PatientID="7", StudyInstanceUID=study, **elements)
    found = hearts(tmp_path)
    assert found == {
        tmp_path.name: {
            "a/1": (View.A4C, "header"),
            "b/2": (View.PLAX, "header"),
            "b/3": (View.UNKNOWN, "pictures"),
        },
        "b": {"b/4": (View.UNKNOWN, "pictures")},
    }


def test_clips_of_two_patients_are_never_one_heart(tmp_path):
    for name, patient in (("x_A4C.dcm", "1"), ("x_A2C.dcm", "2")):
        save_object(tmp_path / name, FRAMES, PatientID=patient, StudyInstanceUID="1.2.3")
    assert [len(clips) for clips in hearts(tmp_path).values()] == [1, 1]


def test_two_studies_of_a_patient_are_two_hearts_whatever_the_names(tmp_path):
    for name, study in (("x_A4C.dcm", "1.2.3"), ("x_A2C.dcm", "1.2.4")):
        save_object(tmp_path / name, FRAMES, PatientID="1", StudyInstanceUID=study)
    for name in ("y_A4C.dcm", "y_A2C.dcm"):
        save_object(tmp_path / name, FRAMES, PatientID="1")
    assert sorted(map(sorted, hearts(tmp_path).values())) == [
        ["x_A2C.dcm"], ["x_A4C.dcm"], ["y_A2C.dcm", "y_A4C.dcm"],
    ]  # fmt: skip


def test_a_folder_without_a_clip_is_refused_with_what_it_holds(tmp_path):
    save_object(tmp_path / "SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
    with pytest.raises(ConfigError, match=r"holds no clip \(SR: .*Comprehensive SR"):
        find_hearts(tmp_path)


def candidate(kind="plain", error=5.0, beats=1, view=View.A4C, wrong="") -> Any:
    interval = SimpleNamespace(expected_error_points=error)
    return SimpleNamespace(
        clip=SimpleNamespace(view=view), wrong_view=wrong, model=None, predicted_view=None,
        ef=SimpleNamespace(kind=kind, text=f"EF {kind}"),
        reliability=SimpleNamespace(interval=interval),
        measurement=SimpleNamespace(beats=(None,) * beats, is_part_of_beat=not beats),
    )  # fmt: skip


def clip(name, view=View.A4C):
    return StudyClip(name, Path(name), view, "header")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "better_and_worse",
    [
        ({}, {"kind": "part_of_beat", "error": 1.0}),
        ({"kind": "part_of_beat"}, {"kind": "unreliable"}),
        ({"kind": "unreliable"}, {"kind": "none"}),
        ({"error": 4.0}, {"error": 6.0, "beats": 5}),
        ({"beats": 3}, {"beats": 1}),
        ({"kind": "unreliable", "error": 8.0}, {"kind": "unreliable", "error": 6.0, "beats": 0}),
    ],
)
def test_the_more_reliable_clip_is_used_in_any_order(better_and_worse, order):
    heart = Heart(name="h", clips=())
    for name, values in list(zip("ab", better_and_worse, strict=True))[::order]:
        heart.add(clip(name), candidate(**values))
    first, second = heart.rows()
    assert first[1:5] == ("a", "A4C", "header", "used")
    assert second[1:5] == ("b", "A4C", "header", "passed over")
    assert second[5].startswith("a is preferred: EF")


def test_of_other_views_none_is_used():
    heart = Heart(name="h", clips=())
    heart.add(clip("a"), candidate(wrong="the clip shows no apical view"))
    heart.add(clip("b", View.UNKNOWN), candidate(view=View.UNKNOWN))
    assert not heart.best
    wrong, unknown = (row[5] for row in heart.rows())
    assert wrong == "the clip shows no apical view"
    assert unknown.startswith("the view classifier cannot tell its view; give it by --a4c or --a2c")


def test_the_command_gives_biplane_and_says_what_it_passed_over(tmp_path, monkeypatch):
    disc, out = tmp_path / "disc", tmp_path / "out"
    make_disc(disc, FRAMES)
    known = {"PatientID": "4711", "StudyInstanceUID": "1.2.3", "FrameTime": 40.0}
    for name, view in (("IM_7", View.A2C), ("IM_8", View.PLAX)):
        save_object(disc / "DICOM" / name, FRAMES, **known, **coded(view))
    save_object(disc / "DICOM" / "IM_9", FRAMES, **known)
    results = {"IM_1": View.A4C, "IM_7": View.A2C}

    def load(source, **options):
        if source.name == "IM_2":
            raise FormatError("IM_2 is broken")
        if source.name == "ONE":
            raise NotAClipError("ONE has one frame")
        return SimpleNamespace(name=source.name)

    analyzer = SimpleNamespace(
        model_card=SimpleNamespace(notice="", name="fake"),
        analyze=lambda clip, **options: analysis(clip.name, results[clip.name]),
        other_view=lambda clip: "the clip shows no apical view" if clip.name == "IM_9" else "",
    )
    monkeypatch.setattr("echoseg.inference.analyzer.Analyzer", lambda *args: analyzer)
    monkeypatch.setattr("echoseg.io.load_clip", load)
    command = ["analyze", "--study", str(disc), "-o", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1, done.output  # IM_2 failed
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    with (out / "study.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    outcomes = {name: row["outcome"] for name, row in rows.items()}
    assert outcomes["DICOM/IM_1"] == outcomes["DICOM/IM_7"] == "used"
    assert (outcomes["DICOM/IM_2"], outcomes["DICOM/IM_8"]) == ("failed", "passed over")
    assert rows["DICOM/IM_8"]["reason"] == "its header states PLAX"
    assert outcomes["DICOM/SR_1"] == outcomes["VIEWER/run.exe"] == "not a clip"
    assert (out / "DICOM" / "A2C" / "report.json").exists()
    assert rows["DICOM/IM_9"]["reason"] == "the clip shows no apical view; it was not segmented"
    assert "1 failed, 10 not a clip, 2 passed over, 2 used" in done.output
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2 and "--force" in again.output
    (disc / "DICOM" / "IM_2").unlink()
    (disc / "DICOM" / "IM_7").unlink()
    one = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "one")])
    assert one.exit_code == 0, one.output
    assert "has no other view than A4C, so there is no biplane EF" in one.output
    assert (tmp_path / "one" / "DICOM" / "report.json").exists()
