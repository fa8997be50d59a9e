"""The state of a cohort, and failed clips that are tried again."""

import os
import time

import pytest
from typer.testing import CliRunner

from cohort_stub import SETTINGS, StubWork, reasons, run, write_clips
from echoseg.cli import app
from echoseg.files import locked_dir
from echoseg.report import cohort
from echoseg.report.cohort.folder import Begun, Entry, Failure, failure_path
from echoseg.report.cohort.manage import mark_for_retry, read_cohort, read_status


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    monkeypatch.setattr(cohort, "Work", StubWork)


@pytest.fixture
def place(tmp_path):
    """Clips of which one is broken and one is something else, analyzed."""
    root = write_clips(tmp_path / "clips", "a", "b", "broken", "c")
    (root / "viewer.exe").write_text("not a clip")
    run(root, tmp_path / "out", limits=None)
    return root, tmp_path / "out"


def call(*words):
    return CliRunner().invoke(app, ["cohort", *map(str, words)])


def fail(out, clip, kind, reason="it took too long", **fields):
    """Put a failure in place of a clip's result."""
    entry = Entry(clip=f"{clip}.avi", name=clip)
    for path in (out / clip).glob("*"):
        path.unlink()
    (out / clip).rmdir()
    failure = Failure(clip=entry.clip, reason=reason, kind=kind, sha256="1" * 64, **fields)
    failure.write(failure_path(out, entry))


def test_status_counts_every_clip_once(place):
    _, out = place
    fail(out, "a", "timeout", limit=8.0)
    fail(out, "b", "outside", "something else", is_clip=False)
    for path in (out / "c").glob("*"):
        path.unlink()
    Begun().write(out / ".begun" / "c.json")
    state = read_status(out)
    assert (state.clips, state.done, state.pending, state.in_work, state.others) == (3, 0, 1, 1, 2)
    assert state.failed == {"clip": 1, "timeout": 1} and state.retried == 0
    assert state.reasons == {"it is broken": 1, "it took too long": 1}
    assert state.running == () and state.clips_per_min is None and state.left_s is None
    done = call("status", out)
    assert done.exit_code == 0
    assert "3 clips: 0 done, 2 failed, 1 pending, of these 1 in work" in done.output
    assert "clip 1" in done.output and "  1: it is broken" in done.output
    assert "not running; continue with --resume" in done.output


def test_rate_and_time_left_are_those_of_the_last_ten_minutes(place):
    _, out = place
    for path in (out / "c").glob("*"):
        path.unlink()
    now_s = time.time()
    for path, ago_s in ((out / "a", 5000), (out / "b", 40), (out / "failures" / "broken.json", 30)):
        place = path / "report.json" if path.is_dir() else path
        os.utime(place, (now_s - ago_s,) * 2)
    assert read_status(out).clips_per_min is None  # nothing runs
    with locked_dir(out):
        state = read_status(out)
        text = call("status", out).output
    assert state.clips_per_min == pytest.approx(3.0, rel=0.05)
    assert state.left_s == pytest.approx(20.0, rel=0.05) and state.running == ("run",)
    assert "running; 3.0 clips/min, less than a minute left" in text


def test_status_writes_nothing(place):
    _, out = place
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert call("status", out).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("wanted", "marked"),
    [
        ((), {"clip": 1, "timeout": 1, "crash": 1}),
        (("timeout",), {"timeout": 1}),
        (("timeout", "crash"), {"timeout": 1, "crash": 1}),
        (("too long",), {"timeout": 1}),
        (("no such reason",), {}),
    ],
)
def test_retry_marks_by_kind_or_words(place, wanted, marked):
    _, out = place
    fail(out, "a", "timeout", limit=8.0)
    fail(out, "b", "crash", "its process crashed")
    assert mark_for_retry(out, wanted) == marked
    assert read_status(out).retried == sum(marked.values())


def test_marked_clips_are_tried_again_and_their_failures_stay_until_then(place):
    root, out = place
    assert reasons(out) == {"broken.avi": "it is broken"}
    fail(out, "a", "crash", "its process crashed")
    (root.parent / "tries.txt").unlink()
    assert mark_for_retry(out, ["crash", "clip"]) == {"crash": 1, "clip": 1}
    assert "to be tried again: 2" in call("status", out).output
    (root / "broken.avi").write_text("ok")
    run(root, out, limits=None, resume=True)
    assert (root.parent / "tries.txt").read_text().split() == ["a", "broken"]
    assert reasons(out) == {} and read_status(out).done == 4
    done = call("retry", out)
    assert done.exit_code == 1 and "to be tried again: 0" in done.output


def test_a_clip_that_fails_again_is_not_tried_for_ever(place):
    root, out = place
    mark_for_retry(out)
    run(root, out, limits=None, resume=True)
    (root.parent / "tries.txt").unlink()
    run(root, out, limits=None, resume=True)
    assert not (root.parent / "tries.txt").exists() and read_status(out).retried == 0


def test_other_folders_are_refused_by_name(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.json").write_text('{"runs": 1}')
    for command in ("status", "merge", "retry", "export"):
        words = ("-o", tmp_path / "x.xlsx") if command == "export" else ()
        for name, text in (
            ("other", "must be the output folder of a cohort, it has no manifest.json"),
            ("none", "must be the output folder of a cohort"),
            ("bad", "must hold a cohort, its manifest.json is of another kind"),
        ):
            done = call(command, tmp_path / name, *words)
            assert done.exit_code == 2 and text in done.stderr, done.stderr
    assert not (tmp_path / "none").exists() and list((tmp_path / "other").iterdir()) == []


def test_the_manifest_holds_what_is_not_a_clip(place):
    _, out = place
    held = read_cohort(out)
    assert list(held.others) == ["viewer.exe"] and held.settings == SETTINGS
