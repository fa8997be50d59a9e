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
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from echoseg.models import MODELS
from echoseg.models.mssnet import MSSNet, MSSNetConfig

SIZES_PX = (112, 256)


def networks() -> dict[str, Any]:
    """Return every network by name, ready."""
    made: dict[str, Any] = {name: kind() for name, kind in MODELS.items()}
    made |= {f"mssnet {size}": MSSNet(MSSNetConfig(size=size)) for size in ("tiny", "base")}
    return {
        name: model.eval().to(memory_format=torch.channels_last) for name, model in made.items()
    }


def takes(model: Any, size_px: int) -> bool:
    """Return whether a network takes frames of that size."""
    return model.image_size in (None, size_px)


def stream_s(model: Any, size_px: int, num_frames: int) -> float:
    """Return seconds a frame, one after another, after two to warm up."""
    frame, state = torch.rand(1, 1, size_px, size_px), model.init_state(1)
    times = []
    for _ in range(num_frames + 2):
        start = time.perf_counter()
        _, state = model.step(frame, state)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def clip_s(model: Any, size_px: int) -> float:
    """Return seconds a frame of a clip of ten at once."""
    frames = torch.rand(1, 10, 1, size_px, size_px)
    start = time.perf_counter()
    model(frames)
    return (time.perf_counter() - start) / 10


def gmac(model: Any, size_px: int) -> float:
    """Return 1e9 multiplications with addition a frame."""
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 10, 1, size_px, size_px))
    return counter.get_total_flops() / 2 / 10 / 1e9


def peak_mb(name: str) -> float:
    """Return the peak memory of a process that runs ten frames of 256 px, streamed if it can."""
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1])\n"
        "import segmenter_speed as speed\n"
        "model = speed.networks()[sys.argv[2]]\n"
        "with torch.inference_mode():\n"
        "    speed.stream_s(model, 256, 8) if model.streams else speed.clip_s(model, 256)\n"
        # not ru_maxrss: that begins with what the parent had
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), name]
    return int(subprocess.check_output(command)) / 1024


def resident_mb() -> float:
    """Return the memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def against_length(model: Any, lengths: tuple[int, ...]) -> list[dict[str, float]]:
    """Stream 112-px clips of several lengths: ms a frame early and late, memory grown."""
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
    """Stream frames of several sizes: ms a frame."""
    rows = []
    for size in sizes_px:
        rows.append({"size_px": size, "ms": 1e3 * stream_s(model, size, 20)})
        print(f"{size} px: {rows[-1]['ms']:.1f} ms a frame")
    return rows


def timed(models: dict[str, Any], turns: int) -> dict[str, dict[str, float]]:
    """Return parameters, operations and rates of each network."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(turns):
        for name, model in models.items():
            for size in filter(partial(takes, model), SIZES_PX):
                key = f"{size} frames/s"
                seconds.setdefault((name, f"batched {key}"), []).append(clip_s(model, size))
                if model.streams:
                    times = seconds.setdefault((name, f"streaming {key}"), [])
                    times.append(stream_s(model, size, 12))
    rows: dict[str, dict[str, float]] = {}
    for name, model in models.items():
        rows[name] = {"parameters": sum(p.numel() for p in model.parameters())}
        rows[name] |= {f"gmac {s}": gmac(model, s) for s in SIZES_PX if takes(model, s)}
    for (name, what), times in seconds.items():
        rows[name][what] = 1 / statistics.median(times)
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
    models = networks()
    with torch.inference_mode():
        rows = timed(models, args.turns)
        slow = rows["mssnet_released"]["batched 256 frames/s"]
        for name, row in rows.items():
            fast = row.get("streaming 256 frames/s", row["batched 256 frames/s"])
            row["times as fast as released"] = fast / slow
            row["peak MB 256"] = peak_mb(name)
        found: dict[str, Any] = {
            "machine": f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}",
            "networks": rows,
        }
        for name, row in rows.items():
            print(name, {key: float(f"{value:.3g}") for key, value in row.items()})
        if args.long:
            found["against size"] = against_size(models["mssnet"], (64, 112, 160, 256, 384, 512))
            found["against length"] = against_length(models["mssnet"], (10, 100, 1000, 10000))
    print(found["machine"])
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
