"""A grid of training runs, each evaluated on the same data: cell name -> config overrides.

An experiment is resumable: complete cells are skipped, so adding a row, a column or a seed runs
only what is new. The EMA weights after the last step are evaluated; nothing is selected on the
evaluation data.

    OUT/experiment.json                      the experiment
    OUT/cells/NAME/cost.json                 training steps and CPU time of a cell
    OUT/cells/NAME/eval-0/items.csv          scores, one folder per evaluation set
    OUT/cells/NAME/eval-0/failed.csv         clips that could not be evaluated, if any
    OUT/summary.json, table.md, table.csv    of all complete cells
"""

import os
import shutil
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from echoseg.data import Issue
from echoseg.errors import ConfigError, DatasetError, EchosegError, validation_message
from echoseg.evaluation.items import Item
from echoseg.evaluation.run import evaluate
from echoseg.evaluation.tables import ITEMS, read_items, table_text
from echoseg.files import ResumableFolder, read_json, write_json, write_text
from echoseg.models.checkpoint import load_model
from echoseg.parallel import one_thread, parallel_map
from echoseg.train.config import TrainConfig
from echoseg.train.loop import Run, make_student
from echoseg.train.run_folder import RunFolder
from echoseg.train.train import make_fabric, open_data, run_training
from experiments.eval_sets import eval_records

SETTINGS, CELLS, COST, FAILED = "experiment.json", "cells", "cost.json", "failed.csv"
WEIGHTS = "model.safetensors"
RUN_AGAIN = "run the experiment again without --draw"
ExperimentT = TypeVar("ExperimentT", bound="Experiment")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One training run of an experiment.

    `row` and `column` are its place in the tables; `minutes` is a budget of CPU time, which then
    determines the number of steps.
    """

    name: str
    row: str
    column: str
    seed: int
    minutes: float | None = None


class Cost(BaseModel):
    """Cost of a cell's training; content of `cost.json`."""

    num_steps: int = Field(ge=1)
    cpu_s: float = Field(ge=0, allow_inf_nan=False)


