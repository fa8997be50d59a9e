"""What happens to the processes of a running `echoseg analyze`: signals, a stop, a lost folder."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from cohort_stub import write_clips
from echoseg.audit import AuditLog

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such signals")
# under nohup, SIGHUP is ignored by whoever does not ask for it
COMMAND = (
    "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "import cohort_stub; cohort_stub.main()"
)


def start(root, out, *options):
    """Begin `echoseg analyze ROOT -o OUT` on text clips, without a network."""
    words = ["analyze", root, "-o", out, "--no-pages", "--model", "phantom", *options]
    return psutil.Popen(
        [sys.executable, "-c", COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )


def wait_for(paths, process):
    while not all(path.exists() and path.stat().st_size for path in paths):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)


def end(process):
    printed, _ = process.communicate(timeout=120)
    assert "Traceback" not in printed, printed
    return process.returncode, printed


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_run_with_tables_and_without_workers(tmp_path, number, code):
    root, out = write_clips(tmp_path / "clips", "a", "hang"), tmp_path / "out"
    process = start(root, out, "--jobs", "2")
    wait_for([out / "audit.jsonl", out / ".begun" / "hang.json"], process)
    workers = process.children()
    process.send_signal(number)
    ended, printed = end(process)
    assert ended == code and "finished results are kept" in printed
    assert not psutil.wait_procs(workers, timeout=10)[1]
    reasons = (out / "failures.csv").read_text()
    assert "hang.avi" in reasons and "while it was in work (try 1)" in reasons
    assert [p.name for p in out.glob(".echoseg/*")] == ["written.json"]
    assert AuditLog(out / "audit.jsonl").verify().problems == ()


def test_a_worker_that_is_stopped_costs_its_clip_only(tmp_path):
    root, out = write_clips(tmp_path / "clips", "hang", "ok"), tmp_path / "out"
    process = start(root, out, "--jobs", "1", "--clip-timeout", "2")
    wait_for([out / ".begun" / "hang.json"], process)
    (worker,) = process.children()
    worker.suspend()
    assert end(process)[0] == 1
    assert "it took longer than 2 s" in (out / "failures.csv").read_text()
    assert (out / "ok" / "report.json").exists() and not worker.is_running()


def test_a_folder_that_is_moved_while_a_clip_is_in_work_is_not_made_again(tmp_path):
    root, out = write_clips(tmp_path / "clips", "hang", "ok"), tmp_path / "out"
    process = start(root, out, "--jobs", "1", "--clip-timeout", "2")
    wait_for([out / ".begun" / "hang.json"], process)
    out.rename(tmp_path / "moved")
    code, printed = end(process)
    assert code == 2 and "was moved, removed or unmounted" in printed
    assert not out.exists()
