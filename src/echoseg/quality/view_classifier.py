"""View of a clip predicted by a small network, compared with the view that is stated.

The network was trained without real two-chamber views: that it tells a real A2C from an A4C is
unproven, and a clip that passes is not thereby known to be an A4C.
"""

import numpy as np
import torch

from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames
from echoseg.preprocess.sector import Sector
from echoseg.quality.reliability import VIEW_CLASSES, ViewPrediction
from echoseg.quality.view_net import SIZE_PX, ViewCard, ViewNet

NUM_FRAMES = 5
"""Number of frames used, spread over the clip."""


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
