"""`echoseg phantom make` cut off in several processes: one line is said, nothing is left."""

import os
import signal
import subprocess
import sys
import time

import pytest

MANY = ("--num-clips", "400", "--size", "64", "--jobs", "2")


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_to_all_processes_is_answered_once(tmp_path, number, code, word):
    command = [sys.executable, "-m", "echoseg", "phantom", "make", str(tmp_path / "a" / "b"), *MANY]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("a/.b.partial-*/*.avi")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(run.pid, number)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == code
    assert said.decode() == f"echoseg: {word}; finished results are kept\n"
    assert list(tmp_path.iterdir()) == []
