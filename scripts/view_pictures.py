"""Pictures of echocardiographic views, to train the view check on.

Few views can be had as real pictures with a licence that lets weights be published: CAMUS has A4C
and A2C. The others are made in three ways, and each way makes A4C or A2C as well, so that the style
of a picture does not reveal its view:

- painted: chambers as ellipses, with walls, valves and speckle, in six views;
- the phantom's A4C, A2C and apical long axis;
- CAMUS's pictures changed: an aortic root painted beside the left atrium (A5C, ALAX), the wall bent
  to a closed ring (PSAX), the heart turned (PLAX, subcostal), upside down, or cut.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from echoseg.clip import Label
from echoseg.quality.view import VIEW_CLASSES

WIDE_PX = 96
"""Side on which pictures are kept, so that turning and zooming lose nothing."""
A4C, A2C, OTHER_APICAL, NOT_APICAL = range(len(VIEW_CLASSES))
PAINTED = {
    "A4C": A4C, "A2C": A2C, "ALAX": OTHER_APICAL, "A5C": OTHER_APICAL, "PLAX": NOT_APICAL,
    "PSAX": NOT_APICAL, "aortic": NOT_APICAL, "subcostal": NOT_APICAL, "none": NOT_APICAL,
}  # fmt: skip
"""Class of each painted view."""


class Pictures(NamedTuple):
    """Pictures `N 1 W W` in [0, 1], the class of each, and what it shows."""

    frames: Tensor
    classes: Tensor
    names: tuple[str, ...]


class Canvas:
    """A picture that is painted: expected grey, with coordinates that turn with the heart.

    Args:
        rng: Source of every draw.
        turn_rad: Turn of the heart in the picture.
        centre: (x, y) of the heart's origin, with the picture's side as 1.
        scale: Size of the heart.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        turn_rad: float,
        centre: tuple[float, float],
        scale: float,
    ) -> None:
        y, x = (np.mgrid[:WIDE_PX, :WIDE_PX] + 0.5) / WIDE_PX
        x = x - 0.5
        length = np.maximum(np.hypot(x, y), 1e-3)
        self.beam = x / length, y / length
        x, y = (x - centre[0]) / scale, (y - centre[1]) / scale
        cos, sin = math.cos(turn_rad), math.sin(turn_rad)
        self.u, self.v = cos * x + sin * y, -sin * x + cos * y
        low = ndimage.zoom(rng.normal(0, 0.07, (5, 5)), WIDE_PX / 5, order=1)
        self.level = rng.uniform(0.12, 0.5) + low
        self.wall, self.blood = rng.uniform(0.45, 0.8), rng.uniform(0.0, 0.16)
        self.drop = rng.uniform(0.2, 0.8)

    def ellipse(self, u: float, v: float, a: float, b: float, turn_rad: float = 0.0) -> np.ndarray:
        """Distance from an ellipse, negative inside."""
        cos, sin = math.cos(turn_rad), math.sin(turn_rad)
        x, y = self.u - u, self.v - v
        x, y = cos * x + sin * y, -sin * x + cos * y
        return (np.hypot(x / a, y / b) - 1) * min(a, b)

    def tube(self, start: np.ndarray, end: np.ndarray, half: float) -> np.ndarray:
        """Distance from a straight tube, negative inside."""
        along = end - start
        x, y = self.u - start[0], self.v - start[1]
        share = np.clip((x * along[0] + y * along[1]) / max(float(along @ along), 1e-6), 0, 1)
        return np.hypot(x - share * along[0], y - share * along[1]) - half

    def chamber(self, distance: np.ndarray, thickness: float, keep: np.ndarray | None = None):
        """Paint wall and blood; walls along the beam are darker. Only where `keep` is true."""
        keep = np.ones_like(distance, bool) if keep is None else keep
        rows, columns = np.gradient(distance)
        across = np.abs(columns * self.beam[0] + rows * self.beam[1])
        across = across / np.maximum(np.hypot(rows, columns), 1e-9)
        bright = self.wall * (1 - self.drop * (1 - across))
        self.level = np.where((distance < thickness) & keep, bright, self.level)
        self.level = np.where((distance < 0) & keep, self.blood, self.level)

    def line(self, start: np.ndarray, end: np.ndarray, half: float = 0.008) -> None:
        """Paint a bright line, such as a leaflet."""
        self.level = np.where(self.tube(start, end, half) < 0, self.wall + 0.1, self.level)


