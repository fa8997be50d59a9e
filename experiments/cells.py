"""One cell of a grid: train it, evaluate it, read what its folder holds.

cost.json              training steps, time, machine and commit
spent.json             time of a training so far, until it ends
eval-0/items.csv       scores, one folder per evaluation set
eval-0/failed.csv      clips that could not be evaluated, if any
robust-0/clips.csv     scores by clip and condition, one folder per robustness set
"""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field

from echoseg.data import Issue
from echoseg.errors import ConfigError, DatasetError, EchosegError, OutputError
from echoseg.evaluation.items import Item
from echoseg.evaluation.run import evaluate
from echoseg.evaluation.tables import CLIPS, ITEMS, read_items, table_text
from echoseg.files import read_json, remove_empty, write_json, write_text
from echoseg.models.checkpoint import load_model
from echoseg.train.config import TrainConfig
from echoseg.train.loop import Progress
from echoseg.train.run_folder import RunFolder, remove_curves, remove_logs, resume_states
from echoseg.train.train import run_training
from experiments.eval_sets import eval_records
from experiments.experiment import Cell, Experiment
from experiments.provenance import commit, machine_text
from experiments.robustness import ClipScore, Entry, evaluate_robustness
from experiments.robustness_tables import clips_error

CELLS, COST, SPENT, FAILED = "cells", "cost.json", "spent.json", "failed.csv"
WEIGHTS, BEST = "model.safetensors", "best.safetensors"
_TABLES = (ITEMS, FAILED)
RUN_AGAIN = "run the experiment again without --draw"


class Cost(BaseModel):
    """Cost of a cell's training, and where it ran; content of `cost.json`."""

    num_steps: int = Field(ge=1)
    cpu_s: float = Field(ge=0, allow_inf_nan=False)
    wall_s: float = Field(default=0, ge=0, allow_inf_nan=False)
    machine: str = ""
    commit: str = ""


class Spent(BaseModel):
    """Time of a training so far, without what is taken again; content of `spent.json`."""

    points: list[tuple[int, float, float]] = [(0, 0.0, 0.0)]
    """Step, CPU seconds and wall-clock seconds until then; increasing."""

    def until(self, step: int) -> "Spent":
        """That until a saved state, which may be between two points or after the last."""
        steps, *columns = zip(*self.points, strict=True)
        beyond = max(1.0, step / steps[-1]) if steps[-1] else 1.0
        used = [float(np.interp(step, steps, column)) * beyond for column in columns]
        return Spent(points=[*(p for p in self.points if p[0] < step), (step, used[0], used[1])])


