"""How long do 1,000 mask pairs of 256 x 256 take, with HD95 and ASD, on one core?

    python benchmarks/metrics_speed.py [--json OUT]

Ventricles of a heart's size, moved and stretched at random. Asked for: 5 s.
"""

import argparse
import itertools
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from echoseg.metrics.segmentation import compare_masks
from startup import machine

PAIRS, SIDE_PX, TARGET_S, TURNS = 1000, 256, 5.0, 3


def ventricle(generator: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    half_height, half_width = generator.uniform(50, 90), generator.uniform(25, 45)
    top, left = SIDE_PX / 2 + generator.normal(0, 4, 2)
    return ((columns - left) / half_width) ** 2 + ((rows - top) / half_height) ** 2 < 1


def main() -> None:
    """Time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    masks = [ventricle(generator) for _ in range(PAIRS + 1)]
    times_s = []
    for _ in range(TURNS):
        start = time.perf_counter()
        for pair in itertools.pairwise(masks):
            compare_masks(*pair, (0.6, 0.7))
        times_s.append(time.perf_counter() - start)
    median_s = statistics.median(times_s)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{PAIRS} pairs: {', '.join(f'{t:.2f}' for t in times_s)} s, median {median_s:.2f} s "
          f"(target {TARGET_S:.0f} s, ratio to it {median_s / TARGET_S:.2f})")  # fmt: skip
    if args.json:
        results = {"machine": machine(), "times_s": times_s, "ratio": median_s / TARGET_S}
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
