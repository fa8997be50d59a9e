"""Every network under one budget: trained by one loop, judged by one evaluation, timed in one run.

The budget is CPU time: each network takes as many steps as fit into so many minutes (a few are
timed first), of the same batches, with the same learning rate and draws. What needs longer for a
step gets fewer: that is what it costs. The averaged weights after the last step are judged.

    OUT/bench.json                        what is compared
    OUT/runs/gdkvm/cost.json              its steps and time; items-0.csv, ... one a judge
    OUT/speed.json                        all networks, timed side by side; anew when one is added
    OUT/summary.json, table.md, table.csv, accuracy_speed.png
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from echoseg.evaluation.speed import made, peak_mb, rates, sizes
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from echoseg.clip import Annotation, Clip
from echoseg.data import Record, load_dataset
from echoseg.errors import ConfigError, DatasetError, ModelError, validation_message
from echoseg.evaluation.corruptions import corrupt_frames
from echoseg.evaluation.items import Item
from echoseg.evaluation.run import evaluate, phantom_records
from echoseg.evaluation.tables import table_text
from echoseg.files import LOCK, check_writable, locked_dir, write_text
from echoseg.models.checkpoint import load_model
from echoseg.parallel import parallel_map
from echoseg.train import recipes
from echoseg.train.config import TrainConfig
from echoseg.train.loop import make_student
from echoseg.train.train import run_training, seconds_a_step
from experiments.bench_folder import (
    COST,
    RUNS,
    SPEED,
    Cost,
    Speed,
    damage,
    is_done,
    is_judged,
    items_path,
    read_cost,
    read_speed,
)
from experiments.label_curve import as_it_was, plain_name, read_fields

CONFIG, WEIGHTS = "bench.json", "model.safetensors"
SPOILT_SHARE = 0.15
"""Frames that are spoilt where a judge asks for it."""


class Entrant(NamedTuple):
    """A network as it takes part."""

    model: str
    architecture: dict[str, Any]
    fixed: dict[str, Any]
    """Fields of the run that it cannot do without."""


ENTRANTS: dict[str, Entrant] = {
    "mssnet": Entrant("mssnet", {}, {}),
    "mssnet_tiny": Entrant("mssnet", {"size": "tiny"}, {}),
    "mssnet_attention": Entrant("mssnet", {"mixing": "attention"}, {}),
    "mssnet_detail": Entrant("mssnet", {"detail": 8}, {}),
    "memory_unet": Entrant("memory_unet", {}, {}),
    "gdkvm": Entrant("gdkvm", {}, {}),
    "gdkvm_orthogonal": Entrant("gdkvm", {"orthogonal_steps": 5}, {}),
    "msv_mamba": Entrant("msv_mamba", {}, {}),
    "unet": Entrant("unet", {}, {}),
    "conv_gru_unet": Entrant("conv_gru_unet", {}, {}),
    # as many frames as the pool's phantom clips have: more would stand still
    "unet_3d": Entrant("unet_3d", {"num_frames": 6}, {"num_frames": 6}),
    "deeplab_v3": Entrant("deeplab_v3", {}, {}),
    "mssnet_released": Entrant(
        "mssnet_released",
        {},
        # eight clips of it do not fit into 16 GB
        {"image_size": 256, "num_frames": 10, "num_labeled": 1, "num_unlabeled": 1},
    ),
}
"""Name -> network; the whole list of those that are compared."""
ABLATIONS: dict[str, Entrant] = {
    "mssnet_no_memory": Entrant("mssnet", {"memory": "none"}, {}),
    # as many frames a step where a clip has two
    "mssnet_stills": Entrant("mssnet", {}, {"num_frames": 1, "num_labeled": 8, "num_unlabeled": 8}),
    "gdkvm_sum": Entrant("gdkvm", {"write": "sum"}, {}),
    "gdkvm_no_fusion": Entrant("gdkvm", {"key_pixel_fusion": False}, {}),
    "gdkvm_sum_no_fusion": Entrant("gdkvm", {"write": "sum", "key_pixel_fusion": False}, {}),
    "msv_mamba_one_window": Entrant("msv_mamba", {"windows": (16, 16)}, {}),
    "msv_mamba_no_levels": Entrant(
        "msv_mamba", {}, {"method_options": {"deep_supervision": False}}
    ),
}
"""Name -> a network without a part of it: is the part worth what its paper says?"""
TAKING_PART = ENTRANTS | ABLATIONS


class ModelBench(BaseModel):
    """What is compared with what."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: tuple[str, ...]
    """As in `TrainConfig`."""
    judges: tuple[str, ...] = Field(min_length=1)
    """A folder's validation split as FOLDER, another as FOLDER:SPLIT; phantom:SPLIT, and with
    :spoilt behind it a part of its frames is spoilt."""
    num_hearts: int | None = Field(default=None, ge=1)
    """Of the phantom: the first so many of each tier."""
    models: tuple[str, ...] = Field(min_length=1)
    minutes: float = Field(default=3.0, gt=0)
    """CPU time of each network's training."""
    most_steps: int = Field(default=2000, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    """Fields of `TrainConfig` that all share."""

    @field_validator("data", "judges")
    @classmethod
    def _one_name_a_place(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name if name.startswith("phantom") else plain_name(name) for name in names)

    @field_validator("judges", "models")
    @classmethod
    def _each_is_one_row(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names))

    @field_validator("models")
    @classmethod
    def _models_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in TAKING_PART:
                raise ValueError(f"model must be one of {', '.join(TAKING_PART)}, got {name!r}")
        return names

    def run_of(self, name: str, num_steps: int) -> TrainConfig:
        """Return the run of a network.

        Raises:
            ConfigError: If the settings are wrong.
        """
        entrant = TAKING_PART[name]
        fields = {**self.settings, **entrant.fixed, "num_steps": num_steps}
        return recipes.make(
            "supervised",
            **{"validate_every": num_steps, **fields},
            data=self.data,
            model=entrant.model,
            architecture=entrant.architecture,
        )


