"""No clip ends a cohort: what it does to its process, what it is called, where its links lead."""

import csv
import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cohort_stub import StubWork, measured
from echoseg.audit import AuditLog
from echoseg.errors import OutputError
from echoseg.io import source_sha256
from echoseg.parallel import Limits, WorkerPool
from echoseg.report import cohort
from echoseg.report.cohort import RunOptions, Settings, find_clips, run_cohort, work
from echoseg.report.cohort.folder import Begun
from echoseg.report.cohort.work import Work
from echoseg.report.hearts import find_hearts

SETTINGS = Settings(model="phantom", model_sha256="0" * 64, pages=False)
LIMITS = Limits(timeout_s=8, memory_gb=0.3)
AGAIN = "and --resume (resume) to try it again"
LOST = {
    "hang.avi": f"it took longer than 8 s; raise --clip-timeout {AGAIN}",
    "grow.avi": f"it used more than 0.3 GB of memory; raise --clip-memory {AGAIN}",
    "segfault.avi": "its process crashed (SIGSEGV); resume with --retry-failed to try it again",
    "kill.avi": "its process was killed, as happens when memory runs out; "
    "--resume (resume) to try it again",
}


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    monkeypatch.setattr(cohort, "Work", StubWork)


def write_clips(root, *words):
    """One clip per word."""
    root.mkdir(exist_ok=True)
    for word in words:
        (root / f"{word}.avi").write_text(f"{word} {word}")
    return root


def run(root, out, **options):
    return run_cohort(find_clips([root], out), SETTINGS, out, RunOptions(**options))


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return {row["clip"]: row for row in csv.DictReader(file)}


def reasons(out):
    return {clip: row["reason"] for clip, row in rows(out / "failures.csv").items()}


def tries(out):
    """How often each clip was tried since the last call."""
    file = out.parent / "tries.txt"
    names = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return {name: names.count(name) for name in names}


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_a_clip_that_ends_its_process_fails_alone_and_is_tried_again_if_it_may_help(
    tmp_path,
):
    root = write_clips(tmp_path / "clips", "a", "grow", "hang", "kill", "segfault", "z")
    out = tmp_path / "out"
    outcome = run(root, out, limits=LIMITS, jobs=1)
    assert (outcome.clips, outcome.failed) == (6, 4)
    assert reasons(out) == LOST
    assert list(rows(out / "results.csv")) == ["a.avi", "z.avi"]
    assert set(tries(out).values()) == {1} and not list(out.glob(".begun/*"))
    raised = Limits(timeout_s=8, memory_gb=0.4)
    run(root, out, limits=raised, resume=True)  # a kill from outside is not the clip's fault
    assert tries(out) == {"grow": 1, "kill": 1}
    assert reasons(out) == LOST | {"grow.avi": LOST["grow.avi"].replace("0.3", "0.4")}
    (root / "kill.avi").write_text("ok now")
    (root / "hang.avi").write_text("ok, another file")
    run(root, out, limits=raised, resume=True, retry_failed=True)
    assert tries(out) == {"grow": 1, "hang": 1, "kill": 1, "segfault": 1}
    assert list(reasons(out)) == ["grow.avi", "segfault.avi"]

    log = AuditLog(out / "audit.jsonl")
    assert log.verify().problems == ()
    events = [record.event for record in log.records()]
    assert events.count("failed") == 4 + 2 + 2 and events.count("analyzed") == 2 + 2
    assert events[-1] == "tables" and all(r.model_sha256 == "0" * 64 for r in log.records())
    text = log.path.read_text()
    assert not any(name in text for name in ("avi", "hang", str(tmp_path)))


def test_names_that_are_not_utf_8_are_clips_like_others(tmp_path):
    root = write_clips(tmp_path / "clips", "ok")
    folder = os.fsencode(root) + b"/M\xfcller"
    os.mkdir(folder)
    for name, word in ((b"\xe4.avi", "ok"), (b"\xf6.avi", "broken"), (rb"\xe4.avi", "ok")):
        with open(folder + b"/" + name, "w") as file:
            file.write(word)
    out = tmp_path / "out"
    outcome = run(root, out, limits=None)
    assert (outcome.clips, outcome.failed) == (4, 1)
    results = rows(out / "results.csv")
    assert r"M\xfcller/\xe4.avi" in results and len(results) == 3
    assert list(reasons(out)) == [r"M\xfcller/\xf6.avi"]
    for row in results.values():
        assert (out / row["folder"] / "report.json").is_file()
    for path in out.rglob("*"):
        if path.suffix in (".json", ".csv", ".jsonl"):
            path.read_text("utf-8")
    tries(out)
    assert run(root, out, limits=None, resume=True).clips == 4 and tries(out) == {}


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_links_to_folders_are_followed_once(tmp_path):
    root = write_clips(tmp_path / "root", "a")
    elsewhere = write_clips(tmp_path / "elsewhere", "b")
    write_clips(elsewhere / "deep", "c")
    own = write_clips(root / "z", "d")
    for link, target in {
        "p2": elsewhere, "p3": elsewhere, "a_link": own, "loop": root, "file.avi": own / "d.avi",
        "deep": elsewhere / "deep",
    }.items():  # fmt: skip
        (root / link).symlink_to(target)
    (elsewhere / "back").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    out = root / "out"
    out.mkdir()
    (out / "left.avi").touch()
    (root / "out_link").symlink_to(out)
    found = find_clips([root], out)
    assert list(found) == ["a.avi", "deep/c.avi", "file.avi", "p2/b.avi", "z/d.avi"]
    again = {name for name, reason in found.others.items() if "is read already" in reason}
    assert again == {"p3", "a_link", "loop", "p2/back"}


