"""The commit that `--version` states: of a checkout, a source distribution, an archive."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from echoseg import build_info

ROOT = Path(__file__).parents[1]
HASH = "76c8a9f12" + "0" * 31
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder, *words):
    named = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", "-C", folder, *named, *words], capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository of one commit, with what the build hook reads."""
    folder = tmp_path / "checkout"
    (folder / "src/echoseg").mkdir(parents=True)
    shutil.copy(build_info.__file__, folder / "src/echoseg")
    for name in (".gitattributes", ".git_archival.txt"):
        shutil.copy(ROOT / name, folder)
    git(tmp_path, "init", "-q", folder)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def find_commit(root):
    pytest.importorskip("hatchling")
    return runpy.run_path(str(ROOT / "scripts/build_hook.py"))["find_commit"](root)


@needs_git
def test_a_checkout_states_its_commit_and_whether_files_differ(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert build_info.commit_of(checkout) == commit
    (checkout / "new.txt").touch()
    git(checkout, "tag", "v9")
    assert build_info.commit_of(checkout) == commit  # neither an unknown file nor a tag counts
    (checkout / ".gitattributes").write_text("changed")
    assert build_info.commit_of(checkout) == f"{commit}-dirty"


@needs_git
def test_a_folder_inside_a_checkout_is_not_the_checkout(checkout):
    """An installation in `.venv` of another project must not state that project's commit."""
    assert build_info.commit_of(checkout / "src") == ""


@pytest.mark.parametrize(
    ("commit", "words"),
    [
        (HASH, "(commit 76c8a9f12)"),
        (f"{HASH}-dirty", "(commit 76c8a9f12-dirty)"),
        ("", "(commit unknown)"),
    ],
)
def test_the_version_names_the_commit(monkeypatch, tmp_path, commit, words):
    (tmp_path / "commit.txt").write_text(commit + "\n")
    monkeypatch.setattr(build_info, "COMMIT_FILE", tmp_path / "commit.txt")
    build_info.commit.cache_clear()
    assert build_info.full_version() == f"{version('echoseg')} {words}"
    build_info.commit.cache_clear()


def test_the_command_states_version_and_commit():
    command = [sys.executable, "-m", "echoseg", "--version"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(
        rf"echoseg {re.escape(version('echoseg'))} \(commit (unknown|[0-9a-f]{{9}}(-dirty)?)\)\n",
        text,
    )


def test_importing_asks_no_program(tmp_path):
    code = (
        "import subprocess\n"
        "def refuse(*a, **k): raise SystemExit('a program was run')\n"
        "subprocess.Popen.__init__ = refuse\n"
        "import echoseg.build_info, echoseg.cli"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), timeout=120)


@needs_git
def test_a_build_takes_the_commit_of_checkout_archive_and_sdist(checkout, tmp_path, monkeypatch):
    monkeypatch.delenv("ECHOSEG_COMMIT", raising=False)
    commit = git(checkout, "rev-parse", "HEAD")
    assert find_commit(checkout) == commit
    git(checkout, "archive", "-o", tmp_path / "archive.zip", "HEAD")
    shutil.unpack_archive(tmp_path / "archive.zip", tmp_path / "archive")
    assert find_commit(tmp_path / "archive") == commit
    (checkout / "src/echoseg/commit.txt").write_text(HASH)  # an unpacked source distribution
    assert find_commit(checkout) == HASH
    monkeypatch.setenv("ECHOSEG_COMMIT", commit)
    assert find_commit(checkout) == commit
    shutil.rmtree(checkout / ".git")
    (checkout / "src/echoseg/commit.txt").unlink()
    monkeypatch.setenv("ECHOSEG_COMMIT", "$(git rev-parse HEAD)")
    assert find_commit(checkout) == ""  # `$Format:%H$` is no commit either
