"""Model benchmark: every network trained to its plateau, evaluated and timed the same way.

A training ends when the score on held-out training patients (`experiments.held_out`) has not risen
for `patience` validation rounds, or after `max_steps`; the weights with the best score are
evaluated. All networks get the same batches, learning rate and seeds. The speed of all is measured
side by side in one run, into OUT/speed.json, and measured again when a network is added.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from echoseg.errors import OutputError
from echoseg.files import markdown_table, read_json, write_json
from echoseg.metrics.segmentation import FAILED_DICE
from echoseg.train import recipes
from echoseg.train.config import TrainConfig
from echoseg.train.loop import Components
from experiments.cells import RUN_AGAIN
from experiments.experiment import Cell, Experiment
from experiments.held_out import folder_of, hold_out
from experiments.networks import NAMES
from experiments.provenance import machine
from experiments.robustness_tables import robust_markdown
from experiments.speed import build, peak_mb, rates, sizes
from experiments.summary import MEAN, dice_text, difference_text, pivot, provenance_lines

SPEED = "speed.json"
REFERENCE = "mssnet"


class BenchmarkEntry(NamedTuple):
    """A network of the benchmark."""

    model: str
    architecture: dict[str, Any]
    overrides: dict[str, Any]
    """Fields of `TrainConfig` that the network requires."""


ENTRIES: dict[str, BenchmarkEntry] = {
    "mssnet": BenchmarkEntry("mssnet", {}, {}),
    "mssnet_tiny": BenchmarkEntry("mssnet", {"size": "tiny"}, {}),
    "mssnet_attention": BenchmarkEntry("mssnet", {"mixing": "attention"}, {}),
    "mssnet_detail": BenchmarkEntry("mssnet", {"detail": 8}, {}),
    "memory_unet": BenchmarkEntry("memory_unet", {}, {}),
    "gdkvm": BenchmarkEntry(NAMES["gdkvm"], {}, {}),
    "osa": BenchmarkEntry(NAMES["gdkvm"], {"orthogonal_steps": 5, "prior_enhancement": True}, {}),
    "hss_net": BenchmarkEntry(NAMES["hss_net"], {}, {}),
    "msv_mamba": BenchmarkEntry(NAMES["msv_mamba"], {}, {}),
    "unet": BenchmarkEntry("unet", {}, {}),
    "conv_gru_unet": BenchmarkEntry(NAMES["conv_gru_unet"], {}, {}),
    # as many frames as simulated training clips have
    "unet_3d": BenchmarkEntry(NAMES["unet_3d"], {"num_frames": 6}, {"num_frames": 6}),
    "deeplab_v3": BenchmarkEntry(NAMES["deeplab_v3"], {}, {}),
    "mssnet_released": BenchmarkEntry(
        NAMES["mssnet_released"],
        {},
        # a batch of eight clips does not fit into 16 GB
        {"image_size": 256, "num_frames": 10, "num_labeled": 2},
    ),
}
"""Networks by name."""
ABLATIONS: dict[str, BenchmarkEntry] = {
    "mssnet_no_memory": BenchmarkEntry("mssnet", {"memory": "none"}, {}),
    # the same number of frames per step
    "mssnet_stills": BenchmarkEntry("mssnet", {}, {"num_frames": 1, "num_labeled": 16}),
    **{
        f"mssnet_tiny_{name}": BenchmarkEntry("mssnet", {"size": "tiny", **options}, {})
        for name, options in {
            "no_memory": {"memory": "none"},
            "features": {"memory": "features"},
            "values": {"memory": "values"},
            "conv": {"mixing": "conv"},
            "attention": {"mixing": "attention"},
        }.items()
    },
    "mssnet_released_112px": BenchmarkEntry(
        NAMES["mssnet_released"],
        {"image_size": 112, "num_frames": 4, "attention": "fused"},
        {"image_size": 112, "num_frames": 4},
    ),
    "gdkvm_orthogonal": BenchmarkEntry(NAMES["gdkvm"], {"orthogonal_steps": 5}, {}),
    "gdkvm_enhanced": BenchmarkEntry(NAMES["gdkvm"], {"prior_enhancement": True}, {}),
    "hss_net_no_skip": BenchmarkEntry(NAMES["hss_net"], {"skip": 1}, {}),
    "gdkvm_sum": BenchmarkEntry(NAMES["gdkvm"], {"write": "sum"}, {}),
    "gdkvm_no_fusion": BenchmarkEntry(NAMES["gdkvm"], {"key_pixel_fusion": False}, {}),
    "gdkvm_sum_no_fusion": BenchmarkEntry(
        NAMES["gdkvm"], {"write": "sum", "key_pixel_fusion": False}, {}
    ),
    "msv_mamba_one_window": BenchmarkEntry(NAMES["msv_mamba"], {"windows": (16, 16)}, {}),
    "msv_mamba_no_levels": BenchmarkEntry(
        NAMES["msv_mamba"], {}, {"method_options": {"deep_supervision": False}}
    ),
}
"""Networks without one of their parts, to measure what the part adds."""
ALL_ENTRIES = ENTRIES | ABLATIONS


class ModelBench(Experiment):
    """Networks (rows), each trained until its score on held-out training patients is flat."""

    noun: ClassVar[str] = "a benchmark of networks"
    growing: ClassVar[tuple[str, ...]] = ("models", "num_seeds")
    reserved: ClassVar[frozenset[str]] = frozenset(
        {
            "data",
            "seed",
            "model",
            "architecture",
            "num_steps",
            "method",
            "validation",
            "patience",
            "validate_every",
        }
    )

    models: tuple[str, ...] = Field(min_length=1)
    max_steps: int = Field(default=4000, ge=1)
    """Maximum number of steps; the learning rate decays over these."""
    patience: int = Field(default=5, ge=1)
    """Validation rounds without a better score after which a training ends."""
    validate_every: int = Field(default=200, ge=1)
    """Steps per validation round."""

    @field_validator("models")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in ALL_ENTRIES:
                raise ValueError(f"model must be one of {', '.join(ALL_ENTRIES)}, got {name!r}")
        return tuple(dict.fromkeys(names))

    @model_validator(mode="after")
    def _held_out_patients_are_not_learned_from(self) -> Self:
        folders = {folder_of(name) for name in self.data if not name.startswith("phantom:")}
        for field in ("extra_data", "unlabeled_data"):
            names = self.settings.get(field, ())
            for name in names if isinstance(names, list | tuple) else (names,):
                if folder_of(str(name)) in folders:
                    raise ValueError(
                        f"{field} must be of other patients than data, of whom some are held out, "
                        f"{name!r} is of the same folder; give it as data"
                    )
        return self

    @property
    def reference(self) -> str:
        """`mssnet`."""
        return REFERENCE

    def cells(self) -> list[Cell]:
        """The cells, seed by seed."""
        return [
            Cell(name=f"{name}-seed{seed}", row=name, column="", seed=seed)
            for seed in range(self.num_seeds)
            for name in self.models
        ]

    def train_config(self, cell: Cell) -> TrainConfig:
        """The config of a cell's training run.

        Raises:
            ConfigError: If the settings are invalid.
        """
        entry = ALL_ENTRIES[cell.row]
        return recipes.make(
            "supervised",
            **self.settings | entry.overrides,
            num_steps=self.max_steps,
            patience=self.patience,
            validate_every=self.validate_every,
            data=self.data,
            model=entry.model,
            architecture=entry.architecture,
            seed=cell.seed,
        )

    def components(self, cell: Cell) -> Components:
        """Training data without the held-out patients, the same for all networks of a seed."""
        return hold_out(self.data, cell.seed)


class Speed(BaseModel):
    """Speed of all networks of a benchmark; content of `speed.json`."""

    machine: dict[str, Any]
    networks: dict[str, dict[str, int | float]]
    """Rates, size and memory by network; NaN where they cannot be measured."""


def read_speed(out: Path) -> Speed:
    """The speed of the networks.

    Raises:
        OutputError: If the file is missing or damaged.
    """
    speed = read_json(out / SPEED, Speed, RUN_AGAIN)
    if speed is None:
        raise OutputError(f"{out / SPEED} is missing; {RUN_AGAIN}")
    return speed


def time_networks(out: Path, cells: Sequence[Cell]) -> None:
    """Measure the speed of the networks of these cells, unless exactly these are measured."""
    names = list(dict.fromkeys(cell.row for cell in cells))
    try:
        if set(read_speed(out).networks) == set(names):
            return
    except OutputError:
        pass
    write_json(out / SPEED, measure_speed(names))


def measure_speed(names: Sequence[str]) -> Speed:
    """Rates, size and memory of networks, all in this run."""
    entries = {name: ALL_ENTRIES[name] for name in names}
    models = {name: build(entry.model, entry.architecture) for name, entry in entries.items()}
    frames_per_s = rates(models)
    networks = {
        name: {
            **sizes(models[name]),
            **frames_per_s[name],
            "peak_mb_256": peak_mb(entry.model, entry.architecture),
        }
        for name, entry in entries.items()
    }
    return Speed(machine=machine(), networks=networks)


SPEED_COLUMNS = {
    "gmac 112": "GMAC 112 px",
    "streaming 112 frames/s": "streaming 112 px, frames/s",
    "streaming 256 frames/s": "256 px",
    "batched 112 frames/s": "whole clip 112 px",
    "batched 256 frames/s": "256 px ",
    "peak_mb_256": "peak MB",
}


def bench_markdown(summary: dict[str, Any], speed: Speed) -> str:
    """The tables of a benchmark: cost and speed, then scores by evaluation set."""
    experiment = summary["experiment"]
    about = ", ".join(f"{key} {value}" for key, value in speed.machine.items())
    lines = [
        f"{summary['num_complete']} of {summary['num_cells']} trainings are complete, "
        f"to a plateau of {experiment['patience']} validation rounds of "
        f"{experiment['validate_every']} steps, at most {experiment['max_steps']}; speed measured "
        f"in one run on {about}.",
        *_overrides(experiment),
        *provenance_lines(summary["costs"]),
        "",
    ]
    rows = []
    for cost in summary["costs"]:
        if cost["seed"]:
            continue
        values = speed.networks.get(cost["row"], {})
        cells = [
            cost["row"],
            str(cost["num_steps"]),
            f"{cost['cpu_s'] / 60:.1f}",
            f"{values.get('parameters', 0) / 1e6:.2f}",
            *(f"{values[key]:.3g}" if key in values else "" for key in SPEED_COLUMNS),
        ]
        rows.append(cells)
    lines += markdown_table(
        ["network", "steps", "CPU min", "M weights", *SPEED_COLUMNS.values()], rows
    )
    for eval_set in experiment["eval_sets"]:
        scores = [score for score in summary["scores"] if score["eval_set"] == eval_set]
        selected = [
            score
            for score in scores
            if score["structure"] != MEAN
            and (score["group"] == "all" or score["structure"] == "lv_endo")
        ]
        lines += [
            "",
            f"{eval_set}: Dice (± SD over seeds; HD95; items under {FAILED_DICE}):",
            "",
            *pivot(selected, _column, dice_text, "network"),
        ]
        differences = [s for s in selected if s["group"] == "all" and s["difference"] is not None]
        if differences:
            lines += [
                "",
                f"Difference to {REFERENCE} in Dice points [95 % interval over seeds and "
                "patients], smallest detectable effect, p of the signed-rank test:",
                "",
                *pivot(differences, _column, difference_text, "network"),
            ]
    return "\n".join(lines) + "\n" + robust_markdown(summary["robustness"], REFERENCE)


def _column(score: dict[str, Any]) -> str:
    group = "" if score["group"] == "all" else f", {score['group']}"
    return f"{score['structure']}{group}"


def _overrides(experiment: dict[str, Any]) -> list[str]:
    """A sentence for each network that cannot use the settings."""
    settings, lines = experiment["settings"], []
    for name in experiment["models"]:
        changes = [
            f"{field} {value}, not {settings[field]}"
            for field, value in ALL_ENTRIES[name].overrides.items()
            if field in settings and settings[field] != value
        ]
        if changes:
            lines += ["", f"{name} can only be trained with {', '.join(changes)}."]
    return lines
