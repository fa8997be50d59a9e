"""Cohorts of text files whose first word says what reading them does; no network, no decoder."""

import csv
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from echoseg.clip import Clip
from echoseg.errors import OutputError
from echoseg.files import remove_document
from echoseg.inference.analysis import analyze_masks
from echoseg.report.cohort import RunOptions, Settings, find_clips, run_cohort
from echoseg.report.cohort.folder import Failure, failure_path
from echoseg.report.cohort.work import Work
from echoseg.report.writer import write_results
from heart_makers import beating
from misbehave import misbehave

SETTINGS = Settings(model="phantom", model_sha256="0" * 64, pages=False)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


class Kill:
    """Where the next kill comes: after so many clips, `before` or `after` a result is written."""

    left, point = -1, "before"

    @classmethod
    def here(cls, point):
        if cls.left == 0 and cls.point == point:
            cls.left = -1
            raise Killed
        if point == "after":
            cls.left -= cls.left > 0


@lru_cache
def measured():
    masks, times, _ = beating(12, rate_hz=12.0)
    frames = np.zeros(masks.shape, np.uint8)
    return analyze_masks(
        Clip(frames=frames, times_s=times, spacing_mm=(1.0, 1.0), format_name="text"), masks
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class StubWork(Work):
    """Work that takes milliseconds; notes each try beside the output folder."""

    def prepare(self):
        """Load the libraries; there is no model."""
        measured()

    def _analyze(self, entry, sha256):
        word = entry.source.read_text().split()[0]
        with (self.out.parent / "tries.txt").open("a") as file:
            file.write(f"{entry.name}\n")
        misbehave(word)
        Kill.here("before")
        if word == "broken":
            Kill.here("after")
            return Failure(clip=entry.clip, reason="it is broken", sha256=sha256)
        analysis = measured()
        clip = replace(analysis.clip, source=str(entry.source), source_sha256=sha256)
        remove_document(failure_path(self.out, entry))
        try:
            write_results(replace(analysis, clip=clip), self.out / entry.name, pages=False)
        except OutputError:  # as `Work`: another worker, taken for lost, was first
            if not self._has_result(entry, sha256):
                raise
        Kill.here("after")
        return None


def write_clips(root, *words):
    """Write one text clip per word."""
    root.mkdir(parents=True, exist_ok=True)
    for word in words:
        (root / f"{word}.avi").write_text(f"{word} {word}")
    return root


def run(root, out, **options):
    """Analyze or continue a cohort."""
    return run_cohort(find_clips([root], out), SETTINGS, out, RunOptions(**options))


def rows(path):
    """The rows of a table by clip."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["clip"]: row for row in csv.DictReader(file)}


def reasons(out):
    """Why clips failed, by clip."""
    return {clip: row["reason"] for clip, row in rows(out / "failures.csv").items()}


def main():
    """The command line with this work."""
    from echoseg.cli import main as command
    from echoseg.report import cohort

    cohort.Work = StubWork
    return command()
