"""Letterboxing of torch tensors: batches of frames and masks into the square, logits back."""

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.preprocess.letterbox import Letterbox


def letterbox_frames(frames: Tensor, letterbox: Letterbox) -> Tensor:
    """Float frames `T H W` -> squares `T S S`, antialiased, black around."""
    top, left, bottom, right = letterbox.box
    rows, columns = letterbox.inner_size
    inner = functional.interpolate(
        frames[:, None, top:bottom, left:right],
        size=(rows, columns),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )[:, 0]
    below = letterbox.size - letterbox.top - rows
    after = letterbox.size - letterbox.left - columns
    return functional.pad(inner, (letterbox.left, after, letterbox.top, below))


def letterbox_masks(masks: Tensor, letterbox: Letterbox) -> Tensor:
    """Label maps `T H W` -> squares `T S S`: label of the nearest pixel, 0 around."""
    top, left, bottom, right = letterbox.box
    inner = functional.interpolate(
        masks[:, None, top:bottom, left:right].float(), letterbox.inner_size, mode="nearest-exact"
    )[:, 0]
    square = masks.new_zeros(len(masks), letterbox.size, letterbox.size)
    rows, columns = letterbox.inner_size
    inside = (
        slice(letterbox.top, letterbox.top + rows),
        slice(letterbox.left, letterbox.left + columns),
    )
    square[:, *inside] = inner.to(masks.dtype)
    return square


def unletterbox(logits: Tensor, letterbox: Letterbox, picture_size: tuple[int, int]) -> Tensor:
    """Logits `T K S S` -> label maps `T H W` uint8 on the picture's grid, 0 outside the box.

    Logits are interpolated before the argmax, so borders fall between network pixels.
    """
    top, left, bottom, right = letterbox.box
    rows, columns = letterbox.inner_size
    masks = torch.zeros(logits.shape[0], *picture_size, dtype=torch.uint8)
    for index, frame_logits in enumerate(logits):
        inner = frame_logits[
            None,
            :,
            letterbox.top : letterbox.top + rows,
            letterbox.left : letterbox.left + columns,
        ]
        full = functional.interpolate(
            inner, size=(bottom - top, right - left), mode="bilinear", align_corners=False
        )
        masks[index, top:bottom, left:right] = _largest(full[0])
    return masks


def _largest(logits: Tensor) -> Tensor:
    """Return `logits.argmax(0)` of `K H W` as uint8; on a CPU argmax takes ten times as long."""
    best, labels = logits[0], torch.zeros(logits.shape[1:], dtype=torch.uint8)
    for label in range(1, len(logits)):
        labels[logits[label] > best] = label
        best = torch.maximum(best, logits[label])
    return labels
