"""Hold patients of the training data out, to find the plateau of a training on them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from echoseg.data import Dataset, Record, animated, load_dataset
from echoseg.errors import ConfigError
from echoseg.train.data.sources import ANIMATED_VARIANTS
from echoseg.train.loop import Components

FRACTION = 0.1
"""Fraction of the training patients that is held out."""


def hold_out(data: Sequence[str], seed: int = 0) -> Components:
    """Training data without some of its patients, and these patients as validation data.

    Of folders a tenth of the training patients is held out, the same for a seed; of simulated
    clips as many more are simulated. A data set's own validation and test patients are not used.

    Args:
        data: As in `TrainConfig`.
        seed: Seed of the choice.

    Raises:
        EchosegError: If a data set cannot be opened, or has fewer than two training patients.
    """
    sets: list[Any] = []
    held: list[Dataset] = []
    for name in data:
        if name.startswith("phantom:"):
            sets.append(name)
            continue
        dataset = load_dataset(name)
        records = _training(dataset)
        patients = sorted({record.patient for record in records})
        if len(patients) < 2:
            raise ConfigError(
                f"{name} must have at least 2 training patients to hold some out, it has "
                f"{len(patients)}; train for a fixed number of steps instead"
            )
        num = max(1, round(FRACTION * len(patients)))
        chosen = set(np.random.default_rng(seed).permutation(patients)[:num].tolist())
        out = tuple(replace(r, split="validation") for r in records if r.patient in chosen)
        if name.startswith(animated.PREFIX):
            records = _training(animated.open_animated(name, ANIMATED_VARIANTS))
        rest = tuple(replace(r, split="train") for r in records if r.patient not in chosen)
        sets.append(replace(dataset, records=rest))
        held.append(replace(dataset, records=out))
    validation: Any = held[0] if held else _more_clips(data[0])
    if held[1:]:
        validation = replace(held[0], records=tuple(r for each in held for r in each.records))
    return Components(data=tuple(sets), validation=validation)


def _training(dataset: Dataset) -> list[Record]:
    return [r for r in dataset.records if r.split not in ("validation", "test")]


def _more_clips(name: str) -> str:
    """Simulated clips whose seeds follow those of phantom:N[:FIRST_SEED]."""
    numbers = name.split(":")[1:]
    if not all(part.isdecimal() for part in numbers):
        raise ConfigError(f"data must be phantom:N or phantom:N:FIRST_SEED, got {name!r}")
    num, first = int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0
    return f"phantom:{max(4, round(FRACTION * num))}:{first + num}"