def model_bench(**fields: Any) -> ModelBench:
    """Return an experiment whose runs have been checked.

    Raises:
        ConfigError: A field is wrong, in one sentence.
    """
    try:
        found = ModelBench(**fields)
    except ValidationError as error:
        raise ConfigError(validation_message(error)) from error
    if own := {"data", "model", "architecture", "num_steps", "method"} & set(found.settings):
        raise ConfigError(f"settings must leave {', '.join(sorted(own))} to the bench")
    for name in found.models:
        found.run_of(name, found.most_steps)
    return found


def run_bench(
    bench: ModelBench,
    out: Path,
    *,
    jobs: int = 1,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Train and judge every network that is not done, then time all of them side by side.

    What is damaged counts as not done.

    Args:
        bench: The experiment.
        out: Its folder; made.
        jobs: Networks trained at a time, each in its own process.
        report: Called with (name, done, in all) after each.
        say: Called with a sentence about what is done again.

    Raises:
        EchosegError: If the folder holds another bench, or a network fails; what was done stays.
    """
    for judge in bench.judges:
        judged_records(judge, bench.num_hearts)  # refuse what is not there before the work
    check_writable(out, "choose another -o")
    with locked_dir(out), as_it_was(out, CONFIG):
        begin(bench, out)
        num_judges, total = len(bench.judges), len(bench.models)
        left = [name for name in bench.models if not is_done(out, name, num_judges)]
        for name in left:
            _check(bench.run_of(name, 1))
            if told := damage(out, name, num_judges):
                say(f"{told}; it is done again")
        for index, name in enumerate(parallel_map(partial(run_model, bench, out), left, jobs)):
            report(name, total - len(left) + index + 1, total)
        names = [name for name in read(out).models if is_done(out, name, num_judges)]
        _time(names, out, say)


def _check(run: TrainConfig) -> None:
    """Refuse, before any is trained, a network that its run does not fit.

    Raises:
        EchosegError: If so.
    """
    make_student(run)
    run.make_method()


def _time(names: list[str], out: Path, say: Callable[[str], None]) -> None:
    """Time the networks, unless just these have been."""
    if (out / SPEED).exists():
        try:
            if set(read_speed(out).networks) == set(names):
                return
        except DatasetError as error:
            say(f"{error}; all are timed again")
    write_text(out / SPEED, json.dumps(timed(names).model_dump(), indent=1) + "\n")


def begin(bench: ModelBench, out: Path) -> None:
    """Write what is compared, or make sure that it is what the folder holds; models are added.

    Raises:
        ConfigError: If the folder holds another bench, or something else.
    """
    if (out / CONFIG).exists():
        there = read(out)
        for name in ("data", "judges", "num_hearts", "minutes", "most_steps", "settings"):
            old, new = getattr(there, name), getattr(bench, name)
            if old != new:
                raise ConfigError(
                    f"{out} holds a bench with {name} {old!r}, got {new!r}; choose another -o"
                )
        models = tuple(dict.fromkeys((*there.models, *bench.models)))
        bench = bench.model_copy(update={"models": models})
    elif any(path.name != LOCK for path in out.iterdir()):
        raise ConfigError(f"{out} holds other files and no {CONFIG}; choose another -o")
    (out / RUNS).mkdir(exist_ok=True)
    write_text(out / CONFIG, bench.model_dump_json(indent=1) + "\n")


def read(out: Path) -> ModelBench:
    """Return the bench that a folder holds.

    Raises:
        ConfigError: If it holds none.
    """
    return model_bench(**read_fields(out / CONFIG, "a bench"))


def run_model(bench: ModelBench, out: Path, name: str) -> str:
    """Train and judge one network, with one thread; what was judged is not judged again.

    Raises:
        EchosegError: If it cannot be trained or judged.
    """
    folder = out / RUNS / name
    torch.set_num_threads(1)
    if not _is_trained(out, name):
        shutil.rmtree(folder, ignore_errors=True)
        step_s = seconds_a_step(bench.run_of(name, 1))
        num_steps = max(1, min(bench.most_steps, int(60 * bench.minutes / step_s)))
        start = time.process_time()
        run_training(bench.run_of(name, num_steps), folder)
        for old in folder.glob("resume-*.pt"):
            old.unlink()
        cost = Cost(num_steps=num_steps, cpu_s=time.process_time() - start)
        write_text(folder / COST, json.dumps(cost.model_dump()) + "\n")
    for index, judge in enumerate(bench.judges):
        if not is_judged(out, name, index):
            path = items_path(out, name, index)
            records = judged_records(judge, bench.num_hearts)
            found = evaluate(str(folder / WEIGHTS), records)
            path.parent.mkdir(exist_ok=True)
            write_text(path, table_text(found.items, Item))
    return name


def _is_trained(out: Path, name: str) -> bool:
    """Return whether weights and cost can be read."""
    try:
        read_cost(out, name)
        load_model(str((out / RUNS / name / WEIGHTS).absolute()))
    except (DatasetError, ModelError):
        return False
    return True


def judged_records(judge: str, num_hearts: int | None) -> tuple[Record, ...]:
    """Return what a judge judges on.

    Raises:
        EchosegError: If it is not there.
    """
    place, _, rest = judge.partition(":")
    if place == "phantom":
        split, _, how = rest.partition(":")
        if how not in ("", "spoilt"):
            raise ConfigError(f"judge must be phantom:SPLIT or phantom:SPLIT:spoilt, got {judge!r}")
        records = phantom_records(split or "test", hearts=num_hearts)
        return tuple(map(spoilt, range(len(records)), records)) if how else records
    return load_dataset(place).split(rest or "validation").records


def spoilt(seed: int, record: Record) -> Record:
    """Return a record a part of whose frames is spoilt, the same at every load."""

    def read_spoilt() -> tuple[Clip, Annotation | None]:
        clip, known = record.load()
        frames = torch.from_numpy(clip.frames)[None].float() / 255
        worse, _ = corrupt_frames(frames, SPOILT_SHARE, torch.Generator().manual_seed(seed))
        return replace(clip, frames=(255 * worse[0]).round().numpy().astype(np.uint8)), known

    return replace(record, read=read_spoilt)


def timed(names: list[str]) -> Speed:
    """Return rates, size and memory of networks, all in this run.

    Raises:
        DatasetError: If there is none.
    """
    if not names:
        raise DatasetError("no network is done, so there is nothing to be timed")
    models = {name: made(TAKING_PART[name].model, TAKING_PART[name].architecture) for name in names}
    fast = rates(models)
    networks = {}
    for name, model in models.items():
        peak = peak_mb(TAKING_PART[name].model, TAKING_PART[name].architecture)
        networks[name] = {**sizes(model), **fast[name], "peak_mb_256": peak}
    return Speed(machine=_machine(), networks=networks)


def _machine() -> dict[str, Any]:
    import platform

    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
