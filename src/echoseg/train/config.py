"""Everything a run is made of; saved with it, and enough to repeat or resume it."""

from difflib import get_close_matches
from functools import cache
from inspect import signature
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from echoseg.errors import ConfigError, validation_message
from echoseg.models import MODELS
from echoseg.train.data.batches import BatchConfig
from echoseg.train.methods import METHODS, TrainingMethod


class RunConfig(BaseModel):
    """One run of `learn.loop`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    objective: str = "supervised"
    """Key of `METHODS`."""
    objective_options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the objective."""
    model: str = "mssnet"
    """Key of `MODELS`; left alone when `start` is given."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """The model's config."""
    start: str | None = None
    """Checkpoint to start from: a shipped name or a file."""
    encoder_start: str | None = None
    """Checkpoint, or any safetensors file with its names, whose encoder alone is taken."""

    data: tuple[str, ...] = ("phantom:200",)
    """What is learnt from: folders, .npz files, or phantom:N for N clips filmed on the spot."""
    data_shares: tuple[float, ...] | None = None
    """How often a labelled clip comes from each of `data`; None: by their numbers of clips."""
    beside: tuple[str, ...] = ()
    """More of the kind, all of whose masks are looked at whatever `labels` says: the phantom's cost
    nobody's time."""
    beside_share: float = Field(default=0.5, gt=0, lt=1)
    """How many of the labelled clips of a step come from `beside`, on average."""
    validation: str | None = None
    """What is scored on; None: the data set's own validation split, where it has one."""
    labels: float = Field(default=1.0, gt=0, le=1)
    """Share of the patients of each of `data` whose masks may be looked at."""
    frames_labelled: Literal["all", "ends"] = "all"
    """Every mask there is, or only ED's and ES's of each clip (frame-sparse)."""
    labels_seed: int = Field(default=0, ge=0)
    """Which patients; apart from `seed`, so that seeds can share their patients."""

    image_size: int = Field(default=112, ge=32, le=512, multiple_of=16)
    """Side of what the network sees, in pixels."""
    num_labelled: int = Field(default=6, ge=1)
    """Labelled clips a step."""
    num_unlabelled: int = Field(default=6, ge=1)
    """Unlabelled clips a step; a supervised run takes as many labelled ones more instead."""
    num_frames: int = Field(default=2, ge=1)
    """Frames a clip."""
    augment_strength: float = Field(default=1.0, ge=0, le=3)
    """Factor on every range of `AugmentConfig`."""
    spoilt_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of frames, the first of a clip apart, that are spoilt."""

    num_steps: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    """Highest; rises for 50 steps, then falls to nearly nothing along a cosine."""
    weight_decay: float = Field(default=1e-2, ge=0)
    averaging: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the teacher's running average."""
    ramp_share: float = Field(default=0.3, gt=0, le=1)
    """Part of the run in which trust in what nobody labelled rises to 1."""
    seed: int = Field(default=0, ge=0)

    validate_every: int = Field(default=250, ge=1)
    """Steps between looks at the validation data."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many looks without a better score; None: never."""
    save_every: int = Field(default=250, ge=1)
    """Steps between checkpoints to resume from."""
    keep_last: int = Field(default=2, ge=1)
    """Checkpoints to resume from that are kept."""
    precision: Literal["bf16-mixed", "16-mixed", "32-true"] = "bf16-mixed"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for field, table in (("objective", METHODS), ("model", MODELS)):
            name = getattr(self, field)
            if name not in table:
                raise ValueError(f"{field} must be one of {', '.join(table)}, got {name!r}")
        return self

    @model_validator(mode="after")
    def _objective_takes_its_options(self) -> Self:
        self._options()
        return self

    def _options(self) -> dict[str, Any]:
        """Return the arguments of the objective, of the types that it says."""
        kind = _options_of(METHODS[self.objective])
        try:
            found = kind.model_validate(self.objective_options)
        except ValidationError as error:
            told = validation_message(error, "objective_options", kind.model_fields)
            raise ValueError(told) from error
        return found.model_dump(exclude_unset=True)

    @model_validator(mode="after")
    def _architecture_fits(self) -> Self:
        if self.start is None:
            kind = MODELS[self.model].config_class
            try:
                kind.model_validate(self.architecture)
            except ValidationError as error:
                told = validation_message(error, "architecture", kind.model_fields)
                raise ValueError(told) from error
        elif self.architecture or self.model != RunConfig.model_fields["model"].default:
            raise ValueError(
                f"model and architecture must be left out with start, whose network is that of "
                f"{self.start!r}"
            )
        return self

    @property
    def batch(self) -> BatchConfig:
        """How a step's clips are drawn."""
        unlabelled = self.num_unlabelled if METHODS[self.objective].unlabelled else 0
        return BatchConfig(
            image_size=self.image_size,
            num_labelled=self.num_labelled + self.num_unlabelled - unlabelled,
            num_unlabelled=unlabelled,
            num_frames=self.num_frames,
            augment_strength=self.augment_strength,
            spoilt_share=self.spoilt_share,
        )

    def make_objective(self) -> TrainingMethod:
        """Return the objective with its options."""
        return METHODS[self.objective](**self._options())


@cache
def _options_of(objective: type[TrainingMethod]) -> type[BaseModel]:
    """Return what an objective's constructor takes: weights and shares are numbers from 0 on."""
    fields: dict[str, Any] = {}
    for name, given in signature(objective).parameters.items():
        kind = given.annotation
        if kind is float:
            most = 1 if name.endswith(("share", "prob")) else None
            kind = Annotated[float, Field(ge=0, le=most, allow_inf_nan=False)]
        elif kind is int:
            kind = Annotated[int, Field(ge=1)]
        fields[name] = (kind, given.default)
    return create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)


def run_config(**fields: Any) -> RunConfig:
    """Return a config, or say in one sentence what is wrong with it.

    Raises:
        ConfigError: A field is unknown (the nearest is told) or out of its range.
    """
    known = RunConfig.model_fields
    for name in fields:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"a run has no field {name!r}; {hint}")
    try:
        return RunConfig(**fields)
    except ValidationError as error:
        raise ConfigError(validation_message(error)) from error
