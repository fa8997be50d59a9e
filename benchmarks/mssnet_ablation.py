"""What each part of MSSNet is worth: the same small training for each variant and two baselines.

    python benchmarks/mssnet_ablation.py CLIPS.npz --out FILE.json [--seeds 0 1 2] [--variants ...]

Every variant is the `tiny` network at 112 px, trained from scratch for the same steps on the same
phantom clips in the same order (6 clips x 4 frames a step, 15 % of frames spoilt), and scored on
phantom-v1's validation hearts: the first 12 in the hard tier, every frame, once as they are and
once with 20 % of their frames corrupted (drop-out, speckle bursts, gain jumps). The
baselines get the same steps; the released network takes clips of 4 frames of 112 px here, which its
release does not
know. Results are added to FILE as they come, and what stands there already is not run again.

CLIPS.npz is made by `benchmarks/make_phantom_clips.py`.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch
from lightning_fabric import Fabric

from echoseg.data import Record
from echoseg.evaluation.corruptions import corrupt_records
from echoseg.evaluation.run import evaluate, phantom_records
from echoseg.evaluation.summary import by_structure
from echoseg.train.config import train_config
from echoseg.train.data.sources import open_source
from echoseg.train.loop import Run

SIZE_PX = 112
NUM_FRAMES = 4
VARIANTS: dict[str, tuple[str, dict[str, str | int]]] = {
    "full guidance": ("mssnet", {}),
    "no memory": ("mssnet", {"memory": "none"}),
    "temporal gate only": ("mssnet", {"memory": "gate"}),
    "guidance without propagation": ("mssnet", {"memory": "features"}),
    "convolution for SSD": ("mssnet", {"mixing": "conv"}),
    "attention for SSD": ("mssnet", {"mixing": "attention"}),
    "convolutional-recurrent U-Net": ("conv_gru_unet", {}),
    "as released": (
        "experiments.networks.mssnet_released:MSSNetReleased",
        {"image_size": SIZE_PX, "num_frames": NUM_FRAMES, "attention": "fused"},
    ),
}


def run(
    variant: str, seed: int, args: argparse.Namespace, records: dict[str, tuple[Record, ...]]
) -> dict:
    """Train and score one variant."""
    name, shape = VARIANTS[variant]
    config = train_config(
        model=name,
        architecture={"size": "tiny", **shape} if name == "mssnet" else shape,
        data=(str(args.clips),),
        image_size=SIZE_PX,
        num_labeled=3,
        num_unlabeled=3,
        num_frames=NUM_FRAMES,
        corruption_prob=0.15,
        ema_decay=0.98,
        num_steps=args.num_steps,
        seed=seed,
    )
    start = time.monotonic()
    pool = open_source(str(args.clips), SIZE_PX).pool
    training = Run(config, pool, Fabric(accelerator="cpu", devices=1, precision=config.precision))
    while training.step < config.num_steps:
        training.take_step()
    trained = training.teacher.segmenter.eval()
    result: dict = {"train_s": round(time.monotonic() - start)}
    result["num_parameters"] = sum(p.numel() for p in trained.parameters())
    for name, some in records.items():
        evaluation = evaluate(trained, some, image_size=SIZE_PX)
        result[name] = {"hard": by_structure(evaluation.items)}
    return result


def main() -> None:
    """Run what is missing, one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--num-steps", type=int, default=700)
    parser.add_argument("--hearts", type=int, default=12)
    args = parser.parse_args()
    clean = phantom_records("validation", ["hard"], args.hearts)
    records = {"clean": clean, "spoilt": corrupt_records(clean, 0.2)}
    results = json.loads(args.out.read_text("utf-8")) if args.out.exists() else {}
    for seed in args.seeds:
        for variant in args.variants:
            key = f"{variant}, seed {seed}, {args.num_steps} steps"
            if key in results:
                continue
            results[key] = run(variant, seed, args, records)
            results["machine"] = f"{platform.machine()}, {torch.__version__}"
            args.out.write_text(json.dumps(results, indent=1), "utf-8")
            score = {
                name: results[key][name]["hard"]["lv_endo"]["dice"]["mean"] for name in records
            }
            print(key, {name: round(value, 4) for name, value in score.items()}, flush=True)


if __name__ == "__main__":
    main()