class Meter:
    """Adds up the time of a training over its interruptions.

    It is kept at each report, and when the training ends early. After a kill the steps since the
    last report are estimated by the mean of those before, and before the first report not counted.

    Args:
        folder: Of the run, which may hold states to resume from.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, states = folder, resume_states(folder)
        spent = Spent()
        if states:
            way_out = f"remove {folder} to train it again"
            spent = read_json(folder / SPENT, Spent, way_out) or spent
            spent = spent.until(_step_of(states[-1]))
        self.points, self.before = spent.points, spent.points[-1]
        self.start = time.process_time(), time.monotonic()

    def total(self) -> tuple[float, float]:
        """CPU and wall-clock seconds until now."""
        _, cpu_s, wall_s = self.before
        now = time.process_time(), time.monotonic()
        return cpu_s + now[0] - self.start[0], wall_s + now[1] - self.start[1]

    def report(self, progress: Progress) -> None:
        """Keep the time until a step."""
        self._keep(progress.step)

    def stop(self) -> None:
        """Keep the time until the last saved state, with which a training that is stopped ends."""
        if states := resume_states(self.folder):
            with contextlib.suppress(OutputError):  # the first error is the one to report
                self._keep(_step_of(states[-1]))

    def _keep(self, step: int) -> None:
        if step > self.points[-1][0]:
            self.points.append((step, *self.total()))
            write_json(self.folder / SPENT, Spent(points=self.points))


def _step_of(state: Path) -> int:
    return int(state.stem.split("-")[-1])


def cell_folder(out: Path, cell: Cell) -> Path:
    """The folder of a cell."""
    return out / CELLS / cell.name


def run_cell(experiment: Experiment, out: Path, keep_weights: bool, cell: Cell) -> Cell:
    """Train and evaluate one cell; what is complete is not done again.

    Raises:
        EchosegError: If it cannot be trained or evaluated.
    """
    folder = cell_folder(out, cell)
    if not _is_trained(folder):
        _train(experiment, folder, cell)
    for index, name in enumerate(experiment.eval_sets):
        place = folder / f"eval-{index}"
        if _items_error(place / ITEMS) is not None:
            evaluation = evaluate(str(folder / WEIGHTS), eval_records(name, experiment.num_hearts))
            place.mkdir(exist_ok=True)
            if evaluation.problems:
                write_text(place / FAILED, table_text(evaluation.problems, Issue))
            write_text(place / ITEMS, table_text(evaluation.items, Item))
    for index, name in enumerate(experiment.robust_sets):
        path = folder / f"robust-{index}" / CLIPS
        if clips_error(path) is not None:
            entry = Entry(row=cell.row, seed=cell.seed, checkpoint=str(folder / WEIGHTS))
            hearts, clips = experiment.num_hearts, experiment.num_clips
            scores = evaluate_robustness([entry], name, num_hearts=hearts, num_clips=clips)
            path.parent.mkdir(exist_ok=True)
            write_text(path, table_text(scores, ClipScore))
    if not keep_weights:
        (folder / WEIGHTS).unlink(missing_ok=True)
    return cell


def _train(experiment: Experiment, folder: Path, cell: Cell) -> None:
    config = experiment.train_config(cell)
    resumes = any(resume_states(folder))
    if resumes and RunFolder(folder).config() != config:
        raise ConfigError(f"{folder} contains another run; remove it, or choose another -o")
    if not resumes:
        _remove_cell(experiment, folder)
    meter = Meter(folder)
    components = experiment.components(cell)
    try:
        best = run_training(
            None if resumes else config, folder, report=meter.report, components=components
        )
    except BaseException:
        meter.stop()
        raise
    cpu_s, wall_s = meter.total()
    cost = Cost(
        num_steps=_num_steps(folder, config),
        cpu_s=cpu_s,
        wall_s=wall_s,
        machine=machine_text(),
        commit=commit(),
    )
    if config.patience is not None:  # the plateau is of held-out training patients
        best.replace(folder / WEIGHTS)
    write_json(folder / COST, cost)
    for old in (*resume_states(folder), folder / BEST, folder / SPENT):
        old.unlink(missing_ok=True)
    remove_curves(folder)


def _remove_cell(experiment: Experiment, folder: Path) -> None:
    """Remove what a cell wrote whose weights or cost cannot be read; other files stay."""
    remove_logs(folder)
    tables = [f"eval-{i}/{name}" for i in range(len(experiment.eval_sets)) for name in _TABLES]
    tables += [f"robust-{index}/{CLIPS}" for index in range(len(experiment.robust_sets))]
    for name in (WEIGHTS, BEST, COST, SPENT, *tables):
        (folder / name).unlink(missing_ok=True)
        if "/" in name:
            remove_empty([(folder / name).parent])


def _num_steps(folder: Path, config: TrainConfig) -> int:
    """Steps that were taken, which may be fewer than planned."""
    log = folder / "log.jsonl"
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else config.num_steps


def _is_trained(folder: Path) -> bool:
    """Whether weights and cost can be read."""
    try:
        read_cost(folder)
        load_model(str((folder / WEIGHTS).absolute()))
    except EchosegError:
        return False
    return True


def read_cost(folder: Path) -> Cost:
    """The cost of a cell.

    Raises:
        DatasetError: If its file is missing.
        OutputError: If it is damaged.
    """
    cost = read_json(folder / COST, Cost, RUN_AGAIN)
    if cost is None:
        raise DatasetError(f"{folder / COST} is missing; {RUN_AGAIN}")
    return cost


def _items_error(path: Path) -> str | None:
    """Why the items of an evaluation set cannot be read; None if they can."""
    try:
        rows = read_items(path.parent)
    except DatasetError as error:
        return str(error)
    if not rows or None in rows[-1].values() or not path.read_bytes().endswith(b"\n"):
        return f"{path} is empty or truncated"
    return None


def _outputs(
    experiment: Experiment, folder: Path
) -> list[tuple[Path, Callable[[Path], str | None]]]:
    """Files of a complete cell, and what finds them damaged."""
    return [
        *((folder / f"eval-{i}" / ITEMS, _items_error) for i in range(len(experiment.eval_sets))),
        *(
            (folder / f"robust-{i}" / CLIPS, clips_error)
            for i in range(len(experiment.robust_sets))
        ),
    ]


def damage(experiment: Experiment, out: Path, cell: Cell) -> str:
    """Which file of a cell exists and cannot be read; empty if none."""
    folder = cell_folder(out, cell)
    outputs = [output for output in _outputs(experiment, folder) if output[0].exists()]
    if outputs or (folder / COST).exists():
        try:
            read_cost(folder)
        except EchosegError as error:
            return str(error)
    return next((error for path, check in outputs if (error := check(path))), "")


def is_complete(experiment: Experiment, out: Path, cell: Cell) -> bool:
    """Whether a cell is trained, and evaluated on every set."""
    outputs = _outputs(experiment, cell_folder(out, cell))
    return all(path.exists() for path, _ in outputs) and not damage(experiment, out, cell)


def complete_cells(experiment: Experiment, out: Path) -> list[Cell]:
    """The cells that are complete."""
    return [cell for cell in experiment.cells() if is_complete(experiment, out, cell)]
