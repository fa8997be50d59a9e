"""The network of the view check: a picture of 64 px, one of four views, mirrored or not."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from echoseg.errors import ModelError
from echoseg.files import atomic_write

SIZE_PX = 64
CLASSES = ("A4C", "A2C", "ALAX", "other")
"""In the order of the logits; behind them stands that of a mirrored picture."""
SUFFIX = ".view.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewCard:
    """What a file of weights says of itself.

    Attributes:
        licence: SPDX name.
        trained_on: In words.
        least_share: Share of a view under which a picture is not taken for it.
        flipped_share: Share of mirrored from which a picture is taken for mirrored.
    """

    licence: str
    trained_on: str
    least_share: float
    flipped_share: float


class ViewNet(nn.Module):
    """Convolutions that halve the picture four times, then the mean over what is left.

    Each picture is brought to mean 0 and standard deviation 1 first, so gain does not matter.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 1
        for wide, twice in ((16, True), (32, True), (48, True), (64, False)):
            blocks += _block(channels, wide, 2)
            if twice:
                blocks += _block(wide, wide, 1)
            channels = wide
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(2 * channels, len(CLASSES) + 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits `N 5` of pictures `N 1 64 64`."""
        spread, mean = torch.std_mean(pictures, (1, 2, 3), keepdim=True)
        found = self.body((pictures - mean) / spread.clamp(min=1e-3))
        return self.head(torch.cat([found.mean((2, 3)), found.amax((2, 3))], 1))


def _block(narrow: int, wide: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(narrow, wide, 3, stride, 1, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(inplace=True),
    ]


def view_weights(checkpoint: Path) -> Path:
    """Return the file of the check that goes with a checkpoint: beside it, else the phantom's.

    A checkpoint's own may have learnt from the same pictures, under the same licence; the
    phantom's is free.
    """
    beside = checkpoint.with_suffix(SUFFIX)
    if beside.is_file():
        return beside
    return Path(str(files("echoseg") / "weights" / f"phantom{SUFFIX}"))


def save_view_net(path: Path, network: ViewNet, card: ViewCard) -> None:
    """Write weights, in half precision, with their card."""
    told = {name: json.dumps(getattr(card, name)) for name in card.__slots__}
    weights = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    with atomic_write(path) as partial:
        save_file(weights, partial, metadata=told)


def load_view_net(path: Path) -> tuple[ViewNet, ViewCard]:
    """Return the network in evaluation mode, and its card.

    Raises:
        ModelError: If the file is missing or none of ours.
    """
    network = ViewNet()
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            card = ViewCard(**{name: json.loads(told[name]) for name in ViewCard.__slots__})
            weights = {name: file.get_tensor(name) for name in file.keys()}
        network.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"view check {path} is missing or damaged ({str(error)[:80]}); install echoseg again"
        ) from error
    return network.float().eval(), card
