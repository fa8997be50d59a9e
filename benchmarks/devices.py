"""One device for everything: each command end to end, beside the CPU; and the network's speed.

    python benchmarks/devices.py [--device cuda] [--speed] [--sizes 112 256] [--streams 1 64]
                                 [--json OUT]

Commands: `analyze`, a cohort, `train` and `live`, as a user runs them, on the device and, where
that is another, on the CPU; each with exit code, time and result (EF in percent, loss, frames).
Exit code 1 where a command fails or an EF differs from that of the CPU by more than half a point.

`--speed`: frames per second of `step`, called as it is and, on CUDA, replayed as a graph, in
float32 and bfloat16, for one stream and many; and of whole clips. Beside it the share of the rate
of a large matrix product, and of the rate of a large copy if weights, frames and state were read
and written once per step, each measured in the same run. Without a GPU all but the graph is run.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from speed import machine

MAX_EF_POINTS = 0.5
TRAINING = {
    "architecture.size": "tiny", "image_size": 64, "num_steps": 4, "validate_every": 4,
    "save_every": 4, "num_labeled": 2, "num_unlabeled": 2,
}  # fmt: skip


class Outcome(NamedTuple):
    """What a command gave: exit code, seconds, a number and its unit."""

    code: int
    seconds: float
    value: float | None
    unit: str


def echoseg(*words: object) -> tuple[int, float, str]:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "echoseg", *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    return done.returncode, time.perf_counter() - start, done.stdout


def analyze(device: str, folder: Path) -> Outcome:
    code, seconds, _ = echoseg(
        "analyze", demo_clip(), "-o", folder, "--no-pages", "--device", device, "--backend", "torch"
    )
    report = next(folder.rglob("report.json"), None)
    ef = json.loads(report.read_text("utf-8"))["results"]["ef_percent"] if report else None
    return Outcome(code, seconds, ef, "EF %")


def cohort(device: str, folder: Path) -> Outcome:
    clips = folder.with_name(f"{folder.name}-clips")
    clips.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(demo_clip(), clips / f"{name}.dcm")
    code, seconds, _ = echoseg(
        "analyze", clips, "-o", folder, "--no-pages", "--device", device, "--backend", "torch"
    )
    table = folder / "results.csv"
    rows = list(csv.DictReader(table.open(newline=""))) if table.exists() else []
    values = [float(row["ef_percent"]) for row in rows if row["ef_percent"]]
    is_whole = len(values) == 3 and len(set(values)) == 1
    return Outcome(code, seconds, values[0] if is_whole else None, "EF % of 3 equal clips")


def train(device: str, folder: Path) -> Outcome:
    settings = [f"{name}={value}" for name, value in TRAINING.items()]
    precision = [] if device == "cuda" else ["precision=32-true"]
    words = [
        word for one in (*settings, *precision, f"accelerator={device}") for word in ("--set", one)
    ]
    code, seconds, output = echoseg(
        "train", "supervised", "-o", folder, "--data", "phantom:4",
        "--validation", "phantom:1:7000", *words,
    )  # fmt: skip
    match = re.search(r"loss ([0-9.]+)", output)
    return Outcome(code, seconds, float(match[1]) if match else None, "loss after 4 steps")


def live(device: str, folder: Path) -> Outcome:
    code, seconds, output = echoseg(
        "live", demo_clip(), "-o", folder, "--every-frame", "--device", device,
        "--backend", "torch",
    )  # fmt: skip
    match = re.search(r"(\d+) frames, 0 dropped", output)
    return Outcome(code, seconds, float(match[1]) if match else None, "frames, none dropped")


COMMANDS: dict[str, Callable[[str, Path], Outcome]] = {
    "analyze": analyze, "cohort": cohort, "train": train, "live": live,
}  # fmt: skip


def demo_clip() -> Path:
    from echoseg.cli.options import demo_clips

    return demo_clips()["simulated"]


def compare(device: str) -> tuple[list[dict[str, Any]], bool]:
    """Run every command on the device and on the CPU; rows, and whether all is well."""
    rows, is_well = [], True
    with tempfile.TemporaryDirectory() as folder:
        for name, command in COMMANDS.items():
            one = command(device, Path(folder, f"{name}-device"))
            other = one if device == "cpu" else command("cpu", Path(folder, f"{name}-cpu"))
            is_equal = one.value is not None and other.value is not None
            if is_equal and one.unit.startswith("EF"):
                is_equal = abs(one.value - other.value) <= MAX_EF_POINTS
            is_well &= is_equal and one.code == other.code == 0
            rows.append({
                "command": name, "exit": one.code, "seconds": round(one.seconds, 1),
                "on the CPU": round(other.seconds, 1), "result": one.value,
                "result on the CPU": other.value, "unit": one.unit,
                "verdict": "as on the CPU" if is_equal else "NOT AS ON THE CPU",
            })  # fmt: skip
    return rows, is_well


class Stream:
    """`step` at fixed addresses, so that it can be replayed as a CUDA graph."""

    def __init__(
        self, network: Any, size_px: int, streams: int, *, bf16: bool, graph: bool
    ) -> None:
        import torch

        self.device = next(network.parameters()).device
        self.frame = torch.rand(streams, 1, size_px, size_px, device=self.device)
        self.network, self.bf16 = network, bf16
        with torch.inference_mode():
            _, after = self._step(network.init_state(streams))
            # the first state has no size yet; its values do not matter for a rate
            self.state = type(after)(*(part.clone() for part in after))
        self.replay = self._captured() if graph else self.advance

    def _step(self, state: Any) -> Any:
        import torch

        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.network.step(self.frame, state)

    def advance(self) -> None:
        """Segment the frame, and leave the new state where the old one was."""
        _, after = self._step(self.state)
        for part, new in zip(self.state, after, strict=True):
            part.copy_(new)

    def _captured(self) -> Callable[[], None]:
        import torch

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), torch.inference_mode():
            for _ in range(3):
                self.advance()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            self.advance()
        return graph.replay

    def bytes_per_step(self) -> int:
        """Weights, frame and state, each read, and the state written, once."""
        weights = sum(part.nbytes for part in self.network.parameters())
        return weights + self.frame.nbytes + 2 * sum(part.nbytes for part in self.state)


def rate_hz(run: Callable[[], object], device: Any, seconds: float) -> float:
    """Calls per second; the median of three turns."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    rates = []
    with torch.inference_mode():
        run()
        wait()
        for _ in range(3):
            start, calls = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                for _ in range(10 if device.type == "cuda" else 1):
                    run()
                    calls += 1
                wait()
            rates.append(calls / (time.perf_counter() - start))
    return sorted(rates)[1]


