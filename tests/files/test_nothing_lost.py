"""Whatever is in the output folder and whichever command runs, no byte of someone else is lost."""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from typer.testing import CliRunner

from clip_makers import write_video
from echoseg.cli import app
from echoseg.inference import analyzer as analyzer_module
from echoseg.inference.analysis import analyze_masks
from echoseg.io.nifti import write_masks
from echoseg.report import cohort, study
from echoseg.report.cohort import clips, work
from echoseg.weights.card import find_checkpoint, read_card

CARD = read_card(find_checkpoint("phantom"))
DEAD = "4194000-0123456789abcdef"  # looks like a folder of ours
PLACES = (
    "a/notes.txt", "a/masks.nii.gz", "a/report.json", "a/overlay.mp4/precious.txt", "a.kept",
    "b", "b/report.json", "biplane/A4C/masks.nii.gz", "biplane/mine.txt", "clips/A2C/x",
    "results.csv", "study.csv", "failures.csv", "failures/mine.json", "report.json",
    "audit.jsonl", ".audit.jsonl.lock", ".begun/mine", ".begun/a.json", ".begun/b.json",
    ".lock", ".partial.txt", ".a.partial-1/x", ".rsync-partial/big.mp4", ".echoseg",
    ".echoseg/mine", ".echoseg/lock/x", ".echoseg/written.json/x", f".echoseg/{DEAD}/new/a/x",
    f".echoseg/{DEAD}.begun/x", f".echoseg/{DEAD}/mine", "a/.echoseg/x", "failures/.echoseg/x",
)  # fmt: skip
FORCE = ("", " --force", " --force --keep")
SINGLE = (
    "analyze clips/a.avi --no-pages", "analyze clips/a.avi clips/b.avi --no-pages",
    "analyze --a4c clips/a.avi --a2c clips/b.avi", "analyze --study clips", "measure m.nii.gz",
    "measure m.nii.gz -o out/a",
)  # fmt: skip
COHORT = ("analyze clips --jobs 1 --no-pages", "analyze clips --jobs 1 --no-pages --resume")


class StubAnalyzer:
    """Gives every clip the same ventricle; no network."""

    model_card = CARD

    def __init__(self, *given):
        pass

    def analyze(self, clip, **options):
        masks = np.zeros((clip.num_frames, *clip.size), np.uint8)
        for index, mask in enumerate(masks):
            mask[8 : 40 + index % 3, 20:40] = 1
        return replace(analyze_masks(clip, masks), model=CARD)

    def other_view(self, clip):
        return ""


def in_this_process(work, items, *rest, **options):
    return map(work, items)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(analyzer_module, "Analyzer", StubAnalyzer)
    for module in (cohort, study):
        monkeypatch.setattr(module, "parallel_map", in_this_process)
    monkeypatch.setattr(clips, "HEADER_LIMITS", None)
    work.load_analyzer.cache_clear()
    yield
    work.load_analyzer.cache_clear()


def files_in(root):
    found = [Path(at) / name for at, _, names in os.walk(root) for name in names]
    return [path for path in found if not path.is_symlink()]


