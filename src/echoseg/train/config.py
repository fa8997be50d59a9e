"""Everything a run is made of; saved with it, and enough to repeat or resume it."""

import warnings
from functools import cache
from inspect import signature
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from echoseg.errors import ConfigError, validation_message
from echoseg.models import Segmenter
from echoseg.models.build import model_class
from echoseg.train.data.batches import BatchConfig
from echoseg.train.methods import METHODS, TrainingMethod
from echoseg.train.renamed import with_current_names


class TrainConfig(BaseModel):
    """All settings of one training run; saved with it, and enough to repeat or resume it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: str = "supervised"
    """Key of `METHODS`."""
    method_options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the method."""
    model: str = "mssnet"
    """Key of `MODELS` or package.module:Class; not to be given together with `init_from`."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """The model's config."""
    init_from: str | None = None
    """Initial weights: a shipped name or a checkpoint file."""
    pretrained_encoder: str | None = None
    """Shipped name, checkpoint or safetensors file of which only the encoder is loaded."""

    data: tuple[str, ...] = ("phantom:200",)
    """Training data: folders, .npz files, or phantom:N for N simulated clips."""
    data_weights: tuple[float, ...] | None = None
    """Sampling weight of each of `data` among labeled clips; None: its number of clips."""
    extra_data: tuple[str, ...] = ()
    """Additional fully labeled data, not subject to `labeled_fraction`, such as phantom:400."""
    extra_data_fraction: float = Field(default=0.5, gt=0, lt=1)
    """Expected fraction of the labeled clips of a step that come from `extra_data`."""
    validation: str | None = None
    """Validation data; None: the validation split of `data`, if there is one."""
    labeled_fraction: float = Field(default=1.0, gt=0, le=1)
    """Fraction of the patients of each of `data` whose masks are used (video-sparse)."""
    labeled_frames: Literal["all", "ed_es"] = "all"
    """Use every mask, or only those of ED and ES of each clip (frame-sparse)."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the choice of labeled patients; apart from `seed`, so that seeds can share them."""

    image_size: int = Field(default=112, ge=32, le=512, multiple_of=16)
    """Side of the network's square input in pixels."""
    num_labeled: int = Field(default=6, ge=1)
    """Labeled clips per step."""
    num_unlabeled: int = Field(default=6, ge=1)
    """Unlabeled clips per step; a supervised run takes as many more labeled ones instead."""
    num_frames: int = Field(default=2, ge=1)
    """Frames per clip."""
    augment_strength: float = Field(default=1.0, ge=0, le=3)
    """Factor on every range of `AugmentConfig`."""
    corruption_prob: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a frame, except a clip's first, is corrupted."""

    num_steps: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak; linear warm-up over 50 steps, then cosine decay to 2 %."""
    weight_decay: float = Field(default=1e-2, ge=0)
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the exponential moving average of the weights (the teacher)."""
    rampup_fraction: float = Field(default=0.3, gt=0, le=1)
    """Fraction of training over which the unsupervised loss weight ramps up to 1."""
    seed: int = Field(default=0, ge=0)

    validate_every: int = Field(default=250, ge=1)
    """Steps per validation round."""
    patience: int | None = Field(default=None, ge=1)
    """Early-stopping patience, in validation rounds; None disables it."""
    save_every: int = Field(default=250, ge=1)
    """Steps between checkpoints to resume from."""
    keep_last: int = Field(default=2, ge=1)
    """Number of checkpoints to resume from that are kept."""
    precision: Literal["bf16-mixed", "16-mixed", "32-true"] = "bf16-mixed"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        try:
            model_class(self.model)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _objective_takes_its_options(self) -> Self:
        self._options()
        return self

    def _options(self) -> dict[str, Any]:
        """Return the arguments of the method, of the types that it says."""
        kind = _options_of(METHODS[self.method])
        try:
            found = kind.model_validate(self.method_options)
        except ValidationError as error:
            told = validation_message(error, "method_options", kind.model_fields)
            raise ValueError(told) from error
        return found.model_dump(exclude_unset=True)

    @model_validator(mode="after")
    def _architecture_fits(self) -> Self:
        if self.init_from is None:
            network = model_class(self.model)
            if not issubclass(network, Segmenter):
                return self
            kind = network.config_class
            try:
                kind.model_validate(self.architecture)
            except ValidationError as error:
                told = validation_message(error, "architecture", kind.model_fields)
                raise ValueError(told) from error
        elif self.architecture or self.model != TrainConfig.model_fields["model"].default:
            raise ValueError(
                f"model and architecture must be left out with init_from, whose network is that of "
                f"{self.init_from!r}"
            )
        return self

    @property
    def batch(self) -> BatchConfig:
        """How a step's clips are drawn."""
        unlabelled = self.num_unlabeled if METHODS[self.method].unlabelled else 0
        return BatchConfig(
            image_size=self.image_size,
            num_labeled=self.num_labeled + self.num_unlabeled - unlabelled,
            num_unlabeled=unlabelled,
            num_frames=self.num_frames,
            augment_strength=self.augment_strength,
            corruption_prob=self.corruption_prob,
        )

    def make_method(self) -> TrainingMethod:
        """Return the method with its options."""
        return METHODS[self.method](**self._options())


@cache
def _options_of(method: type[TrainingMethod]) -> type[BaseModel]:
    """Return what an method's constructor takes: weights and shares are numbers from 0 on."""
    fields: dict[str, Any] = {}
    for name, given in signature(method).parameters.items():
        kind = given.annotation
        if kind is float:
            most = 1 if name.endswith(("fraction", "prob", "threshold")) else None
            kind = Annotated[float, Field(ge=0, le=most, allow_inf_nan=False)]
        elif kind is int:
            kind = Annotated[int, Field(ge=1)]
        fields[name] = (kind, given.default)
    return create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)


def train_config(**fields: Any) -> TrainConfig:
    """Build and validate a config; former field names are accepted with a DeprecationWarning.

    Raises:
        ConfigError: If a field is unknown (the message suggests the nearest) or out of range.
    """
    fields, messages = with_current_names(fields)
    for message in messages:
        warnings.warn(message, DeprecationWarning, stacklevel=3)
    try:
        return TrainConfig(**fields)
    except ValidationError as error:
        raise ConfigError(validation_message(error, fields=TrainConfig.model_fields)) from error
