"""The label-efficiency experiment: accuracy against the share of labelled patients.

Every way of learning gets the same data, network, steps and seeds; a cell is one way at one share
with one seed. The averaged weights after the last step are judged by `echoseg.evaluation`: nothing
is chosen on what they are judged on. A seed draws the same patients for every way of learning.

    OUT/curve.json                              what is compared
    OUT/runs/mssnet-5pct-seed0/items.csv        a cell that is done; its weights when kept
    OUT/summary.json, table.md, curve.png       drawn from all cells that are done
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from echoseg.data import Issue, Record, load_dataset
from echoseg.errors import ConfigError, validation_message
from echoseg.evaluation.items import Item
from echoseg.evaluation.run import evaluate, phantom_records
from echoseg.evaluation.tables import ITEMS, table_text
from echoseg.files import LOCK, check_writable, locked_dir, write_text
from echoseg.parallel import parallel_map
from echoseg.train import recipes
from echoseg.train.config import TrainConfig
from echoseg.train.run_folder import RunFolder
from echoseg.train.train import run_training

CONFIG, RUNS, WEIGHTS = "curve.json", "runs", "model.safetensors"
NOT_JUDGED = "not_judged.csv"
"""In a cell's folder: clips that could not be judged, where there are any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One way of learning at one share of labelled patients with one seed."""

    recipe: str
    labels: float
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.recipe}-{100 * self.labels:g}pct-seed{self.seed}"


class LabelCurve(BaseModel):
    """What is compared with what."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: tuple[str, ...]
    """As in `TrainConfig`."""
    judge: str
    """What is judged on: a data set's folder, or `phantom`."""
    split: str = "validation"
    """Its part."""
    num_hearts: int | None = Field(default=None, ge=1)
    """Of the phantom: the first so many of each tier."""
    recipes: tuple[str, ...] = Field(min_length=1)
    labels: tuple[float, ...] = Field(min_length=1)
    """Shares of labelled patients, in (0, 1]."""
    num_seeds: int = Field(default=3, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    """Fields of `TrainConfig` that all cells share."""

    @field_validator("data")
    @classmethod
    def _one_name_a_place(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(plain_name, names))

    @field_validator("judge")
    @classmethod
    def _one_name(cls, name: str) -> str:
        if name.startswith("phantom:"):
            split = name.partition(":")[2]
            raise ValueError(
                f"judge must be a folder or phantom, got {name!r}; give --judge phantom --split "
                f"{split or 'test'}"
            )
        return plain_name(name)

    @field_validator("recipes", "labels")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(values))

    @model_validator(mode="after")
    def _no_field_is_said_twice(self) -> Self:
        own = {"data", "labeled_fraction", "split_seed", "seed", "method"} & set(self.settings)
        if own:
            raise ValueError(f"settings must leave {', '.join(sorted(own))} to the experiment")
        return self

    def cells(self) -> Iterator[Cell]:
        """Yield the cells, seed by seed, so that a part of them is a fair experiment as well.

        Where all patients are labelled only `supervised` runs, if it is one of the ways: there is
        nothing unlabelled to learn from, unless only the ends of clips are labelled.
        """
        sparse = self.settings.get("labeled_frames") == "ed_es"
        only = "supervised" in self.recipes and not sparse
        for seed in range(self.num_seeds):
            for share in self.labels:
                for recipe in self.recipes:
                    if share < 1 or recipe == "supervised" or not only:
                        yield Cell(recipe=recipe, labels=share, seed=seed)

    def run_of(self, cell: Cell) -> TrainConfig:
        """Return the run of a cell.

        Raises:
            ConfigError: If recipe or settings are wrong.
        """
        steps = self.settings.get("num_steps", TrainConfig.model_fields["num_steps"].default)
        once = {"validate_every": steps}  # for the pictures alone
        return recipes.make(
            cell.recipe,
            **once | self.settings,
            data=self.data,
            labeled_fraction=cell.labels,
            split_seed=cell.seed,
            seed=cell.seed,
        )

    def records(self) -> tuple[Record, ...]:
        """Return what the cells are judged on.

        Raises:
            EchosegError: If it is not there.
        """
        if self.judge == "phantom":
            return phantom_records(self.split, hearts=self.num_hearts)
        return load_dataset(self.judge).split(self.split).records


def plain_name(name: str) -> str:
    """Return a path as it is written most plainly: `./d1/` is `d1`.

    Raises:
        ValueError: If it is empty, which would be the folder one stands in.
    """
    if not name:
        raise ValueError("data and judge must be folders or the phantom, got ''; give its name")
    return name if name.startswith("phantom:") else os.path.normpath(name)


def label_curve(**fields: Any) -> LabelCurve:
    """Return an experiment, every cell of which has been checked.

    Raises:
        ConfigError: A field is wrong, in one sentence.
    """
    try:
        found = LabelCurve(**fields)
    except ValidationError as error:
        raise ConfigError(validation_message(error)) from error
    for cell in found.cells():
        found.run_of(cell)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """How far the experiment is."""

    cell: Cell
    num_done: int
    num_cells: int
    left_s: float