def test_tables_are_written_after_an_interruption_and_the_same_after_a_resume(tmp_path):
    root = write_clips(tmp_path / "clips", "a", "b", "broken", "d")
    whole, out = tmp_path / "1" / "out", tmp_path / "2" / "out"
    run(root, whole, limits=None)

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    for options in ({"limits": None}, {"limits": Limits(), "jobs": 2}):
        with pytest.raises(KeyboardInterrupt):
            run_cohort(find_clips([root]), SETTINGS, out, RunOptions(**options), interrupt)
        assert len(rows(out / "results.csv")) >= 2
        left = reasons(out)
        assert all("continue with --resume (resume)" in left[c] for c in left if c != "broken.avi")
        run(root, out, limits=None, resume=True)
        for name in ("results.csv", "failures.csv", "not_clips.csv"):
            assert (out / name).read_bytes() == (whole / name).read_bytes()
        assert not list(out.glob(".begun/*")) and AuditLog(out / "audit.jsonl").verify().records
        shutil.rmtree(out)


def test_clips_that_were_in_work_at_a_kill_come_last_and_what_they_wrote_is_logged(tmp_path):
    root = write_clips(tmp_path / "clips", "a", "b", "c")
    out = tmp_path / "out"
    run(root, out, limits=None)
    log = AuditLog(out / "audit.jsonl")
    lines = log.path.read_bytes().splitlines(keepends=True)
    for name, number in (("a", 2), ("b", 1)):  # a died twice, b wrote its result, not its record
        Begun(tries=number).write(out / ".begun" / f"{name}.json")
    log.path.write_bytes(lines[0])
    shutil.rmtree(out / "a")
    shutil.rmtree(out / "c")
    tries(out)
    run(root, out, limits=None, resume=True)
    assert list(tries(out)) == ["c", "a"]
    inputs = [record.input_sha256 for record in log.records() if record.event == "analyzed"]
    assert len(inputs) == 4 and len(set(inputs)) == 3 and log.verify().problems == ()
    assert not list(out.glob(".begun/*"))


class FakeAnalyzer:
    """What another program does while a clip is analyzed."""

    def __init__(self, out):
        self.place = out / "a" / "mine.txt"

    def analyze(self, clip, **options):
        self.place.parent.mkdir(exist_ok=True)
        self.place.write_text("precious")
        return replace(measured(), clip=clip)


def load_text(path, **options):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(measured().clip, source=str(path), source_sha256=digest)


def real_work(monkeypatch, place, load_clip=load_text):
    """Work without its stub, on text files."""
    monkeypatch.setattr(cohort, "Work", Work)
    monkeypatch.setattr(work, "load_analyzer", lambda *names: FakeAnalyzer(place))
    monkeypatch.setattr(work, "load_clip", load_clip)


def test_a_folder_of_someone_else_in_the_place_of_a_result_costs_that_clip_only(
    tmp_path, monkeypatch
):
    root, out = write_clips(tmp_path / "clips", "a", "b"), tmp_path / "out"
    real_work(monkeypatch, out)
    assert run(root, out, limits=None).failed == 1
    assert reasons(out)["a.avi"].startswith("the place of its result is taken; move what is there")
    assert list(rows(out / "results.csv")) == ["b.avi"]
    assert (out / "a" / "mine.txt").read_text() == "precious"
    (out / "a").rename(tmp_path / "moved")
    monkeypatch.setattr(
        FakeAnalyzer, "__init__", lambda self, out: setattr(self, "place", root / "x" / "y")
    )
    assert run(root, out, limits=None, resume=True).failed == 0


