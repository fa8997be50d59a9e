"""Letterboxing of torch tensors: batches of frames and masks into the square."""

from torch import Tensor
from torch.nn import functional

from echoseg.preprocess.letterbox import Letterbox


def letterbox_frames(frames: Tensor, letterbox: Letterbox) -> Tensor:
    """Float frames `T H W` -> squares `T S S`, antialiased, black around."""
    top, left, bottom, right = letterbox.box
    inner = functional.interpolate(
        frames[:, None, top:bottom, left:right],
        size=letterbox.inner_size,
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )[:, 0]
    return _placed(inner, letterbox)


def letterbox_masks(masks: Tensor, letterbox: Letterbox) -> Tensor:
    """Label maps `T H W` -> squares `T S S`: label of the nearest pixel, 0 around."""
    top, left, bottom, right = letterbox.box
    inner = functional.interpolate(
        masks[:, None, top:bottom, left:right].float(), letterbox.inner_size, mode="nearest-exact"
    )[:, 0]
    return _placed(inner.to(masks.dtype), letterbox)


def _placed(inner: Tensor, letterbox: Letterbox) -> Tensor:
    """Pictures `T h w` inside squares `T S S`, 0 around."""
    rows, columns = inner.shape[1:]
    below = letterbox.size - letterbox.top - rows
    after = letterbox.size - letterbox.left - columns
    return functional.pad(inner, (letterbox.left, after, letterbox.top, below))
