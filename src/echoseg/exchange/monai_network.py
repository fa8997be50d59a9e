"""A network as MONAI calls it: pictures of any size in, logits of that size out; and its run."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.models.checkpoint import load_model
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames


class FrameNetwork(nn.Module):
    """A network of single frames of any size, as `echoseg evaluate` runs it on stills.

    Frames are letterboxed into the network's square, and logits resampled to the picture's own
    grid, so MONAI needs no resizing.

    Args:
        checkpoint: Name or path of a checkpoint.
        xy: Whether pictures come as (x, y), as MONAI reads NIfTI and PNG, not as (row, column).
    """

    def __init__(self, checkpoint: str | Path, *, xy: bool = True) -> None:
        super().__init__()
        self.network, card = load_model(str(checkpoint))
        self.image_size, self.xy = card.image_size, xy

    def forward(self, images: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 4 H W"]:
        """Segment each picture, of grey levels in [0, 1], alone."""
        frames = images[:, 0].transpose(-1, -2) if self.xy else images[:, 0]
        rows, columns = frames.shape[1:]
        box = letterbox_for((0, 0, rows, columns), self.image_size)
        squares = letterbox_frames(frames, box).clamp(0, 1)[:, None, None]
        logits = self.network(squares)[:, 0]
        inner = logits[:, :, *box.inside]
        logits = functional.interpolate(inner, (rows, columns), mode="bilinear")
        return logits.transpose(-1, -2) if self.xy else logits


class BundleRun:
    """The run of a bundle, in place of MONAI's evaluators, which need Ignite.

    Args:
        dataloader: Of dictionaries with `image`, one clip at a time.
        network: The network.
        inferer: Calls it on each frame.
        postprocessing: Writes the masks of one clip.
        device: Torch device.
    """

    def __init__(
        self,
        dataloader: Iterable[Mapping[str, Any]],
        network: nn.Module,
        inferer: Any,
        postprocessing: Any,
        device: torch.device,
    ) -> None:
        self._clips, self._network, self._inferer = dataloader, network.eval(), inferer
        self._postprocessing, self._device = postprocessing, device

    @torch.inference_mode()
    def run(self) -> None:
        """Segment every clip, frame by frame, and write its masks."""
        from monai.data.utils import decollate_batch

        for clips in self._clips:
            images = clips["image"].to(self._device)
            scores = self._inferer(images, self._network)
            items: Any = decollate_batch({**clips, "pred": scores.cpu()})
            for item in items:
                self._postprocessing(item)
