"""What the phantom is worth: train on it alone by a fixed recipe, score on real CAMUS patients.

    python scripts/phantom_transfer.py CAMUS_DIR --work DIR [--clips FILE.npz...]

Simulates 2,400 clips of 6 frames (seeds from 0), trains `MemoryUNet` from scratch for 1,200 steps
of 12 clips x 2 frames at 160 px (about ten minutes on two cores), seed 0, and prints for A4C and
A2C of the 50 validation patients mean scores and the EF of ED and ES by disks (bias and MAE in
points against the experts' masks; in A2C the scale of the millimeters is assumed).
`--clips` takes other clips instead; `--num-clips` and `--num-steps` make a quick trial.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from echoseg.clip import View
from echoseg.data import load_dataset
from echoseg.evaluation.run import evaluate
from echoseg.evaluation.summary import summarise
from echoseg.train import recipes
from echoseg.train.train import run_training

HERE = Path(__file__).parent


def main() -> None:
    """Simulate, train, score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camus", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for clips and weights")
    parser.add_argument("--clips", type=Path, nargs="+")
    parser.add_argument("--num-clips", type=int, default=2400)
    parser.add_argument("--num-steps", type=int, default=1200)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    clips = args.clips or [args.work / "clips.npz"]
    if not args.clips and not clips[0].exists():
        make = [sys.executable, HERE / "make_phantom_clips.py", clips[0]]
        number = str(args.num_clips)
        subprocess.run([*make, "--num-clips", number, "--num-frames", "6"], check=True)
    config = recipes.make(
        "supervised",
        model="memory_unet",
        data=tuple(map(str, clips)),
        validation=str(args.camus),
        image_size=160,
        num_labeled=12,
        num_frames=2,
        num_steps=args.num_steps,
        ema_decay=0.995,
        validate_every=args.num_steps,
    )
    run_training(config, args.work / "run", report=print, log=print)
    weights = str(args.work / "run" / "model.safetensors")
    for view in (View.A4C, View.A2C):
        print(view, json.dumps(scores_of(weights, args.camus, view)))


def scores_of(weights: str, camus: Path, view: View) -> dict[str, float]:
    """Return mean Dice and HD95 by structure, and EF bias, MAE and SD in points, of one view."""
    records = load_dataset(camus).split("validation").records
    summary = summarise(evaluate(weights, [one for one in records if one.view is view]))
    scores = {}
    for name, values in summary["structures"].items():
        scores[name] = values["dice"]["mean"]
        scores[f"{name}_hd95_mm"] = values["hd95_mm"]["mean"]
    for phase, values in summary["by"]["phase"].items():
        scores[f"lv_endo_{phase}"] = values["lv_endo"]["dice"]["mean"]
    ef = summary["ef"]
    return scores | {f"ef_{key}": ef[key] for key in ("bias", "mae", "sd")}


if __name__ == "__main__":
    main()
