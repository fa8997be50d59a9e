"""Train the weights that ship as `camus-nano`: a small MSSNet, distilled from `camus`.

    python scripts/train_nano.py CAMUS --work DIR [--write]

1. The stills of every other training patient are animated, one clip of a beat per heart and view.
2. The network of the size `nano` begins with the channels of `camus` that matter most
   (`experiments.pruning`) and learns masks and the probabilities of `camus`
   (`experiments.distillation`): stills, pairs of ED and ES, in 60 % of the steps, animated clips of
   eight frames in the others; lasting artefacts on a fifth of the clips.

The running average of the weights after the last step is kept, so no step is chosen on the patients
that score it. 90,000 frames: 1.3 hours of one slow CPU core. What is done is not done again; a
training that was cut goes on where it was. `--write` puts the weights into the package, with their
scores and how they were made on their card.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for experiments

from train_shipped import VIEWS, checked_out_commit, validation_scores

from echoseg.data import load_dataset
from echoseg.data.animated import animate_dataset
from echoseg.data.cache import prepare
from echoseg.errors import EchosegError
from echoseg.files import write_text
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.train import recipes
from echoseg.train.train import run_training
from echoseg.weights.card import find_checkpoint
from experiments.provenance import machine_text

NAME = "camus-nano"
SIZE_PX = 128
MACHINE = "machine.txt"
SETTINGS: dict[str, Any] = {
    "architecture": {"size": "nano"},
    "image_size": SIZE_PX,
    "num_frames": 8,
    "num_labeled": 4,
    "extra_data_fraction": 0.4,
    "augment_strength": 0.8,
    "corruption_prob": 0.03,
    "artefact_prob": 0.2,
    "ratio_weight": 0.3,
    "num_steps": 2800,
    "learning_rate": 1e-3,
    "ema_decay": 0.998,
    "validate_every": 500,
    "save_every": 100,
    "precision": "32-true",
}


def main() -> None:
    """Train, score, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camus", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of clips and training")
    parser.add_argument("--write", action="store_true", help="put the weights into the package")
    args = parser.parse_args()
    try:
        made_at = checked_out_commit() if args.write else None
        weights = train(args.camus, args.work)
        scores = validation_scores(str(weights), args.camus)
        print(scores)
        if made_at is not None:
            write(weights, scores, made_at, (args.work / MACHINE).read_text("utf-8").strip())
    except EchosegError as error:
        sys.exit(f"train_nano: {error}")


def train(camus: Path, work: Path) -> Path:
    """Do the training, or what is left of it; return the weights after the last step."""
    folder = work / "run"
    done = folder / "model.safetensors"
    if not done.exists():
        config = recipes.make(
            "experiments.distillation:Distilled",
            data=(str(camus),),
            extra_data=(str(animated(camus, work / "clips")),),
            **SETTINGS,
        )
        write_text(work / MACHINE, machine_text())
        run_training(None if (folder / "run.json").exists() else config, folder, log=print)
    return done


def animated(camus: Path, folder: Path) -> Path:
    """The folder of the animated clips; made unless they are there."""
    stills = load_dataset(camus).split("train")
    patients = sorted({record.patient for record in stills.records})[::2]
    records = tuple(record for record in stills.records if record.patient in patients)
    done = prepare(animate_dataset(replace(stills, records=records), variants=1), folder, SIZE_PX)
    print(f"animated clips: {done.written} written, {done.reused} reused")
    return folder


def write(weights: Path, scores: dict[str, float], made_at: str, machine: str) -> None:
    """Put the weights into the package, with their card."""
    model, card = load_model(str(weights))
    change = {
        "views": VIEWS,
        "trained_on": "A4C and A2C stills (ED, ES) of the CAMUS training patients, clips animated "
        "from half of them, and the probabilities of camus",
        "provenance": "python scripts/train_nano.py CAMUS --work DIR --write, at commit "
        f"{made_at}; {machine}",
        "camus_validation": {name: round(value, 5) for name, value in scores.items()},
    }
    save_checkpoint(find_checkpoint(NAME), model, card.model_copy(update=change))


if __name__ == "__main__":
    main()