def run_curve(
    curve: LabelCurve,
    out: Path,
    *,
    jobs: int = 1,
    keep_weights: bool = False,
    report: Callable[[Done], None] = lambda done: None,
) -> None:
    """Train and judge every cell that is not done; one that was cut goes on.

    Args:
        curve: The experiment.
        out: Its folder; made.
        jobs: Cells at a time, each in its own process.
        keep_weights: Keep each cell's weights beside its items.
        report: Called after each cell.

    Raises:
        EchosegError: If the folder holds another experiment, or a cell fails; what was done stays.
    """
    curve.records()  # refuse what is not there before hours of training
    check_writable(out, "choose another -o")
    with locked_dir(out), as_it_was(out, CONFIG):
        begin(curve, out)
        _run_cells(curve, out, jobs, keep_weights, report)


@contextmanager
def as_it_was(out: Path, config: str) -> Iterator[None]:
    """Leave a folder as it was when what is begun in it fails before anything is done."""
    path = out / config
    before = path.read_text("utf-8", "replace") if path.exists() else None
    try:
        yield
    except Exception:
        if not any((out / RUNS).glob("*/*")):
            _forget(path, before)
        raise


def _forget(path: Path, before: str | None) -> None:
    if before is not None:
        write_text(path, before)
    elif path.exists():  # else what is there is not ours
        shutil.rmtree(path.parent / RUNS, ignore_errors=True)
        path.unlink()


def _run_cells(
    curve: LabelCurve, out: Path, jobs: int, keep_weights: bool, report: Callable[[Done], None]
) -> None:
    cells = list(curve.cells())
    left = [cell for cell in cells if not is_done(out, cell)]
    work = partial(run_cell, curve, out, keep_weights)
    start = time.monotonic()
    for index, cell in enumerate(parallel_map(work, left, jobs), 1):
        took_s = (time.monotonic() - start) / index
        num_left = len(left) - index
        report(
            Done(
                cell=cell,
                num_done=len(cells) - num_left,
                num_cells=len(cells),
                left_s=took_s * num_left,
            )
        )


def begin(curve: LabelCurve, out: Path) -> None:
    """Write what is compared, or make sure that it is what the folder holds.

    Recipes, shares and seeds are added to those that are there; what a cell is may not change.

    Raises:
        ConfigError: If the folder holds another experiment.
        OutputError: If it cannot be written.
    """
    if (out / CONFIG).exists():
        there = read(out)
        for name in ("data", "judge", "split", "num_hearts", "settings"):
            old, new = getattr(there, name), getattr(curve, name)
            if old != new:
                raise ConfigError(
                    f"{out} holds an experiment with {name} {old!r}, got {new!r}; choose another -o"
                )
        both = {
            "recipes": tuple(dict.fromkeys((*there.recipes, *curve.recipes))),
            "labels": tuple(sorted({*there.labels, *curve.labels})),
            "num_seeds": max(there.num_seeds, curve.num_seeds),
        }
        curve = curve.model_copy(update=both)
    elif out.exists() and any(path.name != LOCK for path in out.iterdir()):
        raise ConfigError(f"{out} holds other files and no {CONFIG}; choose another -o")
    (out / RUNS).mkdir(parents=True, exist_ok=True)
    write_text(out / CONFIG, curve.model_dump_json(indent=1) + "\n")


def read(out: Path) -> LabelCurve:
    """Return the experiment that a folder holds.

    Raises:
        ConfigError: If it holds none.
    """
    return label_curve(**read_fields(out / CONFIG, "an experiment"))


def read_fields(path: Path, what: str) -> dict[str, Any]:
    """Return the fields that a file says an experiment has.

    Raises:
        ConfigError: If it says none.
    """
    try:
        fields = json.loads(path.read_text("utf-8"))
        if not isinstance(fields, dict):
            raise ValueError(f"it holds {type(fields).__name__} and no fields")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.parent} must hold {what} ({path.name}): {error}") from error
    return fields


def is_done(out: Path, cell: Cell) -> bool:
    """Return whether a cell has been trained and judged."""
    return (out / RUNS / cell.name / ITEMS).exists()


def run_cell(curve: LabelCurve, out: Path, keep_weights: bool, cell: Cell) -> Cell:
    """Train and judge one cell.

    Raises:
        EchosegError: If it cannot be trained or judged.
    """
    folder = out / RUNS / cell.name
    run = curve.run_of(cell)
    resumes = any(folder.glob("resume-*.pt"))
    if resumes and RunFolder(folder).config() != run:
        raise ConfigError(f"{folder} holds another run; remove it, or choose another -o")
    if not resumes:
        shutil.rmtree(folder, ignore_errors=True)  # cut before the first checkpoint
    run_training(None if resumes else run, folder)
    found = evaluate(str(folder / WEIGHTS), curve.records())
    for old in (*folder.glob("resume-*.pt"), *folder.glob("best.safetensors")):
        old.unlink()
    if not keep_weights:
        (folder / WEIGHTS).unlink()
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    if found.problems:
        write_text(folder / NOT_JUDGED, table_text(found.problems, Issue))
    write_text(folder / ITEMS, table_text(found.items, Item))
    return cell
