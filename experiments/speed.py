"""How fast, large and hungry networks are, timed in turns so that a busy machine falls on all."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from echoseg.models import MODELS

SIZES_PX = (112, 256)
CLIP_FRAMES = 10


def takes(model: Any, size_px: int) -> bool:
    """Return whether a network takes frames of that size."""
    return model.image_size in (None, size_px)


def stream_s(model: Any, size_px: int, num_frames: int) -> float:
    """Return seconds per frame, one after another, the median after two to warm up."""
    frame, state = torch.rand(1, 1, size_px, size_px), model.init_state(1)
    times = []
    for _ in range(num_frames + 2):
        start = time.perf_counter()
        _, state = model.step(frame, state)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def clip_s(model: Any, size_px: int) -> float:
    """Return seconds a frame of a clip of ten at once, or of as many as the network takes."""
    num_frames = CLIP_FRAMES if model.streams else model.num_frames
    frames = torch.rand(1, num_frames, 1, size_px, size_px)
    start = time.perf_counter()
    model(frames)
    return (time.perf_counter() - start) / num_frames


def gmac(model: Any, size_px: int) -> float:
    """Return 1e9 multiplications with addition a frame, as torch counts them."""
    num_frames = CLIP_FRAMES if model.streams else model.num_frames
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(1, num_frames, 1, size_px, size_px))
    return counter.get_total_flops() / 2 / num_frames / 1e9


def peak_mb(kind: str, architecture: Mapping[str, Any], size_px: int = 256) -> float:
    """Return the peak memory of a process that runs ten frames, streamed if the network can.

    Linux only: elsewhere NaN.
    """
    if not Path("/proc/self/status").exists():
        return float("nan")
    code = (
        "import json, sys, torch\n"
        "from echoseg.evaluation import speed\n"
        "model = speed.build(sys.argv[1], json.loads(sys.argv[2]))\n"
        "size = int(sys.argv[3])\n"
        "with torch.inference_mode():\n"
        "    speed.stream_s(model, size, 8) if model.streams else speed.clip_s(model, size)\n"
        # not ru_maxrss: that begins with what the parent had
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    words = [sys.executable, "-c", code, kind, json.dumps(dict(architecture)), str(size_px)]
    return int(subprocess.check_output(words, env=os.environ)) / 1024


def build(kind: str, architecture: Mapping[str, Any]) -> Any:
    """Return a network of a key of `MODELS`, its weights random, ready to be timed."""
    model: Any = MODELS[kind]
    network = model(model.config_class.model_validate(dict(architecture)))
    return network.eval().to(memory_format=torch.channels_last)


def rates(models: Mapping[str, Any], turns: int = 3) -> dict[str, dict[str, float]]:
    """Return frames a second of each network, streamed and batched, medians over turns."""
    seconds: dict[tuple[str, str], list[float]] = {}
    with torch.inference_mode():
        for _ in range(turns):
            for name, model in models.items():
                for size in (size for size in SIZES_PX if takes(model, size)):
                    key = f"{size} frames/s"
                    seconds.setdefault((name, f"batched {key}"), []).append(clip_s(model, size))
                    if model.streams:
                        times = seconds.setdefault((name, f"streaming {key}"), [])
                        times.append(stream_s(model, size, 12))
    rates: dict[str, dict[str, float]] = {name: {} for name in models}
    for (name, what), times in seconds.items():
        rates[name][what] = 1 / statistics.median(times)
    return rates


def sizes(model: Any) -> dict[str, float]:
    """Return parameters, and operations per frame for each size that the network takes."""
    with torch.inference_mode():
        counted = {f"gmac {size}": gmac(model, size) for size in SIZES_PX if takes(model, size)}
    return {"parameters": float(sum(p.numel() for p in model.parameters())), **counted}
