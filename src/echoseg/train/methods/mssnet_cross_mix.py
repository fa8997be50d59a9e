"""RAC, region-wise adaptive cross-mix: a region of a source clip pasted into a background clip.

    x = m x_source + (1 - m) x_background,   the same for the target and for its weights

The mixing mask m in [0, 1] is one for all frames of a clip, so motion stays continuous. The source
is first aligned with the background: its frames are chosen by phase, the place and size of its
heart follow the targets, and its gray levels those along the seam. A background
without a reliable target takes the source where it is. Three regions are proposed per pair: the
source's heart, dilated by a random, uneven margin so that the seam is never the border itself; a
wedge of the sector; a box around the heart. The choice depends on where the source is more reliable
than the background, and the margin grows with the source's confidence.

The published RAC pastes ED's predicted foreground into ES of the same clip, seam on the border, and
gives no label; this follows the abstract's idea without those flaws.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Label
from echoseg.evaluation.artefacts import MIN_GREY, inside_sector
from echoseg.train.data.augment import warp_frames, warp_probs
from echoseg.train.data.training_set import ES_PHASE

HEART_LABELS = (1, 2)
"""Labels inside the epicardium."""
MIN_AREA = 0.005
"""Share of a frame below which no heart is there to be aligned with."""
MAX_STRETCH, MAX_ZOOM = 1.8, 2.5
"""A source's heart that had to be stretched one way, or zoomed, by more is not used."""
MIN_WEIGHT = 0.05
"""Mean weight of a background's heart below which its target is not used for alignment."""
JUMP_COST = 0.02
"""Phase error that is accepted rather than jump over one frame of a source."""
CHOICE_TEMPERATURE = 0.1
"""How freely a region is chosen against the gain in weight."""


class Sample(NamedTuple):
    """Clips with a target.

    Attributes:
        frames: `B T 1 S S` in [0, 1].
        probs: `B T K S S`, the target.
        weights: `B T S S` in [0, 1], how far it is reliable.
        phases: `B T`, share of the beat since ED; nan when unknown.
        hidden: `B T S S` in [0, 1], how far an artefact hides the picture.
    """

    frames: Tensor
    probs: Tensor
    weights: Tensor
    phases: Tensor
    hidden: Tensor

    def pick(self, index: Tensor) -> "Sample":
        """The clips of an index."""
        return Sample._make(x[index] for x in self)

    def where(self, chosen: Tensor, other: "Sample") -> "Sample":
        """These clips where `chosen`, `B` bool, is true, and those of another sample elsewhere."""
        return Sample._make(
            torch.where(chosen.view(-1, *[1] * (x.ndim - 1)).to(x.device), x, y)
            for x, y in zip(self, other, strict=True)
        )


def cross_mix(background: Sample, source: Sample) -> tuple[Sample, Tensor]:
    """Set a region of each source into its background.

    Draws come from torch's global generator of the CPU.

    Returns:
        The new clips and the mixing masks, `B 1 S S`; 0 where two hearts cannot be aligned.
    """
    source, is_usable = _aligned(_at_matched_phase(source, background), background)
    mask = _mixing_mask(background, source) * _inside(background.frames) * _inside(source.frames)
    mask = mask * is_usable[:, None, None, None]
    frames = _with_greys_of(background.frames, source.frames, mask[:, None])
    mixed = Sample(
        frames=_mix(background.frames, frames, mask[:, None]),
        probs=_mix(background.probs, source.probs, mask[:, None]),
        weights=_mix(background.weights, source.weights, mask),
        phases=background.phases,
        hidden=_mix(background.hidden, source.hidden, mask),
    )
    return mixed, mask


