"""What a cohort costs besides its network, and how long 10^4 to 10^9 clips take on many machines.

    python benchmarks/cohort_model.py constants [--clips 500] [--json OUT]
    python benchmarks/cohort_model.py simulate --clip-s 2.5 [--draws 10] [--json OUT]

`constants` measures, on made-up results: bytes of a result, of its lines in manifest, audit log and
tables, and the time that the leading process takes per clip to plan, to log, to make tables, and to
read the state. `simulate` draws times per clip (log-normal, with the spread of EchoNet-Dynamic's
lengths: SD 58 of 177 frames, and 1 clip in 10,000 that takes until the time limit), failures of
machines (exponential) and their restarts, and compares one queue (an engine) with fixed parts
(shards), on the same clips with and without failures: mean and range of several draws. Asserts
nothing.
"""

import argparse
import heapq
import itertools
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines import TESTS, make_clips
from speed import machine

SPREAD, MTBF_H = 58 / 177, 24.0
TIMEOUT_SHARE = 1e-4
RESTART_S = 120.0
"""Until a machine that failed works again, its model loaded."""


def constants(args: argparse.Namespace) -> dict[str, float]:
    """Measure what the leading process does, per clip."""
    sys.path.insert(0, str(TESTS))
    import cohort_stub
    from echoseg.report import cohort
    from echoseg.report.cohort.folder import plan
    from echoseg.report.cohort.manage import read_status
    from echoseg.report.cohort.tables import write_tables

    cohort.Work = cohort_stub.StubWork
    with tempfile.TemporaryDirectory() as folder:
        root, out = make_clips(Path(folder) / "clips", args.clips, 0), Path(folder) / "out"
        clips = cohort.FoundClips()
        for path in sorted(root.iterdir()):
            clips.add(path.name, path)
        work = cohort.RunOptions(limits=None)
        run_s = timed(lambda: cohort.run_cohort(clips, cohort_stub.SETTINGS, out, work))
        held = cohort.Cohort.model_validate_json((out / "manifest.json").read_text())
        logged = cohort_stub.StubWork(settings=held.settings, out=out, options=work)
        done = [e for e in held.entries if (out / e.name / "report.json").exists()]
        sizes = {
            "result": sum(p.stat().st_size for e in done for p in (out / e.name).iterdir()),
            "report": sum((out / e.name / "report.json").stat().st_size for e in done),
            "manifest": (out / "manifest.json").stat().st_size,
            "audit_log": (out / "audit.jsonl").stat().st_size,
            "results_csv": (out / "results.csv").stat().st_size,
        }
        times_s = {
            "run_without_network": run_s,
            "plan": timed(lambda: plan(clips, held.settings, held, out)),
            "tables": timed(lambda: write_tables(held, out)),
            "status": timed(lambda: read_status(out)),
            "log_outcome": timed(lambda: [logged.log_found(entry) for entry in done]),
        }
    return {f"{name}_ms": 1000 * time_s / args.clips for name, time_s in times_s.items()} | {
        f"{name}_bytes": size / len(done) for name, size in sizes.items()
    }


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start_s = time.perf_counter()
    function()
    return time.perf_counter() - start_s


def clip_times(number: int, args: argparse.Namespace, rng: np.random.Generator) -> np.ndarray:
    """Draw times per clip, (number,), in seconds."""
    sigma = math.sqrt(math.log(1 + SPREAD**2))
    times_s = rng.lognormal(math.log(args.clip_s) - sigma**2 / 2, sigma, number)
    times_s[rng.random(number) < TIMEOUT_SHARE] = args.timeout_s
    return times_s


def one_queue(times_s: np.ndarray, workers: int, mtbf_s: float, rng: np.random.Generator) -> float:
    """When the last clip ends, each taken by the next free worker; a lost one is done again."""
    free = [(0.0, rng.exponential(mtbf_s), index) for index in range(workers)]
    heapq.heapify(free)
    left, last_s = list(times_s[::-1]), 0.0
    while left:
        time_s = left.pop()
        start_s, fails_s, index = heapq.heappop(free)
        end_s = start_s + time_s
        if end_s > fails_s:
            left.append(time_s)
            back_s = max(fails_s, start_s) + RESTART_S
            heapq.heappush(free, (back_s, back_s + rng.exponential(mtbf_s), index))
            continue
        last_s = max(last_s, end_s)
        heapq.heappush(free, (end_s, fails_s, index))
    return last_s


def fixed_parts(
    times_s: np.ndarray, workers: int, mtbf_s: float, rng: np.random.Generator
) -> float:
    """When the last of the workers ends, each with the clips whose names fall to it."""
    parts = rng.integers(0, workers, len(times_s))
    order = np.argsort(parts, kind="stable")
    bounds = np.searchsorted(parts[order], np.arange(workers + 1))
    pairs = itertools.pairwise(bounds)
    return max(one_queue(times_s[order[a:b]], 1, mtbf_s, rng) for a, b in pairs)


def simulate(args: argparse.Namespace) -> list[dict[str, object]]:
    """Compare both at several sizes; `clips_per_worker` is what decides, not the number of both."""
    rows = []
    for workers, per_worker in ((16, 100), (16, 1000), (256, 100), (256, 1000), (1024, 200)):
        ratios: dict[str, list[float]] = {}
        for draw in range(args.draws):
            times_s = clip_times(workers * per_worker, args, np.random.default_rng([0, draw]))
            for mtbf_h in (math.inf, MTBF_H):
                for way in (one_queue, fixed_parts):
                    rng = np.random.default_rng([1, draw])  # the same parts in both
                    end_s = way(times_s, workers, min(3600 * mtbf_h, 1e18), rng)
                    name = f"{way.__name__}{', failures' * math.isfinite(mtbf_h)}"
                    ratios.setdefault(name, []).append(float(end_s / times_s.sum() * workers))
        row = {"workers": workers, "clips_per_worker": per_worker}
        for name, over in ratios.items():
            row[name] = f"{np.mean(over):.2f} ({min(over):.2f} to {max(over):.2f})"
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("constants", "simulate"))
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--clip-s", type=float, default=2.5)
    parser.add_argument("--timeout-s", type=float, default=600.0, help="--clip-timeout")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict[str, object] = {"machine": machine(), "draws": args.draws}
    if args.what == "constants":
        results |= {"clips": args.clips} | constants(args)
    else:
        results |= {"clip_s": args.clip_s, "timeout_s": args.timeout_s, "rows": simulate(args)}
    print(json.dumps(results, indent=1))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
