"""Clips per minute of one machine.

    python benchmarks/cohort.py [--clips 200] [--jobs 2] [--backend auto] [--json OUT]
    python benchmarks/cohort.py --clips 10030 --distinct 1003     # a whole data set

Clips like EchoNet-Dynamic's: MJPEG AVI of 112 px and 150 to 204 frames (177 in the mean) at 50 a
second, simulated by the phantom and kept between runs in --work. Timed from the command to its end:
start-up, decoding, network, measuring, masks and report written. Peak memory is the largest of any
of its processes, at the end of each tenth of the run. With --distinct N only N clips are
simulated and the others are links to them. Kills are in `benchmarks/kills.py`. Asserts nothing.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from echoseg.io.video import write_mjpeg
from echoseg.phantom import Phantom, PhantomConfig
from speed import machine

SIZE_PX, RATE_HZ, ECHONET_CLIPS = 112, 50.0, 10_030
MANY = 1000
"""Clips above which the results are counted every 5 s only."""


def make_clip(place: Path, seed: int) -> None:
    """Write one clip, unless it is there; another seed than its number is a link to that one."""
    if place.exists():
        return
    if seed != int(place.stem):
        place.hardlink_to(place.with_stem(str(seed)))
        return
    num_frames = 150 + seed * 37 % 55
    config = PhantomConfig(seed=seed, size_px=SIZE_PX, num_frames=num_frames, frame_rate_hz=RATE_HZ)
    write_mjpeg(place, Phantom(config).frames(), RATE_HZ)


def command(folder: Path, out: Path, args: argparse.Namespace) -> list[str]:
    """Return the command whose time is asked for."""
    words = ["analyze", folder, "-o", out, "--no-pages", "--jobs", args.jobs]
    words += ["--model", args.model, "--backend", args.backend]
    return [sys.executable, "-m", "echoseg", *map(str, words)]


def children(pid: int) -> list[int]:
    """Return a process and all below it."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            pids += children(int(child))
    return pids


def peaks_mb(pid: int) -> dict[int, float]:
    """Return the peak memory of each process by now."""
    peaks = {}
    for each in children(pid):
        try:
            status = Path(f"/proc/{each}/status").read_text()
            peaks[each] = int(status.split("VmHWM:")[1].split()[0]) / 1024
        except (OSError, IndexError):
            continue
    return peaks


def timed(words: list[str], out: Path, num_clips: int) -> tuple[float, list[list[float]]]:
    """Run to the end; return seconds, and after each tenth clips, seconds and peak memory, MB."""
    start, peaks, parts = time.perf_counter(), {}, []
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            try:
                peaks |= peaks_mb(run.pid)
            except OSError:
                pass
            time.sleep(0.25 if num_clips <= MANY else 5)
            done = num_done(out)
            if done >= num_clips * (len(parts) + 1) // 10:
                parts.append([done, time.perf_counter() - start, max(peaks.values())])
    time_s = time.perf_counter() - start
    return time_s, [*parts, [num_done(out), time_s, max(peaks.values())]]


def num_done(out: Path) -> int:
    """Return how many clips have ended."""
    return len([*out.glob("[!.]*/report.json"), *out.glob("failures/[!.]*.json")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--distinct", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--model", default="camus")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "echoseg-cohort")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder = args.work / f"clips{args.clips}{f'-{args.distinct}' if args.distinct else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.jobs) as pool:
        seeds = range(min(args.distinct or args.clips, args.clips))
        list(pool.map(make_clip, [folder / f"{seed}.avi" for seed in seeds], seeds))
    for number in range(len(seeds), args.clips):
        make_clip(folder / f"{number}.avi", number % len(seeds))
    whole = args.work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    time_s, parts = timed(command(folder, whole, args), whole, args.clips)
    per_minute = 60 * num_done(whole) / time_s
    results = {
        "machine": machine(),
        "clips": args.clips,
        "distinct": args.distinct or args.clips,
        "jobs": args.jobs,
        "model": args.model,
        "backend": args.backend,
        "time_s": time_s,
        "clips_per_minute": per_minute,
        "hours_for_echonet_dynamic": ECHONET_CLIPS / per_minute / 60,
        "peak_process_mb": parts[-1][-1],
        "clips_seconds_peak_mb": parts,
    }
    print(json.dumps(results, indent=1))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