def ceilings(device: Any, seconds: float) -> tuple[dict[bool, float], float]:
    """FLOP/s of a large matrix product by whether it is in bfloat16, and bytes/s of a copy."""
    import torch

    side, num_bytes = (8192, 2**30) if device.type == "cuda" else (768, 2**26)
    products = {}
    for bf16 in (False, True):
        matrix = torch.rand(side, side, device=device)
        matrix = matrix.bfloat16() if bf16 else matrix
        out = torch.empty_like(matrix)
        call = lambda: torch.matmul(matrix, matrix, out=out)  # noqa: B023, E731
        products[bf16] = 2 * side**3 * rate_hz(call, device, seconds)
    source = torch.zeros(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return products, 2 * num_bytes * rate_hz(lambda: target.copy_(source), device, seconds)


def speed(device_name: str, sizes: list[int], streams: list[int], seconds: float) -> list[dict]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from echoseg.models import build_model

    device = torch.device(device_name)
    network: Any = build_model("mssnet", {}).eval().to(device)
    products, copy_bytes_s = ceilings(device, seconds)
    shape = (8, 32) if device.type == "cuda" else (2, 8)
    rows = []

    def row(
        what: str, size_px: int, bf16: bool, frames_s: float, flop: float, moved: float
    ) -> None:
        rows.append({
            "what": what, "size_px": size_px, "dtype": "bf16" if bf16 else "f32",
            "frames_s": round(frames_s, 1), "gflop_per_frame": round(flop / 1e9, 3),
            "share_of_product_percent": round(100 * frames_s * flop / products[bf16], 2),
            "share_of_copy_percent": round(100 * frames_s * moved / copy_bytes_s, 2),
        })  # fmt: skip

    for size_px in sizes:
        for bf16 in (False, True):
            for number in streams:
                for graph in (False, True) if device.type == "cuda" else (False,):
                    stream = Stream(network, size_px, number, bf16=bf16, graph=graph)
                    with FlopCounterMode(display=False) as counter, torch.inference_mode():
                        stream.advance()
                    flop = counter.get_total_flops() / number
                    steps_s = rate_hz(stream.replay, device, seconds)
                    what = f"{number} stream{'s' if number > 1 else ''}{', graph' if graph else ''}"
                    moved = stream.bytes_per_step() / number
                    row(what, size_px, bf16, steps_s * number, flop, moved)
            clip = torch.rand(*shape, 1, size_px, size_px, device=device)

            def whole(clip: Any = clip, bf16: bool = bf16) -> object:
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    return network(clip)

            frames_s = shape[0] * shape[1] * rate_hz(whole, device, seconds)
            what = "{} clips of {} frames".format(*shape)
            row(what, size_px, bf16, frames_s, flop, clip[0, 0].nbytes)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    widths = {name: max(len(str(row[name])) for row in [*rows, {name: name}]) for name in rows[0]}
    for row in [{name: name for name in widths}, *rows]:
        print("  ".join(f"{row[name]!s:<{width}}" for name, width in widths.items()).rstrip())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", default=[112, 256])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here; use --device cpu")
    where = machine()
    if args.device == "cuda":
        where["gpu"] = torch.cuda.get_device_name()
    print(where)
    outcome: dict[str, Any] = {"machine": where, "device": args.device}
    is_well = True
    if args.speed:
        outcome["speed"] = speed(args.device, args.sizes, args.streams, args.seconds)
        show(outcome["speed"])
    else:
        outcome["commands"], is_well = compare(args.device)
        show(outcome["commands"])
    if args.json:
        args.json.write_text(json.dumps(outcome, indent=1) + "\n", "utf-8")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
