"""Worker processes of the page: results, failures in plain words, and kills at any moment."""

import hashlib
import os
import shutil
import signal
from contextlib import closing

import pytest

from echoseg.audit import AuditLog
from echoseg.errors import ConfigError, OutputError
from echoseg.inference.backends import select
from echoseg.inference.backends.select import Choice
from echoseg.parallel import Limits, WorkerPool
from echoseg.report import cohort
from echoseg.web import clip_queue
from echoseg.web.analysis import ClipTask, analyze_clip, page_settings, read_progress
from echoseg.web.api import WorklistQuery
from echoseg.web.cine import read_cine
from echoseg.web.clip_queue import ClipQueue
from echoseg.web.curves import Curves
from worklist_makers import analyze_by_formula, open_worklist, processes, wait_for, write_clip


@pytest.fixture
def worklist(tmp_path):
    one = open_worklist(tmp_path / "page")
    yield one
    one.database.close()


@pytest.fixture
def queue(worklist):
    limits = Limits(timeout_s=60, memory_gb=0.6)
    one = ClipQueue(worklist, limits, analyze_by_formula)
    yield one
    one.close()


def rows(worklist):
    return {row.state: row for row in worklist.page(WorklistQuery()).rows}


def write_word(path, word):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(f"{word} \n".encode())
    return path


def test_a_clip_is_analyzed_and_its_row_filled(worklist, queue, tmp_path):
    (clip,) = worklist.add([write_clip(tmp_path / "in" / "a.dcm")], "ann").ids
    queue.start()
    wait_for(lambda: worklist.row(clip).state == "ready")
    row = worklist.row(clip)
    assert row.num_frames == 60 and row.ef_kind in ("plain", "part_of_beat") and row.ef_percent
    assert row.view == "A4C" and row.analyzed_s >= row.added_s
    assert read_cine(worklist.folder / clip).num_frames == 60
    last = list(AuditLog(tmp_path / "page" / "audit.jsonl").records())[-1]
    assert (last.event, last.input_sha256) == ("analyzed", row.sha256) and last.result_sha256


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("segfault", "crashed"),
        ("exit", "exit code 3"),
        ("grow", "more than 0.6 GB"),
        ("broken", "content is broken"),
    ],
)
def test_a_hostile_file_costs_its_own_row_only(worklist, queue, tmp_path, word, reason):
    bad, good = write_word(tmp_path / "in" / "a.avi", word), write_clip(tmp_path / "in" / "b.dcm")
    (failed,), (ready,) = worklist.add([bad], "ann").ids, worklist.add([good], "ann").ids
    queue.start()
    wait_for(lambda: worklist.row(ready).state == "ready")
    row = worklist.row(failed)
    assert row.state == "failed" and reason in row.reason and "a.avi" not in row.reason


def test_a_file_that_takes_no_end_is_given_up(worklist, tmp_path):
    (clip,) = worklist.add([write_word(tmp_path / "in" / "a.avi", "hang-in-C")], "ann").ids
    one = ClipQueue(worklist, Limits(timeout_s=1), analyze_by_formula)
    one.start()
    try:
        wait_for(lambda: worklist.row(clip).state == "failed")
    finally:
        one.close()
    assert "longer than 1 s" in worklist.row(clip).reason


def test_a_worker_killed_from_outside_is_no_fault_of_the_clip(worklist, tmp_path):
    path = write_word(tmp_path / "in" / "a.avi", "slow")
    (clip,) = worklist.add([path], "ann").ids
    one = ClipQueue(worklist, Limits(timeout_s=60), analyze_by_formula)
    one.start()
    try:
        for _ in range(2):
            wait_for(lambda: worklist.row(clip).state == "running" and processes("parallel.serve"))
            for worker in processes("parallel.serve"):
                worker.send_signal(signal.SIGKILL)
        wait_for(lambda: worklist.row(clip).state in ("queued", "running"))
    finally:
        one.close()
    assert worklist.row(clip).state == "queued"  # given back