class Experiment(BaseModel, ABC):
    """What is compared; subclasses define the cells."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    growing: ClassVar[tuple[str, ...]] = ("num_seeds",)
    """Fields that may grow when an experiment is continued."""
    reserved: ClassVar[frozenset[str]] = frozenset({"data", "seed"})
    """Fields of `TrainConfig` that `settings` must not contain."""

    data: tuple[str, ...] = Field(min_length=1)
    """Training data, as in `TrainConfig`."""
    eval_sets: tuple[str, ...] = Field(min_length=1)
    """Names of evaluation sets, as `experiments.eval_sets` lists them."""
    num_hearts: int | None = Field(default=None, ge=1)
    """Number of phantom hearts per tier; None: all."""
    num_seeds: int = Field(default=1, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    """Fields of `TrainConfig` shared by all cells."""

    @classmethod
    def make(cls, **fields: Any) -> Self:
        """Validate an experiment and the config of each cell.

        Raises:
            ConfigError: If a field is invalid.
        """
        try:
            experiment = cls(**fields)
        except ValidationError as error:
            raise ConfigError(validation_message(error)) from error
        if reserved := experiment.reserved & set(experiment.settings):
            raise ConfigError(f"settings must not contain {', '.join(sorted(reserved))}")
        for cell in experiment.cells():
            experiment.train_config(cell)
        return experiment

    @field_validator("data", "eval_sets")
    @classmethod
    def _normal_paths(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if "" in names:
            raise ValueError("data and eval_sets must be folders or phantom:..., got ''")
        return tuple(
            dict.fromkeys(
                n if n.startswith(("phantom:", "animated:")) else os.path.normpath(n) for n in names
            )
        )

    @abstractmethod
    def cells(self) -> list[Cell]:
        """The cells, seed by seed, so that any first part is a fair experiment as well."""

    @abstractmethod
    def train_config(self, cell: Cell, num_steps: int | None = None) -> TrainConfig:
        """The config of a cell's training run.

        Raises:
            ConfigError: If the settings are invalid.
        """

    @property
    @abstractmethod
    def reference(self) -> str:
        """The row that the others are compared with."""

    def union(self, other: Self) -> Self:
        """This experiment with the rows, columns and seeds of another one as well."""
        fields = {}
        for name in self.growing:
            old, new = getattr(other, name), getattr(self, name)
            is_number = isinstance(new, int)
            fields[name] = max(old, new) if is_number else tuple(dict.fromkeys((*old, *new)))
        return self.model_copy(update=fields)


def open_folder(kind: type[ExperimentT], out: Path) -> ResumableFolder[ExperimentT]:
    """The output folder of an experiment."""
    return ResumableFolder(out, SETTINGS, kind, "an experiment")


def read_experiment(kind: type[ExperimentT], out: Path) -> ExperimentT:
    """The experiment of an output folder.

    Raises:
        ConfigError: If the folder contains none.
        OutputError: If it is damaged.
    """
    experiment = open_folder(kind, out).read()
    if experiment is None:
        raise ConfigError(f"{out} must contain an experiment ({SETTINGS}); run it first")
    return experiment


def run_grid(
    experiment: ExperimentT,
    out: Path,
    *,
    jobs: int = 1,
    keep_weights: bool = False,
    report: Callable[[str], None] = lambda line: None,
    finish: Callable[[list[Cell]], None] = lambda cells: None,
) -> ExperimentT:
    """Train and evaluate every cell that is not complete; damaged cells are run again.

    Args:
        experiment: The experiment.
        out: Its folder, created if needed; may hold a part of the same experiment.
        jobs: Cells at a time, each in its own process.
        keep_weights: Keep the weights of each cell.
        report: Called with a line of progress after each cell.
        finish: Called with all complete cells at the end, while the folder is locked.

    Returns:
        The experiment of the folder, with what it already contained.

    Raises:
        EchosegError: If the folder contains another experiment, or a cell fails; complete cells
            stay.
    """
    for name in experiment.eval_sets:
        eval_records(name, experiment.num_hearts)  # fail before hours of training
    folder = open_folder(type(experiment), out)
    with folder.locked():
        existing = folder.read()
        whole = experiment if existing is None else experiment.union(existing)
        folder.begin(whole, varying=experiment.growing)
        cells = experiment.cells()
        missing = [cell for cell in cells if not is_complete(whole, out, cell)]
        for cell in missing:
            _check(whole.train_config(cell))
            if error := damage(whole, out, cell):
                report(f"{error}; running {cell.name} again")
        start = time.monotonic()
        work = partial(run_cell, whole, out, keep_weights)
        for index, cell in enumerate(parallel_map(work, missing, jobs), 1):
            left = len(missing) - index
            minutes = (time.monotonic() - start) / index * left / 60
            report(f"{len(cells) - left}/{len(cells)}  {cell.name}  {minutes:.0f} min left")
        finish(complete_cells(whole, out))
    return whole


def _check(config: TrainConfig) -> None:
    """Build the network and the method, to fail before any cell is trained."""
    make_student(config)
    config.make_method()


def run_cell(experiment: Experiment, out: Path, keep_weights: bool, cell: Cell) -> Cell:
    """Train and evaluate one cell; what is complete is not done again.

    Raises:
        EchosegError: If it cannot be trained or evaluated.
    """
    folder = cell_folder(out, cell)
    # a budget of CPU time is comparable with one thread only
    with one_thread() if cell.minutes is not None else nullcontext():
        if not _is_trained(folder):
            _train(experiment, folder, cell)
        for index, name in enumerate(experiment.eval_sets):
            place = folder / f"eval-{index}"
            if _items_error(place) is not None:
                records = eval_records(name, experiment.num_hearts)
                evaluation = evaluate(str(folder / WEIGHTS), records)
                place.mkdir(exist_ok=True)
                if evaluation.problems:
                    write_text(place / FAILED, table_text(evaluation.problems, Issue))
                write_text(place / ITEMS, table_text(evaluation.items, Item))
    if not keep_weights:
        (folder / WEIGHTS).unlink(missing_ok=True)
    return cell


def seconds_per_step(config: TrainConfig, num_steps: int = 3) -> float:
    """CPU seconds of a step: the median after one warm-up step; nothing is saved.

    Where the first takes over 20 s, that is the result.

    Raises:
        EchosegError: As `run_training`.
    """
    fabric = make_fabric(config)
    fabric.launch()
    run = Run(config, open_data(config)[0], fabric)
    times = []
    for _ in range(num_steps + 1):
        start = time.process_time()
        run.take_step()
        times.append(time.process_time() - start)
        if times[0] > 20:
            return times[0]
    return statistics.median(times[1:])


def _train(experiment: Experiment, folder: Path, cell: Cell) -> None:
    config = experiment.train_config(cell)
    if cell.minutes is not None:
        step_s = seconds_per_step(experiment.train_config(cell, num_steps=1))
        steps = int(60 * cell.minutes / step_s)
        config = experiment.train_config(cell, num_steps=max(1, min(config.num_steps, steps)))
    # a run with a budget starts again, since the time it took so far is unknown
    resumes = cell.minutes is None and any(folder.glob("resume-*.pt"))
    if resumes and RunFolder(folder).config() != config:
        raise ConfigError(f"{folder} contains another run; remove it, or choose another -o")
    if not resumes:
        shutil.rmtree(folder, ignore_errors=True)
    start = time.process_time()
    run_training(None if resumes else config, folder)
    cpu_s = time.process_time() - start
    write_json(folder / COST, Cost(num_steps=config.num_steps, cpu_s=cpu_s))
    for old in (*folder.glob("resume-*.pt"), *folder.glob("best.safetensors")):
        old.unlink()
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def _is_trained(folder: Path) -> bool:
    """Whether weights and cost can be read."""
    try:
        read_cost(folder)
        load_model(str((folder / WEIGHTS).absolute()))
    except EchosegError:
        return False
    return True


def cell_folder(out: Path, cell: Cell) -> Path:
    """The folder of a cell."""
    return out / CELLS / cell.name


def read_cost(folder: Path) -> Cost:
    """The cost of a cell.

    Raises:
        EchosegError: If its file is missing or damaged.
    """
    cost = read_json(folder / COST, Cost, RUN_AGAIN)
    if cost is None:
        raise DatasetError(f"{folder / COST} is missing; {RUN_AGAIN}")
    return cost


def _items_error(place: Path) -> str | None:
    """Why the items of an evaluation set cannot be read; None if they can."""
    path = place / ITEMS
    try:
        rows = read_items(place)
    except DatasetError as error:
        return str(error)
    if not rows or None in rows[-1].values() or not path.read_bytes().endswith(b"\n"):
        return f"{path} is empty or truncated"
    return None


def damage(experiment: Experiment, out: Path, cell: Cell) -> str:
    """Which file of a cell exists and cannot be read; empty if none."""
    folder = cell_folder(out, cell)
    places = [folder / f"eval-{index}" for index in range(len(experiment.eval_sets))]
    places = [place for place in places if (place / ITEMS).exists()]
    if places or (folder / COST).exists():
        try:
            read_cost(folder)
        except EchosegError as error:
            return str(error)
    return next((error for place in places if (error := _items_error(place))), "")


def is_complete(experiment: Experiment, out: Path, cell: Cell) -> bool:
    """Whether a cell is trained, and evaluated on every evaluation set."""
    folder = cell_folder(out, cell)
    places = [folder / f"eval-{index}" / ITEMS for index in range(len(experiment.eval_sets))]
    return all(path.exists() for path in places) and not damage(experiment, out, cell)


def complete_cells(experiment: Experiment, out: Path) -> list[Cell]:
    """The cells that are complete."""
    return [cell for cell in experiment.cells() if is_complete(experiment, out, cell)]