def _apical(canvas: Canvas, rng: np.random.Generator, phase: float, view: str) -> None:
    """Paint an apical view."""
    right_heart = view in ("A4C", "A5C")
    cu = rng.uniform(0.06, 0.13) if right_heart else rng.uniform(-0.04, 0.04)
    half, width = rng.uniform(0.24, 0.32), rng.uniform(0.1, 0.17) * (1 - 0.25 * phase)
    wall = rng.uniform(0.03, 0.065) * (1 + 0.3 * phase)
    base = half * rng.uniform(0.6, 0.85) - 0.1 - 0.03 * (1 - phase)
    above, below = canvas.v < base, canvas.v > base - 0.012
    atrium_a, atrium_b = rng.uniform(0.09, 0.15), rng.uniform(0.12, 0.22)
    atrium_u = cu + rng.uniform(-0.02, 0.02)
    root = {"A5C": -1, "ALAX": 1}.get(view, 0)
    if root:
        atrium_a, atrium_u = atrium_a * 0.75, cu - root * 0.45 * width
    if right_heart:
        right_u, right_a = cu - width - wall - rng.uniform(0.06, 0.1), rng.uniform(0.06, 0.12)
        shift = 0.05 if root else 0.0
        top = canvas.ellipse(right_u, -0.1 + rng.uniform(0.02, 0.1), right_a, 0.7 * half, 0.2)
        canvas.chamber(top, 0.022, above)
        canvas.chamber(
            canvas.ellipse(right_u - shift, base + 0.09, right_a * 1.1, atrium_b * 0.8), 0.02, below
        )
    elif view == "ALAX" and rng.random() < 0.7:
        canvas.chamber(canvas.ellipse(cu + width + 0.09, base - 0.1, 0.05, 0.11), 0.02)
    canvas.chamber(canvas.ellipse(atrium_u, base + 0.5 * atrium_b, atrium_a, atrium_b), 0.02, below)
    if root:
        start = np.array([cu + root * 0.5 * width, base - 0.02])
        lean = math.radians(rng.uniform(5, 25)) * root
        way = np.array([math.sin(lean), math.cos(lean)])
        aorta = canvas.tube(start, start + rng.uniform(0.18, 0.3) * way, rng.uniform(0.035, 0.055))
        canvas.chamber(aorta, 0.016, below)
    canvas.chamber(canvas.ellipse(cu, -0.1, width, half), wall, above)
    left, right = np.array([cu - 0.8 * width, base]), np.array([cu + 0.8 * width, base])
    open_by = np.array([0.0, -0.09]) * (1 - phase)
    canvas.line(left, left + np.array([0.7 * width, 0.02]) * phase + open_by + 0.02)
    canvas.line(right, right - np.array([0.7 * width, -0.02]) * phase + open_by)


def _parasternal_long(canvas: Canvas, rng: np.random.Generator, phase: float) -> None:
    """Paint a PLAX: the ventricle lies, the aortic root is at its right, the atrium below that."""
    width, half = rng.uniform(0.11, 0.16) * (1 - 0.28 * phase), rng.uniform(0.26, 0.36)
    wall = rng.uniform(0.03, 0.065) * (1 + 0.3 * phase)
    canvas.chamber(canvas.ellipse(-0.02, -0.26, 0.33, rng.uniform(0.05, 0.09)), 0.02)
    canvas.chamber(
        canvas.ellipse(0.24, 0.13, rng.uniform(0.1, 0.17), rng.uniform(0.09, 0.14)), 0.02
    )
    start = np.array([0.1, -0.07])
    way = np.array([0.32, rng.uniform(-0.12, 0.0)])
    canvas.chamber(canvas.tube(start, start + way, rng.uniform(0.055, 0.08)), 0.016)
    canvas.chamber(canvas.ellipse(-0.14, 0.0, half, width), wall, canvas.u < 0.14)
    canvas.line(np.array([0.13, -0.02]), np.array([0.0 + 0.08 * phase, 0.02 + 0.04 * phase]))
    canvas.line(np.array([0.13, 0.12]), np.array([0.04, 0.08 - 0.03 * phase]))
    if rng.random() < 0.6:
        canvas.chamber(canvas.ellipse(0.12, 0.33, 0.05, 0.05), 0.012)


