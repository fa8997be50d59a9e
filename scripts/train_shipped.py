"""Train the weights that ship as `camus`: MSSNet, on the phantom alone, then on CAMUS beside it.

    OMP_NUM_THREADS=2 python scripts/train_shipped.py CAMUS --work DIR [--write]

1. 2,000 phantom clips, 2,400 steps of 6 clips x 4 frames, 15 % of the frames corrupted.
2. The 399 CAMUS training patients' A4C ED and ES, and 400 phantom clips in one of four places of a
   step, 4,800 steps of 8 clips x 3 frames, 6 % corrupted.
3. The same with more of CAMUS, 3,200 steps of 12 clips x 2 frames, the phantom in one of eight.

All at 160 px; the running average of the weights after the last step is kept, so no step is
chosen on the patients that score it (that there is a third stage was). Stages that are done are not
done again; one that was cut goes on where it was. `--write` puts the weights into the package, with
their scores and how they were made on their card.
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from echoseg.clip import View
from echoseg.data import load_dataset
from echoseg.errors import EchosegError
from echoseg.evaluation.run import evaluate
from echoseg.evaluation.summary import summarise
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.train import recipes
from echoseg.train.train import run_training
from echoseg.weights.card import find_checkpoint

HERE = Path(__file__).parent
SHARED: dict[str, Any] = {
    "image_size": 160,
    "ema_decay": 0.995,
    "save_every": 200,
    "accelerator": "cpu",
}
PHANTOM: dict[str, Any] = {
    "data": ("phantom:2000",),
    "validation": "phantom:40:900000",
    "num_frames": 4,
    "num_labeled": 6,
    "corruption_prob": 0.15,
    "num_steps": 2400,
    "validate_every": 800,
}
CAMUS: dict[str, Any] = {
    "extra_data": ("phantom:400",),
    "corruption_prob": 0.06,
    "augment_strength": 0.75,
}
MOVING: dict[str, Any] = {
    "extra_data_fraction": 0.25,
    "num_frames": 3,
    "num_labeled": 8,
    "num_steps": 4800,
    "validate_every": 1200,
}
STILL: dict[str, Any] = {
    "extra_data_fraction": 0.12,
    "num_frames": 2,
    "num_labeled": 12,
    "num_steps": 3200,
    "validate_every": 800,
    "seed": 1,
}


def stage(folder: Path, **fields: Any) -> Path:
    """Do a stage, or what is left of it; return the weights after its last step."""
    weights = folder / "model.safetensors"
    if not weights.exists():
        config = recipes.make("supervised", **SHARED, **fields)
        run_training(
            None if (folder / "run.json").exists() else config, folder, report=print, log=print
        )
    return weights


def main() -> None:
    """Train, score, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camus", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of the stages")
    parser.add_argument("--write", action="store_true", help="put the weights into the package")
    args = parser.parse_args()
    try:
        ship(args.camus, args.work, _commit() if args.write else None)
    except EchosegError as error:
        sys.exit(f"train_shipped: {error}")


def ship(camus: Path, work: Path, commit: str | None) -> None:
    """Train and score; put the weights into the package when told the commit they are made at."""
    load_dataset(camus)  # refused now, not after the first stage
    begun = stage(work / "phantom", **PHANTOM)
    fields = CAMUS | {"data": (str(camus),)}
    moving = stage(work / "moving", init_from=str(begun), **fields, **MOVING)
    final = stage(work / "still", init_from=str(moving), **fields, **STILL)
    model, card = load_model(str(final))
    scores = validation_scores(str(final), camus)
    print(scores)
    if commit is None:
        return
    cpu = platform.processor() or platform.machine()
    change = {
        "trained_on": "phantom clips and the CAMUS training patients' A4C ED and ES frames",
        "provenance": "OMP_NUM_THREADS=2 python scripts/train_shipped.py CAMUS --work DIR "
        f"--write, at commit {commit}; {os.cpu_count()} cores of {cpu}, "
        f"torch {torch.__version__}",
        "camus_validation": {name: round(value, 5) for name, value in scores.items()},
    }
    save_checkpoint(find_checkpoint("camus"), model, card.model_copy(update=change))


def validation_scores(weights: str, camus: Path) -> dict[str, float]:
    """Mean Dice, HD95 and ASD by structure on the validation patients' A4C, for the card."""
    records = load_dataset(camus).split("validation").records
    evaluation = evaluate(weights, [record for record in records if record.view is View.A4C])
    scores = {}
    for name, values in summarise(evaluation)["structures"].items():
        scores[name] = values["dice"]["mean"]
        scores |= {f"{name}_{key}": values[key]["mean"] for key in ("hd95_mm", "asd_mm")}
        if name == "lv_endo":
            scores["lv_endo_failure_share"] = values["failure_rate"]
            scores["num_frames"] = float(values["n"])
    return scores


def _commit() -> str:
    """Return the commit that is checked out; its name goes on the card.

    Raises:
        EchosegError: Outside a clone.
    """
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE)
    except (OSError, subprocess.CalledProcessError) as error:
        raise EchosegError(
            "--write must be given in a git clone, whose commit goes on the card; leave it out"
        ) from error
    return done.stdout.strip()


if __name__ == "__main__":
    main()
