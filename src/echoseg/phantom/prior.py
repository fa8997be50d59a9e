"""Statistics of real hearts and images: mean and principal modes of landmarks and greys.

`anatomy_camus.json` and `greys_camus.json` hold statistics of the CAMUS training patients
(Leclerc et al., IEEE TMI 2019), measured by `scripts/fit_phantom_prior.py`; they contain
no image, mask or patient.
A row of the anatomy, A4C: ln of the long axis in mm, apex (x, y) from the probe in mm, tilt in
degrees, depth in mm, then in units of the long axis the endocardium and the atrium at ED and ES
(points (u, v) from the apex: u to the base, v to the lateral wall), and the wall at ED and ES.
A2C adds how its width and wall differ from A4C's and where the heart lies under the probe.
A row of the greys, of each view: smoothed grey levels of ED and ES across the wall and in the
cavities, and outside the heart at ED. `correction` and `spread` are fitted in a closed loop, so
that simulated images have the mean and the standard deviation of the real ones.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from echoseg.clip import View

BORDER_POINTS = 25
WALL_PLACES = (-0.5, -0.25, 0.0, 0.15, 0.4, 0.6, 0.85, 1.0, 1.2, 1.6, 2.2, 3.0)
"""Places across the wall, in thicknesses (at least 6 mm) from the endocardium."""
_GRID = (14, 11)
_GRID_HALF_ANGLE_DEG = 42.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks:
    """One heart in its A4C plane, in mm; index 0 is ED, 1 is ES.

    Attributes:
        length_mm: Long axis at ED.
        apex_mm: Visible apex at ED, (x, y) from the middle of the probe's face.
        tilt_deg: Long axis against the vertical; positive when the base lies to the right.
        depth_mm: Depth of the picture.
        endo_mm: Endocardium, septal hinge over apex to lateral hinge, `2 P 2` (u, v).
        atrium_mm: Left atrium, septal hinge over roof to lateral hinge, `2 P 2` (u, v).
        wall_mm: Thickness of the wall at each endocardial point, `2 P`.
    """

    length_mm: float
    apex_mm: np.ndarray
    tilt_deg: float
    depth_mm: float
    endo_mm: np.ndarray
    atrium_mm: np.ndarray
    wall_mm: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Shades:
    """Mean grey levels, 0 to 255, of one heart in one view; first index 0 is ED, 1 is ES.

    Attributes:
        wall: Along the border (as `Landmarks.endo_mm`) and across it (`WALL_PLACES`), `2 25 12`.
        cavity: Base to apex, left to right, `2 5 3`.
        atrium: Annulus to roof, `2 3`.
        outside: At ED, on a grid of depths (parts of the whole) and angles, `14 11`.
    """

    wall: np.ndarray
    cavity: np.ndarray
    atrium: np.ndarray
    outside: np.ndarray

    def outside_at(self, depth_share: np.ndarray, angle_rad: np.ndarray) -> np.ndarray:
        """Greys outside the heart, interpolated between the cells."""
        rows = depth_share * _GRID[0] - 0.5
        columns = (np.degrees(angle_rad) / _GRID_HALF_ANGLE_DEG + 1) / 2 * (_GRID[1] - 1)
        return map_coordinates(self.outside, [rows, columns], order=1, mode="nearest")


@cache
def statistics(name: str) -> dict[str, dict[str, Any]]:
    """The numbers of `anatomy_camus.json` or `greys_camus.json` by view; lists become arrays."""
    text = resources.files("echoseg.phantom").joinpath(f"{name}_camus.json").read_text("utf-8")
    return {
        view: {key: np.array(v) if isinstance(v, list) else v for key, v in part.items()}
        for view, part in json.loads(text)["views"].items()
    }


def _scores(rng: np.random.Generator, number: int) -> np.ndarray:
    return np.clip(rng.standard_normal(number), -2.6, 2.6)


def draw_landmarks(rng: np.random.Generator, spread: float = 1.0) -> Landmarks:
    """Draw a heart; `spread` widens (> 1) or narrows the distribution about its mean."""
    known = statistics("anatomy")["A4C"]
    row = known["mean"] + spread * _scores(rng, len(known["modes"])) @ known["modes"]
    length_mm = float(np.clip(np.exp(row[0]), 50, 120))
    points = 2 * BORDER_POINTS
    endo, atrium, wall = np.split(row[5:] * length_mm, [2 * points, 4 * points])
    return Landmarks(
        length_mm=length_mm,
        apex_mm=row[1:3],
        tilt_deg=float(row[3]),
        depth_mm=float(row[4]),
        endo_mm=endo.reshape(2, BORDER_POINTS, 2),
        atrium_mm=atrium.reshape(2, BORDER_POINTS, 2),
        wall_mm=np.clip(wall.reshape(2, BORDER_POINTS), 0.5, None),
    )


def draw_a2c_shape(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw how A2C differs from A4C: (roundness, asymmetry, thickness), `13` each, base to apex.

    Roundness is the half axis across the A4C plane over the one in it; asymmetry is half the
    difference of anterior and inferior wall over A4C's mean wall; thickness is A2C's mean wall
    over A4C's (readers of CAMUS draw it a third thicker).
    """
    known = statistics("anatomy")["A2C"]
    row = known["mean"] + _scores(rng, len(known["modes"])) @ known["modes"]
    roundness, asymmetry, thickness = np.split(row, 3)
    return np.clip(roundness, 0.6, 1.5), np.clip(asymmetry, -0.5, 0.5), np.clip(thickness, 0.7, 2)


def draw_a2c_pose(scores: np.ndarray) -> np.ndarray:
    """Apex (x, y) in mm from the probe and tilt in degrees in A2C, of three standard normals."""
    known = statistics("anatomy")["A2C"]
    return known["pose_mean"] + np.clip(scores, -2.6, 2.6) @ known["pose_modes"]


def draw_shades(rng: np.random.Generator, view: View) -> Shades:
    """Draw the greys of one heart in one view; ALAX, which CAMUS lacks, takes A2C's."""
    known = statistics("greys")["A4C" if view is View.A4C else "A2C"]
    variation = _scores(rng, len(known["modes"])) @ known["modes"]
    greys = known["mean"] + known["correction"] + known["spread"] * variation
    across = BORDER_POINTS * len(WALL_PLACES)
    sizes = np.cumsum([2 * across, 2 * 15, 2 * 3])
    wall, cavity, atrium, outside = np.split(np.clip(greys, 2, 250), sizes)
    return Shades(
        wall=wall.reshape(2, BORDER_POINTS, len(WALL_PLACES)),
        cavity=cavity.reshape(2, 5, 3),
        atrium=atrium.reshape(2, 3),
        outside=outside.reshape(_GRID),
    )
