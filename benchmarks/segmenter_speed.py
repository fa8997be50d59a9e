"""Speed, size and memory of every network, side by side with the published one in one run.

    python benchmarks/segmenter_speed.py [--threads N] [--turns N] [--long] [--json OUT]

Streaming: one frame after another, batch of one, median of the turns. Batched: a clip of ten frames
at once. A network that looks ahead has only the second. Each turn times all networks, so that what
else the machine does falls on all of them; the ratio is to `mssnet_released` at 256 px, its frames
of a clip of ten. Peak memory is that of a process of its own. `--long` adds time and memory against
the length of the clip, and time against the
size of the frame. Random weights: speed does not depend on them. Asserts nothing.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from echoseg.evaluation import speed
from echoseg.models import MODELS


def networks() -> dict[str, tuple[str, dict[str, str]]]:
    """Return model and architecture of every network by name."""
    sizes = {f"mssnet {size}": ("mssnet", {"size": size}) for size in ("tiny", "base")}
    return {**{name: (name, {}) for name in MODELS}, **sizes}


def resident_mb() -> float:
    """Return the memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def against_length(model: Any, lengths: tuple[int, ...]) -> list[dict[str, float]]:
    """Stream 112-px clips of several lengths: ms per frame early and late, memory grown."""
    rows = []
    frame, state = torch.rand(1, 1, 112, 112), model.init_state(1)
    for _ in range(20):
        _, state = model.step(frame, state)
    for length in lengths:
        before, state, times = resident_mb(), model.init_state(1), []
        for _ in range(length):
            start = time.perf_counter()
            _, state = model.step(frame, state)
            times.append(time.perf_counter() - start)
        tenth = max(5, length // 10)
        first, last = statistics.median(times[:tenth]), statistics.median(times[-tenth:])
        grown = resident_mb() - before
        row = {"frames": length, "first_ms": 1e3 * first, "ms": 1e3 * last, "grown_mb": grown}
        rows.append(row)
        print(f"{length} frames: {1e3 * first:.1f}, then {1e3 * last:.1f} ms, {grown:+.1f} MB")
    return rows


def against_size(model: Any, sizes_px: tuple[int, ...]) -> list[dict[str, float]]:
    """Stream frames of several sizes: ms per frame."""
    rows = []
    for size in sizes_px:
        rows.append({"size_px": size, "ms": 1e3 * speed.stream_s(model, size, 20)})
        print(f"{size} px: {rows[-1]['ms']:.1f} ms per frame")
    return rows


def main() -> None:
    """Time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    kinds = networks()
    models = {name: speed.made(*kind) for name, kind in kinds.items()}
    rates = speed.rates(models, args.turns)
    rows = {name: speed.sizes(model) | rates[name] for name, model in models.items()}
    with torch.inference_mode():
        slow = rows["mssnet_released"]["batched 256 frames/s"]
        for name, row in rows.items():
            fast = row.get("streaming 256 frames/s", row["batched 256 frames/s"])
            row["times as fast as released"] = fast / slow
            row["peak MB 256"] = speed.peak_mb(*kinds[name])
        results: dict[str, Any] = {
            "machine": f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}",
            "networks": rows,
        }
        for name, row in rows.items():
            print(name, {key: float(f"{value:.3g}") for key, value in row.items()})
        if args.long:
            results["against size"] = against_size(models["mssnet"], (64, 112, 160, 256, 384, 512))
            results["against length"] = against_length(models["mssnet"], (10, 100, 1000, 10000))
    print(results["machine"])
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
