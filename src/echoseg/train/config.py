"""The settings of a training run."""

import os
from functools import cache
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from echoseg.clip import View
from echoseg.errors import ConfigError, validation_message
from echoseg.models.build import MODELS, model_class
from echoseg.models.segmenter import Segmenter
from echoseg.plugins import resolve
from echoseg.train.methods import METHODS, TrainingMethod
from echoseg.weights.card import SHIPPED


def as_fraction(value: Any) -> Any:
    """0.05 for `5%` and for `0.05`; a `ConfigError` for other texts."""
    if not isinstance(value, str):
        return value
    try:
        return float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        raise ConfigError(
            f"labeled_fraction must be a fraction such as 5% or 0.05, got {value!r}"
        ) from None


class TrainConfig(BaseModel):
    """All settings of one training run; saved with it, and enough to repeat or resume it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    method: str = "supervised"
    """Key of `METHODS`, or `package.module:Class`."""
    method_options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the method."""
    model: str = "mssnet"
    """Key of `MODELS`, or `package.module:Class`; not to be given together with `init_from`."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """The model's keyword arguments."""
    loss: str | None = None
    """Supervised loss, `package.module:function` of (logits `N K H W`, masks `N H W`) -> scalar;
    None: cross entropy and Dice."""
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
    unlabeled_data: tuple[str, ...] = ()
    """Additional data of the target whose masks are never used."""
    extra_data_fraction: float = Field(default=0.5, gt=0, lt=1)
    """Expected fraction of the labeled clips of a step that come from `extra_data`."""
    validation: str | None = None
    """Validation data; None: the validation split of `data`, if there is one."""
    labeled_fraction: Annotated[float, BeforeValidator(as_fraction)] = Field(
        default=1.0, ge=0, le=1
    )
    """Fraction of the patients of each of `data` whose masks are used (video-sparse), or `5%`; 0:
    none, and all labeled clips come from `extra_data`."""
    labeled_frames: Literal["all", "ed_es"] = "all"
    """Use every mask, or only those of ED and ES of each clip (frame-sparse)."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the choice of labeled patients; apart from `seed`, so that seeds can share them."""

    views: tuple[View, ...] = (View.A4C, View.A2C)
    """Views of data sets that are used; clips of unknown view always are."""
    cache_gb: float = Field(default=2.0, ge=0)
    """Memory per process for decoded clips, GiB."""
    num_workers: int = Field(default=0, ge=0)
    """Processes that prepare batches ahead of time; 0: the training process itself."""

    image_size: int = Field(default=112, ge=32, le=512, multiple_of=16)
    """Side of the network's square input in pixels."""
    num_labeled: int = Field(default=6, ge=1)
    """Labeled clips per step."""
    num_unlabeled: int = Field(default=6, ge=1)
    """Unlabeled clips per step, at most all, added to the labeled; a supervised run has none."""
    num_frames: int = Field(default=2, ge=1)
    """Frames per clip."""
    still_frames: int = Field(default=2, ge=1)
    """Frames per clip in steps of stills, which alternate with clips of more `num_frames`."""
    frame_sampling: Literal["mixed", "consecutive", "ed_to_es"] = "mixed"
    """Frames of a clip: consecutive at its own rate, spread evenly from ED to ES, or either."""
    augment_strength: float = Field(default=1.0, ge=0, le=3)
    """Factor on every range of `AugmentConfig`."""
    mirror_prob: float = Field(default=0.0, ge=0, le=1)
    """Probability that a clip is mirrored, left for right."""
    corruption_prob: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a frame, except a clip's first, is corrupted as a whole."""
    artefact_prob: float = Field(default=0.0, ge=0, le=1)
    """Probability that a clip gets a local artefact of 4 to 20 frames."""

    carry_weight: float = Field(default=0.05, ge=0)
    """Weight of the loss that opens carry gates where an artefact hides the picture."""
    ratio_weight: float = Field(default=0.0, ge=0)
    """Weight of the error of the log ratio of the cavity's areas at ES and ED (0.3 for EF)."""
    bptt_frames: int | None = Field(default=8, ge=1)
    """Frames after which a network's state is cut off from the gradient; None: never."""

    num_steps: int = Field(default=1000, ge=1)
    """Number of training steps."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak; linear warm-up over 50 steps, then cosine decay to 2 %."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Weight decay of AdamW."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the exponential moving average of the weights (the teacher)."""
    rampup_fraction: float = Field(default=0.3, gt=0, le=1)
    """Fraction of training over which the unsupervised loss weight ramps up to 1."""
    seed: int = Field(default=0, ge=0)
    """Seed of initial weights, sampling and augmentation."""

    validate_every: int = Field(default=250, ge=1)
    """Steps per validation round."""
    patience: int | None = Field(default=None, ge=1)
    """Early-stopping patience, in validation rounds; None disables it."""
    save_every: int = Field(default=250, ge=1)
    """Steps between checkpoints to resume from."""
    keep_last: int = Field(default=2, ge=1)
    """Number of checkpoints to resume from that are kept."""
    precision: Literal["auto", "bf16-mixed", "16-mixed", "32-true"] = "auto"
    """Number type of Lightning Fabric; mixed: weights stay in 32 bits. auto: bf16-mixed where the
    processor or GPU computes in bfloat16, else 32-true."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device; auto takes a GPU where there is one."""
    objects: tuple[str, ...] = ()
    """Parts that are Python objects, which no setting can build again; set by `echoseg.train`."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_name_is_empty(cls, value: Any, info: ValidationInfo) -> Any:
        names = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(name, str) and not name.strip() for name in names):
            raise ValueError(f"{info.field_name} must not be empty, got {value!r}; leave it out")
        return value

    @model_validator(mode="after")
    def _method_takes_its_options(self) -> Self:
        if "method" not in self.objects:
            self._options()
        return self

    def _options(self) -> dict[str, Any]:
        """Arguments of the method, checked against the types of its constructor."""
        fields = _options_of(method_class(self.method))
        try:
            options = fields.model_validate(self.method_options)
        except ValidationError as error:
            message = validation_message(error, "method_options", fields.model_fields)
            raise ValueError(message) from error
        return options.model_dump(exclude_unset=True)

    @field_validator("data", "extra_data", "unlabeled_data", mode="before")
    @classmethod
    def _one_name_is_a_list_of_one(cls, names: Any) -> Any:
        return (names,) if isinstance(names, str) else names

    @model_validator(mode="after")
    def _unlabeled_data_are_others(self) -> Self:
        same = {os.path.normpath(name) for name in self.data}
        for name in self.unlabeled_data:
            if os.path.normpath(name) in same:
                raise ValueError(
                    f"unlabeled_data must be other clips than data, {name!r} is both; leave it out "
                    "here, clips of data without usable masks are unlabeled already"
                )
        return self

    @model_validator(mode="after")
    def _architecture_fits(self) -> Self:
        if self.init_from is None:
            if ":" not in self.model and self.model not in MODELS:
                raise ValueError(
                    f"model must be one of {', '.join(MODELS)} or package.module:Class, got "
                    f"{self.model!r}; trained weights ({', '.join(SHIPPED)} or a .safetensors "
                    "file) are given as init_from"
                )
            kind: Any = None if "model" in self.objects else model_class(self.model)
            if kind is None or not issubclass(kind, Segmenter):
                return self  # a plain network checks its own arguments
            try:
                kind.config_class.model_validate(self.architecture)
            except ValidationError as error:
                known = kind.config_class.model_fields
                raise ValueError(validation_message(error, "architecture", known)) from error
        elif self.architecture or self.model != TrainConfig.model_fields["model"].default:
            raise ValueError(
                f"model and architecture must be left out with init_from, whose network is that of "
                f"{self.init_from!r}"
            )
        return self

    def make_method(self) -> TrainingMethod:
        """Build the method with its options.

        Raises:
            ConfigError: If its constructor fails.
        """
        try:
            return method_class(self.method)(**self._options())
        except (TypeError, ValueError) as error:
            raise ConfigError(f"method {self.method!r} cannot be built: {error}") from error


def method_class(name: str) -> type[TrainingMethod]:
    """The class of a method: a key of `METHODS` or `package.module:Class`.

    Raises:
        ConfigError: If there is no such class, or it is no `TrainingMethod`.
    """
    kind = resolve(name, METHODS, "method")
    if not (isinstance(kind, type) and issubclass(kind, TrainingMethod)):
        raise ConfigError(f"method {name!r} must be a class derived from TrainingMethod")
    return kind


@cache
def _options_of(method: type[TrainingMethod]) -> type[BaseModel]:
    """The arguments of a method's constructor; weights and fractions are numbers from 0 on."""
    fields: dict[str, Any] = {}
    for name, parameter in signature(method).parameters.items():
        if parameter.kind in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL):
            continue
        kind: Any = parameter.annotation
        if kind is float:
            high = 1 if name.endswith(("fraction", "prob", "threshold")) else None
            kind = Annotated[float, Field(ge=0, le=high, allow_inf_nan=False)]
        elif kind is int:
            kind = Annotated[int, Field(ge=1)]
        elif kind is Parameter.empty or isinstance(kind, str):
            kind = Any
        default = ... if parameter.default is Parameter.empty else parameter.default
        fields[name] = (kind, default)
    return create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)


def train_config(**fields: Any) -> TrainConfig:
    """Build and validate a config.

    Raises:
        ConfigError: If a field is unknown (the message suggests the nearest) or out of range.
    """
    if "device" in fields:
        raise ConfigError("there is no field device; did you mean accelerator?")
    try:
        return TrainConfig.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(validation_message(error, fields=TrainConfig.model_fields)) from error
