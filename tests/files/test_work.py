"""The hidden folder: the living and the foreign are left alone, the dead are swept."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import pytest

from echoseg.errors import OutputError
from echoseg.files import (
    HIDDEN,
    OwnedFolder,
    atomic_write,
    locked_dir,
    work,
    work_folder,
    write_text,
)
from echoseg.files import resumable as resumable_files
from echoseg.files.owned import remove_document, write_document
from echoseg.files.work import backup_path, sweep

KILLED = """
import os, signal, sys
from pathlib import Path
from echoseg.files import OwnedFolder
from echoseg.files.work import work_folder
parent, step = Path(sys.argv[1]), sys.argv[2]
rename = Path.rename
def cut(self, target):
    if step == "swap" and self.parent.name == "new":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = cut
with OwnedFolder(parent / "clip", "m", True).write() as partial:
    (partial / "x").write_text("half")
    if step == "write":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run_killed(parent, step):
    run = subprocess.run([sys.executable, "-c", KILLED, str(parent), step], check=False)
    assert run.returncode == -signal.SIGKILL


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_write_passes_through_the_hidden_folder_which_then_goes(tmp_path):
    with atomic_write(tmp_path / "a.png") as partial:
        assert partial.name == "a.png" and partial.parts[-4] == HIDDEN
        partial.write_text("x")
        assert not (tmp_path / "a.png").exists()
    assert names(tmp_path) == ["a.png"]


def test_a_sweep_leaves_the_living(tmp_path):
    with work_folder(tmp_path) as one:
        (one / "new" / "x").write_text("mine")
        with work_folder(tmp_path):
            sweep(tmp_path)
        assert (one / "new" / "x").exists()
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_what_a_killed_run_left_is_swept_by_the_next_write(tmp_path):
    run_killed(tmp_path, "write")
    assert len(list(tmp_path.glob(f"{HIDDEN}/*/new/clip/x"))) == 1
    write_text(tmp_path / "b", "x")
    assert names(tmp_path) == ["b"]


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_a_folder_that_a_killed_run_had_moved_comes_back(tmp_path):
    (tmp_path / "clip").mkdir()
    run_killed(tmp_path, "swap")
    assert not (tmp_path / "clip").exists()
    with pytest.raises(OutputError, match="exists"):
        OwnedFolder(tmp_path / "clip", "m").check()
    assert names(tmp_path) == ["clip"]


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_what_comes_back_never_takes_the_place_of_something_new(tmp_path):
    (tmp_path / "clip").mkdir()
    run_killed(tmp_path, "swap")
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "mine").touch()
    sweep(tmp_path)
    assert names(tmp_path) == ["clip", "clip.kept", "clip/mine"]


@pytest.mark.parametrize(
    "place",
    [
        "mine", "12-0123456789abcdef/x", "12-0123456789abcdeg/lock", "12-0123456789ABCDEF/lock",
        "x12-0123456789abcdef/lock", "12-0123456789abcdef.begun/lock", "12-0123456789abcdef",
    ],
)  # fmt: skip
def test_what_is_named_like_ours_and_is_not_stays(tmp_path, place):
    foreign = tmp_path / HIDDEN / place
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.write_text("years of work")
    write_text(tmp_path / "a", "x")
    with locked_dir(tmp_path):
        sweep(tmp_path)
    assert foreign.read_text() == "years of work"


