"""Time of the scans' fast forms beside their plain ones, and of the blocks around them.

    python benchmarks/ssd_speed.py [--threads N] [--turns N] [--compiled] [--json OUT]

Every case runs once a turn, plain and fast one after the other in one process, so that what else
the machine does falls on both; median and least of the turns are printed, and the ratio of the
medians. Forward and backward together except where it says forward. Asserts nothing.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from echoseg.nn.scan2d import ScanSSD2d
from echoseg.nn.scans import ScanConfig
from echoseg.nn.selective_scan import selective_scan_chunked, selective_scan_recurrent
from echoseg.nn.ssd import ssd_chunked, ssd_recurrent

LENGTH, WIDTH, STATE = 1024, 256, 16

Job = Callable[[], object]


def leaf(*shape: int) -> Tensor:
    """Return random numbers that ask for a gradient."""
    return torch.randn(shape, requires_grad=True)


def both_ways(form: Callable, *tensors: Tensor) -> Job:
    """Return a job: forward and backward of a form that gives (y, state)."""
    gradient = torch.randn(tensors[0].shape)
    return lambda: torch.autograd.grad(form(*tensors)[0], tensors, gradient)


def ssd_tensors(heads: int) -> tuple[Tensor, ...]:
    """Return x, log_decay, b and c of one sequence."""
    decay = (-torch.rand(1, LENGTH, heads)).requires_grad_()
    x = leaf(1, LENGTH, heads, WIDTH // heads)
    return x, decay, leaf(1, LENGTH, 1, STATE), leaf(1, LENGTH, 1, STATE)


def form_jobs(with_compiled: bool) -> dict[str, Job]:
    """Return the bare recurrences by name; each plain one before its fast ones."""
    jobs: dict[str, Job] = {}
    for heads in (4, 8):
        tensors = ssd_tensors(heads)
        jobs[f"ssd, {heads} heads: recurrent"] = both_ways(ssd_recurrent, *tensors)
        for chunk in (32, 64, 128):
            form = partial(ssd_chunked, chunk=chunk)
            jobs[f"ssd, {heads} heads: chunks of {chunk}"] = both_ways(form, *tensors)
        if with_compiled:
            compiled = torch.compile(ssd_chunked, fullgraph=True)
            jobs[f"ssd, {heads} heads: chunks of 64, compiled"] = both_ways(compiled, *tensors)
    x, dt = leaf(1, LENGTH, WIDTH), torch.rand(1, LENGTH, WIDTH).requires_grad_()
    a = (-torch.rand(WIDTH, STATE)).requires_grad_()
    tensors = (x, dt, a, leaf(1, LENGTH, 1, STATE), leaf(1, LENGTH, 1, STATE))
    jobs["selective scan: recurrent"] = both_ways(selective_scan_recurrent, *tensors)
    jobs["selective scan: chunked"] = both_ways(selective_scan_chunked, *tensors)
    return jobs


def learn(module: nn.Module, x: Tensor) -> None:
    """Run a block forward and backward."""
    y = module(x)
    y = y[0] if isinstance(y, tuple) else y
    y.sum().backward()


def forward(module: nn.Module, x: Tensor) -> None:
    """Run a block forward alone."""
    with torch.no_grad():
        module(x)


def block_jobs() -> dict[str, Job]:
    """Return the blocks by name, mamba1 before mamba2."""
    jobs: dict[str, Job] = {}
    for kind in ("mamba1", "mamba2"):
        scan = ScanSSD2d(ScanConfig(num_channels=64, kind=kind))
        jobs[f"2-D scan 64 channels 32x32: {kind}"] = partial(learn, scan, leaf(1, 64, 32, 32))
    for kind in ("mamba1", "mamba2"):
        scan = ScanSSD2d(ScanConfig(num_channels=64, kind=kind)).eval()
        map_ = torch.randn(1, 64, 32, 32)
        jobs[f"2-D scan 64 channels 32x32, forward: {kind}"] = partial(forward, scan, map_)
    return jobs


def time_ms(jobs: dict[str, Job], turns: int) -> dict[str, list[float]]:
    """Return the milliseconds of every job in every turn."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(turns):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    """Time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--compiled", action="store_true", help="too; needs a C++ compiler")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    times = time_ms({**form_jobs(args.compiled), **block_jobs()}, args.turns)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, {args.threads} threads, torch {torch.__version__}")
    print(f"{LENGTH} tokens, {WIDTH} channels, state {STATE}; ms median (least), times as fast")
    results = {}
    plain, title = 1.0, ""
    for name, values in times.items():
        middle = statistics.median(values)
        if name.split(":")[0] != title:
            plain, title = middle, name.split(":")[0]
        results[name] = {"median": middle, "least": min(values), "ratio": plain / middle}
        print(f"{name:48s} {middle:7.1f} ({min(values):6.1f})  {plain / middle:5.1f}x")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "ms": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
