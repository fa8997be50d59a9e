"""No clip ends a cohort: what it does to its process, what it is called, where its links lead."""

import os
import shutil
import time
from pathlib import Path

import pytest

from cohort_stub import SETTINGS, StubWork, reasons, rows, run, write_clips
from echoseg.audit import AuditLog
from echoseg.parallel import Limits, WorkerPool
from echoseg.report import cohort
from echoseg.report.cohort import RunOptions, find_clips, run_cohort
from echoseg.report.cohort.folder import Begun
from echoseg.report.hearts import find_hearts
from misbehave import crash_in_header

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