def test_a_dead_folder_with_something_foreign_in_it_stays(tmp_path):
    entry = tmp_path / HIDDEN / "12-0123456789abcdef"
    entry.mkdir(parents=True)
    (entry / "lock").touch()
    (entry / "notes").touch()
    sweep(tmp_path)
    assert (entry / "notes").exists()
    (entry / "notes").unlink()
    sweep(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_hidden_folder_that_is_none_is_refused_and_stays(tmp_path, kind):
    hidden, victim = tmp_path / HIDDEN, tmp_path / "victim"
    if kind == "file":
        hidden.write_text("x")
    else:
        if kind == "link":
            (victim / "12-0123456789abcdef").mkdir(parents=True)
            (victim / "12-0123456789abcdef" / "lock").touch()
        hidden.symlink_to(victim)
    before = names(tmp_path)
    with pytest.raises(OutputError, match="must be a folder, it is a link or a file; move it"):
        write_text(tmp_path / "a", "x")
    with pytest.raises(OutputError, match="must be a folder"), locked_dir(tmp_path):
        pass
    sweep(tmp_path)
    assert names(tmp_path) == before


def test_a_locks_name_does_not_touch_a_users_lock_file(tmp_path):
    (tmp_path / ".lock").write_text("of another tool")
    with locked_dir(tmp_path), pytest.raises(OutputError, match="in use"), locked_dir(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "of another tool"
    assert names(tmp_path) == [".lock"]


def test_a_device_or_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "null", Path("/dev/null"), tmp_path):
        with pytest.raises(OutputError, match="exists and is not a file"):
            write_text(path, "x")
    assert names(tmp_path) == ["null", "pipe"] and not Path("/dev/null").is_file()


def test_a_name_for_what_is_moved_is_free(tmp_path):
    assert backup_path(tmp_path / "a").name == "a.kept"
    (tmp_path / "a.kept").symlink_to("nowhere")
    assert backup_path(tmp_path / "a").name == "a.kept-2"


@pytest.mark.parametrize("how", ["moved", "removed", "replaced", "linked"])
def test_a_folder_that_is_in_use_is_known_when_its_path_leads_elsewhere(tmp_path, how):
    folder, other = tmp_path / "out", tmp_path / "other"
    with locked_dir(folder) as same:
        same.check()
        (other / HIDDEN).mkdir(parents=True)
        (other / HIDDEN / "lock").write_text("of another run")
        folder.rename(tmp_path / "moved")
        if how == "removed":
            shutil.rmtree(tmp_path / "moved")
        elif how == "replaced":
            other.rename(folder)
        elif how == "linked":
            folder.symlink_to(other)
        assert not same.is_there()
        with pytest.raises(OutputError, match="moved, removed or unmounted while it was in use"):
            same.check()
    assert [path.read_text() for path in tmp_path.rglob("lock") if "moved" not in path.parts] == [
        "of another run"
    ]


def test_a_document_is_not_written_or_removed_behind_a_link(tmp_path):
    theirs = tmp_path / "theirs" / "a.json"
    theirs.parent.mkdir()
    theirs.write_text("precious")
    (tmp_path / "notes").symlink_to(theirs.parent)
    with pytest.raises(OutputError, match="must be a folder, it is a link or a file; move it"):
        write_document(tmp_path / "notes" / "a.json", str)
    remove_document(tmp_path / "notes" / "a.json")
    assert theirs.read_text() == "precious"


def test_a_folder_that_another_process_removes_is_made_again(tmp_path, monkeypatch):
    """It may be gone between the two looks at it, as `.echoseg` where several processes write."""
    folder, removed = tmp_path / "f", []
    folder.mkdir()
    plain = os.lstat

    def lstat(path):
        if path == folder and len(removed) < 2:
            removed.append(path)
            folder.rmdir()
        return plain(path)

    monkeypatch.setattr(os, "lstat", lstat)
    assert work.plain_folder(folder) == folder and len(removed) == 2 and folder.is_dir()
    monkeypatch.setattr(os, "lstat", lambda path: (folder.rmdir(), plain(path))[1])
    with pytest.raises(OutputError, match="is removed again and again"):
        work.plain_folder(folder)


@pytest.mark.parametrize("removed", ["out/.echoseg", "out", "."])
def test_a_folder_that_its_last_holder_removes_is_locked_anew(tmp_path, monkeypatch, removed):
    """Who holds it removes what is empty as it ends, while others begin."""
    folder, tries = tmp_path / "new" / "out", []
    plain = filelock.FileLock.acquire

    def acquire(lock, **options):
        tries.append(lock)
        if len(tries) < 3:
            shutil.rmtree(tmp_path / "new" / removed)
            raise FileNotFoundError
        return plain(lock, **options)

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with locked_dir(folder) as same:
        assert same.is_there() and len(tries) == 3
        with pytest.raises(OutputError, match="is in use by another process"), locked_dir(folder):
            pass
    assert names(tmp_path) == []
    monkeypatch.setattr(
        filelock.FileLock, "acquire", lambda lock, **options: os.stat(lock.lock_file)
    )
    with pytest.raises(OutputError, match="is removed again and again"), locked_dir(folder):
        pass


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out must be a folder; choose another"):
        with locked_dir(tmp_path / "out"):
            pass
    assert (tmp_path / "out").read_text() == "mine"


COUNTS = """
import sys, time
from pathlib import Path
from echoseg.files import locked_dir
folder, count = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(60):
    with locked_dir(folder, wait_s=120.0):
        number = int(count.read_text())
        time.sleep(0.001)
        count.write_text(str(number + 1))
"""


def test_one_process_at_a_time_works_in_a_folder_and_none_fails(tmp_path):
    count = tmp_path / "count"
    count.write_text("0")
    words = [sys.executable, "-c", COUNTS, str(tmp_path / "new" / "out"), str(count)]
    runs = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    ends = [run.communicate(timeout=240)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, ends
    assert count.read_text() == "240"
    assert {Path(name).name for name in names(tmp_path)} <= {"count", "new", "out"}  # no lock


def test_a_look_at_a_lock_keeps_nobody_from_taking_it(tmp_path, monkeypatch):
    monkeypatch.setattr(resumable_files, "PROBE_S", 60.0)  # however late the look ends
    lock = tmp_path / HIDDEN / "lock"
    lock.parent.mkdir()
    lock.touch()
    with lock.open("rb") as file:
        work.fcntl.flock(file, work.fcntl.LOCK_SH | work.fcntl.LOCK_NB)  # as `is_locked`
        threading.Timer(0.1, file.close).start()
        with locked_dir(tmp_path) as same:
            assert same.is_there()


def test_a_sweep_takes_a_folder_that_goes_for_empty(tmp_path, monkeypatch):
    (tmp_path / HIDDEN).mkdir()
    monkeypatch.setattr(work, "is_plain_folder", lambda path: path.rmdir() is None)
    sweep(tmp_path)
    assert names(tmp_path) == []
