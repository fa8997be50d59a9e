"""Registration of ED and ES stills: one smooth, invertible motion between them.

The motion is the flow of a stationary velocity field v: exp(t v) takes points of ED (t = 0) to the
same points of tissue at ES (t = 1), and to phases between and beyond. It is found by symmetric
log-domain demons on the signed distances of the masks' borders and, more weakly, on the smoothed
picture: both stills are brought to the middle of the way, where

    v <- smooth(v + d grad / (|grad|^2 + LAMBDA d^2 + EPSILON)),  d = ED - ES, summed over channels.

Fields are in units of the picture's half sides, (x, y), on a square grid over the whole picture, so
they hold at any resolution.

Reference:
    Vercauteren et al., Symmetric log-domain diffeomorphic registration, MICCAI 2008.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Label

FIT_SIZE, FIELD_SIZE = 128, 64
"""Grid on which a field is fitted, and on which it is returned, in cells."""
BORDERS = (
    (Label.LV_CAVITY,),
    (Label.LV_CAVITY, Label.LV_MYOCARDIUM),
    (Label.LA_CAVITY,),
)
"""Labels inside each border: endocardium, epicardium, atrium."""
SCHEDULE = ((30, 4.0), (20, 2.5), (20, 1.7))
"""(steps, smoothing in cells of the fit) from coarse to fine."""
REACH_CELLS = 6.0
"""Signed distances saturate here, so that borders count and not what lies far from them."""
PICTURE_WEIGHT, PICTURE_BLUR_CELLS = 8.0, 1.5
LAMBDA, EPSILON = 0.02, 0.01
SQUARINGS = 4
MARGIN = 0.1


def heart_box(masks: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of all labels of `... H W` with a margin of `MARGIN` of the side."""
    labeled = np.asarray(masks.reshape(-1, *masks.shape[-2:]).any(0))
    slices = []
    for lines in (labeled, labeled.T):
        places, margin = np.flatnonzero(lines.any(1)), round(MARGIN * len(lines))
        first, last = (places[0], places[-1]) if len(places) else (0, len(lines) - 1)
        slices.append(slice(max(0, int(first) - margin), int(last) + margin + 1))
    return slices[0], slices[1]


def signed_distances(mask: np.ndarray) -> Tensor:
    """Distances `3 H W` in pixels to the `BORDERS` of a label map `H W`, positive inside.

    The border lies between pixels, so that the sign is that of the label map. Beyond the heart's
    box distances are that of its margin.
    """
    far, box = MARGIN * min(mask.shape), heart_box(mask)
    distances = np.full((len(BORDERS), *mask.shape), -far, np.float32)
    for index, labels in enumerate(BORDERS):
        inside, border = np.isin(mask[box], labels), distances[index, *box]
        if inside.all() or not inside.any():
            border[inside] = far
        else:
            border[:] = np.where(inside, _depth(inside) - 0.5, 0.5 - _depth(~inside))
    return torch.from_numpy(distances)


def _depth(inside: np.ndarray) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(inside))


def pixel_grid(rows: int, columns: int) -> Tensor:
    """Centers of pixels, `2 H W` of (x, y) in [-1, 1], as `grid_sample` counts them."""
    y, x = (torch.linspace(-1 + 1 / n, 1 - 1 / n, n) for n in (rows, columns))
    return torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)])


def sample(maps: Tensor, displacement: Tensor) -> Tensor:
    """Maps `N C H W` at each pixel moved by `N 2 H' W'`; the border's values outside."""
    grid = pixel_grid(*displacement.shape[-2:]) + displacement  # (N, 2, H', W')
    return functional.grid_sample(
        maps, grid.movedim(1, -1), padding_mode="border", align_corners=False
    )


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """The displacement of moving by `inner`, then by `outer`; each `N 2 S S`."""
    return inner + sample(outer, inner)


def flow(velocity: Tensor, times: Tensor) -> Tensor:
    """Displacements `T 2 S S` of exp(t v) for each of the times `T`, by scaling and squaring."""
    moved = velocity * (times / 2**SQUARINGS).view(-1, 1, 1, 1)
    for _ in range(SQUARINGS):
        moved = compose(moved, moved)
    return moved


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of maps `N H W`, in pixels; the border's values outside."""
    radius = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    padded = functional.pad(maps[:, None], (radius,) * 4, mode="replicate")
    down = functional.conv2d(padded, taps.view(1, 1, -1, 1))
    return functional.conv2d(down, taps.view(1, 1, 1, -1))[:, 0]


def register(frames: np.ndarray, masks: np.ndarray) -> Tensor:
    """Fit the velocity field of ED and ES stills.

    Args:
        frames: ED and ES, `2 H W` uint8.
        masks: Their label maps, `2 H W` uint8.

    Returns:
        Velocity `2 S S`, (x, y) in half sides of the picture, S = `FIELD_SIZE`.
    """
    ed, es = (_channels(*still)[None] for still in zip(frames, masks, strict=True))
    velocity = torch.zeros(1, 2, FIT_SIZE, FIT_SIZE)
    halves = torch.tensor([-0.5, 0.5])
    for steps, sigma in SCHEDULE:
        for _ in range(steps):
            back, forth = flow(velocity, halves).split(1)
            one, other = sample(ed, back)[0], sample(es, forth)[0]
            step = _demons_step(one - other, 0.5 * (one + other))
            velocity = smooth(velocity[0] + step * (2 / FIT_SIZE), sigma)[None]
    return functional.interpolate(velocity, (FIELD_SIZE, FIELD_SIZE), mode="area")[0]


def _demons_step(difference: Tensor, middle: Tensor) -> Tensor:
    """The step `2 S S` in cells towards a smaller difference `C S S`."""
    padded = functional.pad(middle[None], (1,) * 4, mode="replicate")[0]
    along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    along_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    force = torch.stack([(difference * along_x).sum(0), (difference * along_y).sum(0)])
    steepness = (along_x**2 + along_y**2).sum(0)
    return force / (steepness + LAMBDA * (difference**2).sum(0) + EPSILON)


def _channels(frame: np.ndarray, mask: np.ndarray) -> Tensor:
    """What is matched, `4 S S`: saturating distances to the borders in cells, and the picture."""
    side = (FIT_SIZE, FIT_SIZE)
    pixels = torch.cat([signed_distances(mask), torch.from_numpy(frame).float()[None]])
    maps = functional.interpolate(pixels[None], side, mode="bilinear", antialias=True)[0]
    cells = maps[:-1] * (FIT_SIZE / math.sqrt(mask.size))
    picture = smooth(maps[-1:] * (PICTURE_WEIGHT / 255), PICTURE_BLUR_CELLS)
    return torch.cat([REACH_CELLS * torch.tanh(cells / REACH_CELLS), picture])
