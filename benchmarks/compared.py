"""Speed of echoseg and of nnU-Net v2 on the same stills: prints the machine, times and ratios.

    python benchmarks/compared.py IMAGES --nnunet PYTHON MODEL [--cases N] [--turns N] [--calls N]

IMAGES is an `imagesTs` of `python -m experiments nnunet`, PYTHON the interpreter of an environment
with nnU-Net v2, MODEL its folder of results (`.../nnUNetTrainer__nnUNetPlans__2d`); its accuracy
does not matter. A custom trainer is found by `nnUNet_extTrainer`, as ever.

- resident: both networks are loaded, one still after the other is read from its NIfTI file,
  segmented and brought back to its own grid; nnU-Net by its own predictor, with its mirroring (its
  default: four passes) and without; echoseg's `camus` in torch and by `--backend auto`;
- fresh process: a process for each still loads the network, segments and writes NIfTI, as loops
  over cases do that call nnU-Net or TotalSegmentator; nnU-Net by its own command.

All cases of a turn run one after the other, so that other load affects all alike. Ratios are to
nnU-Net without mirroring. Asserts nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FRESH = """
import sys
import numpy as np
from pathlib import Path
from echoseg.data.images import read_picture
from echoseg.evaluation.segment import loaded, segment
from echoseg.io.nifti import write_masks
frames, spacing_mm = read_picture(Path(sys.argv[1]))
write_masks(sys.argv[2], segment(*loaded("camus"), frames, stills=True), spacing_mm, None)
"""


def echoseg_resident(files: list[Path], backend: str, num_threads: int) -> Callable[[], None]:
    import torch

    from echoseg.data.images import read_picture
    from echoseg.inference.analyzer import segment_frames
    from echoseg.inference.backends.select import open_session
    from echoseg.preprocess.frame_transform import FrameTransform

    session = open_session("camus", backend, num_threads=num_threads)

    def run() -> None:
        torch.set_num_threads(num_threads)
        for file in files:
            frames, _ = read_picture(file)
            segment_frames(session, frames, FrameTransform(frames.shape[1:], session.size_px))

    return run


class NnunetProcess:
    """nnU-Net's predictor, resident in its own interpreter: a line of settings in, seconds out."""

    def __init__(self, python: str, model: str, files: list[Path], checkpoint: str) -> None:
        words = [python, __file__, "--serve", model, checkpoint, *map(str, files)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.load_s, self.num_parameters = self._answer()

    def _answer(self) -> Any:
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line[7:])
        raise SystemExit("nnU-Net's process ended; its messages are above")

    def run(self, num_threads: int, mirroring: bool) -> None:
        """Segment all files."""
        self.process.stdin.write(json.dumps([num_threads, mirroring]) + "\n")
        self.process.stdin.flush()
        self._answer()


def serve(model: str, checkpoint: str, files: list[str]) -> None:
    """The other end of `NnunetProcess`; imports nothing of echoseg."""
    start = time.perf_counter()
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(model, (0,), checkpoint)
    number = sum(parameter.numel() for parameter in predictor.network.parameters())
    print("answer", json.dumps([time.perf_counter() - start, number]), flush=True)
    reader = SimpleITKIO()
    for line in sys.stdin:
        num_threads, predictor.use_mirroring = json.loads(line)
        torch.set_num_threads(num_threads)
        for file in files:
            predictor.predict_single_npy_array(*reader.read_images([file]))
        print("answer null", flush=True)


def fresh_nnunet(python: str, model: str, file: Path, checkpoint: str) -> Callable[[], None]:
    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "in"
            source.mkdir()
            (source / file.name).symlink_to(file.resolve())
            program = Path(python).with_name("nnUNetv2_predict_from_modelfolder")
            command = [
                str(program), "-i", str(source), "-o", f"{folder}/out", "-m", model, "-f", "0",
                "-chk", checkpoint, "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_tta",
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True)
            assert len(list(Path(folder, "out").glob("*.nii.gz"))) == 1

    return run


def fresh_echoseg(file: Path) -> Callable[[], None]:
    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", FRESH, str(file), f"{folder}/masks.nii.gz"]
            subprocess.run(command, check=True, capture_output=True)

    return run


def timed(cases: dict[str, Callable[[], None]], turns: int) -> dict[str, float]:
    """Median seconds of each case; the cases take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(turns):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(title: str, seconds: dict[str, float], reference: str, num_stills: int) -> dict:
    print(f"\n{title}")
    rows = {}
    for name, value in seconds.items():
        rows[name] = {
            "stills_per_s": num_stills / value,
            "ms_per_still": 1000 * value / num_stills,
            "ratio": seconds[reference] / value,
        }
        print(
            f"  {name:42} {rows[name]['stills_per_s']:8.2f} stills/s "
            f"{rows[name]['ms_per_still']:9.1f} ms  {rows[name]['ratio']:7.2f} x"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--nnunet", nargs=2, metavar=("PYTHON", "MODEL"), required=True)
    parser.add_argument("--checkpoint", default="checkpoint_final.pth")
    parser.add_argument("--cases", type=int, default=8, help="stills, spread over the folder")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--calls", type=int, default=3, help="fresh processes of each tool")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    from experiments.provenance import machine, machine_text

    files = sorted(args.images.glob("*_0000.nii.gz"))
    files = files[:: max(1, len(files) // args.cases)][: args.cases]
    if not files:
        raise SystemExit(f"{args.images} must hold *_0000.nii.gz, it has none")
    print(f"{machine_text()}; {len(files)} stills, {args.turns} turns")
    python, model = args.nnunet
    nnunet = NnunetProcess(python, model, files, args.checkpoint)
    print(f"nnU-Net: {nnunet.num_parameters / 1e6:.2f} M parameters, load {nnunet.load_s:.1f} s")
    results: dict[str, Any] = {"machine": machine(), "load_s": nnunet.load_s}
    for num_threads in (1, 2):
        cases: dict[str, Callable[[], None]] = {
            "nnU-Net, no mirroring": lambda n=num_threads: nnunet.run(n, False),
            "nnU-Net, mirroring (its default)": lambda n=num_threads: nnunet.run(n, True),
        } | {
            f"echoseg camus, {backend}": echoseg_resident(files, backend, num_threads)
            for backend in ("torch", "auto")
        }
        for run in cases.values():  # warm
            run()
        title = f"resident, {num_threads} thread{'s' * (num_threads > 1)}"
        results[title] = report(
            title, timed(cases, args.turns), "nnU-Net, no mirroring", len(files)
        )
    nnunet.process.stdin.close()
    nnunet.process.wait()
    fresh = {
        "nnU-Net, no mirroring": fresh_nnunet(python, model, files[0], args.checkpoint),
        "echoseg camus": fresh_echoseg(files[0]),
    }
    title = "a fresh process for each still"
    results[title] = report(title, timed(fresh, args.calls), "nnU-Net, no mirroring", 1)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    os.environ.setdefault("nnUNet_raw", tempfile.gettempdir())
    os.environ.setdefault("nnUNet_preprocessed", tempfile.gettempdir())
    os.environ.setdefault("nnUNet_results", tempfile.gettempdir())
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        main()
