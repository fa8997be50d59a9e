"""The cheap path of any network: between key frames its last logits follow the picture's motion.

Motion from the key frame y to a frame x, without a network: both are averaged over 4 x 4 pixels,
and at every second of these, that is at stride 8, each shift u of up to 2 of them costs

    c(u) = mean over a window of (x(p) - y(p + u))^2

The displacement is the mean of u with weights softmax(-c(u) / T), T a fraction of the lowest cost;
it is smoothed and interpolated to all pixels, where the logits of the key frame are looked up. The
lowest cost is the residual: what no shift explains.

A key frame costs what the network costs; a frame in between changes no state of it.

Reference:
    Zhu, Xiong, Dai, Yuan and Wei, "Deep Feature Flow for Video Recognition", CVPR 2017 (key
    frames, propagated by flow; there by a network, and features).
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from echoseg.errors import ModelError
from experiments.keyframes.observation import box_means

SHRINK, RADIUS, WINDOW, STRIDE = 4, 2, 5, 2
"""Pixels per averaged pixel; largest shift, window and distance of nodes in averaged pixels."""
TEMPERATURE, MIN_COST = 0.2, 1e-5
NUM_MAPS = 3
"""Maps that a scheduler observes."""


class Match(NamedTuple):
    """Motion from a key frame to a frame, at stride 8."""

    shift_px: Float[Tensor, "B 2 h w"]
    """(row, column) from a pixel of the frame to its place in the key frame."""
    residual: Float[Tensor, "B 1 h w"]
    """Least mean squared difference of grey levels."""


class WarpState(NamedTuple):
    """State of a `WarpedNetwork`."""

    recurrent: Any
    """State of the network after the last key frame."""
    frame: Tensor | None
    """The last key frame, `B 1 H W`; None before the first."""
    logits: Tensor | None
    """Its logits, `B K H W`."""


def match(frame: Float[Tensor, "B 1 H W"], key: Float[Tensor, "B 1 H W"]) -> Match:
    """Find the motion from a key frame to a frame."""
    small, other = (functional.avg_pool2d(x, SHRINK, ceil_mode=True) for x in (frame, key))
    rows, columns = small.shape[2:]
    other = functional.pad(other, [RADIUS] * 4, mode="replicate")
    side = range(2 * RADIUS + 1)
    cost = torch.cat(
        [(small - other[:, :, i : i + rows, j : j + columns]).square() for i in side for j in side],
        1,
    )  # (B, shifts, rows, columns)
    cost = functional.avg_pool2d(cost, WINDOW, STRIDE, WINDOW // 2, count_include_pad=False)
    lowest = cost.amin(1, keepdim=True)
    weights = torch.softmax(-(cost - lowest) / (TEMPERATURE * (lowest + MIN_COST)), 1)
    steps = torch.arange(-RADIUS, RADIUS + 1, device=frame.device, dtype=frame.dtype)
    shifts = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).flatten(0, 1)
    shift_px = SHRINK * torch.einsum("bshw,sd->bdhw", weights, shifts)
    return Match(functional.avg_pool2d(shift_px, 3, 1, 1, count_include_pad=False), lowest)


def warp(maps: Float[Tensor, "B K H W"], shift_px: Float[Tensor, "B 2 h w"]) -> Tensor:
    """Look maps up where a frame's pixels come from: `B K H W`."""
    size = maps.shape[2:]
    dense = functional.interpolate(shift_px, size=size, mode="bilinear", align_corners=False)
    rows, columns = (torch.arange(n, device=maps.device, dtype=maps.dtype) for n in size)
    x = (columns + dense[:, 1] + 0.5) * 2 / size[1] - 1
    y = (rows[:, None] + dense[:, 0] + 0.5) * 2 / size[0] - 1
    grid = torch.stack([x, y], -1)
    return functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)


class WarpedNetwork:
    """A network and its cheap path.

    Args:
        network: Any Segmenter that streams, in evaluation mode.

    Raises:
        ModelError: If it looks ahead.
    """

    def __init__(self, network: Any) -> None:
        if not network.streams:
            raise ModelError(
                f"key frames need a network that streams, {type(network).__name__} takes whole "
                "clips; choose another"
            )
        self.network = network

    def init_state(self, batch_size: int) -> WarpState:
        """The state before the first frame."""
        return WarpState(self.network.init_state(batch_size), None, None)

    def step(
        self, frame: Float[Tensor, "B 1 H W"], state: WarpState
    ) -> tuple[Float[Tensor, "B K H W"], WarpState]:
        """Run the whole network on a key frame."""
        logits, recurrent = self.network.step(frame, state.recurrent)
        return logits, WarpState(recurrent, frame, logits)

    def cheap_step(
        self, frame: Float[Tensor, "B 1 H W"], state: WarpState
    ) -> tuple[Float[Tensor, "B K H W"], WarpState]:
        """Move the logits of the last key frame; the state stays.

        Raises:
            ModelError: If no key frame came before.
        """
        key, logits = _key_of(state)
        return warp(logits, match(frame, key).shift_px), state

    def observe(self, frame: Float[Tensor, "1 1 H W"], state: WarpState) -> Float[Tensor, "C G G"]:
        """What a scheduler observes of a frame before it decides.

        Returns:
            On a grid of boxes: 10 times the change of the mean grey level since the key frame; the
            entropy of its logits, from 0 to 1, moved along; 100 times the residual of the match.

        Raises:
            ModelError: If no key frame came before.
        """
        key, logits = _key_of(state)
        motion = match(frame, key)
        change = 10 * (box_means(frame) - box_means(key)).abs()
        entropy = functional.avg_pool2d(_entropy(logits), 8, ceil_mode=True)
        moved = warp(entropy, motion.shift_px / 8)
        maps = change, box_means(moved), 100 * box_means(motion.residual)
        return torch.cat(maps, 1)[0]


def _key_of(state: WarpState) -> tuple[Tensor, Tensor]:
    if state.frame is None or state.logits is None:
        raise ModelError(
            "a cheap frame needs a key frame before it, the state has none; run the first frame "
            "of a clip through step"
        )
    return state.frame, state.logits


def _entropy(logits: Float[Tensor, "B K H W"]) -> Float[Tensor, "B 1 H W"]:
    """Entropy of the labels, as a fraction of its maximum."""
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1, keepdim=True) / math.log(logits.shape[1])
