"""Train the weights that ship as `camus`: MSSNet on CAMUS's stills of both views and clips of them.

    python scripts/train_shipped.py CAMUS --work DIR [--write]

1. The stills of the training patients are animated, three clips of a beat per heart and view.
2. The training begins with the weights that shipped before (START: this script as it was there, on
   fewer frames and without the ratio loss).
3. STRONG: stills, pairs of ED and ES, in half of the steps, animated clips of eight frames in the
   others; lasting artefacts on a third of the clips.
4. MILD: the same with milder augmentation and stills in 70 % of the steps.

7 minutes of a GPU (NVIDIA H100), and one to animate on 16 cores; without a GPU the same
917,000 frames take about 3.5 hours of two slow CPU cores.

The running average of the weights after the last step is kept, so no step is chosen on the patients
that score it. What is done is not done again; a training that was cut goes on where it was.
`--write` puts the weights into the package, with their scores and how they were made on their card.
"""

import argparse
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from echoseg.clip import View
from echoseg.data import load_dataset
from echoseg.data.animated import animate_dataset
from echoseg.data.cache import prepare
from echoseg.errors import EchosegError
from echoseg.evaluation.run import evaluate
from echoseg.evaluation.summary import summarise
from echoseg.files import write_text
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.train import recipes
from echoseg.train.train import run_training
from echoseg.weights.card import find_checkpoint

HERE = Path(__file__).parent
START = "76c8a9f:src/echoseg/weights/camus.safetensors"
SIZE_PX = 160
VIEWS = (View.A4C, View.A2C)
MACHINE = "machine.txt"
SHARED: dict[str, Any] = {
    "image_size": SIZE_PX,
    "num_frames": 8,
    "num_labeled": 48,
    "ratio_weight": 0.3,
    "cache_gb": 4.0,
    "num_workers": min(4, (os.cpu_count() or 1) // 2),
    "validate_every": 500,
}
STRONG: dict[str, Any] = {
    "corruption_prob": 0.04,
    "artefact_prob": 0.3,
    "num_steps": 1123,
    "learning_rate": 1.5e-3,
    "ema_decay": 0.998,
}
MILD: dict[str, Any] = {
    "extra_data_fraction": 0.3,
    "augment_strength": 0.6,
    "corruption_prob": 0.02,
    "artefact_prob": 0.15,
    "num_steps": 1266,
    "learning_rate": 6e-4,
    "ema_decay": 0.995,
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
        ship(args.camus, args.work, checked_out_commit() if args.write else None)
    except EchosegError as error:
        sys.exit(f"train_shipped: {error}")


def ship(camus: Path, work: Path, commit: str | None) -> None:
    """Train and score; put the weights into the package when told the commit they are made at."""
    final = train(camus, work)
    model, card = load_model(str(final))
    scores = validation_scores(str(final), camus)
    print(scores)
    if commit is None:
        return
    change = {
        "views": VIEWS,
        "trained_on": "A4C and A2C stills (ED, ES) of the CAMUS training patients, and clips "
        "animated from them",
        "provenance": "python scripts/train_shipped.py CAMUS --work DIR --write, at commit "
        f"{commit}; {(work / MACHINE).read_text('utf-8').strip()}",
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
                extra_data=animated(camus, work),
                init_from=str(weights),
                **SHARED,
                **fields,
            )
            write_text(work / MACHINE, _machine())
            run_training(None if (folder / "run.json").exists() else config, folder, log=print)
        weights = done
    return weights


def animated(camus: Path, work: Path) -> tuple[str, ...]:
    """The folders of the animated clips, one per view; made unless they are there."""
    stills = load_dataset(camus).split("train")
    folders = []
    for view in VIEWS:
        records = tuple(record for record in stills.records if record.view is view)
        hearts = animate_dataset(replace(stills, records=records), variants=3)
        done = prepare(hearts, work / f"animated-{view}", SIZE_PX, jobs=os.cpu_count() or 1)
        print(f"animated clips of {view}: {done.written} written, {done.reused} reused")
        folders.append(str(work / f"animated-{view}"))
    return tuple(folders)


def start(path: Path) -> Path:
    """The weights the training begins with, from the history of the repository."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_git("show", START))
    return path


def validation_scores(weights: str, camus: Path) -> dict[str, float]:
    """Mean Dice, HD95 and ASD by structure on the validation patients, for the card.

    The names are those of A4C; of A2C, whose scale is not known, `a2c_` and Dice only.
    """
    records = load_dataset(camus).split("validation").records
    scores = {}
    for view in VIEWS:
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


def _machine() -> str:
    """Where a training runs, for the card."""
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else f"{platform.machine()} without a GPU"
    return f"{os.cpu_count()} cores, {device}, torch {torch.__version__}"


def checked_out_commit() -> str:
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
