"""View of a clip, mirrored or not, predicted by a small network on pictures of 64 px.

The network was trained without real two-chamber views: that it tells a real A2C from an A4C is
unproven, and a clip that passes is not thereby known to be an A4C.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from echoseg.errors import ModelError
from echoseg.files import atomic_write
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames
from echoseg.preprocess.sector import Sector
from echoseg.quality.reliability import VIEW_CLASSES, ViewPrediction

SIZE_PX = 64
SUFFIX = ".view.safetensors"
NUM_FRAMES = 5
"""Number of frames used, spread over the clip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewCard:
    """Metadata of a weights file.

    Attributes:
        licence: SPDX name.
        trained_on: Training data, in words.
        least_share: Probability of a view below which a clip is not accepted as that view.
        flipped_share: Probability from which a picture counts as mirrored.
    """

    licence: str
    trained_on: str
    least_share: float
    flipped_share: float


class ViewNet(nn.Module):
    """Four strided convolution blocks, then mean and maximum over the picture.

    Each picture is first normalised to mean 0 and standard deviation 1, so gain does not matter.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 1
        for width, twice in ((16, True), (32, True), (48, True), (64, False)):
            blocks += _block(channels, width, 2)
            if twice:
                blocks += _block(width, width, 1)
            channels = width
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(2 * channels, len(VIEW_CLASSES) + 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute logits `(N, 5)` of pictures `(N, 1, 64, 64)`."""
        spread, mean = torch.std_mean(pictures, (1, 2, 3), keepdim=True)
        features = self.body((pictures - mean) / spread.clamp(min=1e-3))
        return self.head(torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1))


def _block(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


def view_weights(checkpoint: Path) -> Path:
    """The view check's file for a checkpoint: the one next to it, else the phantom's.

    A checkpoint's own may be trained on the same pictures, under the same licence; the phantom's
    has no restriction.
    """
    own = checkpoint.with_suffix(SUFFIX)
    if own.is_file():
        return own
    return Path(str(files("echoseg") / "weights" / f"phantom{SUFFIX}"))


def save_view_net(path: Path, network: ViewNet, card: ViewCard) -> None:
    """Write weights, in half precision, with their card."""
    metadata = {name: json.dumps(getattr(card, name)) for name in card.__slots__}
    weights = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    with atomic_write(path) as partial:
        save_file(weights, partial, metadata=metadata)


def load_view_net(path: Path) -> tuple[ViewNet, ViewCard]:
    """Load the network, in evaluation mode, and its card.

    Raises:
        ModelError: If the file is missing or damaged.
    """
    network = ViewNet()
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            card = ViewCard(**{name: json.loads(metadata[name]) for name in ViewCard.__slots__})
            weights = {name: file.get_tensor(name) for name in file.keys()}
        network.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"view check {path} is missing or damaged ({str(error)[:80]}); install echoseg again"
        ) from error
    return network.float().eval(), card


def predict_view(
    frames: np.ndarray, sector: Sector, network: ViewNet, card: ViewCard
) -> ViewPrediction:
    """Predict the view of frames `(T, H, W)` uint8 from the pixels inside the sector."""
    indices = np.unique(np.linspace(0, len(frames) - 1, NUM_FRAMES).round().astype(int))
    pixels = np.where(sector.mask, frames[indices], 0).astype(np.float32) / 255
    squares = letterbox_frames(torch.from_numpy(pixels), letterbox_for(sector.box, SIZE_PX))
    with torch.inference_mode():
        logits = network(squares[:, None])
    probabilities = logits[:, : len(VIEW_CLASSES)].softmax(1).mean(0).tolist()
    percent = {name: 100 * p for name, p in zip(VIEW_CLASSES, probabilities, strict=True)}
    mirrored = float(logits[:, -1].sigmoid().mean())
    return ViewPrediction(
        view=max(percent, key=percent.__getitem__),
        probability_percent=percent,
        mirrored_percent=100 * mirrored,
        is_mirrored=mirrored >= card.flipped_share,
        min_percent=100 * card.least_share,
    )
