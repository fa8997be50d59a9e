"""How long does `echoseg --help` take, start to finish, beside a Python that does nothing?

Run as `python benchmarks/startup.py [-o FILE.json]`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

TARGET_S = 0.5
REPEATS = 7


def machine() -> dict[str, str | int]:
    """Describe the machine, so that times can be compared."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text("utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def median_time_s(command: list[str]) -> float:
    """Return the median wall time of a command; one run before it warms the disk cache."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    help_s = median_time_s([sys.executable, "-m", "echoseg", "--help"])
    nothing_s = median_time_s([sys.executable, "-c", "pass"])
    result = {
        "question": "echoseg --help",
        "machine": machine(),
        "median_s": help_s,
        "python_alone_s": nothing_s,
        "ratio": help_s / nothing_s,
        "target_s": TARGET_S,
        "repeats": REPEATS,
    }
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(
        f"echoseg --help {help_s:.3f} s (target {TARGET_S} s), python alone {nothing_s:.3f} s, "
        f"ratio {help_s / nothing_s:.1f}"
    )
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
