"""A hollow body of elliptic rings that move between two shapes, and its section by a plane.

Ring s is X(phi) = C + D cos(phi) + E sin(phi), with centre C and half axes D (in the A4C plane)
and E (across it); C, D and E go linearly from ED to ES with the contraction of the material point,
which may differ from point to point. Coordinates are (u, v, z) in mm: u from apex to base, v to
the lateral wall, z out of the A4C plane to the anterior wall.

A plane n.X = d + (u_0 - u) tan(alpha), n = (0, -sin(theta), cos(theta)), turned about the base at
u_0, cuts a ring where A cos(phi) + B sin(phi) = c, solved in closed form; where walls move
differently the contraction is taken at the solution and the equation solved again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

RINGS = 49
_ANGLES = 24
_BASE = 0.3

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Contraction of material points: (ring `S` in [0, 1] base to apex, phi `T S`) -> `T S`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """The imaging plane in each frame.

    Attributes:
        azimuth_rad: theta; 0 is A4C.
        tilt_rad: alpha, the foreshortening angle.
        pivot_mm: u_0, where the tilt turns.
        offset_mm: d in each frame, `T`.
    """

    azimuth_rad: float
    tilt_rad: float
    pivot_mm: float
    offset_mm: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """Border of a body in the imaging plane, (x, y) in mm, y towards the base.

    Attributes:
        points_mm: `T P 2`, from the left end of the base over the tip to the right end.
        ring: Ring of each point, 0 base to 1 apex, `T P`.
        angle_rad: phi of each point, `T P`.
    """

    points_mm: np.ndarray
    ring: np.ndarray
    angle_rad: np.ndarray


class RingBody:
    """The body of the module's equations.

    Args:
        border_mm: ED and ES border in the A4C plane, `2 P 2` (u, v), left end over the tip to the
            right end; P is odd.
        roundness: |E| / |D| of each of the (P + 1) / 2 rings.
        bend: Shift of each ring's centre across the A4C plane, as a fraction of |D|.
    """

    def __init__(self, border_mm: np.ndarray, roundness: np.ndarray, bend: np.ndarray) -> None:
        half = (border_mm.shape[1] + 1) // 2
        left, right = border_mm[:, :half], border_mm[:, ::-1][:, :half]
        knots, self.rings = np.linspace(0, 1, half), np.linspace(0, 1, RINGS)
        # the tip is round: there width falls with the root of the distance to it
        self.rings = 1 - (1 - self.rings) ** 1.4
        centre = CubicSpline(knots, 0.5 * (left + right), axis=1)(self.rings)
        width = CubicSpline(knots, 0.5 * (right - left), axis=1)(self.rings)
        size = np.linalg.norm(width, axis=-1)
        roundness = np.interp(self.rings, knots, roundness)
        bend = np.interp(self.rings, knots, bend)
        zero = np.zeros_like(size)
        self.centre = np.concatenate([centre, (bend * size)[..., None]], -1)
        self.width = np.concatenate([width, zero[..., None]], -1)
        self.depth = np.stack([zero, zero, roundness * size], -1)

    def points(self, angle_rad: np.ndarray, contraction: np.ndarray) -> np.ndarray:
        """Material points `... S 3` for angles and contractions `... S`."""
        share = contraction[..., None]
        sine, cosine = np.sin(angle_rad)[..., None], np.cos(angle_rad)[..., None]
        shapes = [self.centre[k] + self.width[k] * cosine + self.depth[k] * sine for k in (0, 1)]
        return shapes[0] + share * (shapes[1] - shapes[0])

    def volume_ml(self, contraction: Field) -> np.ndarray:
        """Volume in each frame, `T`, by the divergence theorem.

        V = 1/3 int int (X - C_0) . (X_s x X_phi) ds dphi; the base is closed by a cone to the
        middle C_0 of its ring, which then adds nothing. X_phi by Fourier, X_s by differences.
        """
        angles = 2 * math.pi * np.arange(_ANGLES) / _ANGLES
        shells = []
        for angle in angles:
            everywhere = np.full((1, RINGS), angle)
            shells.append(self.points(everywhere, contraction(self.rings, everywhere)))
        shell = np.stack(shells, 2)  # T S A 3
        shell = shell - shell[:, :1].mean(2, keepdims=True)
        wave = np.fft.fftfreq(_ANGLES, 1 / _ANGLES)
        wave[_ANGLES // 2] = 0
        around = np.fft.ifft(1j * wave[:, None] * np.fft.fft(shell, axis=2), axis=2).real
        up = np.gradient(shell, np.arange(RINGS), axis=1, edge_order=2)
        flux = (shell * np.cross(up, around)).sum(-1).mean(2) * 2 * math.pi
        return np.abs(np.trapezoid(flux, axis=1)) / 3 / 1000

    def cut(self, plane: Plane, contraction: Field, num_points: int) -> Cut:
        """Border in the plane, evenly spaced on each side of the tip."""
        sides = [self._side(plane, contraction, sign) for sign in (-1.0, 1.0)]
        tips = np.maximum(sides[0][2], sides[1][2])
        half = (num_points + 1) // 2
        parts = [self._spread(points, angle, tips, half) for points, angle, _ in sides]
        # both sides end in one tip
        tip = 0.5 * (parts[0][0][:, -1:] + parts[1][0][:, -1:])
        middles = (tip, parts[0][1][:, -1:], parts[0][2][:, -1:])
        points_mm, ring, angle_rad = (
            np.concatenate([left[:, :-1], middle, right[:, -2::-1]], 1)
            for left, middle, right in zip(parts[0], middles, parts[1], strict=True)
        )
        return Cut(points_mm=points_mm, ring=ring, angle_rad=angle_rad)

    def _side(
        self, plane: Plane, contraction: Field, sign: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One side: points in the plane `T S 2`, phi `T S`, and the last ring in the plane `T`."""
        num_frames = len(plane.offset_mm)
        sine, cosine = math.sin(plane.azimuth_rad), math.cos(plane.azimuth_rad)
        tangent = math.tan(plane.tilt_rad)
        normal = np.array([tangent, -sine, cosine])
        offset_mm = plane.offset_mm[:, None] + plane.pivot_mm * tangent
        start = plane.azimuth_rad + (0.0 if sign > 0 else math.pi)
        angle = np.full((num_frames, RINGS), start)
        away = np.zeros_like(angle)
        for _ in range(4):
            share = contraction(self.rings, angle)[..., None]
            centre, width, depth = (
                ends[0] + share * (ends[1] - ends[0])
                for ends in (self.centre, self.width, self.depth)
            )
            a, b = width @ normal, depth @ normal
            away = (offset_mm - centre @ normal) / np.maximum(np.hypot(a, b), 1e-6)
            # a plane that would miss the narrow base still shows it, narrowed
            away = np.where(self.rings > _BASE, away, np.clip(away, -0.9, 0.9))
            turn = np.arccos(np.clip(away, -1, 1))
            middle = np.arctan2(b, a)
            both = np.stack([middle - turn, middle + turn])
            # the side is where the in-plane coordinate is larger (right) or smaller (left)
            reach = np.cos(both - plane.azimuth_rad)
            angle = np.where((reach[1] > reach[0]) == (sign > 0), both[1], both[0])
        solid = self.points(angle, contraction(self.rings, angle))
        across = solid[..., 1] * cosine + solid[..., 2] * sine
        along = plane.pivot_mm + (solid[..., 0] - plane.pivot_mm) / math.cos(plane.tilt_rad)
        flat = np.stack([across, along], -1)
        missed = (np.abs(away) >= 1) & (self.rings > _BASE)
        missed[:, -1] = True
        # fraction of a ring at which the plane leaves the body
        first = missed.argmax(1)
        frame = np.arange(num_frames)
        before, after = np.abs(away[frame, first - 1]), np.abs(away[frame, first])
        step = np.clip((1 - before) / np.maximum(after - before, 1e-9), 0, 1)
        return flat, angle, first - 1 + np.where(after >= 1, step, 1.0)

    def _spread(
        self, points: np.ndarray, angle: np.ndarray, tips: np.ndarray, number: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points, rings and angles of one side, evenly spaced from base to tip."""
        fine = np.linspace(0, 1, 4 * number) * tips[:, None]
        low = np.minimum(fine.astype(int), RINGS - 2)
        part = fine - low
        frame = np.arange(len(points))[:, None]

        def between(values: np.ndarray) -> np.ndarray:
            weight = part[..., None] if values.ndim == 3 else part
            return values[frame, low] * (1 - weight) + values[frame, low + 1] * weight

        angle = np.unwrap(angle, axis=1)
        path = between(points)
        ring = between(np.broadcast_to(self.rings, angle.shape))
        path_mm = np.cumsum(
            np.linalg.norm(np.diff(path, axis=1, prepend=path[:, :1]), axis=-1), axis=1
        )
        turned = between(angle)
        out = np.empty((len(points), number, 4))
        for index in range(len(points)):
            places = np.linspace(0, path_mm[index, -1], number)
            for column, values in enumerate(
                (path[index, :, 0], path[index, :, 1], ring[index], turned[index])
            ):
                out[index, :, column] = np.interp(places, path_mm[index], values)
        return out[..., :2], out[..., 2], out[..., 3]
