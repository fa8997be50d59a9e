"""What every Segmenter is: a recurrence over frames whose state goes in and comes out."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from echoseg.errors import ModelError


class Segmenter(nn.Module, ABC):
    """Frames in, logits out, one frame after another.

    Frames are grey in [0, 1], of the weights' type; both sides of a frame are multiples of
    `stride`. The state is a `NamedTuple` of tensors and is never kept in the module. Frames and
    states of other shapes or types raise a `ModelError`.

    A model that looks ahead says `streams = False`: it takes clips of `num_frames` frames of
    `image_size` px whole, in `forward`, and its `init_state` and `step` raise a `ModelError`.
    `models.windows.each_frame` runs either kind over a clip.
    """

    stride: int
    streams: bool = True
    """Whether frames may come one at a time."""
    remembers: bool = True
    """Whether a frame's logits depend on other frames."""
    num_frames: int | None = None
    """Frames of the only clip it takes; None: any number."""
    image_size: int | None = None
    """Side of the only square it takes, in pixels; None: any multiple of `stride`."""
    config_class: type[BaseModel]
    config: Any
    num_labels: int

    @abstractmethod
    def init_state(self, batch_size: int) -> Any:
        """Return the state before the first frame, on the module's device and type."""

    @abstractmethod
    def step(self, frame: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take in one frame: `B 1 H W` and the state -> logits `B K H W` and the new state."""

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Take in a clip: `B T 1 H W` -> logits `B T K H W`; equals stepping through it."""

    def seen_size(self, state: Any) -> tuple[int, int] | None:
        """Return the size in pixels that a state's frames had; None: before the first, or any."""
        return None

    def check_frame(self, frame: Tensor, state: Any) -> None:
        """Refuse what `step` cannot take in; plain Python on shapes, so that tracing passes by.

        Raises:
            ModelError: If the frame, or the state beside it, is of another shape or type.
        """
        self._check(frame, "B 1 H W")
        for part in state:
            if part.shape[0] != frame.shape[0]:
                raise ModelError(
                    f"the state must be of as many clips as the frame, {frame.shape[0]}, it is of "
                    f"{part.shape[0]}; begin with init_state({frame.shape[0]})"
                )
        size = self.seen_size(state)
        if size is not None and size != tuple(frame.shape[-2:]):
            raise ModelError(
                f"frames must keep their size, the state is of frames of {size[0]} {size[1]}, got "
                f"{frame.shape[-2]} {frame.shape[-1]}; begin anew with init_state"
            )

    def check_clip(self, frames: Tensor) -> None:
        """Refuse what `forward` cannot take in; see `check_frame`.

        Raises:
            ModelError: If the clip is of another shape or type.
        """
        size = "H W" if self.image_size is None else f"{self.image_size} {self.image_size}"
        self._check(frames, f"B {self.num_frames or 'T'} 1 {size}")

    def _check(self, frames: Tensor, expected: str) -> None:
        """Refuse frames that are not as `expected`, where letters stand for any number over 0."""
        sides = frames.shape[-2:]
        fits = frames.ndim == len(expected.split()) and all(
            want == "B" or (got > 0 if want.isalpha() else got == int(want))
            for want, got in zip(expected.split(), frames.shape, strict=False)
        )
        if not fits or any(side % self.stride for side in sides):
            longer = "" if self.streams else ", cut longer clips with models.windows.each_frame"
            raise ModelError(
                f"frames must be {expected} with sides of multiples of {self.stride} px for "
                f"{type(self).__name__}, got {' '.join(map(str, frames.shape))}; pad or resize "
                f"them{longer}"
            )
        wanted = next(self.parameters()).dtype
        if frames.dtype == wanted:
            return
        # autocast brings these to one type
        mixed = (torch.float32, torch.bfloat16, torch.float16)
        if frames.dtype in mixed and torch.is_autocast_enabled(frames.device.type):
            return
        raise ModelError(
            f"frames must be {wanted} as the weights are, grey in [0, 1], got {frames.dtype}; "
            f"bring them there with .to({wanted}), bytes divided by 255"
        )
