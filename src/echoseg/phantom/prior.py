"""Statistics of real hearts and images: mean and principal modes of landmarks and greys.

`anatomy_camus.json` and `greys_camus.json` hold statistics of the CAMUS training patients (A4C;
Leclerc et al., IEEE TMI 2019), measured by `scripts/fit_phantom_prior.py`; they contain
no image, mask or patient.
A row of the first: ln of the long axis in mm, apex (x, y) from the probe in mm, tilt in degrees,
depth in mm, then in units of the long axis the endocardium at ED and ES, the atrium at ED and ES
(points (u, v) from the apex: u to the base, v to the lateral wall), and the wall at ED and ES. A
row of the second: smoothed grey levels of the ED frame across the wall, in the cavities, and
outside the heart.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from scipy.ndimage import map_coordinates

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
    """Mean grey levels, 0 to 255, of one picture at ED.

    Attributes:
        wall: Along the border (as `Landmarks.endo_mm`) and across it (`WALL_PLACES`), `25 12`.
        cavity: Base to apex to base, left to right, `5 3`.
        atrium: Annulus to roof, `3`.
        outside: On a grid of depths (parts of the whole) and angles, `14 11`.
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
def _model(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean `V` and modes `M V` in standard deviations."""
    text = resources.files("echoseg.phantom").joinpath(f"{name}_camus.json").read_text("utf-8")
    document = json.loads(text)
    return np.array(document["mean"]), np.array(document["modes"])


def draw_landmarks(rng: np.random.Generator, spread: float = 1.0) -> Landmarks:
    """Draw a heart; `spread` widens (> 1) or narrows the distribution about its mean."""
    mean, modes = _model("anatomy")
    scores = np.clip(rng.standard_normal(len(modes)), -2.6, 2.6)
    row = mean + spread * scores @ modes
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


def draw_shades(rng: np.random.Generator, spread: float = 1.0) -> Shades:
    """Draw the greys of one image."""
    mean, modes = _model("greys")
    scores = np.clip(rng.standard_normal(len(modes)), -2.6, 2.6)
    greys = np.clip(mean + spread * scores @ modes, 8, 245)
    across = BORDER_POINTS * len(WALL_PLACES)
    wall, cavity, atrium, outside = np.split(greys, [across, across + 15, across + 18])
    return Shades(
        wall=wall.reshape(BORDER_POINTS, len(WALL_PLACES)),
        cavity=cavity.reshape(5, 3),
        atrium=atrium,
        outside=outside.reshape(_GRID),
    )
