"""Which clips to correct next: by the network's entropy, or in random order.

A network segments clips that it has not learned from. A reader, here the experts' masks, corrects
some of them, and the network is trained on with those. Two gains are measured:

    corrected   mean Dice of the masks of all these clips, after the corrections themselves
    retrained   Dice on other patients, of the network trained on with the corrected clips

Orders: `random`, one per seed; `entropy`, largest mean entropy first, as the page sorts clips
(`quality.reliability.label_priority`); `worst`, smallest true Dice first, which is unknown in use.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.data import Dataset, Record
from echoseg.errors import ConfigError
from echoseg.evaluation.calibrate import read_clips
from echoseg.evaluation.items import Item
from echoseg.evaluation.run import evaluate
from echoseg.quality.reliability import label_priority
from echoseg.train.config import TrainConfig, train_config
from echoseg.train.loop import Components
from echoseg.train.train import run_training
from experiments.paired import paired_mean

ORDERS = ("random", "entropy", "worst")
STRUCTURES = ("lv_endo", "lv_epi")
MAX_POOL = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolClip:
    """A clip that may be corrected: its priority, and the Dice of the network's masks."""

    name: str
    priority: float
    dice: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Dice on one patient, LV endocardium and epicardium, after a number of corrections."""

    order: str
    num_corrected: int
    seed: int
    patient: str
    dice: float


def pool_records(data: Dataset, num_clips: int = MAX_POOL) -> tuple[Record, ...]:
    """Training clips with masks, spread over a data set.

    Raises:
        ConfigError: If there are fewer.
    """
    records = [record for record in data.split("train").records if record.labelled]
    if len(records) < num_clips:
        raise ConfigError(
            f"num_clips must be at most {len(records)}, the training clips with masks, got "
            f"{num_clips}"
        )
    return tuple(records[index * len(records) // num_clips] for index in range(num_clips))


def score_pool(model: str, records: Sequence[Record]) -> list[PoolClip]:
    """Priority and true Dice of each clip of the pool that can be measured.

    Raises:
        EchosegError: If the network cannot be loaded, or a clip not be read.
    """
    dice = _mean_dice(evaluate(model, records).items, "clip")
    priorities = {
        clip.name: label_priority(clip.sample.uncertainty) for clip in read_clips(model, records)
    }
    return [
        PoolClip(name=r.name, priority=priorities[r.name], dice=dice[r.name])
        for r in records
        if r.name in priorities and r.name in dice
    ]


def ordered(pool: Sequence[PoolClip], order: str, seed: int) -> list[PoolClip]:
    """The clips in the order in which they are corrected."""
    if order == "random":
        return [pool[index] for index in np.random.default_rng(seed).permutation(len(pool))]
    keys = {"entropy": lambda clip: -clip.priority, "worst": lambda clip: clip.dice}
    return sorted(pool, key=keys[order])


def corrected_dice(pool: Sequence[PoolClip], chosen: Sequence[PoolClip]) -> float:
    """Mean Dice of the pool after the experts corrected some clips, whose Dice is then 1."""
    names = {clip.name for clip in chosen}
    return float(np.mean([1.0 if clip.name in names else clip.dice for clip in pool]))


def retrain(
    model: str, data: Dataset, records: Sequence[Record], seed: int, settings: dict[str, Any]
) -> dict[str, float]:
    """Train a network on with corrected clips, and nothing else; return Dice by patient.

    Args:
        model: Name or path of the checkpoint that training begins with.
        data: The data set of the clips, whose validation patients are scored.
        records: The corrected clips.
        seed: Seed of the training.
        settings: Of the training.

    Raises:
        EchosegError: If training fails.
    """
    config = retrain_config(model, seed, settings)
    with tempfile.TemporaryDirectory() as folder:
        components = Components(data=(replace(data, records=tuple(records)),))
        weights = run_training(config, Path(folder) / "run", components=components)
        return patient_dice(str(weights), data)


def retrain_config(model: str, seed: int, settings: dict[str, Any]) -> TrainConfig:
    """The config of `retrain`.

    Raises:
        ConfigError: If a setting is wrong.
    """
    return train_config(data=("corrected",), init_from=model, seed=seed, **settings)


def patient_dice(model: str, data: Dataset) -> dict[str, float]:
    """Dice of each validation patient of a data set."""
    return _mean_dice(evaluate(model, data.split("validation").records).items, "patient")


def _mean_dice(items: Sequence[Item], by: str) -> dict[str, float]:
    """Mean Dice of both borders of the LV, by clip or patient."""
    groups: dict[str, list[float]] = {}
    for item in items:
        if item.structure in STRUCTURES and item.dice is not None:
            groups.setdefault(getattr(item, by), []).append(item.dice)
    return {name: float(np.mean(values)) for name, values in groups.items()}


def compare(scores: Sequence[Score], order: str, num_corrected: int) -> dict[str, Any]:
    """Gain of an order over random order: mean, 95 % interval, smallest detectable effect."""

    def table(name: str) -> np.ndarray:
        own = [s for s in scores if s.order == name and s.num_corrected == num_corrected]
        seeds = sorted({s.seed for s in own})
        return np.array(
            [[s.dice for s in sorted(own, key=_patient) if s.seed == seed] for seed in seeds]
        )

    mine, random = table(order), table("random")
    paired = paired_mean(100 * (mine - random))
    return {
        "order": order,
        "num_corrected": num_corrected,
        "dice": float(mine.mean()),
        "random_dice": float(random.mean()),
        "gain_points": paired.mean,
        "ci95_points": paired.ci95,
        "smallest_effect_points": paired.smallest_effect,
    }


def _patient(score: Score) -> str:
    return score.patient
