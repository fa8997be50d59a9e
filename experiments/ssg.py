"""Ablation of the guidance: MSSNet's kinds of memory, trained alike, evaluated for robustness.

All variants start from one initialization where one is given: the weights of a checkpoint whose
name and shape fit, so that encoder and decoder begin equal and only the memory is new. Their
differences to `features` are paired by seed and clip.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator

from echoseg.errors import ConfigError
from echoseg.models.build import build_model
from echoseg.models.checkpoint import load_model
from echoseg.train import recipes
from echoseg.train.config import TrainConfig
from echoseg.train.loop import Components
from echoseg.train.run_folder import RESUME_FILES, RunFolder, discarded_when_it_fails
from echoseg.train.train import run_training
from echoseg.weights.card import find_checkpoint
from experiments.experiment import Cell, Experiment
from experiments.robustness_tables import robust_markdown
from experiments.summary import provenance_lines

VARIANTS = ("none", "features", "values", "guidance")
SETTINGS: dict[str, Any] = {
    "num_steps": 600,
    "image_size": 112,
    "num_labeled": 4,
    "num_frames": 12,
    "frame_sampling": "consecutive",
    "artefact_prob": 0.5,
    "corruption_prob": 0.1,
}
"""Settings that differ from those of `TrainConfig`."""


class SSGAblation(Experiment):
    """Kinds of memory (rows) of one MSSNet."""

    noun: ClassVar[str] = "an ablation of MSSNet's memory"
    growing: ClassVar[tuple[str, ...]] = ("variants", "num_seeds")
    reserved: ClassVar[frozenset[str]] = frozenset(
        {"data", "seed", "model", "architecture", "init_from"}
    )

    variants: tuple[str, ...] = Field(default=VARIANTS, min_length=1)
    """Values of `MSSNetConfig.memory`."""
    size: Literal["tiny", "small", "base"] = "tiny"
    init: str | None = None
    """Checkpoint of the common initialization; None: random."""

    @field_validator("variants")
    @classmethod
    def _unique(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(values))

    @property
    def reference(self) -> str:
        """`features`, or the first variant without it."""
        return "features" if "features" in self.variants else self.variants[0]

    def cells(self) -> list[Cell]:
        """The cells, seed by seed."""
        return [
            Cell(name=f"{name}-seed{seed}", row=name, column="", seed=seed)
            for seed in range(self.num_seeds)
            for name in self.variants
        ]

    def train_config(self, cell: Cell) -> TrainConfig:
        """The config of a cell's training run.

        Raises:
            ConfigError: If the settings are invalid.
        """
        settings = SETTINGS | self.settings
        return recipes.make(
            "supervised",
            **{"validate_every": settings["num_steps"]} | settings,
            data=self.data,
            model="mssnet",
            architecture={"size": self.size, "memory": cell.row},
            seed=cell.seed,
        )

    def components(self, cell: Cell) -> Components:
        """The network of a cell, begun from the common initialization.

        Raises:
            EchosegError: If the checkpoint cannot be read or is of another network.
        """
        if self.init is None:
            return Components()
        config = self.train_config(cell)
        torch.manual_seed(cell.seed)
        network = build_model(config.model, config.architecture)
        start_from(network, self.init)
        return Components(model=network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def start_from(network: Any, checkpoint: str) -> int:
    """Give a network the weights of a checkpoint whose name and shape fit; return their number.

    Raises:
        ModelError: If the checkpoint cannot be read.
        ConfigError: If the encoder does not fit.
    """
    path = str(find_checkpoint(checkpoint, field="--init"))
    own, other = network.state_dict(), load_model(path)[0].state_dict()
    fitting = {k: x for k, x in other.items() if k in own and own[k].shape == x.shape}
    encoder = [name for name in own if name.startswith(("stem.", "encoder"))]
    if lacking := [name for name in encoder if name not in fitting]:
        raise ConfigError(
            f"--init must be a checkpoint with the encoder of the variants, {checkpoint} lacks "
            f"{lacking[0]} of that shape; give one of the same size"
        )
    network.load_state_dict(fitting, strict=False)
    return len(fitting)


def pretrain(experiment: SSGAblation, folder: Path, num_steps: int) -> str:
    """Train the common initialization, the first variant, with seed 0.

    One that is there with the same settings is used, one that was interrupted is continued.

    Returns:
        The checkpoint.

    Raises:
        EchosegError: If it cannot be trained, or the folder holds one of other settings.
    """
    path = folder / "model.safetensors"
    config = experiment.train_config(experiment.cells()[0])
    config = config.model_copy(update={"num_steps": num_steps, "validate_every": num_steps})
    is_begun = path.exists() or any(folder.glob(RESUME_FILES))
    if is_begun and (held := RunFolder(folder).config()) != config:
        fields = [name for name in TrainConfig.model_fields if _differs(held, config, name)]
        raise ConfigError(
            f"{folder} must hold a common initialization of the same settings, its "
            f"{', '.join(fields)} differ; remove it, or choose another -o"
        )
    if not path.exists():
        with discarded_when_it_fails(folder):
            run_training(None if is_begun else config, folder)
    return str(path)


def _differs(held: TrainConfig, config: TrainConfig, name: str) -> bool:
    return getattr(held, name) != getattr(config, name)


def ssg_markdown(summary: dict[str, Any]) -> str:
    """The tables of the ablation."""
    experiment = summary["experiment"]
    start = experiment["init"] or "random weights"
    lines = [
        f"{summary['num_complete']} of {summary['num_cells']} cells are complete; MSSNet "
        f"{experiment['size']}, trained from {start}.",
        *provenance_lines(summary["costs"]),
    ]
    return "\n".join(lines) + "\n" + robust_markdown(summary["robustness"], summary["reference"])
