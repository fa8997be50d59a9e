"""Version of echoseg and the commit that it was built from."""

import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

COMMIT_FILE = Path(__file__).with_name("commit.txt")
"""Written by `scripts/build_hook.py` into wheels and source distributions; not in a checkout."""
SHORT_HASH_LETTERS = 9


@cache
def commit() -> str:
    """Hash of the commit, with `-dirty` where tracked files differ; empty where it is not known.

    A checkout asks git on the first call; importing asks nothing.
    """
    if COMMIT_FILE.exists():
        return COMMIT_FILE.read_text("utf-8").strip()
    return commit_of(Path(__file__).parents[2])


def commit_of(checkout: Path) -> str:
    """The same for the root of a git checkout.

    Args:
        checkout: Folder with `.git`; folders inside of it do not count as the checkout.
    """
    if not (checkout / ".git").exists():
        return ""
    words = "--no-optional-locks describe --always --dirty --abbrev=40 --exclude=*"
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *words.split()], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def full_version() -> str:
    """Such as `0.3.0 (commit 76c8a9f12)`, `(commit 76c8a9f12-dirty)` or `(commit unknown)`."""
    digits, dash, state = commit().partition("-")
    return f"{version('echoseg')} (commit {digits[:SHORT_HASH_LETTERS] or 'unknown'}{dash}{state})"
