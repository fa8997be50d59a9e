"""What an experiment is: a grid of training runs, each evaluated on the same data."""

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from echoseg.errors import ConfigError, validation_message
from echoseg.train.config import TrainConfig
from echoseg.train.loop import Components


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One training run of an experiment; `row` and `column` are its place in the tables."""

    name: str
    row: str
    column: str
    seed: int


class Experiment(BaseModel, ABC):
    """What is compared; subclasses define the cells."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    noun: ClassVar[str]
    """What its folder holds, with the article, for messages."""
    growing: ClassVar[tuple[str, ...]] = ("num_seeds",)
    """Fields that may grow when an experiment is continued."""
    reserved: ClassVar[frozenset[str]] = frozenset({"data", "seed"})
    """Fields of `TrainConfig` that `settings` must not contain."""

    data: tuple[str, ...] = Field(min_length=1)
    """Training data, as in `TrainConfig`."""
    eval_sets: tuple[str, ...] = ()
    """Names of evaluation sets, as `experiments.eval_sets` lists them."""
    robust_sets: tuple[str, ...] = ()
    """Those whose clips go through `experiments.robustness`: clean, corrupted, hidden wall."""
    num_hearts: int | None = Field(default=None, ge=1)
    """Number of phantom hearts per tier; None: all."""
    num_clips: int | None = Field(default=None, ge=1)
    """Number of clips of each of `robust_sets`; None: all."""
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

    @model_validator(mode="after")
    def _evaluates_something(self) -> Self:
        if not (self.eval_sets or self.robust_sets):
            raise ValueError("eval_sets or robust_sets must name a set to evaluate on")
        return self

    @field_validator("data", "eval_sets", "robust_sets")
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
    def train_config(self, cell: Cell) -> TrainConfig:
        """The config of a cell's training run.

        Raises:
            ConfigError: If the settings are invalid.
        """

    def components(self, cell: Cell) -> Components:
        """Objects that a cell's training uses instead of what its config names."""
        return Components()

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
