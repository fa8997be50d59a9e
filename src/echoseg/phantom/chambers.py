"""The heart in the imaging plane: structures as moving meshes, and their borders.

Coordinates are (x, y) in mm, first from the ED apex along the long axis, then, placed, from the
middle of the probe's face, y downwards.
"""

import math
from dataclasses import dataclass

import numpy as np

from echoseg.clip import View
from echoseg.phantom.body import Cut, Plane
from echoseg.phantom.heart import AZIMUTH_RAD, Heart
from echoseg.phantom.prior import WALL_PLACES, draw_a2c_pose

BORDER_POINTS = 65
ATRIUM_POINTS = 49
OUTER_PLACES = 9
"""The wall's mesh ends at this entry of `WALL_PLACES`, in the fat and lung about the heart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """The heart in one view, placed under the probe.

    Attributes:
        endo_mm: Endocardium, left hinge over apex to right hinge, `T P 2`.
        epi_mm: Epicardium, point by point, `T P 2`.
        atrium_mm: Left atrium, `T P 2`.
        wall_mm: Thickness, `T P`.
        meshes: All that scatters, by name.
        solids_mm: Closed lines that hold heart, blood included.
    """

    endo_mm: np.ndarray
    epi_mm: np.ndarray
    atrium_mm: np.ndarray
    wall_mm: np.ndarray
    meshes: dict[str, np.ndarray]
    solids_mm: list[np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbePose:
    """Position and orientation of the probe relative to the heart.

    Attributes:
        view: The view.
        foreshortening_rad: Tilt of the plane off the true apex.
        offset_mm: Distance of the plane from the axis.
        swing_mm: How far the heart moves through the plane in a contraction.
        rock_mm: How far it rocks through the plane, out and back, in each beat.
        apex_mm: Visible apex from the probe's face at ED.
        tilt_rad: Long axis against the vertical.
        breath: (amplitude mm, rate Hz, phase).
        drift_mm: How far the probe slides over the clip.
    """

    view: View
    foreshortening_rad: float
    offset_mm: float
    swing_mm: float
    rock_mm: float
    apex_mm: tuple[float, float]
    tilt_rad: float
    breath: tuple[float, float, float]
    drift_mm: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, heart: Heart, view: View, strength: float
    ) -> "ProbePose":
        """Draw a pose; the number of draws is fixed, so a tier only scales it."""
        unit = rng.standard_normal(9)
        marks = heart.landmarks
        x_mm, y_mm = marks.apex_mm
        tilt_deg = marks.tilt_deg
        if view is View.A2C:
            x_mm, y_mm, tilt_deg = draw_a2c_pose(unit[[4, 5, 8]])
        elif view is View.ALAX:
            x_mm, tilt_deg = 3 + 5 * unit[4], 12 + 6 * unit[5]
        return cls(
            view=view,
            foreshortening_rad=math.radians(min(abs(unit[0]) * 2.5 * strength, 28)),
            offset_mm=float(np.clip(unit[1] * 0.8 * strength, -7, 7)),
            swing_mm=float(np.clip(unit[2] * 1.25, -6, 6)),
            rock_mm=float(np.clip(unit[7] * 1.75, -8, 8)),
            apex_mm=(float(x_mm), float(np.clip(y_mm, 14, 60))),
            tilt_rad=math.radians(tilt_deg),
            breath=(
                abs(float(unit[3])) * 1.5 * strength,
                rng.uniform(0.15, 0.35),
                rng.uniform(0, 6.28),
            ),
            drift_mm=float(unit[6]) * strength,
        )

    def plane(self, heart: Heart, times_s: np.ndarray) -> Plane:
        """Imaging plane in each frame."""
        amplitude, rate_hz, phase = self.breath
        breath = 0.4 * amplitude * np.sin(2 * math.pi * rate_hz * times_s + phase)
        part = heart.beats.beat_share(times_s)
        moved = self.swing_mm * heart.beats.contraction(times_s)
        moved += self.rock_mm * np.sin(2 * math.pi * part)
        azimuth_rad = AZIMUTH_RAD[self.view]
        pivot_mm = float(heart.landmarks.endo_mm[0, [0, -1], 0].mean())
        # every view is aimed at the apex, which lies beside the axis of A4C
        tip = heart.ventricle.centre[:, -1].mean(0)
        off_mm = tip[2] * math.cos(azimuth_rad) - tip[1] * math.sin(azimuth_rad)
        return Plane(
            azimuth_rad=azimuth_rad,
            tilt_rad=self.foreshortening_rad + math.atan2(off_mm, pivot_mm - tip[0]),
            pivot_mm=pivot_mm,
            offset_mm=self.offset_mm + moved + breath,
        )

    def place(self, points_mm: np.ndarray, times_s: np.ndarray, squeeze: np.ndarray) -> np.ndarray:
        """Transform points `T ... 2` from the heart's coordinates to the probe's."""
        amplitude, rate_hz, phase = self.breath
        breath = amplitude * np.sin(2 * math.pi * rate_hz * times_s + phase)
        turn = self.tilt_rad + 0.02 * squeeze + 0.004 * breath
        shape = (len(times_s),) + (1,) * (points_mm.ndim - 2)
        cosine, sine = np.cos(turn).reshape(shape), np.sin(turn).reshape(shape)
        drift = self.drift_mm * np.linspace(-0.5, 0.5, len(times_s))
        x, y = points_mm[..., 0], points_mm[..., 1]
        right = x * cosine + y * sine + (self.apex_mm[0] + 0.5 * breath + drift).reshape(shape)
        down = -x * sine + y * cosine + (self.apex_mm[1] + 0.6 * breath).reshape(shape)
        return np.stack([right, down], -1)


def section_of(
    heart: Heart, pose: ProbePose, times_s: np.ndarray, rng: np.random.Generator
) -> Section:
    """Section of the heart in the imaging plane."""
    plane = pose.plane(heart, times_s)
    cut = heart.border(plane, times_s, BORDER_POINTS)
    wall_mm = heart.wall_mm(cut, times_s)
    normal = outward(cut.points_mm)
    atrium = heart.atrium_border(plane, times_s, ATRIUM_POINTS).points_mm
    squeeze = heart.beats.contraction(times_s)
    valves = heart.beats.mitral_opening(times_s)
    parts = _Structures(cut, normal, wall_mm, squeeze, rng)
    if pose.view is View.ALAX:
        atrium = parts.narrowed_atrium(atrium)
    parts.add_wall()
    parts.add_tube("atrium", atrium, 2.6)
    parts.add_mitral_valve(valves)
    parts.add_papillary_muscle()
    if pose.view is View.A4C:
        parts.add_right_heart(atrium, valves)
    elif pose.view is View.ALAX:
        parts.add_aortic_root(heart.beats.aortic_opening(times_s))

    def to_probe(points_mm: np.ndarray) -> np.ndarray:
        return pose.place(points_mm, times_s, squeeze)

    return Section(
        endo_mm=to_probe(cut.points_mm),
        epi_mm=to_probe(cut.points_mm + normal * wall_mm[..., None]),
        atrium_mm=to_probe(atrium),
        wall_mm=wall_mm,
        meshes={name: to_probe(mesh) for name, mesh in parts.meshes.items()},
        solids_mm=[to_probe(line) for line in parts.solids],
    )


def outward(lines: np.ndarray) -> np.ndarray:
    """Unit normals of open lines `T P 2`, pointing outwards."""
    along = np.gradient(lines, axis=1)
    normal = np.stack([-along[..., 1], along[..., 0]], -1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    spread = ((lines - lines.mean(1, keepdims=True)) * normal).sum((1, 2))
    normal *= np.where(spread < 0, -1.0, 1.0)[:, None, None]
    kernel = np.ones(5) / 5
    padded = np.pad(normal, ((0, 0), (2, 2), (0, 0)), mode="edge")
    normal = np.stack([padded[:, k : k + lines.shape[1]] for k in range(5)]).T.dot(kernel).T
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)


def bezier(p0: np.ndarray, p1: np.ndarray, p2: np.ndarray, p3: np.ndarray, num: int) -> np.ndarray:
    """Cubic Bezier curves, `T num 2`, of control points `T 2`."""
    t = np.linspace(0, 1, num)[None, :, None]
    p0, p1, p2, p3 = (p[:, None] for p in (p0, p1, p2, p3))
    return (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t * t * p2 + t**3 * p3


class _Structures:
    """Builds the meshes of one view in the heart's frame."""

    def __init__(
        self,
        cut: Cut,
        normal: np.ndarray,
        wall_mm: np.ndarray,
        squeeze: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        self.cut, self.normal, self.wall_mm = cut, normal, wall_mm
        self.squeeze = squeeze / max(float(squeeze.max()), 1e-6)
        self.rng = rng
        self.endo = cut.points_mm
        self.epi = self.endo + normal * wall_mm[..., None]
        self.left, self.right = self.endo[:, 0], self.endo[:, -1]
        self.meshes: dict[str, np.ndarray] = {}
        self.solids: list[np.ndarray] = []

    def add_wall(self) -> None:
        """Wall with its inner and outer surroundings, at the places of the prior."""
        places = np.array(WALL_PLACES[: OUTER_PLACES + 1])
        # beyond the wall's outer border distances do not thicken with it
        thick = self.wall_mm[..., None] * np.minimum(places, 1)
        outer = np.maximum(self.wall_mm.mean(0), 6.0)[None, :, None] * np.maximum(places - 1, 0)
        reach = thick + outer
        self.meshes["wall"] = self.endo[:, :, None] + self.normal[:, :, None] * reach[..., None]
        self.solids.append(self.meshes["wall"][:, :, -2])

    def add_tube(self, name: str, line: np.ndarray, thick_mm: float) -> None:
        """A thin wall around a blood-filled outline.

        The visible atrium is smaller than its tracing by a reader: its wall is thin and parallel to
        the beams, and clutter covers its edge. The labels keep the full outline.
        """
        middle = line.mean(1, keepdims=True)
        line = middle + self.rng.uniform(0.72, 1.0) * (line - middle)
        normal = outward(line)
        layers = np.array([-0.3, 0.2, 0.7]) * thick_mm
        self.meshes[name] = line[:, :, None] + normal[:, :, None] * layers[:, None]
        self.solids.append(self.meshes[name][:, :, -1])

    def _leaflet(
        self,
        hinge: np.ndarray,
        across: np.ndarray,
        length: np.ndarray,
        angle: np.ndarray,
        thick_mm: float,
    ) -> np.ndarray:
        """A leaflet from its hinge, at `angle` from the annulus line towards the apex."""
        up = np.stack([-across[:, 1], across[:, 0]], -1)
        up *= np.where(up[:, 1:] > 0, -1.0, 1.0)

        def at(turn: np.ndarray, far: float) -> np.ndarray:
            way = np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * up
            return hinge + far * length[:, None] * way

        middle = at(0.55 * angle + 0.1, 0.5)
        line = bezier(hinge, 0.5 * (hinge + middle), middle, at(angle, 1.0), 13)
        normal = outward(line)
        return np.stack([line - 0.5 * thick_mm * normal, line + 0.5 * thick_mm * normal], 2)

    def add_mitral_valve(self, opening: np.ndarray) -> None:
        """Two leaflets that meet when closed, with the annulus's fibrous ends."""
        across = self.right - self.left
        width = np.linalg.norm(across, axis=1)
        across = across / width[:, None]
        thick_mm = float(self.rng.uniform(1.5, 2.6))
        self.meshes["mitral_left"] = self._leaflet(
            self.left, across, 0.62 * width, 0.22 + 1.12 * opening, thick_mm
        )
        self.meshes["mitral_right"] = self._leaflet(
            self.right, -across, 0.44 * width, 0.3 + 1.05 * opening, thick_mm
        )
        for name, hinge in (("hinge_left", self.left), ("hinge_right", self.right)):
            reach = np.linspace(-1, 1, 4) * self.rng.uniform(2.0, 4.0)
            blob = np.stack(np.meshgrid(reach, reach, indexing="ij"), -1)
            self.meshes[name] = hinge[:, None, None] + blob[None]

    def add_papillary_muscle(self) -> None:
        """A muscle on the right wall and its chord to the valve."""
        start = int(BORDER_POINTS * self.rng.uniform(0.62, 0.74))
        length_mm, width_mm = self.rng.uniform(9, 17), self.rng.uniform(5, 9)
        inward = -self.normal[:, start]
        along = self.endo[:, start + 2] - self.endo[:, start - 2]
        along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
        steps = np.linspace(0, 1, 9)
        line = (
            self.endo[:, start, None]
            + steps[:, None] * length_mm * (0.75 * along + 0.35 * inward)[:, None]
        )
        swell = 1 + 0.15 * self.squeeze[:, None]
        half = 0.5 * width_mm * swell * np.sqrt(np.clip(1 - (0.98 * steps) ** 2, 0, 1))
        sides = np.linspace(-1, 1, 5)
        self.meshes["papillary"] = (
            line[:, :, None] + (half[..., None] * sides)[..., None] * inward[:, None, None]
        )
        tip = 0.5 * (
            self.meshes["mitral_left"][:, -1].mean(1) + self.meshes["mitral_right"][:, -1].mean(1)
        )
        end = line[:, -1]
        chord = bezier(end, 0.6 * end + 0.4 * tip, 0.3 * end + 0.7 * tip, tip, 9)
        self.meshes["chord"] = np.stack([chord - 0.5, chord + 0.5], 2)

    def add_right_heart(self, atrium: np.ndarray, opening: np.ndarray) -> None:
        """Right ventricle and atrium, left of the septum in A4C."""
        rng, num_frames = self.rng, len(self.endo)
        base, top = 6, int(rng.uniform(0.62, 0.86) * (BORDER_POINTS - 1) / 2)
        hinge, apex = self.epi[:, base], self.epi[:, top]
        width = rng.uniform(24, 42) * (1 - 0.22 * self.squeeze)
        far = hinge + np.stack([-width, -1.5 - 4 * self.squeeze], 1)
        bulge = 0.42 * width * (1 - 0.1 * self.squeeze)
        first = apex + np.stack([-0.35 * bulge - 4, 0.05 * (far - apex)[:, 1]], 1)
        second = np.stack([far[:, 0] - 0.33 * bulge, 0.55 * far[:, 1] + 0.45 * apex[:, 1]], 1)
        line = bezier(apex, first, second, far, 41)
        normal = outward(line)
        normal *= np.where(normal[..., 0].mean(1) > 0, -1.0, 1.0)[:, None, None]
        thick_mm = 3.6 * (1 + 0.25 * self.squeeze)
        layers = np.array([0.0, 0.5, 1.0])[:, None] * thick_mm[:, None, None, None]
        self.meshes["right_ventricle"] = line[:, :, None] + normal[:, :, None] * layers
        septum = self.epi[:, base : top + 1]
        # the right heart is often invisible: then it is filled with the surroundings
        self.right_is_visible = bool(rng.uniform() < 0.6)
        if self.right_is_visible:
            self.solids.append(
                np.concatenate([self.meshes["right_ventricle"][:, :, -1], septum], 1)
            )
        across = hinge - far
        length = np.linalg.norm(across, axis=1)
        across = across / length[:, None]
        self.meshes["tricuspid_left"] = self._leaflet(
            far, across, 0.6 * length, 0.2 + 1.1 * opening, 1.5
        )
        self.meshes["tricuspid_right"] = self._leaflet(
            hinge, -across, 0.45 * length, 0.25 + opening, 1.5
        )
        height = np.ptp(atrium[..., 1], axis=1) * rng.uniform(0.75, 1.0)
        angles = np.linspace(0, math.pi, 33)
        middle, half = 0.5 * (far + hinge), 0.5 * length * rng.uniform(1.0, 1.15)
        # the septum between the atria is the left atrium's own wall
        gap = atrium[:, :, 0].min(1) - 3.2 - (middle[:, 0] + half)
        middle = middle + np.stack([np.minimum(gap, 0), np.zeros(num_frames)], 1)
        arc = np.stack(
            [
                middle[:, :1] - half[:, None] * np.cos(angles) * np.sin(angles) ** 0.12,
                middle[:, 1:] + height[:, None] * np.sin(angles) ** 0.8,
            ],
            -1,
        )
        self.add_tube("right_atrium", arc, 2.6)
        if not self.right_is_visible:
            self.solids.pop()

    def narrowed_atrium(self, atrium: np.ndarray) -> np.ndarray:
        """The atrium narrowed to the left, to leave room for the aortic root."""
        left = atrium[:, :1, :1]
        narrow = atrium.copy()
        narrow[..., :1] = left + 0.55 * (atrium[..., :1] - left)
        return narrow

    def add_aortic_root(self, opening: np.ndarray) -> None:
        """Aortic root right of the atrium in ALAX, with its two visible cusps."""
        rng = self.rng
        across = self.right - self.left
        start = self.left + 0.56 * across
        away = np.array([0.3, 0.95]) * rng.uniform(26, 36)
        steps = np.linspace(0, 1, 11)[:, None]
        sinus = (np.sin(math.pi * np.minimum(1, steps * 1.6)) * 2.5)[None] * np.array([1.0, 0.0])
        inner = start[:, None] + steps * away - sinus
        outer = self.right[:, None] + steps * away + sinus
        for name, line, side in (("root_inner", inner, -1.0), ("root_outer", outer, 1.0)):
            shift = np.array([side * 2.0, 0.0])
            self.meshes[name] = np.stack([line, line + 0.5 * shift, line + shift], 2)
        self.solids.append(np.concatenate([inner, outer[:, ::-1]], 1))
        centre = 0.5 * (inner[:, 1] + outer[:, 1])
        share = opening[:, None]
        for name, line in (("cusp_inner", inner), ("cusp_outer", outer)):
            tip = (1 - share) * centre + share * (0.85 * line[:, 4] + 0.15 * centre)
            curve = bezier(
                line[:, 1], 0.7 * line[:, 1] + 0.3 * tip, 0.3 * line[:, 1] + 0.7 * tip, tip, 7
            )
            self.meshes[name] = np.stack([curve - 0.5, curve + 0.5], 2)
