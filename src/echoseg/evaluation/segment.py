"""The evaluation protocol: how a network's masks are computed.

The whole image is letterboxed into the network's square input (bilinear, with antialiasing), grey
levels / 255. A clip is segmented frame by frame, a still as a clip of its own. Logits are resampled
to the image's grid (bilinear) before the argmax. Masks are not cleaned; only volumes are measured
on the largest components, as `echoseg analyze` does. Clips are never batched and torch uses one
thread, so masks do not depend on what else is evaluated.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from echoseg.parallel import torch_threads

if TYPE_CHECKING:
    from echoseg.models.segmenter import Segmenter

PROTOCOL = {
    "input": "whole picture, letterboxed, bilinear with antialiasing, grey / 255",
    "clips": "frame by frame in time order from the first frame; stills one at a time",
    "output": "logits resampled to the picture's own grid (bilinear), then argmax",
    "post_processing": "none; for volumes the largest cavity and atrium, holes filled",
    "batch": "one clip at a time, one thread",
}


@lru_cache(maxsize=2)
def loaded(model: str, device: str = "cpu") -> tuple[Any, int]:
    """Network of a checkpoint and the side of its square input; cached per process.

    Raises:
        ModelError: If the checkpoint cannot be loaded.
    """
    from echoseg.models.checkpoint import load_model

    network, card = load_model(model, device=device)
    return network, card.image_size


def segment(
    network: "Segmenter", image_size: int, frames: np.ndarray, *, stills: bool
) -> np.ndarray:
    """Label maps `T H W` uint8 of frames `T H W` uint8.

    Raises:
        ModelError: If a clip is shorter than the windows of a network that does not stream.
    """
    from echoseg.inference.analyzer import segment_frames
    from echoseg.inference.backends.torch import TorchSession
    from echoseg.preprocess.frame_transform import FrameTransform

    session = TorchSession(network, image_size)
    transform = FrameTransform((frames.shape[1], frames.shape[2]), image_size)
    window, masks = 1 if network.streams else network.num_frames, []
    with torch_threads(1):
        for clip in frames[:, None] if stills else frames[None]:
            inputs = clip.repeat(window, 0) if len(clip) == 1 else clip  # to fill the window
            masks.append(segment_frames(session, inputs, transform)[: len(clip)])
    return np.concatenate(masks)
