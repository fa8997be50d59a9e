"""DOC, dynamic offset correction: a pseudo-label's border is moved towards the shape of a heart.

The errors of a teacher are borders drawn surely in a wrong place, which no gate finds. What is
plausible is known from elsewhere: the phantom's anatomy (`phantom.prior`), a linear model of
border points x = R(pose) (mean + sum_m b_m mode_m) with b ~ N(0, 1) at ED and ES. One pose and one
b per clip are fitted to all frames, by robust least squares with the prior of b as a ridge:

    d_i     the teacher's border seen from point i along its normal      (its *offset*)
    w_i     1 / (1 + (d_i / d_0)^2) / (1 + (s_i / s_0)^2), s_i how soft the border is there
    min     sum_i w_i (d_i - n_i . dx_i)^2 / sigma^2 + |b|^2             Gauss-Newton, a few times

The fitted borders, drawn as probabilities F, correct the teacher's P by the geometric mean

    M = P^(1 - a) F^a, normalised;    reliability = mean over labels of 2 P.F / (P.P + F.F)

so a border with no support from the shape moves, a right one stays, and a mask that is empty or
unlike all hearts hardly counts. The anatomy is that of A4C; a clip takes it as it is or mirrored,
whichever fits better.

Reference:
    Cootes, Taylor, Cooper and Graham, "Active shape models", CVIU 1995 (fit along the normals).
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.clip import Label
from echoseg.phantom.prior import BORDER_POINTS, Landmarks, draw_landmarks

NUM_HEARTS, NUM_MODES = 1500, 20
NUM_STEPS, NUM_POSE_STEPS = 10, 3
REACH, NUM_OFFSETS = 0.0875, 15
"""How far from a point its border is looked for, and in how many places; lengths are fractions of
the frame's side."""
NOISE, OUTLIER, SOFT_BORDER = 0.0375, 0.05, 0.019
"""sigma, d_0 and s_0."""
UNSEEN_WEIGHT = 0.02
"""Factor on the weight of a point with no border in reach."""
DRAWN_WIDTH = 0.00625
"""Width of the drawn borders."""
DRAWN_SIDE = 40
"""Side of the grid on which distances from borders are computed; they are smooth."""
MAX_SCORE = 3.5


class Fit(NamedTuple):
    """Borders of clips.

    Attributes:
        points: `B T 3P 2`, (x, y) in [0, 1]: endocardium, epicardium, atrium.
        error: `B`, mean absolute offset of the teacher's border from them.
    """

    points: Tensor
    error: Tensor


class HeartShapes(nn.Module):
    """The shapes of hearts, and their fit to probabilities.

    Args:
        strength: a; 0 leaves pseudo-labels as they are.
        labels: Labels that the teacher can know; borders of others are left out.
    """

    mean: Tensor
    modes: Tensor
    has_border: Tensor

    def __init__(self, strength: float = 0.4, labels: Collection[int] = tuple(Label)) -> None:
        super().__init__()
        self.strength = strength
        bounded = ({Label.LV_CAVITY}, {Label.LV_CAVITY, Label.LV_MYOCARDIUM}, {Label.LA_CAVITY})
        self.register_buffer(
            "has_border", torch.tensor([each <= set(labels) for each in bounded]), persistent=False
        )
        rng = np.random.default_rng(0)
        hearts = np.stack([_borders(draw_landmarks(rng)) for _ in range(NUM_HEARTS)])
        mean = hearts.mean(0)
        _, size, modes = np.linalg.svd((hearts - mean).reshape(NUM_HEARTS, -1), full_matrices=False)
        modes = modes[:NUM_MODES] * size[:NUM_MODES, None] / np.sqrt(NUM_HEARTS - 1)
        modes = modes.reshape(NUM_MODES, *mean.shape)
        # made anew in every run
        for name, value in (("mean", mean), ("modes", modes)):
            self.register_buffer(name, torch.tensor(value).float(), persistent=False)

    @torch.no_grad()
    def forward(self, probs: Tensor, contraction: Tensor) -> tuple[Tensor, Tensor]:
        """Correct pseudo-labels.

        Args:
            probs: `B T 4 S S`.
            contraction: `B T` in [0, 1], from ED to ES.

        Returns:
            The corrected probabilities, and the reliability `B` of each clip.
        """
        with torch.autocast(probs.device.type, enabled=False):
            probs = probs.float()
            points = self.fit(probs, contraction).points
            shape = drawn(points, probs.shape[-1], self.has_border)
            pair = [each[:, :, 1:][:, :, self.has_border] for each in (probs, shape)]
            overlap, *sizes = (
                (one * other).sum((1, 3, 4))
                for one, other in (pair, (pair[0], pair[0]), (pair[1], pair[1]))
            )
            reliability = (2 * overlap / (sizes[0] + sizes[1]).clamp(min=1e-6)).mean(1)
            logs = [each.clamp(min=1e-4).log() for each in (probs, shape)]
            mixed = (1 - self.strength) * logs[0] + self.strength * logs[1]
            return mixed.softmax(2), reliability

    def fit(self, probs: Tensor, contraction: Tensor) -> Fit:
        """Fit the anatomy as it is and mirrored, and take the better one per clip."""
        mirror = probs.new_tensor([-1.0, 1.0])
        own, other = (
            _fit(probs, contraction, self.mean * turn, self.modes * turn, self.has_border)
            for turn in (torch.ones_like(mirror), mirror)
        )
        is_mirrored = other.error < own.error
        points = torch.where(is_mirrored[:, None, None, None], other.points, own.points)
        return Fit(points, torch.minimum(own.error, other.error))


