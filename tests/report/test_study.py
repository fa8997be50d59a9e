"""A study: a cohort of its clips, of which the most reliable of each view are used together."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clip_makers import make_disc, moving_frames, save_object, write_video
from echoseg.cli import app
from echoseg.clip import View
from echoseg.errors import ConfigError, OutputError
from echoseg.files import locked_dir
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.quality.reliability import EfInterval
from echoseg.report import writer
from echoseg.report.cohort import Entry, Failure, RunOptions, Settings, clips
from echoseg.report.hearts import Heart, StudyClip
from echoseg.report.study import choose, run_study
from echoseg.weights.card import find_checkpoint, read_card
from misbehave import crash_in_header
from report.test_biplane import analysis
from report.test_hearts import coded

FRAMES = moving_frames(3)
SHA256 = read_card(find_checkpoint("phantom")).sha256
PLAIN = RunOptions(limits=None)
RESUMED = RunOptions(limits=None, resume=True)
SETTINGS = Settings(model="phantom", model_sha256=SHA256, device="cpu")


def report(kind="plain", error=5.0, beats=1, view=View.A4C, **changes) -> Any:
    ef = 55.0 if kind in ("plain", "part_of_beat") else None
    values: Any = dict(low_percent=40, high_percent=70, level_percent=90, source="s")
    interval = EfInterval(**values, expected_error_points=error) if ef else None
    return SimpleNamespace(**{
        "input": SimpleNamespace(view=str(view)), "predicted_view": None, "notes": (),
        "warnings": (), "ef_reason": "",
        "ef_unreliable_percent": 55.0 if kind == "unreliable" else None,
        "reliability": SimpleNamespace(interval=interval),
        "results": SimpleNamespace(ef_percent=ef, ef_grade=None, beats=(None,) * beats,
                                   is_part_of_beat=kind == "part_of_beat" or not beats),
        **changes,
    })  # fmt: skip


def predicted(view, a4c, a2c) -> Any:
    return SimpleNamespace(
        view=view, probability_percent={"A4C": a4c, "A2C": a2c},
        resolve=lambda stated, supported: View(view) if view in supported else stated,
    )  # fmt: skip


def chosen(*outcomes, view=View.A4C):
    """The rows of a heart whose clips are called a, b, ... by name."""
    names = "abcdef"[: len(outcomes)]
    clips = [StudyClip(name, Path(name), view, "header") for name in names]
    pairs = zip(names, outcomes, strict=True)
    known: Any = {name: (Entry(clip=name, name=name), one) for name, one in pairs if one}
    rows = choose(Heart(name="h", clips=tuple(clips)), known, (View.A4C, View.A2C)).rows
    return {row[1]: row[2:3] + row[4:] for row in rows}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "better_and_worse",
    [
        ({}, {"kind": "part_of_beat", "error": 1.0}),
        ({"kind": "part_of_beat"}, {"kind": "unreliable"}),
        ({"kind": "unreliable"}, {"kind": "none"}),
        ({"error": 4.0}, {"error": 6.0, "beats": 5}),
        ({"beats": 3}, {"beats": 1}),
        ({"kind": "unreliable", "beats": 2}, {"kind": "unreliable", "beats": 0}),
    ],
)
def test_the_more_reliable_clip_is_used_in_any_order(better_and_worse, order):
    better, worse = "ab"[::order]
    rows = chosen(*[report(**values) for values in better_and_worse][::order])
    assert rows[better][:2] == ("A4C", "used")
    assert rows[worse][1] == "passed over"
    assert rows[worse][2].startswith(f"{better} is preferred: ")


def test_of_other_views_none_is_used():
    wrong = SimpleNamespace(code="wrong_view", message="The clip shows no apical view.")
    failures = [
        Failure(clip="c", reason="broken"),
        Failure(clip="d", reason="one frame", is_clip=False),
        Failure(clip="e", reason="a long axis", is_clip=False, is_other_view=True),
    ]
    rows = chosen(report(warnings=(wrong,)), report(view=View.UNKNOWN), *failures, None,
                  view=View.UNKNOWN)  # fmt: skip
    assert rows["a"][1:] == ("passed over", "The clip shows no apical view.")
    assert rows["b"][2].startswith("the view classifier cannot tell its view; give it by --a4c")
    outcomes = [rows[name][1:] for name in "cdef"]
    assert outcomes == [
        ("failed", "broken"),
        ("not a clip", "one frame"),
        ("passed over", "a long axis"),
        ("passed over", "its header states unknown"),
    ]


def test_a_clip_of_some_plane_is_of_the_likelier_one_and_comes_after_those_that_are_sure():
    note = SimpleNamespace(code="view_predicted")
    open_one = report(
        view=View.UNKNOWN, notes=(note,), predicted_view=predicted("cannot tell", 35, 62)
    )
    sure = report(view=View.UNKNOWN, error=9.0, predicted_view=predicted("A2C", 10, 90))
    assert chosen(open_one)["a"] == (
        "A2C",
        "used",
        "EF 55 %, expected error 5.0 points, 1 beat, view 62 % sure",
    )
    rows = chosen(open_one, sure)
    assert (rows["a"][1], rows["b"][:2]) == ("passed over", ("A2C", "used"))


class StubAnalyzer:
    """Masks of a beating ellipse for every clip; IM_9 shows no apical view, IM_2 is broken."""

    def __init__(self):
        self.segmented, self.measured = [], []

    def other_view(self, clip):
        return "the clip shows no apical view" if "IM_9" in clip.source else ""

    def analyze(self, clip, *, masks=None, **options):
        assert "IM_2" not in clip.source, "a fault of ours"
        view = View.A4C if "IM_1" in clip.source else clip.view
        made = analysis(clip.source, view)
        assert masks is None or np.array_equal(masks, made.masks)
        (self.segmented if masks is None else self.measured).append(Path(clip.source).name)
        return replace(made, clip=replace(made.clip, source_sha256=clip.source_sha256))


@pytest.fixture
def stub(monkeypatch):
    analyzer = StubAnalyzer()
    monkeypatch.setattr("echoseg.report.cohort.work.load_analyzer", lambda *args: analyzer)
    write = writer._write_all
    monkeypatch.setattr(
        writer, "_write_all", lambda one, folder, **_: write(one, folder, pages=False)
    )
    for name, page in (("biplane_page_html", ""), ("biplane_content", {}), ("report_pdf", b"")):
        monkeypatch.setattr(writer, name, lambda *args, page=page: page)
    return analyzer


@pytest.fixture
def disc(tmp_path):
    make_disc(tmp_path / "disc", FRAMES)
    known = {"PatientID": "4711", "StudyInstanceUID": "1.2.3", "FrameTime": 40.0}
    for name, view in (("IM_7", View.A2C), ("IM_8", View.PLAX)):
        save_object(tmp_path / "disc" / "DICOM" / name, FRAMES, **known, **coded(view))
    save_object(tmp_path / "disc" / "DICOM" / "IM_9", FRAMES, **known)
    return tmp_path / "disc"


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "audit.jsonl"  # it holds times
    }


def test_a_study_is_biplane_of_its_clips_and_says_what_it_passed_over(disc, tmp_path, stub):
    out = tmp_path / "out"
    (choice,), *_ = run_study(disc, SETTINGS, out, options=PLAIN)
    assert list(choice.best) == [View.A4C, View.A2C]
    with (out / "study.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    outcomes = {name: row["outcome"] for name, row in rows.items()}
    assert outcomes["DICOM/IM_1"] == outcomes["DICOM/IM_7"] == "used"
    assert (outcomes["DICOM/IM_2"], outcomes["DICOM/IM_8"]) == ("failed", "passed over")
    assert rows["DICOM/IM_8"]["reason"] == "its header states PLAX"
    assert outcomes["DICOM/SR_1"] == outcomes["VIEWER/run.exe"] == "not a clip"
    assert rows["DICOM/IM_9"]["reason"] == "the clip shows no apical view; it was not segmented"
    assert (out / "DICOM" / "A2C" / "report.json").exists()
    assert stub.segmented == stub.measured == ["IM_1", "IM_7"]  # none is segmented twice


def test_a_clip_that_ends_the_search_for_hearts_costs_the_study_nothing(
    disc, tmp_path, stub, monkeypatch
):
    monkeypatch.setattr(clips, "read_clip_header", crash_in_header)
    study = run_study(disc, SETTINGS, tmp_path / "out", options=PLAIN)
    outcomes = {row[1]: row[4] for row in study.rows}
    assert outcomes["DICOM/IM_2"] == "failed"
    assert outcomes["DICOM/IM_1"] == outcomes["DICOM/IM_7"] == "used"


def test_a_study_stopped_anywhere_and_resumed_ends_in_the_same_bytes(disc, tmp_path, stub):
    whole = tmp_path / "whole"
    run_study(disc, SETTINGS, whole, options=PLAIN)
    expected, out = content(whole), tmp_path / "out"
    for lost in (
        ["study.csv", "DICOM", "clips/results.csv", "clips/DICOM_IM_1", "clips/failures"],
        ["study.csv", "DICOM"],
        ["study.csv"],
        [],
    ):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        for name in lost:
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
        stub.segmented.clear()
        stub.measured.clear()
        run_study(disc, SETTINGS, out, options=RESUMED)
        assert content(out) == expected
        assert stub.segmented == ["IM_1"] * ("clips/failures" in lost)
        assert stub.measured == ["IM_1", "IM_7"] * ("DICOM" in lost)


def test_a_heart_is_written_anew_when_a_resumed_study_has_more_of_it(disc, tmp_path, stub):
    later = (disc / "DICOM" / "IM_7").rename(tmp_path / "later")
    out = tmp_path / "out"
    run_study(disc, SETTINGS, out, options=PLAIN)
    assert (out / "DICOM" / "masks.nii.gz").exists()  # of one plane
    later.rename(disc / "DICOM" / "IM_7")
    run_study(disc, SETTINGS, out, options=RESUMED)
    assert (out / "DICOM" / "A2C").is_dir() and not (out / "DICOM" / "masks.nii.gz").exists()
    run_study(disc, SETTINGS.model_copy(update={"pdf": True}), out, options=RESUMED)
    assert (out / "DICOM" / "report.pdf").exists()
    (out / "DICOM" / "mine.txt").touch()
    with pytest.raises(OutputError, match=r"mine\.txt, which echoseg did not write"):
        run_study(disc, SETTINGS, out, options=RESUMED)


def test_what_is_there_is_never_mixed_with_another_study(disc, tmp_path, stub):
    out = tmp_path / "out"
    (out / "DICOM").mkdir(parents=True)
    with pytest.raises(OutputError, match="DICOM exists"):
        run_study(disc, SETTINGS, out, options=PLAIN)
    shutil.rmtree(out)
    run_study(disc, SETTINGS, out, options=PLAIN)
    with pytest.raises(OutputError, match=r"study\.csv exists"):
        run_study(disc, SETTINGS, out, options=PLAIN)
    with pytest.raises(ConfigError, match="was started with smoothing=True, got False"):
        run_study(disc, SETTINGS.model_copy(update={"smoothing": False}), out, options=RESUMED)
    with locked_dir(out), pytest.raises(OutputError, match="in use by another process"):
        run_study(disc, SETTINGS, out, options=RESUMED)


def test_the_command_has_the_same_bytes_for_any_number_of_processes(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for view in (View.A4C, View.A2C):
        config = PhantomConfig(seed=1, view=view, size_px=96, num_frames=16, frame_rate_hz=16.0)
        write_video(folder / f"p_{view}_1.avi", Phantom(config).frames())
    contents = []
    for jobs in ("1", "2"):
        out = tmp_path / f"out{jobs}"
        command = ["analyze", "--study", str(folder), "-o", str(out), "--model", "phantom",
                   "--device", "cpu", "--jobs", jobs]  # fmt: skip
        done = CliRunner().invoke(app, command)
        assert isinstance(done.exception, SystemExit | None), repr(done.exception)
        assert done.output.count("  used: A") == 2, done.output
        contents.append(content(out))
    assert contents[0] == contents[1]
    assert (tmp_path / "out1" / "p_1" / "A4C" / "overlay.mp4").exists()
    assert CliRunner().invoke(app, command).exit_code == 2
    resumed = CliRunner().invoke(app, [*command, "--resume"])
    assert resumed.exit_code == done.exit_code and content(out) == contents[0]
    refused = CliRunner().invoke(app, [*command, "--force"])
    assert "--force does not apply" in refused.output
