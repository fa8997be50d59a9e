"""Networks of other packages: any `torch.nn.Module` as a Segmenter.

A plain network is tried once on two frames, in evaluation mode, and then runs as one of:

| the network has | runs as |
|---|---|
| `init_state(batch_size)`, `step(frame, state)`, `forward(frames)` | recurrence; its state is a `NamedTuple` of tensors, and stepping must give what `forward` gives |
| `forward` of `B 1 H W` -> `B K H W` | network of single frames |
| `forward` of `B T 1 H W` -> `B T K H W`, frames independent | the same |
| `forward` of `B T 1 H W` -> `B T K H W`, frames joined | whole clips of `num_frames` frames, an attribute of the network |

An integer attribute `stride` tells which multiple the sides of a frame must have; 32 without one.
"""  # noqa: E501

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from echoseg.errors import ModelError
from echoseg.models.clip_segmenter import ClipSegmenter
from echoseg.models.frame_segmenter import FrameSegmenter
from echoseg.models.segmenter import Segmenter

DEFAULT_STRIDE = 32
MIN_SIDE_PX = 64
"""Side of the frames that a network is tried on, at least."""
STREAMING_TOLERANCE = 1e-3


class AdaptedConfig(BaseModel):
    """How a network of another package is built again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: dict[str, Any] = {}
    """Keyword arguments of its class; JSON values."""


class Adapted(Segmenter):
    """A plain network behind the interface of a Segmenter."""

    config_class = AdaptedConfig

    def __init__(self, network: nn.Module, options: Mapping[str, Any], num_labels: int) -> None:
        super().__init__(AdaptedConfig(options=dict(options)))
        self.network, self.num_labels = network, num_labels
        self.stride = _stride(network)

    def init_state(self, batch_size: int) -> Any:
        """State before the first frame."""
        return self.network.init_state(batch_size)  # type: ignore[operator]

    def _step(self, frame: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.network.step(frame, state)  # type: ignore[operator]

    def _forward(self, frames: Tensor) -> Tensor:
        return self.network(frames)


class AdaptedFrames(FrameSegmenter, Adapted):
    """A plain network of single frames, which takes them as `B 1 H W` or as clips of one."""

    takes_clips = False

    def segment(self, frames: Tensor) -> Tensor:
        """`N 1 H W` -> logits `N K H W`."""
        return self.network(frames[:, None])[:, 0] if self.takes_clips else self.network(frames)


class AdaptedClips(ClipSegmenter, Adapted):
    """A plain network that joins the frames of whole clips."""


def as_segmenter(network: nn.Module, options: Mapping[str, Any] | None = None) -> Segmenter:
    """The network itself where it is a Segmenter, otherwise the network behind that interface.

    Args:
        network: Any module; see the table above.
        options: Keyword arguments it was built with, which a checkpoint stores; by default its
            attribute `config`, where that is a dict.

    Raises:
        ModelError: If the network fits no row of the table.
    """
    if isinstance(network, Segmenter):
        return network
    if options is None:
        config = getattr(network, "config", None)
        options = config if isinstance(config, dict) else {}
    parameter = next(network.parameters(), None)
    if parameter is None:
        raise ModelError(f"{type(network).__name__} has no parameters; give a network to train")
    side = _stride(network) * -(-MIN_SIDE_PX // _stride(network))
    noise = torch.rand(1, 2, 1, side, side, generator=torch.Generator().manual_seed(0))
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            return _adapted(network, options, noise.to(parameter))
    finally:
        network.train(was_training)


def _adapted(network: Any, options: Mapping[str, Any], frames: Tensor) -> Segmenter:
    name = type(network).__name__
    logits, reason = _attempt(lambda: network(frames), frames)
    if hasattr(network, "step") and hasattr(network, "init_state"):
        if logits is None:
            raise ModelError(f"{name}.forward must give B T K H W for B T 1 H W; {reason}")
        _check_recurrence(network, frames, logits)
        return Adapted(network, options, logits.shape[2])
    if logits is not None:
        alone, _ = _attempt(lambda: network(frames[:, :1]), frames[:, :1])
        if alone is not None and torch.allclose(alone, logits[:, :1], atol=STREAMING_TOLERANCE):
            adapted = AdaptedFrames(network, options, logits.shape[2])
            adapted.takes_clips = True
            return adapted
        if not isinstance(getattr(network, "num_frames", None), int):
            raise ModelError(
                f"{name} joins the frames of a clip; give it init_state and step, or an attribute "
                "num_frames: the length of the clips that it takes"
            )
        adapted = AdaptedClips(network, options, logits.shape[2])
        adapted.num_frames = network.num_frames
        return adapted
    logits, second = _attempt(lambda: network(frames[0]), frames[0])
    if logits is not None:
        return AdaptedFrames(network, options, logits.shape[1])
    raise ModelError(
        f"{name}.forward must give logits B K H W for frames B 1 H W, or B T K H W for clips "
        f"B T 1 H W; for clips {reason}, for frames {second}"
    )


def _attempt(call: Callable[[], Any], frames: Tensor) -> tuple[Tensor | None, str]:
    """Logits of the frames, or None and why not."""
    try:
        logits = call()
    except Exception as error:  # whatever another package's code raises on an unexpected shape
        return None, f"it raises {type(error).__name__}: {error}"[:200]
    expected = (*frames.shape[:-3], *frames.shape[-2:])
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) != frames.ndim or (*shape[:-3], *shape[-2:]) != expected:
        got = " ".join(map(str, shape)) or f"a {type(logits).__name__}"
        return None, f"{' '.join(map(str, frames.shape))} gives {got}"
    return logits, ""


def _check_recurrence(network: Any, frames: Tensor, whole: Tensor) -> None:
    """Refuse a recurrence whose steps give other logits than its forward."""
    name, state = type(network).__name__, network.init_state(1)
    if not hasattr(state, "_fields") or not all(isinstance(part, Tensor) for part in state):
        raise ModelError(f"{name}.init_state must return a NamedTuple of tensors, batch axis first")
    for time, frame in enumerate(frames.unbind(1)):
        logits, state = network.step(frame, state)
        if not torch.allclose(logits, whole[:, time], atol=STREAMING_TOLERANCE):
            raise ModelError(
                f"{name}.step must give what its forward gives, frame {time} differs; carry the "
                "whole memory in the state"
            )


def _stride(network: nn.Module) -> int:
    stride = getattr(network, "stride", DEFAULT_STRIDE)
    return stride if isinstance(stride, int) and stride > 0 else DEFAULT_STRIDE