def _borders(heart: Landmarks) -> np.ndarray:
    """Endocardium, epicardium and atrium at ED and ES, `2 3P 2` (x, y), in long axes."""
    along = np.gradient(heart.endo_mm, axis=1)
    normal = np.stack([along[..., 1], -along[..., 0]], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    away = heart.endo_mm - heart.endo_mm.mean(1, keepdims=True)
    normal *= np.sign((away * normal).sum((1, 2)))[:, None, None]
    epi = heart.endo_mm + heart.wall_mm[..., None] * normal
    borders = np.concatenate([heart.endo_mm, epi, heart.atrium_mm], 1)
    return borders[..., ::-1] / heart.length_mm


def _fit(
    probs: Tensor, contraction: Tensor, mean: Tensor, modes: Tensor, has_border: Tensor
) -> Fit:
    """Pose (x, y, log size, angle) and scores by Gauss-Newton steps."""
    lv = probs[:, :, Label.LV_CAVITY]
    regions = torch.stack(
        [lv, lv + probs[:, :, Label.LV_MYOCARDIUM], probs[:, :, Label.LA_CAVITY]], 2
    )
    # between ED and ES points move along lines
    part = torch.stack([1 - contraction, contraction], -1)
    mean = torch.einsum("bts,spc->btpc", part, mean)
    modes = torch.einsum("bts,mspc->mbtpc", part, modes)
    pose = _first_pose(regions, mean)
    scores = probs.new_zeros(len(probs), len(modes))
    known = has_border.repeat_interleave(BORDER_POINTS)
    ridge = torch.cat([torch.full((4,), 1e-3), torch.ones(len(modes))]).to(probs)

    def placed() -> tuple[Tensor, Tensor, Tensor]:
        shape = mean + torch.einsum("bm,mbtpc->btpc", scores, modes)
        away = torch.einsum("bij,btpj->btpi", _turn(pose), shape)
        points = away + pose[:, None, None, :2]
        return points, away, _normals(points)

    for step in range(NUM_STEPS):
        points, away, normals = placed()
        offsets, weights = _offsets(regions, points, normals)
        slope = torch.cat(
            [
                normals,
                (normals * away).sum(-1, keepdim=True),
                (normals[..., 1] * away[..., 0] - normals[..., 0] * away[..., 1])[..., None],
                torch.einsum("btpi,bij,mbtpj->btpm", normals, _turn(pose), modes),
            ],
            -1,
        ).flatten(1, 2)  # (B, T * 3P, 4 + M)
        weighted = slope * (weights * known / NOISE**2).flatten(1)[..., None]
        matrix = weighted.mT @ slope + torch.diag(ridge)
        pull = (weighted * offsets.flatten(1)[..., None]).sum(1)
        pull[:, 4:] -= scores
        num = 4 if step < NUM_POSE_STEPS else len(ridge)
        change = torch.linalg.solve(matrix[:, :num, :num], pull[:, :num])
        pose = pose + change[:, :4].clamp(-0.2, 0.2)
        if num > 4:
            scores = (scores + change[:, 4:]).clamp(-MAX_SCORE, MAX_SCORE)
    points, _, normals = placed()
    offsets, _ = _offsets(regions, points, normals)
    return Fit(points, (offsets.abs() * known).mean((1, 2)))


def _turn(pose: Tensor) -> Tensor:
    """`B 2 2`, size and angle of a pose."""
    cos, sin = pose[:, 3].cos(), pose[:, 3].sin()
    turn = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    return turn * pose[:, 2].exp()[:, None, None]


def _first_pose(regions: Tensor, mean: Tensor) -> Tensor:
    """`B 4`: the cavity's size and middle, and the direction from it to the atrium."""
    size = regions.shape[-1]
    axis = (torch.arange(size, device=regions.device) + 0.5) / size
    mass = regions.mean((1, 3, 4))  # (B, 3)
    middles = torch.stack([regions.mean((1, 3)) @ axis, regions.mean((1, 4)) @ axis], -1)
    middles = middles / (mass[..., None] * size).clamp(min=1e-6)
    shape = mean.mean(1)
    cavity, _, atrium = shape.split(BORDER_POINTS, 1)
    x, y = cavity.unbind(-1)
    area = 0.5 * (x * y.roll(-1, 1) - x.roll(-1, 1) * y).sum(1).abs()
    down, own = middles[:, 2] - middles[:, 0], atrium.mean(1) - cavity.mean(1)
    angle = torch.atan2(down[:, 1], down[:, 0]) - torch.atan2(own[:, 1], own[:, 0])
    is_there = (mass[:, 2] > 0.003) & (down.norm(dim=1) > 0.06)
    angle = torch.where(is_there, torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi, 0.0)
    scale = 0.5 * (mass[:, 0].clamp(min=0.003) / area).log()
    pose = torch.stack([torch.zeros_like(scale), torch.zeros_like(scale), scale, angle], 1)
    pose[:, :2] = middles[:, 0] - torch.einsum("bij,bj->bi", _turn(pose), cavity.mean(1))
    return pose


def _normals(points: Tensor) -> Tensor:
    """Outward unit normals of points `B T 3P 2` of three open borders."""
    lines = points.unflatten(2, (3, BORDER_POINTS))
    ends = torch.cat([lines[..., :1, :], lines, lines[..., -1:, :]], 3)
    along = ends[..., 2:, :] - ends[..., :-2, :]
    normals = torch.stack([along[..., 1], -along[..., 0]], -1)
    normals = functional.normalize(normals, dim=-1)
    away = lines - lines.mean(3, keepdim=True)
    return (normals * (away * normals).sum((3, 4), keepdim=True).sign()).flatten(2, 3)


def _offsets(regions: Tensor, points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distances `B T 3P` from points to the regions' borders, and their weights.

    The profile p of a region along a normal falls from 1 to 0: its integral tells where, that of
    p (1 - p) how softly.
    """
    steps = torch.linspace(-REACH, REACH, NUM_OFFSETS, device=points.device)
    places = points[..., None, :] + steps[:, None] * normals[..., None, :]  # (B, T, 3P, O, 2)
    places = places.unflatten(2, (3, BORDER_POINTS)).flatten(0, 2)
    profile = functional.grid_sample(
        regions.flatten(0, 2)[:, None], 2 * places - 1, align_corners=False, padding_mode="border"
    )[:, 0]
    profile = profile.view(*points.shape[:3], NUM_OFFSETS)
    width = steps[1] - steps[0]
    sums = profile.sum(-1) - 0.5 * (profile[..., 0] + profile[..., -1])
    offsets = sums * width - REACH
    softness = (profile * (1 - profile)).sum(-1) * width
    weights = 1 / (1 + (offsets / OUTLIER) ** 2) / (1 + (softness / SOFT_BORDER) ** 2)
    weights = torch.where(offsets.abs() > 0.9 * REACH, UNSEEN_WEIGHT * weights, weights)
    return offsets, weights * ((points > 0) & (points < 1)).all(-1)


def drawn(points: Tensor, size_px: int, has_border: Tensor) -> Tensor:
    """Probabilities `B T 4 S S` of borders `B T 3P 2` (x, y) in [0, 1]; `3` bool, which count."""
    lines = points.unflatten(2, (3, BORDER_POINTS)).flatten(0, 2)
    distance = signed_distance(lines, DRAWN_SIDE).view(-1, 3, DRAWN_SIDE, DRAWN_SIDE)
    distance = functional.interpolate(
        distance, size=(size_px, size_px), mode="bilinear", align_corners=False
    )
    inside = (distance / DRAWN_WIDTH).sigmoid() * has_border[:, None, None]
    cavity, heart, atrium = inside.unbind(1)
    heart = torch.maximum(heart, cavity)
    atrium = atrium * (1 - heart)
    # in the order of `Label`: background, cavity, myocardium, atrium
    probs = torch.stack([1 - heart - atrium, cavity, heart - cavity, atrium], 1)
    return probs.clamp(0, 1).unflatten(0, points.shape[:2])


def signed_distance(lines: Tensor, side: int) -> Tensor:
    """Distance `N side side` of pixel centres from closed lines `N P 2` in [0, 1]; inside > 0."""
    axis = (torch.arange(side, device=lines.device) + 0.5) / side
    y, x = (each.reshape(1, -1) for each in torch.meshgrid(axis, axis, indexing="ij"))
    nearest = lines.new_full((len(lines), side**2), torch.inf)
    inside = torch.zeros_like(nearest, dtype=torch.bool)
    for start, end in zip(lines.unbind(1), lines.roll(-1, 1).unbind(1), strict=True):
        (x0, y0), (dx, dy) = (each.T[..., None] for each in (start, end - start))
        along = ((x - x0) * dx + (y - y0) * dy) / (dx**2 + dy**2).clamp(min=1e-12)
        along = along.clamp(0, 1)
        square = (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2
        nearest = torch.minimum(nearest, square)
        crosses = (y0 > y) != (y0 + dy > y)
        inside ^= crosses & (x < x0 + (y - y0) / torch.where(dy == 0, 1.0, dy) * dx)
    distance = nearest.sqrt()
    return torch.where(inside, distance, -distance).view(-1, side, side)