def _mix(background: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    return background + mask * (source - background)


def _heart(sample: Sample) -> Tensor:
    """`B S S`: probability of the heart, mean over the frames."""
    return sample.probs[:, :, list(HEART_LABELS)].sum(2).mean(1)


def _at_matched_phase(source: Sample, background: Sample) -> Sample:
    """For each frame of a background the source's frame of the nearest phase.

    The frames are the path of least phase error through the source, forwards, backwards or slower;
    steps over more than one frame cost `JUMP_COST` each (dynamic programming).
    """
    phases, own = (phases_of_targets(each.phases, each.probs) for each in (background, source))
    num = phases.shape[1]
    order = torch.arange(num, device=phases.device)
    away = (order[:, None] - order).abs()
    cost = (phases[:, :, None] - own[:, None]).abs() + 1e-4 * away  # (B, T, T); ties: in order
    jumps = JUMP_COST * (away - 1).clamp(min=0)
    total, origins = cost[:, 0], []
    for now in cost.unbind(1)[1:]:
        lowest, origin = (total[:, :, None] + jumps).min(1)
        total = lowest + now
        origins.append(origin)
    path = [total.argmin(1, keepdim=True)]
    for origin in reversed(origins):
        path.append(origin.gather(1, path[-1]))
    times = torch.cat(path[::-1], 1)  # (B, T)
    clips = torch.arange(len(times), device=times.device)[:, None]
    return Sample._make(x[clips, times] for x in source)


def phases_of_targets(phases: Tensor, probs: Tensor) -> Tensor:
    """Phases `B T`; those of a clip that are unknown follow the area of the cavity in `probs`."""
    areas = probs[:, :, Label.LV_CAVITY].mean((2, 3))
    high, low = areas.amax(1, keepdim=True), areas.amin(1, keepdim=True)
    by_area = ES_PHASE * (high - areas) / (high - low).clamp(min=1e-6)
    return torch.where(phases.isnan().any(1, keepdim=True), by_area, phases)


def _moments(heart: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return middle (x, y) `B 2` in [-1, 1], covariance `B 2 2` and area share of maps `B S S`."""
    size = heart.shape[-1]
    axis = (torch.arange(size, device=heart.device) + 0.5) * 2 / size - 1
    mass = heart.sum((1, 2)).clamp(min=1e-6)
    middle = torch.stack([(heart.sum(1) * axis).sum(1), (heart.sum(2) * axis).sum(1)], 1)
    middle = middle / mass[:, None]
    x, y = (axis - middle[:, k, None] for k in (0, 1))
    products = (
        torch.einsum("brc,bc,bc->b", heart, x, x),
        torch.einsum("brc,br,bc->b", heart, y, x),
        torch.einsum("brc,br,br->b", heart, y, y),
    )
    xx, xy, yy = (each / mass for each in products)
    covariance = torch.stack([xx + 1e-4, xy, xy, yy + 1e-4], 1).view(-1, 2, 2)
    return middle, covariance, mass / size**2


def _root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of symmetric positive matrices `B 2 2`."""
    root_det = torch.linalg.det(matrix).clamp(min=1e-12).sqrt()[:, None, None]
    trace = matrix.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    unit = torch.eye(2, device=matrix.device)
    return (matrix + root_det * unit) / (trace + 2 * root_det).sqrt()


def _aligned(source: Sample, background: Sample) -> tuple[Sample, Tensor]:
    """Give the hearts of sources the center, size, shape and slant of the backgrounds'.

    Returns:
        The sources, and `B` bool: false where a heart is missing or the two differ too much.
        Where the background's target has low confidence, the source is left as it is and usable.
    """
    middle, covariance, area = _moments(_heart(source))
    background_middle, background_covariance, background_area = _moments(_heart(background))
    turn = _root(covariance) @ torch.linalg.inv(_root(background_covariance))
    stretch = torch.linalg.svdvals(turn)
    there = (area > MIN_AREA) & (background_area > MIN_AREA)
    size = stretch.prod(1).sqrt()
    there &= (stretch.amax(1) / stretch.amin(1) < MAX_STRETCH) & (
        (size / MAX_ZOOM).maximum(1 / (size * MAX_ZOOM)) < 1
    )
    heart = _heart(background)
    weight = (background.weights.mean(1) * heart).sum((1, 2)) / heart.sum((1, 2)).clamp(min=1e-6)
    is_known = weight > MIN_WEIGHT
    there &= is_known
    unit = torch.eye(2, device=turn.device)
    turn = torch.where(there[:, None, None], turn, unit)
    shift = middle - (turn @ background_middle[:, :, None])[:, :, 0]
    shift = torch.where(there[:, None], shift, torch.zeros_like(shift))
    theta = torch.cat([turn, shift[:, :, None]], 2)
    num, _, _, rows, columns = source.frames.shape
    grid = functional.affine_grid(theta, [num, 1, rows, columns], align_corners=False)
    moved = source._replace(
        frames=warp_frames(source.frames, grid),
        probs=warp_probs(source.probs, grid),
        # what lies outside the source's frame is not known to be anything
        weights=warp_frames(source.weights, grid),
        hidden=warp_frames(source.hidden, grid),
    )
    return moved, there | (~is_known & (area > MIN_AREA))


def _inside(frames: Tensor) -> Tensor:
    """Return where the sector is, `B 1 S S`, 1 inside and fading towards its rim."""
    inside = inside_sector((frames.amax((1, 2)) > MIN_GREY).float())[:, None]
    shrunk = -functional.max_pool2d(-inside, 5, 1, 2)
    return _feathered(shrunk[:, 0])[:, None] * inside


def _with_greys_of(background: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """Return the source's frames with the background's mean and contrast along the seam."""
    seam = (mask * (1 - mask)).clamp(min=1e-4) * ((background > MIN_GREY) & (source > MIN_GREY))
    mass = seam.sum((1, 2, 3, 4), keepdim=True).clamp(min=1e-3)

    def level(frames: Tensor) -> tuple[Tensor, Tensor]:
        mean = (frames * seam).sum((1, 2, 3, 4), keepdim=True) / mass
        square = ((frames - mean).square() * seam).sum((1, 2, 3, 4), keepdim=True) / mass
        return mean, square.sqrt()

    (mean, contrast), (own_mean, own_contrast) = level(background), level(source)
    gain = ((contrast + 0.02) / (own_contrast + 0.02)).clamp(0.6, 1.6)
    return ((source - own_mean) * gain + mean).clamp(0, 1)


def _mixing_mask(background: Sample, source: Sample) -> Tensor:
    """Mixing masks `B 1 S S`, drawn from three proposals by their gain in weight."""
    heart = torch.maximum(_heart(source), source.probs[:, :, list(HEART_LABELS)].sum(2).amax(1))
    sure = (source.weights.mean(1) * heart).sum((1, 2)) / heart.sum((1, 2)).clamp(min=1e-6)
    x, y = _moments(heart)[0].unbind(1)
    proposals = torch.stack(
        [_swollen(heart, sure), _wedge(heart, x), _box(heart, x, y)], 1
    )  # B 3 S S
    better = (source.weights - background.weights).mean(1)[:, None]
    gain = (proposals * better).sum((2, 3)) / proposals.sum((2, 3)).clamp(min=1)
    chosen = torch.multinomial((gain / CHOICE_TEMPERATURE).softmax(1).cpu(), 1)[:, 0]
    return proposals[torch.arange(len(heart)), chosen][:, None]


def _rand(like: Tensor, low: float, high: float) -> Tensor:
    """`B` numbers between two."""
    return low + (high - low) * torch.rand(len(like)).to(like)


def _feathered(region: Tensor) -> Tensor:
    """`B S S` of 0 and 1 -> the same with soft edges, a twentieth of the side wide."""
    return _blurred(region, max(1, region.shape[-1] // 40), times=2)


def _blurred(maps: Tensor, reach: int, times: int) -> Tensor:
    """Maps `B S S` averaged over squares of side 2 `reach` + 1, several times."""
    for _ in range(times):
        maps = functional.avg_pool2d(maps, 2 * reach + 1, 1, reach, count_include_pad=False)
    return maps


def _swollen(heart: Tensor, sure: Tensor) -> Tensor:
    """The heart and an uneven margin of 4 to 16 % of the side, wider the surer the source is."""
    size = heart.shape[-1]
    # a blurred map falls off with distance: its level sets are margins
    reach = size // 8
    fading = _blurred(heart, reach // 2, times=3)
    nodes = torch.randn(len(heart), 1, 5, 5).to(heart)
    uneven = functional.interpolate(nodes, size=heart.shape[1:], mode="bicubic")[:, 0]
    level = (0.30 - 0.22 * sure * _rand(heart, 0.5, 1)).clamp(0.06, 0.3)
    return _feathered((fading > level[:, None, None] * torch.exp(0.4 * uneven)).float())


def _wedge(heart: Tensor, x: Tensor) -> Tensor:
    """Part of the sector between two beams, 0.3 to 0.9 rad apart, through the heart."""
    size = heart.shape[-1]
    axis = (torch.arange(size, device=heart.device) + 0.5) * 2 / size - 1
    beam = torch.atan2(axis[None, None, :] - 0.3 * x[:, None, None], axis[None, :, None] + 1.15)
    middle = 0.5 * x + _rand(heart, -0.3, 0.3)
    half = _rand(heart, 0.15, 0.45)
    return _feathered(((beam - middle[:, None, None]).abs() < half[:, None, None]).float())


def _box(heart: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A box of 35 to 75 % of the side, its middle near the heart's."""
    size = heart.shape[-1]
    axis = (torch.arange(size, device=heart.device) + 0.5) * 2 / size - 1
    inside = []
    for middle in (y, x):
        half = _rand(heart, 0.35, 0.75)
        about = middle + _rand(heart, -0.3, 0.3)
        inside.append((axis - about[:, None]).abs() < half[:, None])
    return _feathered((inside[0][:, :, None] & inside[1][:, None, :]).float())
