"""Does a cohort survive kills during work, of its parent and of its workers?

    python benchmarks/kills.py [--kills 100] [--clips 24] [--jobs 2] [--seed 0] [--json OUT]

Simulated clips of 96 px and 24 frames, some of them broken, are analyzed by `echoseg analyze
--resume` with the smallest model. As soon as a clip is in work, and after a random while, the
parent or one of its workers is killed by SIGKILL. A killed parent is started again; a killed worker
costs its run one clip, which the next resume tries again. When a cohort is whole, its tables are
compared with those of a run that was left alone, its audit log is verified, and the next cohort is
begun, until all kills are spent. Asserts nothing.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from echoseg.audit import AuditLog
from echoseg.io.video import write_mjpeg
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.report.cohort import AUDIT, FAILURES_TABLE, OTHERS_TABLE, RESULTS_TABLE
from speed import machine

TABLES = (RESULTS_TABLE, FAILURES_TABLE, OTHERS_TABLE)
MAX_WAIT_S = 1.5


def make_clips(folder: Path, number: int) -> None:
    """Write clips; each sixth is broken, and three files are something else."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(number):
        place = folder / f"{seed:03d}.avi"
        if not place.exists():
            config = PhantomConfig(seed=seed, size_px=96, num_frames=24, frame_rate_hz=25.0)
            write_mjpeg(place, Phantom(config).frames(), 25.0)
            if seed % 6 == 5:
                place.write_bytes(place.read_bytes()[:300])
    for name in ("notes", "viewer.exe", "b.sh"):
        (folder / name).write_text("not a clip")


def run(folder: Path, out: Path, args: argparse.Namespace) -> psutil.Popen:
    """Start or continue a cohort."""
    words = ["analyze", folder, "-o", out, "--no-pages", "--resume", "--jobs", args.jobs]
    words += ["--model", "phantom", "--device", "cpu"]
    return psutil.Popen(
        [sys.executable, "-m", "echoseg", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def workers_of(process: psutil.Popen) -> list[psutil.Process]:
    """Its worker processes."""
    try:
        return process.children()
    except psutil.Error:
        return []


def is_in_work(out: Path, since_s: float) -> bool:
    """Whether a clip was begun since then, and is not done."""
    for note in out.glob(".begun/*.json"):
        try:
            if note.stat().st_mtime > since_s:
                return True
        except OSError:
            continue
    return False


def kill_one(process: psutil.Popen, out: Path, draw: random.Random, args: object) -> str:
    """Wait until a clip is in work, then kill; return what was killed, empty if the run ended."""
    since_s = time.time()
    while not is_in_work(out, since_s):
        if process.poll() is not None:
            return ""
        time.sleep(0.01)
    time.sleep(draw.uniform(0, MAX_WAIT_S))
    workers = workers_of(process)
    what = draw.choice(["parent", "worker"])
    if process.poll() is not None or (what == "worker" and not workers):
        return ""
    (process if what == "parent" else draw.choice(workers)).kill()
    if what == "parent":
        process.wait()
        psutil.wait_procs(workers)
    return what


def rounds(folder: Path, whole: Path, args: argparse.Namespace) -> dict[str, object]:
    """Run cohorts with kills until the kills are spent; count what happened."""
    draw, counts = random.Random(args.seed), Counter[str]()
    while counts["parent"] + counts["worker"] < args.kills:
        out, results = args.work / f"cut{counts['cohorts']}", {}
        shutil.rmtree(out, ignore_errors=True)
        process = run(folder, out, args)
        while counts["parent"] + counts["worker"] < args.kills:
            killed = kill_one(process, out, draw, args)
            counts[killed] += bool(killed)
            now = {path: path.read_bytes() for path in out.glob("[!.]*/report.json")}
            counts["results lost or changed"] += sum(
                now.get(p) != old for p, old in results.items()
            )
            results = now
            if killed != "worker":
                if process.poll() == 1 and "killed" not in (out / FAILURES_TABLE).read_text():
                    break
                counts["restarts"] += 1
                process = run(folder, out, args)
        for _ in range(3):  # the last may still try again what the last kill cost
            process.wait()
            process = run(folder, out, args)
        process.wait()
        counts["cohorts"] += 1
        counts["tables that differ"] += sum(
            (out / name).read_bytes() != (whole / name).read_bytes() for name in TABLES
        )
        log = AuditLog(out / AUDIT)
        counts["broken audit logs"] += bool(log.verify().problems)
        counts["torn audit lines"] += log.verify().torn
        logged = {record.input_sha256 for record in log.records() if record.event != "tables"}
        counts["clips without audit record"] += args.clips - len(logged)
        parts = [part for part in out.rglob(".echoseg/*") if part.name != "written.json"]
        counts["leftovers"] += len([*out.glob(".begun/*"), *parts])
        print(dict(counts), flush=True)
    return dict(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "echoseg-kills")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder, whole = args.work / f"clips{args.clips}", args.work / "whole"
    make_clips(folder, args.clips)
    shutil.rmtree(whole, ignore_errors=True)
    run(folder, whole, args).wait()
    start = time.perf_counter()
    counts = rounds(folder, whole, args)
    results = {"machine": machine(), "clips": args.clips, "jobs": args.jobs, "seed": args.seed}
    results |= counts | {"time_s": round(time.perf_counter() - start)}
    print(json.dumps(results, indent=1))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
