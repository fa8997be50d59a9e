"""Where a number comes from: command, commit, machine, time."""

import datetime
import os
import platform
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from echoseg.build_info import commit_of


def machine() -> dict[str, Any]:
    """What a reader needs to interpret a time."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **({"gpu": gpu} if gpu else {}),
    }


def machine_text() -> str:
    """The same on one line."""
    return ", ".join(f"{key} {value}" for key, value in machine().items())


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@cache
def commit() -> str:
    """Commit of the checkout, with `-dirty` where files differ; empty outside of git."""
    return commit_of(Path(__file__).parents[1])


def provenance() -> dict[str, Any]:
    """Command, commit, machine and time (UTC) of this process, ready for JSON."""
    return {
        "command": shlex.join(["python", "-m", "experiments", *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
