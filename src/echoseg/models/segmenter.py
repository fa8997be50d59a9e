"""The interface of every network: a recurrence over frames whose state goes in and comes out."""

from abc import ABC, abstractmethod
from typing import Any, Self, TypeVar

import torch
from jaxtyping import Float
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn
from torch.nn import functional

from echoseg.errors import ConfigError, ModelError, validation_message

StateT = TypeVar("StateT", bound=tuple)


class Segmenter(nn.Module, ABC):
    """Frames in, logits out, one frame after another.

    `init_state`, `step` and `forward` are the interface. Frames are grey, in [0, 1], of the
    weights' dtype and of any size. The state is a `NamedTuple` of tensors and never stays in the
    module. Frames and states of other shapes or dtypes raise a `ModelError`.

    A subclass sets `stride` and `config_class` and implements `init_state`, `_step` and `_forward`.
    These receive checked frames whose sides are multiples of `stride`: `step` and `forward` pad
    frames with black at the bottom and the right, and crop the logits.

    A network that looks ahead sets `streams = False`. It takes whole clips of `num_frames` frames
    in `forward`, and its `init_state` and `step` raise a `ModelError`. `models.windows.each_frame`
    runs either kind over a clip.

    Args:
        config: The config object; built from `options` where it is left out.
        options: Fields of the config by keyword, as in `MSSNet(size="tiny", num_labels=2)`.

    Raises:
        ConfigError: If a keyword is unknown or its value is out of range.
    """

    stride: int
    streams: bool = True
    """Whether frames may come one at a time."""
    remembers: bool = True
    """Whether the logits of a frame depend on other frames."""
    num_frames: int | None = None
    """Required number of frames per clip; None: any."""
    image_size: int | None = None
    """Required height and width in pixels; None: any."""
    bptt_frames: int | None = None
    """In training, detach the recurrent state after this number of frames; None: never."""
    config_class: type[BaseModel]
    config: Any
    num_labels: int

    def __init__(self, config: Any = None, **options: Any) -> None:
        super().__init__()
        if config is not None and options:
            raise ConfigError(
                f"{type(self).__name__} takes a config or keywords, not both; change the config "
                "with config.model_copy(update=...)"
            )
        self.config = self.make_config(options) if config is None else config
        if not isinstance(self.config, self.config_class):
            raise TypeError(
                f"config must be a {self.config_class.__name__}, got {type(config).__name__}; or "
                f"pass its fields as keywords: {', '.join(self.config_class.model_fields)}"
            )
        self.num_labels = getattr(self.config, "num_labels", 1)

    @classmethod
    def make_config(cls, options: dict[str, Any]) -> BaseModel:
        """Build the config object.

        Raises:
            ConfigError: If a field is unknown or its value is out of range.
        """
        try:
            return cls.config_class.model_validate(options)
        except ValidationError as error:
            message = validation_message(error, fields=cls.config_class.model_fields)
            raise ConfigError(f"{cls.__name__}: {message}") from error

    @classmethod
    def from_pretrained(cls, name_or_path: str, *, device: str = "cpu") -> Self:
        """Load a checkpoint of this architecture, in evaluation mode.

        Args:
            name_or_path: Name of a shipped checkpoint, or path of a .safetensors file.
            device: Torch device.

        Raises:
            ModelError: If there is no such checkpoint, it is damaged, or of another architecture.
        """
        from echoseg.models.checkpoint import load_model

        model, _ = load_model(name_or_path, device=device)
        if not isinstance(model, cls):
            raise ModelError(
                f"model {name_or_path} is a {type(model).__name__}, not a {cls.__name__}; use "
                f"echoseg.load_model({name_or_path!r})"
            )
        return model

    @abstractmethod
    def init_state(self, batch_size: int) -> Any:
        """The state before the first frame, on the module's device and of its dtype."""

    @abstractmethod
    def _step(
        self, frame: Float[Tensor, "B 1 H W"], state: Any
    ) -> tuple[Float[Tensor, "B K H W"], Any]:
        """`step` for checked frames whose sides are multiples of `stride`."""

    @abstractmethod
    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        """`forward` for checked frames whose sides are multiples of `stride`."""

    def step(
        self, frame: Float[Tensor, "B 1 H W"], state: Any
    ) -> tuple[Float[Tensor, "B K H W"], Any]:
        """Segment one frame; returns logits and the new state.

        Raises:
            ModelError: If the frame, or the state, has another shape or dtype.
        """
        logits, state = self._step(self.prepare_frame(frame, state), state)
        return self.crop(logits, frame), state

    def forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        """Segment a clip; returns logits, equal to those of stepping through it.

        Raises:
            ModelError: If the clip has another shape or dtype.
        """
        size = "H W" if self.image_size is None else f"{self.image_size} {self.image_size}"
        self._check(frames, f"B {self.num_frames or 'T'} 1 {size}")
        return self.crop(self._forward(self._padded(frames)), frames)

    def cut(self, state: StateT, index: int) -> StateT:
        """The state for frame `index` of a clip, detached where truncation has it (training)."""
        if not (self.training and self.bptt_frames and index and index % self.bptt_frames == 0):
            return state
        parts = (part.detach() for part in state)
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)

    def prepare_frame(
        self, frame: Float[Tensor, "B 1 H W"], state: Any
    ) -> Float[Tensor, "B 1 Hpadded Wpadded"]:
        """Check a frame and its state; pad the frame to multiples of `stride`.

        Raises:
            ModelError: If the frame, or the state, has another shape or dtype.
        """
        self._check(frame, "B 1 H W")
        padded = self._padded(frame)
        self._check_state(state, padded)
        return padded

    def crop(self, logits: Tensor, frames: Tensor) -> Tensor:
        """Logits of padded frames, cut to the size of the frames themselves."""
        rows, columns = frames.shape[-2:]
        is_padded = logits.shape[-2:] != frames.shape[-2:]
        return logits[..., :rows, :columns] if is_padded else logits

    def state_size(self, state: Any) -> tuple[int, int] | None:
        """(height, width) of the padded frames of a state; None: before the first, or any."""
        return None

    def _padded(self, frames: Tensor) -> Tensor:
        """Frames with black at the bottom and the right, up to multiples of `stride`."""
        below, right = (-side % self.stride for side in frames.shape[-2:])
        return functional.pad(frames, (0, right, 0, below)) if below or right else frames

    def _check_state(self, state: Any, frame: Tensor) -> None:
        """Refuse a state of other clips or of another size; only shapes, so tracing works."""
        for part in state:
            if part.shape[0] != frame.shape[0]:
                raise ModelError(
                    f"the state must be of as many clips as the frame, {frame.shape[0]}, it is of "
                    f"{part.shape[0]}; begin with init_state({frame.shape[0]})"
                )
        size = self.state_size(state)
        if size is not None and size != tuple(frame.shape[-2:]):
            raise ModelError(
                f"frames must keep their size, the state is of frames of {size[0]} {size[1]}, got "
                f"{frame.shape[-2]} {frame.shape[-1]}; begin anew with init_state"
            )

    def _check(self, frames: Tensor, expected: str) -> None:
        """Refuse frames that are not as `expected`, where letters stand for any number over 0."""
        if not isinstance(frames, Tensor):
            raise TypeError(
                f"frames must be a torch.Tensor {expected}, got {type(frames).__name__}; convert "
                "arrays with torch.from_numpy"
            )
        axes = expected.split()
        fits = frames.ndim == len(axes) and all(
            axis == "B" or (side > 0 if axis.isalpha() else side == int(axis))
            for axis, side in zip(axes, frames.shape, strict=True)
        )
        if not fits:
            raise ModelError(
                f"frames must be {expected} for {type(self).__name__}, got "
                f"{' '.join(map(str, frames.shape))}; {self._way_out(frames, len(axes))}"
            )
        wanted = next(self.parameters()).dtype
        if frames.dtype == wanted:
            return
        # autocast brings these to one dtype
        mixed = (torch.float32, torch.bfloat16, torch.float16)
        if frames.dtype in mixed and torch.is_autocast_enabled(frames.device.type):
            return
        raise ModelError(
            f"frames must be {wanted} as the weights are, grey in [0, 1], got {frames.dtype}; "
            f"convert them with .to({wanted}), bytes divided by 255"
        )

    def _way_out(self, frames: Tensor, num_axes: int) -> str:
        """What to do about frames of another shape."""
        if frames.ndim == 4 and num_axes == 5:
            return (
                "add the time axis with frames[:, None] (each frame a clip of its own) or the "
                "batch axis with frames[None] (one clip)"
            )
        if frames.ndim == 5 and num_axes == 4:
            return "step takes one frame, frames[:, t]; give the clip to the model itself"
        if frames.ndim == num_axes and frames.shape[-3] == 3:
            return "make them grey with frames.mean(-3, keepdim=True)"
        if not self.streams:
            return "resize them, and cut longer clips with models.windows.each_frame"
        return "reshape them"
