"""The script that tries every command on a device, on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "devices.py"


def run(out, *words):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", str(out), *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, json.loads(out.read_text()) if out.exists() else {}


@pytest.mark.slow
def test_every_command_runs_on_the_device(tmp_path):
    done, outcome = run(tmp_path / "outcome.json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["command"]: row for row in outcome["commands"]}
    assert set(rows) == {"analyze", "cohort", "train", "live"}
    assert all(row["exit"] == 0 for row in rows.values())
    assert rows["analyze"]["result"] == rows["cohort"]["result"]
    assert rows["train"]["result"] > 0
    assert rows["live"]["result"] == 64


def test_speed_counts_every_frame_of_every_stream(tmp_path):
    done, outcome = run(
        tmp_path / "outcome.json", "--speed", "--sizes", "64", "--streams", "1", "2",
        "--seconds", "0.05",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = outcome["speed"]
    assert [row["what"] for row in rows[:3]] == ["1 stream", "2 streams", "2 clips of 8 frames"]
    assert len({row["gflop_per_frame"] for row in rows}) == 1
    assert all(row["frames_s"] > 0 for row in rows)


def test_a_device_that_is_not_there_is_refused(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    done, _ = run(tmp_path / "outcome.json", "--device", "cuda")
    assert done.returncode == 2 and "use --device cpu" in done.stderr