def _short(canvas: Canvas, rng: np.random.Generator, phase: float) -> None:
    """Paint a PSAX: a ring with a crescent at its left."""
    radius, wall = rng.uniform(0.12, 0.2) * (1 - 0.25 * phase), rng.uniform(0.06, 0.1)
    wall = wall * (1 + 0.35 * phase)
    if rng.random() < 0.85:
        canvas.chamber(canvas.ellipse(-0.14, -0.08, rng.uniform(0.2, 0.3), 0.2, -0.5), 0.02)
    canvas.chamber(canvas.ellipse(0.05, 0.03, radius * rng.uniform(0.9, 1.1), radius), wall)
    kind = rng.random()
    if kind < 0.5:  # papillary muscles
        for side in (-1, 1):
            muscle = canvas.ellipse(0.05 + 0.6 * side * radius, 0.03 + 0.5 * radius, 0.035, 0.035)
            canvas.level = np.where(muscle < 0, canvas.wall * 0.8, canvas.level)
    elif kind < 0.8:  # mitral valve
        for side in (-1, 1):
            canvas.line(
                np.array([0.05 - 0.7 * radius, 0.03]),
                np.array([0.05 + 0.5 * radius, 0.03 + side * 0.07 * (1 - phase)]),
            )


def _aortic(canvas: Canvas, rng: np.random.Generator, phase: float) -> None:
    """Paint a PSAX at the aortic valve."""
    canvas.chamber(canvas.ellipse(0.0, -0.17, 0.3, 0.1), 0.02)
    canvas.chamber(canvas.ellipse(-0.2, 0.08, 0.11, 0.14), 0.018)
    canvas.chamber(canvas.ellipse(0.03, 0.19, 0.2, 0.1), 0.018)
    canvas.chamber(canvas.ellipse(0.0, 0.0, *(rng.uniform(0.09, 0.12, 2))), 0.02)
    for angle in (0.5, 2.6, 4.7):
        tip = 0.09 * np.array([math.cos(angle), math.sin(angle)])
        canvas.line(tip, tip * phase)


def _none(canvas: Canvas, rng: np.random.Generator, phase: float) -> None:
    """Paint what is not a heart: any ellipses, or only tissue."""
    for _ in range(int(rng.integers(0, 5))):
        place, size = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.03, 0.3, 2) * (1 + 0.2 * phase)
        turn_rad = float(rng.uniform(0, math.pi))
        canvas.chamber(canvas.ellipse(*place, *size, turn_rad), rng.uniform(0, 0.06))


def sector(rng: np.random.Generator) -> np.ndarray:
    """A sector whose tip is on top, `W W` of 0 and 1."""
    y, x = (np.mgrid[:WIDE_PX, :WIDE_PX] + 0.5) / WIDE_PX
    across, down = x - 0.5, y + rng.uniform(0, 0.12)
    angle = np.abs(np.arctan2(across, np.maximum(down, 1e-6)))
    inside = angle < np.radians(rng.uniform(33, 48))
    return inside & (np.hypot(across, down) < rng.uniform(0.95, 1.15))