@pytest.mark.parametrize("how", ["moved", "removed", "linked"])
def test_an_output_folder_that_goes_while_it_is_written_ends_the_run_and_is_not_made_again(
    tmp_path, how
):
    root, out = write_clips(tmp_path / "clips", "a", "b", "c"), tmp_path / "out"
    whole, mine = tmp_path / "whole" / "out", tmp_path / "mine"
    run(root, whole, limits=None)
    mine.mkdir()
    (mine / "results.csv").write_text("precious")

    def go(done, total):
        if done == 1:
            out.rename(tmp_path / "moved")
            if how == "removed":
                shutil.rmtree(tmp_path / "moved")
            if how == "linked":
                out.symlink_to(mine)

    with pytest.raises(OutputError, match="moved, removed or unmounted while it was in use"):
        run_cohort(find_clips([root]), SETTINGS, out, RunOptions(limits=None), go)
    assert os.listdir(mine) == ["results.csv"] and out.exists() == (how == "linked")
    if how != "removed":
        out.unlink(missing_ok=True)
        (tmp_path / "moved").rename(out)
        run(root, out, limits=None, resume=True)
        assert (out / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()


def test_a_link_in_the_place_of_a_result_meanwhile_costs_that_clip_only(tmp_path, monkeypatch):
    real_work(monkeypatch, tmp_path)
    root, out = write_clips(tmp_path / "clips", "a", "b", "c"), tmp_path / "out"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "report.json").write_text("precious")

    def put(done, total):
        if done == 1:
            (out / "b").symlink_to(mine)
            (out / "failures" / "c.json").write_text("a note")

    outcome = run_cohort(find_clips([root]), SETTINGS, out, RunOptions(limits=None), put)
    assert (outcome.clips, outcome.failed) == (3, 1)
    assert reasons(out)["b.avi"].startswith("its result, or failure, cannot be read; move b or")
    assert (mine / "report.json").read_text() == "precious"
    assert (out / "failures" / "c.json.kept").read_text() == "a note"
    with pytest.raises(OutputError, match=r"move \S+ elsewhere and continue with --resume"):
        run(root, out, limits=None, resume=True)
    (out / "b").unlink()
    assert run(root, out, limits=None, resume=True).failed == 0


def test_notes_of_clips_in_work_replace_nobodys_file(tmp_path):
    root, out = write_clips(tmp_path / "clips", "a", "b"), tmp_path / "out"
    (out / ".begun").mkdir(parents=True)
    (out / ".begun" / "a.json").write_text("precious")
    assert run(root, out, limits=None).failed == 0
    assert (out / ".begun" / "a.json.kept").read_text() == "precious"
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / ".begun").symlink_to(out / ".begun")
    with pytest.raises(OutputError, match="must be a folder, it is a link or a file; move it"):
        run(root, linked, limits=None)


def test_a_clip_that_changes_while_it_is_read_is_tried_again(tmp_path, monkeypatch):
    root, out = write_clips(tmp_path / "clips", "a"), tmp_path / "out"

    def grow(path, **options):
        path.write_text(path.read_text() + "more"[: 4 * (path.stat().st_size < 5)])
        return load_text(path)

    real_work(monkeypatch, tmp_path, grow)
    assert run(root, out, limits=None).failed == 1
    assert reasons(out)["a.avi"].startswith("its file changed while it was read; --resume")
    assert run(root, out, limits=None, resume=True).failed == 0
    inputs = [record.input_sha256 for record in AuditLog(out / "audit.jsonl").records()]
    assert hashlib.sha256((root / "a.avi").read_bytes()).hexdigest() in inputs


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.avi")
    (tmp_path / "zero.avi").symlink_to("/dev/zero")
    assert [source_sha256(tmp_path / name) for name in ("pipe.avi", "zero.avi")] == ["", ""]


def test_one_worker_looks_for_all_clips(tmp_path, monkeypatch):
    started = []
    start = WorkerPool._start
    monkeypatch.setattr(
        WorkerPool, "_start", lambda pool, tries: started.append(tries) or start(pool, tries)
    )
    root = write_clips(tmp_path / "clips", "a", "b")
    write_clips(root / "c", "d")
    assert len(find_hearts(root)[0]) == 2 and len(started) == 1
    assert len(find_clips([root / "a.avi", root / "c", root / "b.avi"])) == 3
    assert len(started) == 2


def test_reading_a_header_ends_nothing(tmp_path, monkeypatch):
    from echoseg.report.cohort import clips

    root = write_clips(tmp_path / "clips", "a", "segfault")
    monkeypatch.setattr(clips, "read_clip_header", crash_in_header)
    start = time.monotonic()
    assert list(find_clips([root])) == ["a.avi", "segfault.avi"]
    assert time.monotonic() - start < 60


def test_the_process_that_leads_a_run_opens_no_foreign_file(tmp_path, monkeypatch):
    root, out = write_clips(tmp_path / "clips", "a", "broken"), tmp_path / "out"
    plain = Path.open

    def refused(path, *arguments, **options):
        assert root not in path.parents, path
        return plain(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(AssertionError):
        (root / "a.avi").read_bytes()
    assert run(root, out).failed == 1
    assert run(root, out, resume=True).failed == 1
    assert find_hearts(root)[0]


def crash_in_header(path):
    from echoseg.io.clip_header import ClipHeader
    from misbehave import misbehave

    misbehave(path.stem)
    return ClipHeader()
