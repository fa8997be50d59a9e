"""DeepLabV3 on a ResNet-50, frame by frame: the segmentation network of EchoNet-Dynamic.

    logits = upsample(head(backbone((frame - grey_mean) / grey_std, as three equal channels)))

`deeplab_layers` holds the layers. With 64 channels in the first of them, as published, it has 39.6
million parameters. EchoNet-Dynamic trained it at 112 px with one label, a foreground logit, from
random weights; `load_published` reads the file it gives away, `deeplabv3_resnet50_random.pt`.

Reference:
    Ouyang et al., Nature 580:252-256, 2020, methods; https://github.com/echonet/dynamic.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from echoseg.errors import ModelError
from echoseg.models.frame_segmenter import FrameSegmenter
from experiments.networks.deeplab_layers import DilatedResNet50, deeplab_head
from experiments.networks.torch_file import read_weights

PUBLISHED_WIDTH = 64
MAX_LABELS = 32
PUBLISHED_PREFIX = "module."
"""What the published names begin with, being saved from several devices."""


class DeepLabV3Config(BaseModel):
    """Architecture of `DeepLabV3`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=PUBLISHED_WIDTH, ge=2, le=256)
    """Channels of the first layer; all other widths are multiples."""
    num_labels: int = Field(default=4, ge=1, le=MAX_LABELS)
    """Number of labels, including background; EchoNet-Dynamic's has 1, a foreground logit."""
    grey_mean: float = 0.128
    """Mean grey level; the default is that of EchoNet-Dynamic's training frames."""
    grey_std: float = Field(default=0.196, gt=0)
    """Standard deviation of the grey level; default as above."""


class DeepLabV3(FrameSegmenter):
    """DeepLabV3 of independent frames."""

    stride = 8
    config_class = DeepLabV3Config

    def __init__(self, config: DeepLabV3Config | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        width = self.config.width
        self.backbone = DilatedResNet50(width)
        self.classifier = deeplab_head(32 * width, 4 * width, self.num_labels)

    def segment(self, frames: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N K H W"]:
        """Compute the logits of independent frames."""
        grey = (frames - self.config.grey_mean) / self.config.grey_std
        logits = self.classifier(self.backbone(grey.expand(-1, 3, -1, -1)))
        return functional.interpolate(
            logits, size=frames.shape[-2:], mode="bilinear", align_corners=False
        )


def load_published(path: Path) -> DeepLabV3:
    """Return the network with the weights of a file that EchoNet-Dynamic's code wrote.

    Raises:
        ModelError: If the file holds anything but tensors and numbers, or other weights.
    """
    try:
        path.open("rb").close()
        weights = read_weights(path)
    except OSError as error:
        raise ModelError(
            f"weights of EchoNet-Dynamic must be a file that can be read, {path} cannot "
            f"({error.strerror or error}); give deeplabv3_resnet50_random.pt"
        ) from error
    except ValueError as error:
        raise ModelError(
            "weights of EchoNet-Dynamic must be a file of tensors and numbers alone, the weights "
            f"under 'state_dict', {path} is damaged or holds something else; fetch "
            "deeplabv3_resnet50_random.pt again"
        ) from error
    return from_published(weights)


def from_published(weights: Mapping[str, Tensor]) -> DeepLabV3:
    """Return the network with weights saved by EchoNet-Dynamic's code.

    Args:
        weights: Its `state_dict`; names are `module.backbone.*` and `module.classifier.*`, with or
            without `module.`. The number of labels is read off it. Those of an auxiliary
            classifier are left out.

    Raises:
        ModelError: If names or shapes are not the published network's.
    """
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ModelError(
                f"weights must be tensors by their names, {name!r} is {type(tensor).__name__}; "
                "give the state_dict of EchoNet-Dynamic's segmentation network"
            )
    state_dict = {name.removeprefix(PUBLISHED_PREFIX): tensor for name, tensor in weights.items()}
    state_dict = {
        name: t for name, t in state_dict.items() if not name.startswith("aux_classifier.")
    }
    num_labels = state_dict.get("classifier.4.bias", torch.zeros(1)).numel()
    if not 1 <= num_labels <= MAX_LABELS:
        raise ModelError(
            f"weights must have 1 to {MAX_LABELS} labels, got {num_labels}; give those of "
            "EchoNet-Dynamic"
        )
    model = DeepLabV3(DeepLabV3Config(num_labels=num_labels))
    if odd := sorted(state_dict.keys() ^ model.state_dict().keys()):
        raise ModelError(
            f"weights must have the parameters of DeepLabV3-ResNet50, {odd[0]!r} is "
            f"{'unknown' if odd[0] in state_dict else 'missing'}; give the state_dict of "
            "EchoNet-Dynamic's segmentation network"
        )
    try:
        model.load_state_dict(state_dict)
    except RuntimeError as error:
        raise ModelError(
            "weights must have the shapes of DeepLabV3-ResNet50: "
            f"{str(error).splitlines()[-1].strip()}; give those of EchoNet-Dynamic"
        ) from error
    return model
