"""`echoseg phantom make` cut off in several processes: one line is said, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MANY = ("--num-clips", "400", "--size", "64", "--jobs", "2")


def wait_for(condition, most_s=120):
    deadline = time.monotonic() + most_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_to_all_processes_is_answered_once(tmp_path, number, code, word):
    command = [sys.executable, "-m", "echoseg", "phantom", "make", str(tmp_path / "a" / "b"), *MANY]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    wait_for(lambda: list(tmp_path.glob("a/.echoseg/*/new/b/*.avi")))
    os.killpg(run.pid, number)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == code
    assert said.decode() == f"echoseg: {word}; finished results are kept\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads children from /proc")
def test_no_worker_outlives_a_parent_that_was_killed(tmp_path):
    command = [sys.executable, "-m", "echoseg", "phantom", "make", str(tmp_path / "b"), *MANY]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    threads = Path(f"/proc/{run.pid}/task")  # any of which may have started a worker
    wait_for(lambda: list(tmp_path.glob(".echoseg/*/new/b/*.avi")))
    workers = [pid for file in threads.glob("*/children") for pid in file.read_text().split()]
    assert len(workers) >= 2
    run.kill()
    run.wait()
    wait_for(lambda: not any(is_running(pid) for pid in workers), 20)
    assert not any(is_running(pid) for pid in workers)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False
