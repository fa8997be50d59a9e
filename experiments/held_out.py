"""Hold patients of the training data out, to find the plateau of a training on them."""

import os
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

    Of each folder a tenth of the training patients is held out, the same for a seed, whether it is
    read as it is, animated or both; a patient of that name is held out of every other data set too,
    such as a cache. Of simulated clips as many more are simulated. A data set's own validation and
    test patients are not used.

    Args:
        data: As in `TrainConfig`.
        seed: Seed of the choice.

    Raises:
        EchosegError: If a data set cannot be opened, has fewer than two training patients, or all
            of them are held out.
    """
    names = [name for name in data if not name.startswith("phantom:")]
    opened = {name: load_dataset(name) for name in names}
    chosen: set[str] = set()
    for folder in dict.fromkeys(map(folder_of, names)):
        alike = [name for name in names if folder_of(name) == folder]
        patients = sorted({r.patient for name in alike for r in _training(opened[name])})
        if len(patients) < 2:
            raise ConfigError(
                f"{alike[0]} must have at least 2 training patients to hold some out, it has "
                f"{len(patients)}; train for a fixed number of steps instead"
            )
        num = max(1, round(FRACTION * len(patients)))
        chosen |= set(np.random.default_rng(seed).permutation(patients)[:num].tolist())
    parts: dict[str, Any] = {}
    held: list[Record] = []
    for name, dataset in opened.items():
        records = _training(dataset)
        held += [replace(r, split="validation") for r in records if r.patient in chosen]
        if name.startswith(animated.PREFIX):
            records = _training(animated.open_animated(name, ANIMATED_VARIANTS))
        rest = tuple(replace(r, split="train") for r in records if r.patient not in chosen)
        if not rest:
            raise ConfigError(
                f"{name} must have training patients that are not held out, it has none; leave it "
                "out"
            )
        parts[name] = replace(dataset, records=rest)
    validation: Any = (
        replace(opened[names[0]], records=tuple(held)) if names else _more_clips(data[0])
    )
    return Components(data=tuple(parts.get(name, name) for name in data), validation=validation)


def folder_of(name: str) -> str:
    """The folder whose patients a data set has, animated or not."""
    is_animated = name.startswith(animated.PREFIX)
    return os.path.realpath(animated.parse_name(name)[0] if is_animated else name)


def _training(dataset: Dataset) -> list[Record]:
    return [r for r in dataset.records if r.split not in ("validation", "test")]


def _more_clips(name: str) -> str:
    """Simulated clips whose seeds follow those of phantom:N[:FIRST_SEED]."""
    numbers = name.split(":")[1:]
    if not all(part.isdecimal() for part in numbers):
        raise ConfigError(f"data must be phantom:N or phantom:N:FIRST_SEED, got {name!r}")
    num, first = int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0
    return f"phantom:{max(4, round(FRACTION * num))}:{first + num}"
