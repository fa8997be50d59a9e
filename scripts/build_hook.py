"""Write the commit into wheels and source distributions; run by hatchling, named in pyproject.toml.

The commit is that of the environment variable `ECHOSEG_COMMIT` (container builds without `.git`),
of an unpacked source distribution, of the git checkout, or of a `git archive`, in this order.
"""

import os
import re
import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSIDE = "src/echoseg/commit.txt"
"""Place in the source distribution; the wheel leaves `src/` out."""
ARCHIVE = ".git_archival.txt"
"""Filled in by `git archive` (`.gitattributes`)."""
HASH = re.compile(r"[0-9a-f]{40}(-dirty)?")


def find_commit(root: Path) -> str:
    """The commit of the sources in `root`; empty where it is not known."""
    build_info = runpy.run_path(str(root / "src/echoseg/build_info.py"))
    places = (root / INSIDE, root / ARCHIVE)
    unpacked, archived = (p.read_text("utf-8").strip() if p.exists() else "" for p in places)
    texts = (
        os.environ.get("ECHOSEG_COMMIT", ""),
        unpacked,
        build_info["commit_of"](root),
        archived,
    )
    return next((text for text in texts if HASH.fullmatch(text)), "")


class CommitHook(BuildHookInterface):
    """Adds `commit.txt`; an editable installation asks git instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hand hatchling a file with the commit, where it is known."""
        if version == "editable" or not (commit := find_commit(Path(self.root))):
            return
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "commit.txt"
        file.write_text(commit + "\n", "utf-8")
        inside = INSIDE if self.target_name == "sdist" else INSIDE.removeprefix("src/")
        build_data["force_include"][str(file)] = inside