class OutputFolder(RuleBasedStateMachine):
    """A user and echoseg in one folder; `theirs` are the user's files, with their bytes."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="echoseg-"))
        self.out = self.root / "out"
        self.theirs: dict[Path, bytes] = {}
        self.has_moved = False
        self.number = 0

    @initialize()
    def begin(self):
        self.out.mkdir()
        (self.root / "clips").mkdir()
        rows, columns = np.mgrid[:48, :64]
        frames = np.stack([(rows * columns + 9 * t) % 200 for t in range(6)]).astype(np.uint8)
        for name in ("a", "b"):
            write_video(self.root / "clips" / f"{name}.avi", frames)
        write_masks(self.root / "m.nii.gz", (frames > 100).astype(np.uint8), (0.5, 0.5), 0.04)
        for path in files_in(self.root):
            self.theirs[path] = path.read_bytes()

    def their_bytes(self):
        self.number += 1
        return b"#their bytes %d" % self.number

    @rule(place=st.sampled_from(PLACES))
    def they_write(self, place):
        path = self.out / place
        parents = [p for p in path.parents if p.is_relative_to(self.out)]
        if (
            path.is_dir()
            or path.is_symlink()
            or any(p.is_symlink() or p.is_file() for p in parents)
        ):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.their_bytes())
        self.theirs[path] = path.read_bytes()

    @rule(data=st.data())
    def they_edit_a_result(self, data):
        results = sorted(p for p in files_in(self.out) if p not in self.theirs and p.parent.name)
        results = [p for p in results if ".echoseg" not in p.parts and p.name != "manifest.json"]
        # the log grows: what was changed in it stays before what is added (`tests/test_audit.py`)
        results = [p for p in results if p.parent.name != "failures" and p.name != "audit.jsonl"]
        if results:
            path = data.draw(st.sampled_from(results))
            path.write_bytes(path.read_bytes() + self.their_bytes())
            self.theirs[path] = path.read_bytes()

    @rule(name=st.sampled_from(["a", "b", "biplane", ".begun", "failures"]), exists=st.booleans())
    def they_link_a_result(self, name, exists):
        link, victim = self.out / name, self.root / f"victim-{name}"
        if os.path.lexists(link):
            return
        if exists and not victim.exists():
            victim.mkdir()
            for part in (victim / "x", victim / "a.json"):
                part.write_bytes(self.their_bytes())
                self.theirs[part] = part.read_bytes()
        link.symlink_to(victim)

    @precondition(lambda self: self.theirs)
    @rule(data=st.data())
    def they_remove_a_file(self, data):
        path = data.draw(st.sampled_from(sorted(self.theirs)))
        if path.is_relative_to(self.out):
            path.unlink()
            del self.theirs[path]

    @rule()
    def a_run_is_killed(self):
        """Leave what a process leaves that dies while it writes."""
        hidden = self.out / ".echoseg"
        if not os.path.lexists(hidden) or hidden.is_dir():
            entry = hidden / f"{self.number + 10}-{self.number:016x}"
            if not entry.exists():
                (entry / "new" / "a").mkdir(parents=True)
                (entry / "new" / "a" / "masks.nii.gz").write_bytes(b"half")
                (entry / "lock").touch()

    @rule(command=st.sampled_from(SINGLE), force=st.sampled_from(FORCE))
    def echoseg_analyzes(self, command, force):
        self.run(command + force)
        self.has_moved |= "--keep" in force

    @rule(command=st.sampled_from(COHORT))
    def echoseg_analyzes_a_cohort(self, command):
        done = self.run(command)
        self.has_moved |= done.exit_code < 2

    def run(self, command):
        places = ("clips", "clips/a.avi", "clips/b.avi", "m.nii.gz", "out/a")
        words = [str(self.root / w) if w in places else w for w in command.split()]
        where = [] if "-o" in words else ["-o", str(self.out)]
        done = CliRunner().invoke(app, [*words, *where, "--spacing-mm", "0.5", "0.5"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    @invariant()
    def every_byte_of_theirs_is_there(self):
        contents = {p: p.read_bytes() for p in files_in(self.root)}
        held = set(contents.values())
        for path, content in self.theirs.items():
            assert content in held, f"{path} is lost"
            assert self.has_moved or contents.get(path) == content, f"{path} was moved"
        # follow what was moved aside, so that later steps know where it is
        places = {content: p for p, content in contents.items()}
        self.theirs = {places[content]: content for content in self.theirs.values()}
        self.has_moved = False

    def teardown(self):
        shutil.rmtree(self.root)


OutputFolder.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.usefixtures("quick")
class TestNothingLost(OutputFolder.TestCase):
    """The machine as a test."""