def test_a_disk_that_is_full_for_a_moment_holds_no_clip_up(worklist, queue, tmp_path, monkeypatch):
    paths = [write_clip(tmp_path / "in" / f"{seed}.dcm", seed) for seed in (1, 2, 3)]
    clips = worklist.add(paths, "ann").ids
    append, calls = worklist.audit.append, []

    def fail_once(event):
        calls.append(event)
        if len(calls) == 1:
            raise OutputError("No space left on device")
        return append(event)

    monkeypatch.setattr(worklist.audit, "append", fail_once)
    monkeypatch.setattr(clip_queue, "_POLL_S", 0.05)
    queue.start()
    wait_for(lambda: all(worklist.row(clip).state == "ready" for clip in clips))
    events = [one.input_sha256 for one in worklist.audit.records() if one.event == "analyzed"]
    assert sorted(events) == sorted(worklist.row(clip).sha256 for clip in clips)  # each once


def test_a_model_that_does_not_fit_into_memory_fails_its_clip_once(worklist, tmp_path, monkeypatch):
    (clip,) = worklist.add([write_clip(tmp_path / "in" / "a.dcm")], "ann").ids
    one = ClipQueue(worklist, Limits(timeout_s=60), analyze_by_formula)
    one._pool = WorkerPool(analyze_by_formula, 1, prepare=no_memory)
    one.start()
    wait_for(lambda: worklist.row(clip).state == "failed")
    assert worklist.row(clip).reason == "RuntimeError" and not processes("parallel.serve")
    one.close()


def no_memory():
    raise RuntimeError("CUDA out of memory in /home/x")


def test_closing_gives_the_clip_in_work_back(worklist, tmp_path):
    (clip,) = worklist.add([write_word(tmp_path / "in" / "a.avi", "slow")], "ann").ids
    one = ClipQueue(worklist, Limits(), analyze_by_formula)
    one.start()
    wait_for(lambda: worklist.row(clip).state == "running")
    one.close()
    assert worklist.row(clip).state == "queued"


def test_the_network_analyzes_a_clip_and_a_second_time_takes_what_is_there(tmp_path):
    path = write_clip(tmp_path / "Miller.dcm", num_frames=6)
    how = page_settings("camus", "torch")
    folder = tmp_path / "clips" / "1"
    from echoseg.io import source_sha256

    task = ClipTask(
        folder=folder, source=path, alias="clip-7", sha256=source_sha256(path), settings=how
    )
    first = analyze_clip(task)
    written = (folder / "result" / "report.json").stat().st_mtime_ns
    assert first.num_frames == 6 and read_progress(folder) == (0, 0)
    curves = Curves.read(folder)
    assert [one.frame for one in curves.frames] == list(range(6))
    masks = (folder / "result" / "masks.nii.gz").read_bytes()
    assert curves.masks_sha256 == hashlib.sha256(masks).hexdigest()
    assert b"Miller" not in b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert analyze_clip(task) == first
    assert (folder / "result" / "report.json").stat().st_mtime_ns == written
    shutil.rmtree(folder)
    changed = task.model_copy(update={"sha256": "0" * 64})
    assert "has changed" in analyze_clip(changed).reason
    missing = task.model_copy(update={"source": tmp_path / "none.dcm"})
    assert "no such file" in analyze_clip(missing).reason
    os.truncate(path, 700)
    broken = analyze_clip(task.model_copy(update={"sha256": source_sha256(path)}))
    assert broken.reason and "Miller" not in broken.reason


@pytest.mark.parametrize(("backend", "used"), [("onnx", "onnx"), ("auto", "openvino")])
def test_clips_are_analyzed_by_the_backend_of_the_page(tmp_path, monkeypatch, backend, used):
    monkeypatch.setattr(cohort, "select_backend", lambda *_, **__: Choice(backend="openvino"))
    with closing(open_worklist(tmp_path / "page", backend=backend)) as worklist:
        (clip,) = worklist.add([write_clip(tmp_path / "a.dcm")], "ann").ids
        with closing(ClipQueue(worklist, Limits(), analyze_by_formula)) as queue:
            assert queue.task(worklist.row(clip)).settings.backend == used


def test_a_backend_that_is_not_installed_is_refused_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(select, "find_spec", lambda name: None)
    with closing(open_worklist(tmp_path / "page", backend="openvino-bf16")) as worklist:
        with pytest.raises(ConfigError, match=r"openvino-bf16 needs openvino; pip install"):
            ClipQueue(worklist, Limits(), analyze_by_formula)
