"""Frames a second of the phantom, one core, beside the prototype when its folder is given.

    python benchmarks/phantom_speed.py [--prototype DIR] [--json OUT]

End to end: heart, scatterers, frames, masks, overlay, codec. Both run in turns in one process, so
what else the machine does falls on both; the median of the turns counts. Memory is the peak of a
process that only simulates. Prints machine and ratio; asserts nothing.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

from echoseg.phantom import Phantom, PhantomConfig  # noqa: E402

NUM_FRAMES = 32


def ours(seed: int, size: int) -> None:
    """Simulate one clip with its masks."""
    phantom = Phantom(PhantomConfig(seed=seed, size_px=size, num_frames=NUM_FRAMES))
    phantom.frames()
    phantom.masks()


def prototype(seed: int, size: int) -> None:
    """Simulate one clip of the prototype with its masks."""
    import echosim  # type: ignore[import-not-found]

    clip = echosim.Clip(seed, "medium", size, T=NUM_FRAMES)
    frames = clip.frames()
    clip.truth()
    echosim.decorate(frames, clip, seed)


def rate_hz(function, seeds: range, size: int) -> float:
    """Return frames per second over some clips."""
    start = time.perf_counter()
    for seed in seeds:
        function(seed, size)
    return len(seeds) * NUM_FRAMES / (time.perf_counter() - start)


def simulate_many(seeds: range) -> None:
    """What a worker does."""
    for seed in seeds:
        ours(seed, 112)


def over_processes(number: int) -> float:
    """Return frames a second of several processes together, each warm."""
    with ProcessPoolExecutor(number) as pool:
        list(pool.map(simulate_many, [range(1)] * number))
        start = time.perf_counter()
        list(pool.map(simulate_many, [range(100 * k, 100 * k + 12) for k in range(number)]))
        return number * 12 * NUM_FRAMES / (time.perf_counter() - start)


def peak_mb() -> float:
    """Return the peak memory of a fresh process that simulates at 256 px."""
    code = (
        "import resource;from echoseg.phantom import Phantom, PhantomConfig;"
        "[Phantom(PhantomConfig(seed=s, size_px=256, num_frames=32)).frames() for s in range(3)];"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    return int(subprocess.check_output([sys.executable, "-c", code])) / 1024


def main() -> None:
    """Time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prototype", type=Path, help="folder of echosim.py")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sides = {"phantom": ours}
    if args.prototype:
        sys.path.insert(0, str(args.prototype))
        sides["prototype"] = prototype
    results: dict[str, object] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for size in (112, 256):
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for function in sides.values():
            function(0, size)
        for turn in range(args.turns):
            for name, function in sides.items():
                rates[name].append(rate_hz(function, range(20 + 4 * turn, 24 + 4 * turn), size))
        middle = {name: statistics.median(values) for name, values in rates.items()}
        text = ", ".join(f"{name} {value:.0f}" for name, value in middle.items())
        if args.prototype:
            text += f", ratio {middle['phantom'] / middle['prototype']:.2f}"
        print(f"{size} px, frames/s on one core: {text}")
        results[f"{size}_px"] = middle
    results["processes"] = {number: over_processes(number) for number in (1, 2)}
    results["peak_mb"] = peak_mb()
    print(f"112 px over processes, frames/s: {results['processes']}")
    print(f"peak memory of a worker at 256 px: {results['peak_mb']:.0f} MB")
    print(f"machine: {results['machine']}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
