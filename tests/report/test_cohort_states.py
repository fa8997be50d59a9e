"""Any order of additions, changes, kills and resumes ends in the tables of one unbroken run."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from cohort_stub import Kill, Killed, StubWork
from echoseg.audit import AuditLog
from echoseg.report import cohort
from echoseg.report.cohort import RunOptions, Settings, find_clips, run_cohort

SETTINGS = Settings(model="phantom", model_sha256="0" * 64, pages=False)


class CohortFolder(RuleBasedStateMachine):
    """A folder of clips, an output folder, and whatever may happen to both."""

    def __init__(self):
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.root, self.out = self.place / "clips", self.place / "out"
        self.root.mkdir()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(cohort, "Work", StubWork)
        # headers are read in this process: starting another takes longer than all the rest
        self.patch.setattr(cohort.clips, "HEADER_LIMITS", None)
        self.number, self.is_begun, self.foreign = 0, False, {}
        self.add("ok")

    @rule(word=st.sampled_from(["ok", "broken"]))
    def add(self, word):
        if self.number < 6:
            (self.root / f"{self.number}.avi").write_text(f"{word} {self.number}")
            self.number += 1

    @rule(data=st.data())
    def mend(self, data):
        broken = [p for p in sorted(self.root.iterdir()) if p.read_text().startswith("broken")]
        if broken:
            data.draw(st.sampled_from(broken)).write_text(f"ok {self.number}")

    @precondition(lambda self: self.is_begun)
    @rule(data=st.data())
    def remove_result(self, data):
        if results := sorted(self.out.glob("*/report.json")):
            shutil.rmtree(data.draw(st.sampled_from(results)).parent)

    @precondition(lambda self: self.is_begun)
    @rule(name=st.sampled_from(["mine.txt", ".partial.txt", "3", ".begun/mine", "failures/x"]))
    def put_own_file(self, name):
        path = self.out / name
        if not path.exists() and path.parent.is_dir():
            path.write_text("precious")
            self.foreign[path] = "precious"

    @rule(left=st.integers(-1, 3), point=st.sampled_from(["before", "after"]))
    def run(self, left, point):
        Kill.left, Kill.point = left, point
        try:
            self.resume()
        except Killed:
            pass
        Kill.left = -1

    def resume(self):
        run_cohort(
            find_clips([self.root]), SETTINGS, self.out, RunOptions(limits=None, resume=True)
        )
        self.is_begun = True

    def teardown(self):
        self.resume()
        whole = self.place / "whole"
        run_cohort(find_clips([self.root]), SETTINGS, whole, RunOptions(limits=None))
        for name in ("results.csv", "failures.csv", "not_clips.csv"):
            mine, fresh = ((out / name).read_text() for out in (self.out, whole))
            assert mine.replace(",3-2,", ",3,") == fresh
        for path, content in self.foreign.items():
            assert path.read_text() == content
        assert not list(self.out.glob(".begun/*.json"))
        log = AuditLog(self.out / "audit.jsonl")
        assert log.verify().problems == ()
        logged = {record.input_sha256 for record in log.records()}
        assert {
            record.input_sha256 for record in AuditLog(whole / "audit.jsonl").records()
        } <= logged
        self.patch.undo()
        shutil.rmtree(self.place)


TestCohortFolder = CohortFolder.TestCase
TestCohortFolder.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)
