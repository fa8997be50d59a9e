"""Train the weights that ship as `camus`: MSSNet on CAMUS's stills of both views and clips of them.

    OMP_NUM_THREADS=2 python scripts/train_shipped.py CAMUS --work DIR [--write]

1. The stills of the training patients are animated, three clips of a beat per heart and view.
2. Encoder and decoder begin with those of the first version's weights (at START; it was trained on
   the phantom and on A4C by this script as it was there), the memory anew.
3. STRONG: stills, pairs of ED and ES, in half of the steps, animated clips of eight frames in the
   others; lasting artefacts on a third of the clips.
4. MILD: the same with milder augmentation and stills in 70 % of the steps.

The running average of the weights after the last step is kept, so no step is chosen on the patients
that score it (that there is a fourth stage was). What is done is not done again; a training that
was cut goes on where it was. `--write` puts the weights into the package, with their scores and how
they were made on their card.
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from echoseg.clip import View
from echoseg.data import load_dataset
from echoseg.data.animated import animate_dataset
from echoseg.data.cache import prepare
from echoseg.errors import EchosegError
from echoseg.evaluation.run import evaluate
from echoseg.evaluation.summary import summarise
from echoseg.models import MSSNet
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.train import recipes
from echoseg.train.train import run_training
from echoseg.weights.card import ModelCard, find_checkpoint

HERE = Path(__file__).parent
START = "ca179ff:src/echoseg/weights/camus.safetensors"
SIZE_PX = 160
SHARED: dict[str, Any] = {
    "image_size": SIZE_PX,
    "num_frames": 8,
    "num_labeled": 6,
    "cache_gb": 4.0,
    "accelerator": "cpu",
}
STRONG: dict[str, Any] = {
    "corruption_prob": 0.04,
    "artefact_prob": 0.3,
    "num_steps": 2400,
    "learning_rate": 1e-3,
    "ema_decay": 0.998,
    "save_every": 200,
    "validate_every": 800,
}
MILD: dict[str, Any] = {
    "extra_data_fraction": 0.3,
    "augment_strength": 0.6,
    "corruption_prob": 0.02,
    "artefact_prob": 0.15,
    "num_steps": 600,
    "learning_rate": 5e-4,
    "ema_decay": 0.99,
    "save_every": 150,
    "validate_every": 150,
    "seed": 1,
}


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
    stills = load_dataset(camus)
    hearts = animate_dataset(stills.split("train"), variants=3)
    done = prepare(hearts, work / "animated", SIZE_PX, jobs=os.cpu_count() or 1)
    print(f"animated clips: {done.written} written, {done.reused} reused")
    final = train(camus, work)
    model, card = load_model(str(final))
    scores = validation_scores(str(final), camus)
    print(scores)
    if commit is None:
        return
    cpu = platform.processor() or platform.machine()
    change = {
        "views": (View.A4C, View.A2C),
        "trained_on": "A4C and A2C stills (ED, ES) of the CAMUS training patients, and clips "
        "animated from them",
        "provenance": "OMP_NUM_THREADS=2 python scripts/train_shipped.py CAMUS --work DIR "
        f"--write, at commit {commit}; {os.cpu_count()} cores of {cpu}, "
        f"torch {torch.__version__}",
        "camus_validation": {name: round(value, 5) for name, value in scores.items()},
    }
    save_checkpoint(find_checkpoint("camus"), model, card.model_copy(update=change))


def train(camus: Path, work: Path) -> Path:
    """Do the trainings, or what is left of them; return the weights after the last step."""
    weights = start(work / "start.safetensors")
    for name, fields in (("strong", STRONG), ("mild", MILD)):
        folder = work / name
        done = folder / "model.safetensors"
        if not done.exists():
            config = recipes.make(
                "supervised",
                data=(str(camus),),
                extra_data=(str(work / "animated"),),
                init_from=str(weights),
                **SHARED,
                **fields,
            )
            run_training(None if (folder / "run.json").exists() else config, folder, log=print)
        weights = done
    return weights


def start(path: Path) -> Path:
    """Write the network the training begins with: the first version's encoder and decoder."""
    if not path.exists():
        before = load(_git("show", START))
        torch.manual_seed(0)
        network = MSSNet()
        tensors = network.state_dict()
        shared = {
            name: tensor
            for name, tensor in before.items()
            if name in tensors and tensors[name].shape == tensor.shape
        }
        network.load_state_dict(tensors | shared)
        card = ModelCard(architecture="mssnet", image_size=SIZE_PX, licence="CC-BY-NC-SA-4.0")
        save_checkpoint(path, network, card)
    return path


def validation_scores(weights: str, camus: Path) -> dict[str, float]:
    """Mean Dice, HD95 and ASD by structure on the validation patients, for the card.

    The names are those of A4C; of A2C, whose scale is not known, `a2c_` and Dice only.
    """
    records = load_dataset(camus).split("validation").records
    scores = {}
    for view in (View.A4C, View.A2C):
        evaluation = evaluate(weights, [record for record in records if record.view is view])
        summary, prefix = summarise(evaluation), "" if view is View.A4C else "a2c_"
        for name, values in summary["structures"].items():
            scores[prefix + name] = values["dice"]["mean"]
            if view is View.A4C:
                scores |= {f"{name}_{key}": values[key]["mean"] for key in ("hd95_mm", "asd_mm")}
        scores[f"{prefix}lv_endo_failure_share"] = summary["structures"]["lv_endo"]["failure_rate"]
        scores[f"{prefix}num_frames"] = float(summary["structures"]["lv_endo"]["n"])
        scores[f"{prefix}ef_mae_points"] = summary["ef"]["mae"]
    return scores


def _commit() -> str:
    """Return the commit that is checked out; its name goes on the card."""
    return _git("rev-parse", "--short", "HEAD").decode().strip()


def _git(*words: str) -> bytes:
    """Standard output of a git command.

    Raises:
        EchosegError: Outside a clone.
    """
    try:
        return subprocess.run(("git", *words), capture_output=True, check=True, cwd=HERE).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EchosegError(
            "this script must be run in a git clone with its history: it begins with the weights "
            "of an earlier commit, and a commit's name goes on the card"
        ) from error


if __name__ == "__main__":
    main()
