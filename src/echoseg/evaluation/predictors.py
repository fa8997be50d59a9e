"""Where the masks of an evaluation come from: a checkpoint, a network, or another tool."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch.nn import Module

from echoseg.clip import Annotation, Clip, Label
from echoseg.data import Record
from echoseg.errors import ConfigError
from echoseg.evaluation.segment import PROTOCOL, loaded, segment
from echoseg.models.adapt import as_segmenter
from echoseg.models.segmenter import Segmenter
from echoseg.weights.card import find_checkpoint, read_card

ABOUT = ("name", "sha256", "architecture", "image_size", "licence")
"""What a report says of the origin of its masks."""


class Predicted(NamedTuple):
    """Masks of a clip."""

    masks: np.ndarray
    """Label maps `T H W` uint8, on the grid of the clip."""
    all_frames: bool = True
    """Whether every frame was segmented, not the annotated ones only."""


@runtime_checkable
class Predictor(Protocol):
    """A source of masks; it can be sent to worker processes."""

    @property
    def name(self) -> str:
        """Model, file or folder, for reports."""
        ...

    @property
    def labels(self) -> Sequence[Label] | None:
        """Labels that it can give; None: those that occur in its masks. Others are not scored."""
        ...

    @property
    def protocol(self) -> dict[str, str]:
        """How the masks are made, for reports."""
        ...

    def about(self) -> dict[str, Any]:
        """The values of `ABOUT`."""
        ...

    def predict(self, record: Record, clip: Clip, annotation: Annotation) -> Predicted:
        """The masks of a clip.

        Raises:
            ModelError: If there are none, or they do not fit the clip.
        """
        ...


@dataclass(frozen=True, slots=True)
class CheckpointPredictor:
    """A checkpoint, loaded once in every process."""

    name: str
    device: str = "cpu"
    labels: Sequence[Label] = tuple(Label)

    @property
    def protocol(self) -> dict[str, str]:
        """The evaluation protocol."""
        return PROTOCOL

    def about(self) -> dict[str, Any]:
        """Name, hash, network and licence, from the card."""
        card = read_card(find_checkpoint(self.name))
        return {name: getattr(card, name) for name in ABOUT}

    def predict(self, record: Record, clip: Clip, annotation: Annotation) -> Predicted:
        """Segment the frames."""
        network, image_size = loaded(self.name, self.device)
        return Predicted(segment(network, image_size, clip.frames, stills=record.stills))


@dataclass(frozen=True, slots=True, eq=False)
class NetworkPredictor:
    """A network in memory; without a file there is no card."""

    name: str
    network: Segmenter
    image_size: int
    labels: Sequence[Label] = tuple(Label)

    @property
    def protocol(self) -> dict[str, str]:
        """The evaluation protocol."""
        return PROTOCOL

    def about(self) -> dict[str, Any]:
        """The class and the size of its input."""
        return dict(zip(ABOUT, (self.name, "", self.name, self.image_size, ""), strict=True))

    def predict(self, record: Record, clip: Clip, annotation: Annotation) -> Predicted:
        """Segment the frames."""
        return Predicted(segment(self.network, self.image_size, clip.frames, stills=record.stills))


def predictor_of(
    model: str | Path | Module | Predictor, device: str, image_size: int | None
) -> Predictor:
    """The predictor of what was given as a model.

    Args:
        model: Name or path of a checkpoint, an `.onnx` file, a network, or a predictor.
        device: Of a checkpoint.
        image_size: Side of the input of a network in memory, in pixels.

    Raises:
        ModelError: If a file cannot be loaded.
        ConfigError: If a network comes without `image_size` or something else with it.
    """
    if isinstance(model, Module):
        return _network(model, image_size)
    if image_size is not None:
        raise ConfigError(
            f"image_size is that of the checkpoint for model {str(model)!r}; leave it out, or give "
            "the network of load_model with another image_size"
        )
    if isinstance(model, str | Path):
        if str(model).endswith(".onnx"):
            from echoseg.evaluation.onnx_network import OnnxNetwork

            return OnnxNetwork(Path(model))
        loaded(str(model), device)
        return CheckpointPredictor(str(model), device)
    if isinstance(model, Predictor):
        return model
    raise TypeError(
        f"evaluate takes a model name, a path or a network, or a predictor, got {type(model)}"
    )


def _network(model: Module, image_size: int | None) -> NetworkPredictor:
    card = getattr(model, "card", None)
    size = image_size or getattr(model, "image_size", None) or (card and card.image_size)
    if size is None:
        raise ConfigError(
            f"image_size must be given with a network; pass that of its training, such as 160, "
            f"for {type(model).__name__}"
        )
    return NetworkPredictor(type(model).__name__, as_segmenter(model).eval(), size)
