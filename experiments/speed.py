"""Speed, size and memory of networks, measured in turns, so that other load affects all alike."""

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

from echoseg.models.build import build_model
from echoseg.models.segmenter import Segmenter

SIZES_PX = (112, 256)
CLIP_FRAMES = 10


def accepts(model: Segmenter, size_px: int) -> bool:
    """Whether a network accepts frames of that size."""
    return model.image_size in (None, size_px)


def stream_s(model: Segmenter, size_px: int, num_frames: int) -> float:
    """Seconds per frame when streaming, the median after two warm-up frames."""
    frame, state = torch.rand(1, 1, size_px, size_px), model.init_state(1)
    times = []
    for _ in range(num_frames + 2):
        start = time.perf_counter()
        _, state = model.step(frame, state)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def clip_s(model: Segmenter, size_px: int) -> float:
    """Seconds per frame of a whole clip of ten frames, or of as many as the network requires."""
    num_frames = CLIP_FRAMES if model.streams else model.num_frames
    frames = torch.rand(1, num_frames, 1, size_px, size_px)
    start = time.perf_counter()
    model(frames)
    return (time.perf_counter() - start) / num_frames


def gmac(model: Segmenter, size_px: int) -> float:
    """1e9 multiply-accumulate operations per frame, as torch counts them."""
    num_frames = CLIP_FRAMES if model.streams else model.num_frames
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(1, num_frames, 1, size_px, size_px))
    return counter.get_total_flops() / 2 / num_frames / 1e9


def peak_mb(kind: str, architecture: Mapping[str, Any], size_px: int = 256) -> float:
    """Peak memory in MB of a process that runs ten frames, streaming if possible.

    Linux only: elsewhere NaN.
    """
    if not Path("/proc/self/status").exists():
        return float("nan")
    code = (
        "import json, sys, torch\n"
        "from experiments import speed\n"
        "model = speed.build(sys.argv[1], json.loads(sys.argv[2]))\n"
        "size = int(sys.argv[3])\n"
        "with torch.inference_mode():\n"
        "    speed.stream_s(model, size, 8) if model.streams else speed.clip_s(model, size)\n"
        # not ru_maxrss: that begins with what the parent had
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    words = [sys.executable, "-c", code, kind, json.dumps(dict(architecture)), str(size_px)]
    return int(subprocess.check_output(words, env=os.environ)) / 1024


def build(architecture: str, options: Mapping[str, Any]) -> Any:
    """A network with random weights, in evaluation mode."""
    network: Any = build_model(architecture, options)
    return network.eval().to(memory_format=torch.channels_last)


def rates(models: Mapping[str, Any], turns: int = 3) -> dict[str, dict[str, float]]:
    """Frames per second of each network, streaming and batched, medians over turns."""
    seconds: dict[tuple[str, str], list[float]] = {}
    with torch.inference_mode():
        for _ in range(turns):
            for name, model in models.items():
                for size in (size for size in SIZES_PX if accepts(model, size)):
                    key = f"{size} frames/s"
                    seconds.setdefault((name, f"batched {key}"), []).append(clip_s(model, size))
                    if model.streams:
                        times = seconds.setdefault((name, f"streaming {key}"), [])
                        times.append(stream_s(model, size, 12))
    result: dict[str, dict[str, float]] = {name: {} for name in models}
    for (name, key), times in seconds.items():
        result[name][key] = 1 / statistics.median(times)
    return result


def sizes(model: Segmenter) -> dict[str, float]:
    """Number of parameters, and operations per frame for each accepted size."""
    with torch.inference_mode():
        counts = {f"gmac {size}": gmac(model, size) for size in SIZES_PX if accepts(model, size)}
    return {"parameters": float(sum(p.numel() for p in model.parameters())), **counts}
