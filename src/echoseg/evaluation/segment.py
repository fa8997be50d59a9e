"""The protocol by which a Segmenter is judged: how its masks come about, pixel for pixel.

The whole picture is letterboxed into the network's square (bilinear, averaged when shrunk), grey
levels / 255; a clip is given frame by frame, a still as a clip of its own; the logits are brought
back to the picture's own grid (bilinear) before the largest is taken. Nothing is cleaned after it;
volumes alone are read off the largest pieces, as `echoseg analyze` reads them.
Clips are never put into one batch, and torch has one thread, so that the masks are the same
whatever else is asked for.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from echoseg.parallel import one_thread

PROTOCOL = {
    "input": "whole picture, letterboxed, bilinear with antialiasing, grey / 255",
    "clips": "frame by frame in time order from the first frame; stills one at a time",
    "output": "logits resampled to the picture's own grid (bilinear), then argmax",
    "post_processing": "none; for volumes the largest cavity and atrium, holes filled",
    "batch": "one clip at a time, one thread",
}


@lru_cache(maxsize=2)
def loaded(model: str, device: str = "cpu") -> tuple[Any, int]:
    """Return a checkpoint's network and the side of its square; one process loads it once.

    Raises:
        ModelError: If the checkpoint cannot be loaded.
    """
    from echoseg.models.checkpoint import load_checkpoint

    network, checkpoint = load_checkpoint(model, device=device)
    return network, checkpoint.card.image_size


def segment(network: Any, image_size: int, frames: np.ndarray, *, stills: bool) -> np.ndarray:
    """Return the label maps `T H W` uint8 of frames `T H W` uint8.

    Raises:
        ModelError: If a clip is too short for a model that takes them by windows.
    """
    import torch

    from echoseg.models.windows import each_frame
    from echoseg.preprocess.letterbox import letterbox_for
    from echoseg.preprocess.letterbox_torch import letterbox_frames, unletterbox

    rows, columns = frames.shape[1:]
    letterbox = letterbox_for((0, 0, rows, columns), image_size)
    device = next(network.parameters()).device
    masks = np.zeros(frames.shape, np.uint8)
    with torch.inference_mode(), one_thread():
        squares = [
            letterbox_frames(torch.from_numpy(frame)[None].float() / 255, letterbox)[:, None].to(
                device
            )
            for frame in frames
        ]
        clips = [[square] for square in squares] if stills else [squares]
        index = 0
        for clip in clips:
            shown = clip
            if len(clip) == 1 and not network.streams:  # a still, to one who looks ahead
                shown = clip * network.num_frames
            for logits, _ in zip(each_frame(network, shown), clip, strict=False):
                found = unletterbox(logits.float().cpu(), letterbox, (rows, columns))
                masks[index] = found[0].numpy()
                index += 1
    return masks
