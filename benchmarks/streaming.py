"""Frames per second, one at a time, of every runtime and network; latency over a long session.

    python benchmarks/streaming.py [--threads 1 2] [--sizes 112 256] [--isa all avx2] [--compile]
                                   [--session N] [--busy] [--start] [--json OUT]

Rates: median of a step at batch one, in turns over all networks and runtimes of one process, so
that what else the machine does falls on all of them; beside it by CPU time, which
excludes waiting. Each number of threads and instruction set (`ONEDNN_MAX_CPU_ISA`, heeded by torch
and OpenVINO) in a process of its own. Random weights: speed does not depend on them.
`mssnet_released` looks ahead: its rate is that of a clip of ten. `--compile` times `torch.compile`
too, whose first frame takes a minute. `--session N` pushes N frames of
112 px through one `Session` (network, masks, measuring) and tells latency and memory by tenths;
`--busy` tells p99 at 50 Hz with another core kept busy; `--start` the time from a process's start
to its first mask, its memory, and whether torch is in it. Prints
machine and load; asserts nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from speed import machine  # makes experiments importable

from experiments.networks import NAMES  # isort: skip

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "mssnet": ("mssnet", {}),
    "mssnet_nano": ("mssnet", {"size": "nano"}),
    "memory_unet": ("memory_unet", {}),
    "unet": ("unet", {}),
    **{name: (NAMES[name], {}) for name in ("gdkvm", "deeplab_v3", "mssnet_released")},
}
WITH_RUNTIMES = ("mssnet", "mssnet_nano", "memory_unet")
TURNS, TURN_S = 3, 0.4


def steppers(size_px: int, threads: int, folder: Path, compiles: bool) -> dict[str, Any]:
    """Return every network in torch, and three of them in every runtime."""
    import torch

    from echoseg.inference.backends.export import export
    from echoseg.inference.backends.exported import OnnxSession, OpenVinoSession
    from echoseg.inference.backends.torch import TorchSession
    from echoseg.models import build_model
    from echoseg.nn.fused import has_bf16
    from echoseg.weights.card import ModelCard

    torch.set_num_threads(threads)
    results: dict[str, Any] = {}
    for name, (architecture, options) in NETWORKS.items():
        network: Any = build_model(architecture, options)
        network = network.eval().to(memory_format=torch.channels_last)
        if not network.streams:
            if network.image_size in (None, size_px):
                results[f"{name} torch f32, clip of 10"] = network
            continue
        results[f"{name} torch f32"] = TorchSession(network, size_px)
        if name not in WITH_RUNTIMES:
            continue
        # an instruction set without bf16 cannot make OpenVINO's layers
        computes_bf16 = has_bf16() and os.environ.get("ONEDNN_MAX_CPU_ISA", "") != "AVX2"
        precisions = (False, True) if computes_bf16 else (False,)
        if computes_bf16:
            results[f"{name} torch bf16"] = TorchSession(network, size_px, bf16=True)
        for bf16 in precisions if compiles else ():
            stepper = TorchSession(network, size_px, bf16=bf16, compiled=True)
            results[f"{name} {stepper.name}"] = stepper
        path = folder / f"{name}-{size_px}.onnx"
        if not path.exists():
            card = ModelCard(name=name, architecture=name, image_size=size_px, licence="")
            export(network, card, "onnx", path)
        results[f"{name} onnx f32"] = OnnxSession(path, num_threads=threads)
        for bf16 in precisions:
            stepper = OpenVinoSession(path, num_threads=threads, bf16=bf16)
            results[f"{name} {stepper.name}"] = stepper
    return results


Cost = tuple[float, float]
"""Seconds of a frame: by the clock, and of the processor in all threads."""


def step_costs(stepper: Any, frames: list[np.ndarray]) -> list[Cost]:
    """Return what each step costs for a while, at least two after the first."""
    state, costs = stepper.first_state(), []
    end_s = time.perf_counter() + TURN_S
    while len(costs) < 3 or time.perf_counter() < end_s:
        start, worked = time.perf_counter(), time.process_time()
        _, state = stepper.step(frames[len(costs) % len(frames)], state)
        costs.append((time.perf_counter() - start, time.process_time() - worked))
    return costs[1:]


def clip_cost(network: Any, size_px: int) -> Cost:
    """Return what a frame of a clip of ten costs."""
    import torch

    clip = torch.rand(1, 10, 1, size_px, size_px)
    start, worked = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        network(clip)
    return (time.perf_counter() - start) / 10, (time.process_time() - worked) / 10


def rates(
    size_px: int, threads: int, folder: Path, compiles: bool = False
) -> dict[str, dict[str, float]]:
    """Return frames per second, and a second of processor, by network and runtime."""
    rng = np.random.default_rng(0)
    frames = [rng.random((1, 1, size_px, size_px), np.float32) for _ in range(8)]
    all_of_them = steppers(size_px, threads, folder, compiles)
    costs: dict[str, list[Cost]] = {name: [] for name in all_of_them}
    for _ in range(TURNS):
        for name, stepper in all_of_them.items():
            if hasattr(stepper, "first_state"):
                costs[name] += step_costs(stepper, frames)
            else:
                costs[name].append(clip_cost(stepper, size_px))
    return {
        name: {
            "per_s": round(1 / statistics.median(clock for clock, _ in results), 1),
            "per_processor_s": round(1 / statistics.median(worked for _, worked in results), 1),
        }
        for name, results in costs.items()
    }


def resident_mb() -> float:
    """Return the memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def live_session(runtime: str) -> tuple[Any, np.ndarray]:
    """Return a session of the shipped network and two seconds of a beating phantom."""
    from echoseg.inference.backends.select import open_session
    from echoseg.inference.live.session import Session
    from echoseg.phantom import Phantom, PhantomConfig

    config = PhantomConfig(seed=7, size_px=112, num_frames=100, frame_rate_hz=50)
    frames = Phantom(config).frames()
    return Session(open_session("camus", runtime), frame_rate_hz=50), frames


