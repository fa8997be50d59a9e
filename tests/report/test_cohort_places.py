"""What others do to the output folder and to the clips while a cohort is made of them."""

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime

import pytest

from cohort_stub import SETTINGS, StubWork, measured, reasons, rows, run, write_clips
from echoseg import audit
from echoseg.audit import AuditLog
from echoseg.errors import EchosegError, FormatError, OutputError
from echoseg.io import load_clip, source_sha256
from echoseg.report import cohort
from echoseg.report.cohort import RunOptions, clips, find_clips, run_cohort, work
from echoseg.report.cohort.work import Work

TABLES = ("results.csv", "failures.csv", "not_clips.csv")


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    monkeypatch.setattr(cohort, "Work", StubWork)
    monkeypatch.setattr(clips, "HEADER_LIMITS", None)


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


@pytest.mark.parametrize(
    ("goes", "message"), [(False, "cannot be written .No such file"), (True, "moved, removed or")]
)
def test_a_result_that_is_removed_before_it_is_logged_ends_the_run_in_plain_words(
    tmp_path, monkeypatch, goes, message
):
    root, out = write_clips(tmp_path / "clips", "a"), tmp_path / "out"
    plain = Work._end

    def remove_first(self, event, entry, sha256):
        shutil.rmtree(out / "a")
        if goes:
            out.rename(tmp_path / "moved")
        plain(self, event, entry, sha256)

    monkeypatch.setattr(Work, "_end", remove_first)
    with pytest.raises(OutputError, match=message):
        run(root, out, limits=None)


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


@pytest.mark.parametrize("link", [os.link, os.symlink])
@pytest.mark.parametrize(
    "place",
    [
        "audit.jsonl", ".audit.jsonl.lock", ".echoseg/lock", ".echoseg/written.json", "results.csv",
        "manifest.json", ".begun/b.json", "failures/broken.json", "a/report.json", "a/frames.csv",
    ],
)  # fmt: skip
def test_a_file_of_the_user_that_is_linked_into_the_folder_keeps_its_bytes(tmp_path, place, link):
    root, out = write_clips(tmp_path / "clips", "a", "b", "broken"), tmp_path / "out"
    run(root, out, limits=None)
    shutil.rmtree(out / "b")
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"precious, without a line end")
    (out / place).parent.mkdir(exist_ok=True)
    (out / place).unlink(missing_ok=True)
    link(theirs, out / place)
    with contextlib.suppress(EchosegError):
        run(root, out, limits=None, resume=True)
    assert theirs.read_bytes() == b"precious, without a line end"


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


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.ENOMEM])
def test_what_the_machine_lacks_is_not_the_clips_fault(tmp_path, monkeypatch, number):
    root, out = write_clips(tmp_path / "clips", "a", "b"), tmp_path / "out"

    def lack(path, **options):
        try:
            raise OSError(number, "of a decoder")
        except OSError as error:
            raise FormatError(f"{path}: the content is broken") from error

    real_work(monkeypatch, tmp_path, lack)
    assert run(root, out, limits=None).failed == 2
    assert "ran out" in reasons(out)["a.avi"] and "--resume (resume)" in reasons(out)["a.avi"]
    real_work(monkeypatch, tmp_path)
    assert run(root, out, limits=None, resume=True).failed == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.avi")
    (tmp_path / "zero.avi").symlink_to("/dev/zero")
    for name in ("pipe.avi", "zero.avi"):
        assert source_sha256(tmp_path / name) == ""
        with pytest.raises(FormatError):
            load_clip(tmp_path / name)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, and how to make it larger."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        return subprocess.run(words, capture_output=True).returncode == 0

    if shutil.which("mount") is None or not mount("size=8k"):
        pytest.skip("no file system can be mounted here")
    yield place, lambda size: mount(f"remount,size={size}")
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("size_kib", range(8, 90, 12))
def test_a_full_disk_costs_no_result_and_a_resumed_run_has_the_same_bytes(
    tmp_path, small_disk, size_kib
):
    root, whole = write_clips(tmp_path / "clips", "a", "b", "broken", "d"), tmp_path / "whole"
    run(root, whole, limits=None)
    disk, resize = small_disk
    assert resize(f"{size_kib}k")
    with pytest.raises(OutputError, match=r"No space left on device\); make room there"):
        run(root, disk / "out", limits=None)
    assert not [p for p in (disk / "out").glob("failures/*") if p.stem != "broken"]
    assert resize("10m")
    assert run(root, disk / "out", limits=None, resume=True).failed == 1
    for name in TABLES:
        assert (disk / "out" / name).read_bytes() == (whole / name).read_bytes()
    assert [p.name for p in disk.glob("out/.echoseg/*")] == ["written.json"]
    assert AuditLog(disk / "out" / "audit.jsonl").verify().problems == ()


def test_files_of_the_future_and_a_clock_that_goes_back_change_nothing(tmp_path, monkeypatch):
    root, out = write_clips(tmp_path / "clips", "a", "b"), tmp_path / "out"
    run(root, out, limits=None)
    expected = [(out / name).read_bytes() for name in TABLES]
    for path, time_s in zip(sorted(root.iterdir()), (4e9, 0), strict=True):
        os.utime(path, (time_s, time_s))
    shutil.rmtree(out / "a")
    monkeypatch.setattr(audit, "datetime", Past)
    run(root, out, limits=None, resume=True)
    assert [(out / name).read_bytes() for name in TABLES] == expected
    log = AuditLog(out / "audit.jsonl")
    assert log.verify().problems == () and "1970-01-01" in log.path.read_text()


class Past:
    """A clock that was set back."""

    @staticmethod
    def now(zone):
        return datetime.fromtimestamp(0, zone)
