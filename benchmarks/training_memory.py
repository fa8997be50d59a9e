"""Memory of training data against the number of clips: it must not grow.

    python benchmarks/training_memory.py [--num 2000] [--num-frames 60] [--size 112] [--steps 60]

Writes AVI clips of smooth noise to a temporary folder (a few files, linked to give `--num` names),
opens N/8, N/4 and N of them as training data in a process of their own each, makes the batches of
`--steps` steps with a cache of 16 MiB, and prints the peak memory of each process in MB above that
of one with 8 clips.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from echoseg.io.video import write_mjpeg
from speed import machine

NUM_FILES = 16
CACHE_GB = 1 / 64


def make_clips(folder: Path, num: int, num_frames: int, size: int) -> None:
    """Write clips of smooth noise under `num` names."""
    rng = np.random.default_rng(0)
    for index in range(num):
        path = folder / f"clip{index:05d}.avi"
        if index < NUM_FILES:
            coarse = rng.integers(0, 256, (num_frames, size // 8, size // 8), dtype=np.uint8)
            frames = coarse.repeat(8, 1).repeat(8, 2)
            write_mjpeg(path, frames, 50.0)
        else:
            os.link(folder / f"clip{index % NUM_FILES:05d}.avi", path)


def peak_mb(folder: Path, num: int, steps: int) -> float:
    """Peak memory of a process that makes batches of the first clips."""
    command = [sys.executable, __file__, str(folder), "--use", str(num), "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def use(folder: Path, num: int, steps: int) -> None:
    """Make the batches; print the peak memory of this process in MB."""
    from echoseg.clip import View
    from echoseg.data import Record
    from echoseg.data.torch_dataset import ClipCache, TorchDataset
    from echoseg.io import load_clip
    from echoseg.train.config import train_config
    from echoseg.train.data.batches import Batches
    from echoseg.train.data.sources import training_set_of

    def read(path: Path):
        return load_clip(path), None

    records = [
        Record(name=p.stem, patient=p.stem, view=View.A4C, files=(p,), read=lambda p=p: read(p))
        for p in sorted(folder.iterdir())[:num]
    ]
    config = train_config(image_size=112, num_frames=8)
    clips = TorchDataset(records, size=112, cache=ClipCache(int(CACHE_GB * 2**30)))
    batches = Batches(training_set_of(clips, records), config, 4, 4)
    for step in range(steps):
        batches[step]
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def main() -> None:
    """Make clips, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--use", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--num", type=int, default=2000)
    parser.add_argument("--num-frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    if args.use:
        use(args.folder, args.use, args.steps)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_clips(folder, args.num, args.num_frames, args.size)
        numbers = [8, args.num // 8, args.num // 4, args.num]
        start = time.monotonic()
        peaks = {number: peak_mb(folder, number, args.steps) for number in numbers}
    base = peaks.pop(8)
    growth = {number: round(peak - base, 1) for number, peak in peaks.items()}
    ratio = round(peaks[args.num] / peaks[args.num // 8], 3)
    print(
        json.dumps(
            {
                **machine(),
                "seconds": round(time.monotonic() - start),
                "base_mb": round(base, 1),
                "mb_above_base": growth,
                "ratio_n_to_n8": ratio,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