def long_session(num_frames: int, runtime: str) -> dict[str, Any]:
    """Return latency and memory by tenths of a session."""
    session, frames = live_session(runtime)
    there_and_back = np.concatenate([frames, frames[::-1]])  # no cut where it begins again
    tenths, times = [], []
    for number in range(num_frames):
        reading = session.push(there_and_back[number % len(there_and_back)])
        times.append(reading.latency_s)
        if len(times) == num_frames // 10:
            tenths.append(
                {
                    "p50_ms": round(1e3 * float(np.quantile(times, 0.5)), 2),
                    "p99_ms": round(1e3 * float(np.quantile(times, 0.99)), 2),
                    "resident_mb": round(resident_mb(), 1),
                }
            )
            print(tenths[-1], flush=True)
            times = []
    return {
        "runtime": session.network.name,
        "frames": num_frames,
        "resets": session.num_resets,
        "beats": reading.num_beats,
        "by_tenths": tenths,
    }


def busy_p99(runtime: str, seconds: float = 20) -> dict[str, Any]:
    """Return the latencies of a 50 Hz source while another process keeps a core busy.

    Latency counts from when a frame was due; of those that are due the newest is taken.
    """
    from echoseg.inference.live.latency import LatencyHistogram

    session, frames = live_session(runtime)
    for frame in frames[:20]:
        session.push(frame)
    session.latencies = LatencyHistogram()
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        begin_s, number, dropped = time.perf_counter(), 0, 0
        while number < 50 * seconds:
            time.sleep(max(0.0, begin_s + number / 50 - time.perf_counter()))
            newest = int(50 * (time.perf_counter() - begin_s))
            dropped, number = dropped + max(0, newest - number), max(newest, number)
            session.push(frames[20 + number % 80], arrived_s=begin_s + number / 50)
            number += 1
    finally:
        spin.kill()
        spin.wait()
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    results = {n: round(1e3 * (session.latencies.quantile_s(s) or 0), 1) for n, s in shares.items()}
    return {"runtime": session.network.name, **results, "frames": number, "dropped": dropped}


FIRST_MASK = """
import sys, time
from pathlib import Path
import numpy as np
from echoseg.inference.backends.select import open_session
from echoseg.inference.live.session import Session
session = Session(open_session("camus", sys.argv[1]))
session.push(np.random.default_rng(0).integers(0, 255, (112, 112), dtype=np.uint8))
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
print(peak, "torch" in sys.modules)
"""


def first_mask(runtime: str) -> dict[str, Any]:
    """Return seconds from a process's start to its first mask, its peak memory, torch or not."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        output = subprocess.check_output([sys.executable, "-c", FIRST_MASK, runtime], text=True)
        times.append(time.perf_counter() - start)
    peak, has_torch = output.split()
    return {
        "first_mask_s": round(statistics.median(times[1:]), 2),
        "peak_mb": round(float(peak), 1),
        "torch_loaded": has_torch == "True",
    }


def in_own_process(args: argparse.Namespace, threads: int, isa: str, folder: Path) -> Any:
    """Return the rates of one number of threads and one instruction set."""
    script = (
        "import json, sys, pathlib; sys.path.insert(0, sys.argv[1]); import streaming\n"
        "print(json.dumps({s: streaming.rates(int(s), int(sys.argv[2]), pathlib.Path(sys.argv[3]),"
        " sys.argv[4] == 'True') for s in sys.argv[5:]}))"
    )
    words = [str(Path(__file__).parent), str(threads), str(folder), str(args.compile)]
    words += map(str, args.sizes)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if isa != "all":
        environment["ONEDNN_MAX_CPU_ISA"] = isa.upper()
    output = subprocess.check_output(
        [sys.executable, "-c", script, *words], text=True, env=environment
    )
    return json.loads(output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--sizes", type=int, nargs="*", default=[112, 256])
    parser.add_argument("--isa", nargs="*", default=["all", "avx2"])
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    parser.add_argument("--session", type=int, default=0)
    parser.add_argument("--backend", default="openvino-bf16")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    flags = Path("/proc/cpuinfo").read_text().split("flags")[1].split("\n")[0].split()
    results: dict[str, Any] = {
        "machine": machine(),
        "has": [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags],
        "load_at_start": os.getloadavg()[0],
        "rates_hz": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for isa in args.isa:
            for threads in args.threads:
                key = f"{threads} threads, {isa}"
                results["rates_hz"][key] = in_own_process(args, threads, isa, Path(folder))
                print(key, json.dumps(results["rates_hz"][key], indent=1), flush=True)
    if args.session:
        results["session"] = long_session(args.session, args.backend)
    if args.busy:
        results["busy"] = busy_p99(args.backend)
    if args.start:
        results["start"] = {name: first_mask(name) for name in ("torch", "openvino", args.backend)}
    results["load_at_end"] = os.getloadavg()[0]
    print(
        json.dumps({name: value for name, value in results.items() if name != "rates_hz"}, indent=1)
    )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
