"""What lies in a bench's folder, and whether all of it is there and whole."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from echoseg.errors import DatasetError, validation_message
from echoseg.evaluation.tables import read_items

RUNS, COST, SPEED = "runs", "cost.json", "speed.json"
Kind = TypeVar("Kind", bound=BaseModel)


class Cost(BaseModel):
    """What a network's training cost; all of `cost.json`."""

    num_steps: int = Field(ge=1)
    cpu_s: float = Field(ge=0, allow_inf_nan=False)


class Speed(BaseModel):
    """What was timed; all of `speed.json`."""

    machine: dict[str, Any]
    networks: dict[str, dict[str, int | float]]
    """Name -> rates, size and memory; NaN where a machine does not tell."""


def items_path(out: Path, name: str, judge: int) -> Path:
    """Return where the items of a network before a judge are."""
    return out / RUNS / name / f"items-{judge}" / "items.csv"


def read_cost(out: Path, name: str) -> Cost:
    """Return what a network cost.

    Raises:
        DatasetError: If its file is missing or damaged.
    """
    return _read(out / RUNS / name / COST, Cost)


def read_speed(out: Path) -> Speed:
    """Return what was timed.

    Raises:
        DatasetError: If the file is missing or damaged.
    """
    return _read(out / SPEED, Speed)


def read_judged(out: Path, name: str, judge: int) -> list[dict[str, str]]:
    """Return the items of a network before a judge.

    Raises:
        DatasetError: If the table is missing, empty or cut.
    """
    path = items_path(out, name, judge)
    rows = read_items(path.parent)
    if not rows or None in rows[-1].values() or not path.read_bytes().endswith(b"\n"):
        raise DatasetError(f"{path} must hold whole rows, it is empty or cut")
    return rows


def damage(out: Path, name: str, num_judges: int) -> str:
    """Return a sentence on what was there once and cannot be read; empty where all can."""
    judged = [k for k in range(num_judges) if items_path(out, name, k).exists()]
    try:
        if judged or (out / RUNS / name / COST).exists():
            read_cost(out, name)
        for judge in judged:
            read_judged(out, name, judge)
    except DatasetError as error:
        return str(error)
    return ""


def is_judged(out: Path, name: str, judge: int) -> bool:
    """Return whether a network's items before a judge can be read."""
    try:
        return bool(read_judged(out, name, judge))
    except DatasetError:
        return False


def is_done(out: Path, name: str, num_judges: int) -> bool:
    """Return whether a network has been trained, and judged by all, and that can be read."""
    is_there = all(items_path(out, name, judge).exists() for judge in range(num_judges))
    return is_there and not damage(out, name, num_judges)


def _read(path: Path, kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise DatasetError(f"{path} is damaged: {validation_message(error)}") from error
    except ValueError as error:
        raise DatasetError(f"{path} is damaged: {error}") from error
