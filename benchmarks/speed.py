"""Measure the speed of one part of echoseg: prints the machine, median times and ratios.

    python benchmarks/speed.py QUESTION [--turns N] [--threads N] [--json OUT]

Questions:

- help: `echoseg --help`, compared with a Python that does nothing (goal 0.5 s);
- demo: `echoseg demo`, start to finish (goal 15 s);
- metrics: 100 mask pairs of 256 x 256 with HD95 and ASD (goal 0.5 s);
- scan: fast forms of the scans, compared with their plain ones, forward and backward;
- phantom: simulation of 32 frames, compared with real time at 50 frames per second;
- networks: every network of the benchmark, compared with the released MSSNet at 256 px;
- step: a step of MSSNet at 112 px in torch, ONNX Runtime and OpenVINO, by what it carries, compared
  with nothing carried;
- length: MSSNet streaming at 112 px, late frames compared with the first.

All cases of a question run once per turn, one after the other, so that other load affects all
alike. The ratio is that to the reference of the group. Asserts nothing.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # for experiments

PAIRS, SIDE_PX, PHANTOM_FRAMES = 100, 256, 32
LENGTH, WIDTH, STATE = 1024, 256, 16
"""Tokens, channels and state of the scans."""


class Case(NamedTuple):
    """Something to time: seconds compared with those of `reference`, a case or a number."""

    run: Callable[[], object]
    reference: str | float


def machine() -> dict[str, str | int]:
    """What a reader needs to interpret a time."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text("utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _python(*words: str) -> Callable[[], object]:
    command = [sys.executable, *words]
    return partial(subprocess.run, command, check=True, capture_output=True)


def help_page() -> dict[str, Case]:
    nothing = "a Python that does nothing"
    return {
        nothing: Case(_python("-c", "pass"), nothing),
        "echoseg --help": Case(_python("-m", "echoseg", "--help"), nothing),
    }


def demo() -> dict[str, Case]:
    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            _python("-m", "echoseg", "demo", "-o", f"{folder}/demo")()

    return {"echoseg demo": Case(run, 15.0)}


def metrics() -> dict[str, Case]:
    import numpy as np

    from echoseg.metrics.segmentation import compare_masks

    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]

    def ventricle() -> np.ndarray:
        height, width = generator.uniform(50, 90), generator.uniform(25, 45)
        top, left = SIDE_PX / 2 + generator.normal(0, 4, 2)
        return ((columns - left) / width) ** 2 + ((rows - top) / height) ** 2 < 1

    masks = [ventricle() for _ in range(PAIRS + 1)]

    def run() -> None:
        for pair in itertools.pairwise(masks):
            compare_masks(*pair, (0.6, 0.7))

    return {f"{PAIRS} mask pairs": Case(run, 0.5)}


