"""Clips per second with and without the cache, and the loader's share of a training step.

    python benchmarks/loader_speed.py [--data DIR] [--clips N] [--size 112] [--json OUT]

Without DIR the phantom writes clips in EchoNet-Dynamic's layout (112 px MJPEG, 64 frames) first.
Times are CPU seconds of one core, so that what else the machine does counts little. A loader's item
is a window of 16 frames on the network's square. The share of a step is that of loading 2 such
windows beside a forward and backward pass of `memory_unet` over them, one after another.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from echoseg.data import load_dataset
from echoseg.data.cache import CachedClips, on_square, prepare
from speed import machine

WINDOW, BATCH = 16, 2


def made_data(folder: Path, clips: int) -> Path:
    from echoseg.data import phantom_writer as phantom_layout
    from echoseg.phantom import PhantomConfig

    first = PhantomConfig(seed=0, size_px=112, num_frames=64, frame_rate_hz=50)
    phantom_layout.write(folder, first.next_hearts(clips), "echonet")
    return folder


def rate_hz(item: Callable[[int], object], number: int) -> float:
    start = time.process_time()
    for index in range(number):
        item(index)
    return number / (time.process_time() - start)


def step_time_s(size: int) -> float:
    """Return the median time of a forward and backward pass over one batch."""
    import torch

    from echoseg.losses import cross_entropy_dice_loss
    from echoseg.models import MODELS

    torch.set_num_threads(1)
    architecture = MODELS["memory_unet"]
    model = architecture(architecture.config_class())
    frames = torch.rand(BATCH, WINDOW, 1, size, size)
    masks = torch.randint(0, 4, (BATCH * WINDOW, size, size))
    times = []
    for _ in range(4):
        start = time.process_time()
        cross_entropy_dice_loss(model(frames).flatten(0, 1), masks).backward()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def measure(data: Path, folder: Path, size: int) -> dict[str, float]:
    """Return clips per second, decoded each time and mapped from the cache."""
    collection = load_dataset(data)
    records = [record for record in collection.records if record.labelled]
    start = time.process_time()
    prepare(collection, folder, size)  # with the import of torch
    prepared_s = time.process_time() - start
    cached = CachedClips(folder)
    generator = np.random.default_rng(0)

    def decode(index: int) -> np.ndarray:
        clip, known = records[index % len(records)].load()
        squares = on_square(clip, known, size)
        first = int(generator.integers(max(1, clip.num_frames - WINDOW + 1)))
        return squares[first : first + WINDOW].copy()

    def mapped(index: int) -> np.ndarray:
        frames, _ = cached[index % len(cached)]
        first = int(generator.integers(max(1, len(frames) - WINDOW + 1)))
        return np.array(frames[first : first + WINDOW])

    return {
        "prepare_clips_a_s": len(cached) / prepared_s,
        "decode_clips_a_s": rate_hz(decode, min(2 * len(records), 60)),
        "cache_clips_a_s": rate_hz(mapped, 2000),
    }


def main() -> None:
    """Time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of a data set")
    parser.add_argument("--clips", type=int, default=24, help="of the phantom, without --data")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = args.data or made_data(work / "data", args.clips)
        results = measure(data, work / "cache", args.size)
    step_s = step_time_s(args.size)
    for way in ("decode", "cache"):
        load_s = BATCH / results[f"{way}_clips_a_s"]
        results[f"{way}_share_of_step"] = load_s / (load_s + step_s)
    results |= {"step_s": step_s, "ratio": results["cache_clips_a_s"] / results["decode_clips_a_s"]}
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"decoding: {results['decode_clips_a_s']:.1f} clips/s, making the cache "
          f"{results['prepare_clips_a_s']:.1f}")  # fmt: skip
    print(f"cache: {results['cache_clips_a_s']:.0f} clips/s, ratio {results['ratio']:.0f}")
    print(f"a step of {BATCH} x {WINDOW} frames takes {1000 * step_s:.0f} ms; loading is "
          f"{100 * results['decode_share_of_step']:.1f} % of both when decoding, "
          f"{100 * results['cache_share_of_step']:.2f} % from the cache")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps({"machine": machine()} | results, indent=1) + "\n")


if __name__ == "__main__":
    main()
