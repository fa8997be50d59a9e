"""Scores of the views of a clip, by a small network on pictures of 64 px."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from echoseg.errors import ModelError
from echoseg.files import atomic_write
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames
from echoseg.preprocess.sector import Sector
from echoseg.quality.view import VIEW_CLASSES, ViewRule
from echoseg.untrusted import Line, check_regular, parse_json, reading

SIZE_PX = 64
SUFFIX = ".view.safetensors"
NUM_FRAMES = 8
"""Number of frames used, spread over the clip."""
DARK = 0.03
"""Grey level below which a pixel counts as black: outside the sector, or clipped."""


class ViewCard(BaseModel):
    """Metadata of a weights file: licence (SPDX), training data in words, and the rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licence: Line
    trained_on: Line
    rule: ViewRule


class ViewNet(nn.Module):
    """Strided convolution blocks, then mean and maximum over the picture.

    Each picture is seen twice: normalized to mean 0 and standard deviation 1 over its pixels that
    are not black, and with the rank of each such pixel among them. Gain does not change the first,
    no increasing map of the grey levels changes the second.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 2
        for width, twice in ((20, True), (40, True), (56, True), (72, False)):
            blocks += _block(channels, width, 2)
            if twice:
                blocks += _block(width, width, 1)
            channels = width
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(2 * channels, len(VIEW_CLASSES) + 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits `(N, 5)` of pictures `(N, 1, 64, 64)` in [0, 1]: views, and mirrored."""
        features = self.body(normalize(pictures))
        return self.head(torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1))


def normalize(pictures: Tensor) -> Tensor:
    """Pictures `(N, 1, H, W)` in [0, 1] -> `(N, 2, H, W)`: normalized grey, and ranks -1 to 1."""
    flat = torch.where(pictures < DARK, 0, pictures).flatten(1)
    lit = flat > 0
    count = lit.sum(1, keepdim=True).clamp(min=2)
    mean = flat.sum(1, keepdim=True) / count
    spread = (((flat - mean) * lit).square().sum(1, keepdim=True) / count).sqrt()
    grey = (flat - mean) / spread.clamp(min=1e-3)
    level = (255 * flat).round().long().clamp(0, 255)
    of_level = torch.zeros(len(flat), 256).scatter_add_(1, level, lit.float())
    up_to = of_level.cumsum(1)
    rank = (up_to - of_level / 2).gather(1, level) * lit / count
    return torch.stack([grey, 2 * rank - 1], 1).unflatten(2, pictures.shape[2:])


def _block(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


def view_weights(checkpoint: Path) -> Path:
    """The view network's file for a checkpoint: the one next to it, else the phantom's.

    A checkpoint's own may be trained on the same pictures, under the same licence; the phantom's
    has no restriction.
    """
    own = checkpoint.with_suffix(SUFFIX)
    if own.is_file():
        return own
    return Path(str(files("echoseg") / "weights" / f"phantom{SUFFIX}"))


def save_view_net(path: Path, network: ViewNet, card: ViewCard) -> None:
    """Write weights, in half precision, with their card."""
    weights = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    with atomic_write(path) as partial:
        save_file(weights, partial, metadata={"card": card.model_dump_json()})


def load_view_net(path: Path) -> tuple[ViewNet, ViewCard]:
    """Load the network, in evaluation mode, and its card.

    Raises:
        ModelError: If the file is missing or damaged.
    """
    network = ViewNet()
    with reading(path, ModelError, "is missing or damaged", "reinstall echoseg"):
        with safe_open(check_regular(path), "pt") as file:
            card = ViewCard(**parse_json((file.metadata() or {})["card"]))
            weights = {name: file.get_tensor(name) for name in file.keys()}
        network.load_state_dict(weights)
    return network.float().eval(), card


def score_frames(frames: np.ndarray, sector: Sector, network: ViewNet) -> tuple[np.ndarray, float]:
    """Probability of each of `VIEW_CLASSES`, `(4,)`, and of a mirrored picture.

    Means over frames spread over the clip, each as it is, slightly larger, and mirrored.

    Args:
        frames: `(T, H, W)` uint8.
        sector: The ultrasound sector; pixels outside of it are not used.
        network: The view network.
    """
    indices = np.unique(np.linspace(0, len(frames) - 1, NUM_FRAMES).round().astype(int))
    wide = round(1.125 * SIZE_PX)
    edge = (wide - SIZE_PX) // 2
    boxes = [letterbox_for(sector.box, side) for side in (SIZE_PX, wide)]
    whole, large = [], []
    for index in indices:
        pixels = torch.from_numpy(np.where(sector.mask, frames[index], np.uint8(0)))[None]
        whole.append(letterbox_frames(pixels.float() / 255, boxes[0]))
        large.append(letterbox_frames(pixels.float() / 255, boxes[1]))
    squares = torch.cat([*whole, *(one[:, :SIZE_PX, edge : edge + SIZE_PX] for one in large)])
    with torch.inference_mode():
        logits = network(torch.cat([squares, squares.flip(2)])[:, None])
    own, mirrored = logits[:, -1].sigmoid().chunk(2)
    probabilities = logits[:, :-1].softmax(1).mean(0).numpy()
    return probabilities, float((own + 1 - mirrored).mean() / 2)