def scan() -> dict[str, Case]:
    import torch

    from benchmarks.plain_scans import selective_scan_recurrent, ssd_recurrent
    from echoseg.nn.scan2d import ScanSSD2d
    from echoseg.nn.scans import ScanConfig
    from echoseg.nn.selective_scan import selective_scan_chunked
    from echoseg.nn.ssd import ssd_chunked

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(shape, requires_grad=True)

    def gradients(form: Callable[..., Any], *tensors: torch.Tensor) -> Callable[[], object]:
        gradient = torch.randn(tensors[0].shape)
        return lambda: torch.autograd.grad(form(*tensors)[0], tensors, gradient)

    def block(module: torch.nn.Module, x: torch.Tensor) -> None:
        module(x).sum().backward()

    torch.manual_seed(0)
    cases: dict[str, Case] = {}
    for heads in (4, 8):
        decay = (-torch.rand(1, LENGTH, heads)).requires_grad_()
        x = leaf(1, LENGTH, heads, WIDTH // heads)
        tensors = (x, decay, leaf(1, LENGTH, 1, STATE), leaf(1, LENGTH, 1, STATE))
        plain = f"SSD, {heads} heads, recurrent"
        cases[plain] = Case(gradients(ssd_recurrent, *tensors), plain)
        for chunk in (32, 64, 128):
            form = partial(ssd_chunked, chunk=chunk)
            name = f"SSD, {heads} heads, chunks of {chunk}"
            cases[name] = Case(gradients(form, *tensors), plain)
    x, dt = leaf(1, LENGTH, WIDTH), torch.rand(1, LENGTH, WIDTH).requires_grad_()
    a = (-torch.rand(WIDTH, STATE)).requires_grad_()
    tensors = (x, dt, a, leaf(1, LENGTH, 1, STATE), leaf(1, LENGTH, 1, STATE))
    plain = "selective scan, recurrent"
    cases[plain] = Case(gradients(selective_scan_recurrent, *tensors), plain)
    cases["selective scan, chunked"] = Case(gradients(selective_scan_chunked, *tensors), plain)
    for kind in ("mamba1", "mamba2"):
        module = ScanSSD2d(ScanConfig(num_channels=64, kind=kind))
        run = partial(block, module, leaf(1, 64, 32, 32))
        cases[f"2-D scan, 64 channels 32 x 32, {kind}"] = Case(
            run, "2-D scan, 64 channels 32 x 32, mamba1"
        )
    return cases


def phantom() -> dict[str, Case]:
    from echoseg.phantom import Phantom, PhantomConfig

    seeds = itertools.count()

    def run(size: int) -> None:
        simulated = Phantom(
            PhantomConfig(seed=next(seeds), size_px=size, num_frames=PHANTOM_FRAMES)
        )
        simulated.frames(), simulated.masks()

    return {
        f"{PHANTOM_FRAMES} frames of {size} px": Case(partial(run, size), PHANTOM_FRAMES / 50)
        for size in (112, 256)
    }


def networks() -> dict[str, Case]:
    import torch

    from experiments import speed
    from experiments.model_bench import ENTRIES

    def run(model: Any) -> None:
        with torch.inference_mode():
            frames = model.num_frames or speed.CLIP_FRAMES
            model(torch.rand(1, frames, 1, 256, 256))

    models = {name: speed.build(entry.model, entry.architecture) for name, entry in ENTRIES.items()}
    return {
        f"{name}, clip of {model.num_frames or speed.CLIP_FRAMES} frames": Case(
            partial(run, model), f"mssnet_released, clip of {speed.CLIP_FRAMES} frames"
        )
        for name, model in models.items()
    }


def length() -> dict[str, Case]:
    import torch

    from experiments import speed

    model, frame = speed.build("mssnet", {}), torch.rand(1, 1, 112, 112)
    states: dict[int, Any] = {}
    with torch.inference_mode():
        state = model.init_state(1)
        for index in range(1001):
            _, state = model.step(frame, state)
            if index in (10, 100, 1000):
                states[index] = state

    def run(state: Any) -> None:
        with torch.inference_mode():
            for _ in range(10):
                _, state = model.step(frame, state)

    return {
        f"10 frames after {index}": Case(partial(run, state), "10 frames after 10")
        for index, state in states.items()
    }


def step() -> dict[str, Case]:
    import torch

    from echoseg.inference.backends.export import export
    from echoseg.inference.backends.exported import OnnxSession, OpenVinoSession
    from echoseg.weights.card import ModelCard
    from experiments import speed

    threads, cases = torch.get_num_threads(), {}
    folder = Path(tempfile.mkdtemp(prefix="echoseg-step-"))

    def run(step: Callable[..., Any], frame: Any, state: Any) -> None:
        with torch.inference_mode():
            for _ in range(10):
                _, state = step(frame, state)

    for name in ("none", "features", "guidance"):
        network = speed.build("mssnet", {"memory": name})
        card = ModelCard(architecture="mssnet", image_size=112, licence="none")
        frame = torch.rand(1, 1, 112, 112)
        where = {"torch": partial(run, network.step, frame, network.init_state(1))}
        for kind, suffix, kind_of in (
            ("onnx", ".onnx", OnnxSession),
            ("openvino", ".xml", OpenVinoSession),
        ):
            export(network, card, kind, folder / f"{name}{suffix}")
            session = kind_of(folder / f"{name}{suffix}", num_threads=threads)
            where[kind] = partial(run, session.step, frame.numpy(), session.first_state())
        for kind, call in where.items():
            cases[f"{name}, 10 steps, {kind}"] = Case(call, f"none, 10 steps, {kind}")
    return cases


QUESTIONS: dict[str, Callable[[], dict[str, Case]]] = {
    "help": help_page, "demo": demo, "metrics": metrics, "scan": scan, "phantom": phantom,
    "networks": networks, "length": length, "step": step,
}  # fmt: skip


def measure(cases: dict[str, Case], turns: int) -> dict[str, dict[str, float]]:
    """Median and minimum seconds of each case, and its ratio to the reference."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(turns + 1):
        for name, case in cases.items():
            start = time.perf_counter()
            case.run()
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    results = {}
    for name, case in cases.items():
        is_case = isinstance(case.reference, str)
        reference = medians[case.reference] if is_case else float(case.reference)
        results[name] = {
            "median_s": medians[name],
            "min_s": min(times[name]),
            "ratio": medians[name] / reference,
        }
    return results


def main() -> None:
    """Time, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    results = measure(QUESTIONS[args.question](), args.turns)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    for name, row in results.items():
        times = f"{1e3 * row['median_s']:9.1f} ms (min {1e3 * row['min_s']:.1f})"
        print(f"{name:46s} {times}, ratio {row['ratio']:.3f}")
    if args.json:
        document = {"question": args.question, "machine": machine(), "results": results}
        args.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
