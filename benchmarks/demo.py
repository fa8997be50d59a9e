"""How long does `echoseg demo` take, start to finish, on this machine?

Run as `python benchmarks/demo.py [-o FILE.json]`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from startup import machine

TARGET_S = 15.0
REPEATS = 3


def demo_time_s(folder: Path) -> float:
    """Return the wall time of one demo into a new folder."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "echoseg", "demo", "-o", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times_s = [demo_time_s(Path(folder) / f"run{n}") for n in range(REPEATS)]
    median_s = statistics.median(times_s)
    result = {
        "question": "echoseg demo",
        "machine": machine(),
        "times_s": times_s,
        "median_s": median_s,
        "target_s": TARGET_S,
        "ratio": median_s / TARGET_S,
    }
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(
        f"echoseg demo {', '.join(f'{t:.1f}' for t in times_s)} s, median {median_s:.1f} s "
        f"(target {TARGET_S:.0f} s, ratio to it {median_s / TARGET_S:.2f})"
    )
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
