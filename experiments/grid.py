"""Run a grid of training runs: cell by cell, resumable.

Complete cells are skipped, so adding a row, a column or a seed runs only what is new. The EMA
weights after the last step are evaluated, or with early stopping the best ones on held-out training
patients; nothing is selected on the evaluation data.

    OUT/experiment.json                      the experiment
    OUT/cells/NAME/                          one cell, see `experiments.cells`
    OUT/summary.json, table.md, table.csv    of all complete cells
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from echoseg.errors import ConfigError
from echoseg.files import ResumableFolder
from echoseg.parallel import parallel_map
from echoseg.train.config import TrainConfig
from echoseg.train.loop import make_student
from experiments.cells import complete_cells, damage, is_complete, run_cell
from experiments.eval_sets import clip_records, eval_records
from experiments.experiment import Cell, Experiment

SETTINGS = "experiment.json"

ExperimentT = TypeVar("ExperimentT", bound=Experiment)


def open_folder(kind: type[ExperimentT], out: Path) -> ResumableFolder[ExperimentT]:
    """The output folder of an experiment."""
    return ResumableFolder(out, SETTINGS, kind, kind.noun)


def read_experiment(kind: type[ExperimentT], out: Path) -> ExperimentT:
    """The experiment of an output folder.

    Raises:
        ConfigError: If the folder contains none.
        OutputError: If it is damaged.
    """
    experiment = open_folder(kind, out).read()
    if experiment is None:
        raise ConfigError(f"{out} must contain {kind.noun} ({SETTINGS}); run it first")
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
    check_sets(experiment)  # fail before hours of training
    folder = open_folder(type(experiment), out)
    with folder.locked():
        existing = folder.read()
        whole = experiment if existing is None else experiment.union(existing)
        folder.begin(whole, varying=experiment.growing)
        cells = experiment.cells()
        missing = [cell for cell in cells if not is_complete(whole, out, cell)]
        if missing:
            whole.components(missing[0])  # the data or the weights that all cells start from
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


def check_sets(experiment: Experiment) -> None:
    """Open what an experiment is evaluated on.

    Raises:
        EchosegError: If a set does not exist, or cannot be evaluated on.
    """
    for name in experiment.eval_sets:
        eval_records(name, experiment.num_hearts)
    for name in experiment.robust_sets:
        clip_records(name, experiment.num_hearts)


def _check(config: TrainConfig) -> None:
    """Build the network and the method, to fail before any cell is trained."""
    make_student(config)
    config.make_method()
