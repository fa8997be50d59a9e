"""Simulate phantom clips for training into one .npz, with several processes.

python scripts/make_phantom_clips.py OUT.npz --num-clips 1800 --processes 2
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from echoseg.phantom import Phantom, PhantomConfig
from echoseg.train.data.sources import phantom_config


def simulate(config: PhantomConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return frames and masks."""
    phantom = Phantom(config)
    return phantom.frames(), phantom.masks()


def main() -> None:
    """Parse, simulate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--num-clips", type=int, default=1800)
    parser.add_argument("--num-frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    shape = (args.num_clips, args.num_frames, args.size, args.size)
    frames, masks = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    seeds = range(args.first_seed, args.first_seed + args.num_clips)
    configs = [phantom_config(seed, args.size, args.num_frames) for seed in seeds]
    with ProcessPoolExecutor(args.processes) as pool:
        for index, (pictures, labels) in enumerate(pool.map(simulate, configs, chunksize=8)):
            frames[index], masks[index] = pictures, labels
            if index % 200 == 0:
                print(f"{index} of {args.num_clips}", flush=True)
    np.savez(args.out, frames=frames, masks=masks)


if __name__ == "__main__":
    main()
