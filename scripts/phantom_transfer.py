"""What the phantom is worth: train on it alone by a fixed recipe, score on real CAMUS patients.

    python scripts/phantom_transfer.py CAMUS_DIR --work DIR [--clips FILE.npz...]

Simulates 2,400 clips of 6 frames (seeds from 0), trains `MemoryUNet` from scratch for 1,200 steps
of 12 clips x 2 frames at 160 px (about ten minutes on two cores), seed 0, and prints mean
scores on the A4C frames of the 50 validation patients. `--clips` takes other clips instead.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from train_shipped import validation_scores

from echoseg.train import recipes
from echoseg.train.train import run_training

HERE = Path(__file__).parent


def main() -> None:
    """Simulate, train, score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camus", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for clips and weights")
    parser.add_argument("--clips", type=Path, nargs="+")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    clips = args.clips or [args.work / "clips.npz"]
    if not args.clips and not clips[0].exists():
        make = [sys.executable, HERE / "make_phantom_clips.py", clips[0]]
        subprocess.run([*make, "--num-clips", "2400", "--num-frames", "6"], check=True)
    config = recipes.make(
        "supervised",
        model="memory_unet",
        data=tuple(map(str, clips)),
        validation=str(args.camus),
        image_size=160,
        num_labeled=12,
        num_frames=2,
        num_steps=1200,
        ema_decay=0.995,
        validate_every=1200,
    )
    run_training(config, args.work / "run", report=print, log=print)
    print(validation_scores(str(args.work / "run" / "model.safetensors"), args.camus))


if __name__ == "__main__":
    main()