def paint(name: str, seed: int, phases: tuple[float, ...]) -> np.ndarray:
    """Paint one heart in a view at some phases, `T W W` in [0, 1]; 0 is ED, 1 is ES."""
    rng = np.random.default_rng(seed)
    apical = name in ("A4C", "A2C", "ALAX", "A5C")
    turn = rng.normal(0, 9) if name != "subcostal" else rng.choice([-1, 1]) * rng.uniform(50, 85)
    centre = (float(rng.normal(0, 0.04)), float(rng.uniform(0.46, 0.56)))
    scale = float(rng.uniform(0.85, 1.25) if apical else rng.uniform(0.8, 1.3))
    shape, own = sector(rng), int(rng.integers(1 << 30))
    speckle, blur = rng.uniform(0.08, 0.22), (rng.uniform(0.3, 0.9), rng.uniform(0.5, 1.8))
    fade, haze = rng.uniform(-0.2, 0.35), rng.uniform(0, 0.3)
    depth = np.linspace(0, 1, WIDE_PX)[:, None]
    pictures = []
    for phase in phases:
        same = np.random.default_rng(own)
        canvas = Canvas(same, math.radians(float(turn)), centre, scale)
        if name == "PLAX":
            _parasternal_long(canvas, same, phase)
        elif name in ("PSAX", "aortic", "none"):
            {"PSAX": _short, "aortic": _aortic, "none": _none}[name](canvas, same, phase)
        else:
            _apical(canvas, same, phase, "A4C" if name == "subcostal" else name)
        grain = np.log(np.maximum(rng.rayleigh(1, (WIDE_PX, WIDE_PX)), 0.05))
        grain = ndimage.gaussian_filter(grain, blur)
        picture = canvas.level + speckle * grain / max(float(grain.std()), 1e-6)
        picture = ndimage.gaussian_filter(picture, (0.5, 0.7)) - fade * (depth - 0.5)
        picture = picture + haze * np.exp(-((depth / 0.12) ** 2))
        pictures.append(np.clip(picture, 0, 1) * shape)
    return np.stack(pictures).astype(np.float32)


def painted(num_hearts: int, first_seed: int) -> Pictures:
    """Two frames each of every painted view."""
    frames, classes, names = [], [], []
    for heart in range(num_hearts):
        for index, (name, kind) in enumerate(PAINTED.items()):
            frames.append(paint(name, first_seed + 100 * heart + index, (0.0, 1.0)))
            classes += [kind, kind]
            names += [name, name]
    stacked = torch.from_numpy(np.concatenate(frames))[:, None]
    return Pictures(stacked, torch.tensor(classes), tuple(names))


def add_root(
    picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator, side: int
) -> np.ndarray:
    """Paint an aortic root beside the left atrium of a picture `W W`, with the picture's own grey.

    Args:
        picture: A real A4C or A2C in [0, 1].
        mask: Its label map.
        rng: Source of the draws.
        side: -1 left of the atrium, as in A5C; 1 right of it, as in ALAX; 0 away from the valve,
            where no root is: such a picture keeps its view.
    """
    ventricle, atrium = (
        np.argwhere(mask == label)[:, ::-1].astype(float)
        for label in (Label.LV_CAVITY, Label.LA_CAVITY)
    )
    if len(ventricle) < 20 or len(atrium) < 20:
        return picture
    axis = atrium.mean(0) - ventricle.mean(0)
    axis /= np.linalg.norm(axis)
    across = np.array([axis[1], -axis[0]])  # rightwards where the axis points down
    along, aside = ventricle @ axis, ventricle @ across
    base = along.max()
    width = np.ptp(aside[along > base - 6])
    start = base * axis + (aside[along > base - 6].mean() + 0.35 * side * width) * across
    length, half = np.ptp(atrium @ axis) * rng.uniform(0.8, 1.2), width * rng.uniform(0.16, 0.26)
    lean = math.radians(rng.uniform(5, 28)) * (side or rng.choice([-1, 1]))
    if side == 0:
        start = start - axis * rng.uniform(20, 60) + across * rng.choice([-1, 1]) * width * 1.3
        lean *= rng.uniform(0, 6)
    way = math.cos(lean) * axis + math.sin(lean) * across
    rows, columns = np.mgrid[:WIDE_PX, :WIDE_PX]
    x, y = columns - start[0], rows - start[1]
    share = np.clip(x * way[0] + y * way[1], 0, max(length, 4))
    distance = np.hypot(x - share * way[0], y - share * way[1]) - max(half, 2.0)
    blood = ndimage.gaussian_filter(
        rng.choice(picture[mask == Label.LV_CAVITY], picture.shape), rng.uniform(0.8, 1.6)
    )
    wall = np.quantile(picture[mask == Label.LV_MYOCARDIUM], rng.uniform(0.5, 0.9))
    thick, soft = rng.uniform(0.8, 2.2), rng.uniform(1.0, 2.5)
    new = ndimage.gaussian_filter(np.where(distance < 0, blood, wall), 0.3 * soft)
    share = np.clip((thick + 0.5 * soft - distance) / soft, 0, 1) * (picture > 0)
    return (picture * (1 - share) + np.clip(new, 0, 1) * share).astype(np.float32)


