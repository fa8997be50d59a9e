"""Accuracy against the share of labelled patients: every way of learning, the same budget.

    python benchmarks/label_share.py CAMUS_DIR --out FILE.json [--start WEIGHTS]
        [--shares 0.01 0.05] [--recipes supervised mssnet ...] [--seeds 0 1 2] [--num-steps N]

CAMUS training patients, so many of them labelled (the same ones for every recipe of a seed), the
rest without masks; `tiny` at 112 px, 4 labelled and 4 unlabelled clips of 2 frames a step
(`supervised`: 8 labelled). The averaged weights after the last step are scored on the validation
patients on the pictures' own grid, ED and ES apart: nothing is chosen on them. Runs are added to
FILE as they come, and what stands there is not run again. `--table` prints means and SDs.
"""

import argparse
import json
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from echoseg.learn import recipes
from echoseg.learn.evaluate import camus_scores
from echoseg.learn.train import train
from echoseg.models.checkpoint import load_checkpoint

ORDER = (
    "supervised",
    "mssnet",
    "fixmatch",
    "mean_teacher",
    "bcp",
    "cross_pseudo",
    "unimatch",
    "uncertainty_mean_teacher",
    "rac_only",
    "doc_only",
)


def run(recipe: str, share: float, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train and score one."""
    config = recipes.make(
        recipe,
        data=(str(args.camus),),
        labels=share,
        labels_seed=seed,
        seed=seed,
        start=args.start,
        architecture={} if args.start else {"size": "tiny"},
        image_size=args.image_size,
        num_labelled=4,
        num_unlabelled=4,
        num_frames=2,
        num_steps=args.num_steps,
        learning_rate=args.learning_rate,
        validate_every=args.num_steps,
        save_every=args.num_steps,
        accelerator="cpu",
    )
    work = Path(tempfile.mkdtemp())
    start = time.monotonic()
    try:
        train(config, work / "run")
        took_s = time.monotonic() - start
        model, _ = load_checkpoint(str(work / "run" / "model.safetensors"))
        last = json.loads((work / "run" / "log.jsonl").read_text().splitlines()[-1])
    finally:
        shutil.rmtree(work)
    scores = camus_scores(model, args.camus, args.image_size)
    return {**scores, "train_s": round(took_s), "pseudo_dice": last.get("told_pseudo_dice")}


def table(found: dict[str, Any]) -> str:
    """Return mean and SD over seeds, a row a recipe, a column a share."""
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for key, scores in found.items():
        if isinstance(scores, dict):
            recipe, share = key.split(", ")[:2]
            groups.setdefault((recipe, share), []).append(scores)
    shares = sorted({share for _, share in groups}, key=lambda text: float(text.rstrip("%")))
    lines = ["| | " + " | ".join(shares) + " |", "|---" * (len(shares) + 1) + "|"]
    for recipe in dict.fromkeys(recipe for recipe, _ in groups):
        cells = []
        for share in shares:
            runs = groups.get((recipe, share), [])
            cells.append(" / ".join(_mean(runs, name) for name in ("lv_endo", "lv_epi", "la")))
            if runs:
                failed = statistics.mean(one["lv_endo_failure_share"] for one in runs)
                cells[-1] += f"; {failed:.1%} failed, {len(runs)} seeds"
        lines.append(f"| {recipe} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(runs: list[dict[str, float]], name: str) -> str:
    values = [one[name] for one in runs]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def main() -> None:
    """Run what is missing, seed by seed; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.05])
    parser.add_argument("--recipes", nargs="+", default=ORDER, choices=ORDER)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--num-steps", type=int, default=500)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    found = json.loads(args.out.read_text("utf-8")) if args.out.exists() else {}
    for seed in () if args.table else args.seeds:
        for share in args.shares:
            for recipe in args.recipes:
                key = f"{recipe}, {100 * share:g}%, seed {seed}, {args.num_steps} steps"
                if key in found:
                    continue
                found[key] = run(recipe, share, seed, args)
                found["machine"] = f"{platform.machine()}, torch {torch.__version__}"
                args.out.write_text(json.dumps(found, indent=1), "utf-8")
                shown = {k: round(found[key][k], 4) for k in ("lv_endo", "lv_epi", "la")}
                print(key, shown, found[key]["lv_endo_failure_share"], flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