def fill_around(picture: np.ndarray) -> np.ndarray:
    """The picture `W W` with the grey of the nearest pixel of its sector outside of it."""
    lit = ndimage.binary_closing(np.pad(picture > 0.05, 6), iterations=6)[6:-6, 6:-6]
    nearest = ndimage.distance_transform_edt(~lit, return_distances=False, return_indices=True)
    return picture[tuple(nearest)]


def bend_to_ring(picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bend the wall of an apical picture `W W` to a closed ring, as PSAX shows it."""
    picture = fill_around(picture)
    inside, heart = mask == Label.LV_CAVITY, np.isin(mask, (1, 2))
    if inside.sum() < 50:
        return picture
    row, column = (float(each) for each in np.argwhere(inside).mean(0))
    rows, columns = np.mgrid[:WIDE_PX, :WIDE_PX] / WIDE_PX
    y, x = rows - rng.uniform(0.42, 0.58), columns - rng.uniform(0.42, 0.62)
    theta, radius = np.arctan2(y, x), np.hypot(x, y)
    # the ring runs over the wall from one end of the annulus to the other
    turn = rng.uniform(0, 2 * math.pi)
    share = np.mod(theta + turn, 2 * math.pi) / (2 * math.pi)
    share = np.abs(2 * share - 1) if rng.random() < 0.5 else share
    phi = math.radians(125) + share * math.radians(290)
    steps = np.arange(0.0, WIDE_PX * 0.7)
    angles = np.linspace(0, 2 * math.pi, 181)
    lengths = []
    for region in (inside, heart):
        ray = region[
            np.clip((row + np.sin(angles)[:, None] * steps).round(), 0, WIDE_PX - 1).astype(int),
            np.clip((column + np.cos(angles)[:, None] * steps).round(), 0, WIDE_PX - 1).astype(int),
        ]
        lengths.append(ndimage.gaussian_filter1d(ray.sum(1).astype(float), 3, mode="wrap"))
    endo, epi = (np.interp(np.mod(phi, 2 * math.pi), angles, each) for each in lengths)
    epi = np.maximum(epi, endo + 3)
    inner, wall = rng.uniform(0.1, 0.17), rng.uniform(0.06, 0.11)
    place = np.where(
        radius < inner,
        radius / inner * endo,
        np.where(
            radius < inner + wall,
            endo + (radius - inner) / wall * (epi - endo),
            epi + (radius - inner - wall) * WIDE_PX * 0.25,
        ),
    )
    at = np.stack([row + np.sin(phi) * place, column + np.cos(phi) * place])
    bent = ndimage.map_coordinates(picture, at, order=1, mode="reflect")
    return (bent * sector(rng)).astype(np.float32)


def turn_away(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn a picture `W W` out of the apical views: aside, upside down, or cut to a corner."""
    how = rng.random()
    if not 0.5 <= how < 0.65:
        picture = fill_around(picture)
    if how < 0.5:
        degrees = rng.choice([-1, 1]) * rng.uniform(60, 180)
        zoomed = ndimage.zoom(picture, 1.35, order=1)
        turned = ndimage.rotate(zoomed, degrees, reshape=False, order=1, mode="reflect")
        edge = (len(turned) - WIDE_PX) // 2
        picture = turned[edge : edge + WIDE_PX, edge : edge + WIDE_PX] * sector(rng)
    elif how < 0.65:
        picture = picture[::-1]
    else:
        side = int(WIDE_PX * rng.uniform(0.26, 0.4))
        top, left = rng.uniform(0.1, 0.9, 2) * (WIDE_PX - side)
        corner = picture[int(top) : int(top) + side, int(left) : int(left) + side]
        picture = ndimage.zoom(corner, WIDE_PX / side, order=1)[:WIDE_PX, :WIDE_PX]
        if rng.random() < 0.5:
            picture = picture * sector(rng)
    return np.ascontiguousarray(picture, np.float32)
