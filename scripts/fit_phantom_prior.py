"""Measure the anatomy of CAMUS's training masks and write the phantom's prior: numbers only.

    python scripts/fit_phantom_prior.py ../shared/camus-a4c src/echoseg/phantom

Every patient becomes one row: landmarks of ED and ES in the frame of the ED long axis (origin at
the visible apex, u towards the base, v towards the lateral wall), in units of the ED length.
A second row holds smoothed grey levels of the ED frame in places named by the anatomy: across the
wall, down the cavities, and outside the heart on a polar grid.
Only the mean and the principal modes of both are kept; no image, mask or patient.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import ndimage

from echoseg.clip import Label
from echoseg.data.phantom import stills_of
from echoseg.measure.geometry import long_axis, mask_contour_mm
from echoseg.phantom.statistics import Still

SIDE_POINTS = 13
"""Points on each side of a border, its two ends included."""
NUM_MODES = 24
NUM_GREY_MODES = 30
MAX_WALL_MM = 28.0


def resample(points: np.ndarray, number: int) -> np.ndarray:
    """Return `number` points evenly spaced along a line of points `P 2`."""
    steps = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    places = np.linspace(0, steps[-1], number)
    return np.stack([np.interp(places, steps, points[:, axis]) for axis in (0, 1)], 1)


def smooth_border(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return the closed border of a region, its pixel stairs taken off."""
    border = resample(mask_contour_mm(mask, spacing_mm), 240)[:-1]
    return ndimage.gaussian_filter1d(border, 2.0, axis=0, mode="wrap")


def open_border(border: np.ndarray, ends: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Return a closed border from `ends[0]` over `far` to `ends[1]`, an odd number of points."""
    first, top, last = (
        np.linalg.norm(border - p, axis=1).argmin() for p in (ends[0], far, ends[1])
    )
    size = len(border)
    if (top - first) % size > (last - first) % size:  # runs the other way
        border = border[::-1]
        first, top, last = size - 1 - first, size - 1 - top, size - 1 - last
    up = border[(first + np.arange((top - first) % size + 1)) % size]
    down = border[(top + np.arange((last - top) % size + 1)) % size]
    return np.concatenate([resample(up, SIDE_POINTS), resample(down, SIDE_POINTS)[1:]])


def wall_thickness(
    endo: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, float]
) -> np.ndarray:
    """Return the way from each endocardial point along its outward normal out of the wall, mm."""
    along = np.gradient(endo, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    if ((endo - endo.mean(0)) * normal).sum() < 0:
        normal = -normal
    steps = np.arange(0, MAX_WALL_MM, 0.25)
    places = endo[:, None] + steps[None, :, None] * normal[:, None]
    inside = ndimage.map_coordinates(
        ((mask == Label.LV_CAVITY) | (mask == Label.LV_MYOCARDIUM)).astype(float),
        [places[..., 1] / spacing_mm[0], places[..., 0] / spacing_mm[1]],
        order=1,
    )
    return steps[(inside < 0.5).argmax(1)]


def sector_of(picture: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[float, float, float]:
    """Return (column of the probe's face, its row, depth), in mm; the picture is one sector."""
    lit = ndimage.binary_opening(picture > 0, iterations=2)
    rows = np.flatnonzero(lit.any(1))
    tip = np.flatnonzero(lit[rows[0] : rows[0] + 3].any(0)).mean()
    return tip * spacing_mm[1], rows[0] * spacing_mm[0], (rows[-1] - rows[0]) * spacing_mm[0]


def landmarks(still: Still) -> dict[str, np.ndarray]:
    """Return the borders and walls of one frame in picture millimetres."""
    axis = long_axis(still.mask, still.spacing_mm)
    hinges = axis.hinges_mm[np.argsort(axis.hinges_mm[:, 0])]
    endo = open_border(
        smooth_border(still.mask == Label.LV_CAVITY, still.spacing_mm), hinges, axis.apex_mm
    )
    atrium = smooth_border(still.mask == Label.LA_CAVITY, still.spacing_mm)
    middle = hinges.mean(0)
    roof = atrium[np.linalg.norm(atrium - middle, axis=1).argmax()]
    down = (middle - axis.apex_mm) / axis.length_mm
    near = np.stack(
        [atrium[np.linalg.norm(atrium - h - 1.5 * down, axis=1).argmin()] for h in hinges]
    )
    return {
        "endo": endo,
        "wall": wall_thickness(endo, still.mask, still.spacing_mm),
        "atrium": open_border(atrium, near, roof),
        "apex": axis.apex_mm,
        "middle": middle,
    }


def cut(still: Still, label: Label) -> bool:
    """Tell whether the picture's edge cuts a structure."""
    edge = np.zeros(still.mask.shape, bool)
    edge[-2:] = edge[:, :2] = edge[:, -2:] = True
    return bool((edge & (still.mask == label)).any())


def fill_missing(data: np.ndarray, num_modes: int = 12) -> np.ndarray:
    """Replace NaN by what the principal modes of the rest say, to a fixed point."""
    never = np.isnan(data).all(0)  # places that the heart always covers
    data = np.where(never, np.nanmean(data), data)
    missing = np.isnan(data)
    filled = np.where(missing, np.nanmean(data, 0), data)
    for _ in range(60):
        mean = filled.mean(0)
        left, size, modes = np.linalg.svd(filled - mean, full_matrices=False)
        model = mean + (left[:, :num_modes] * size[:num_modes]) @ modes[:num_modes]
        filled = np.where(missing, model, data)
    return filled


def row_of(ed: Still, es: Still) -> np.ndarray:
    """Return one patient's numbers."""
    marks = [landmarks(still) for still in (ed, es)]
    origin, base = marks[0]["apex"], marks[0]["middle"]
    length = float(np.linalg.norm(base - origin))
    u = (base - origin) / length
    v = np.array([u[1], -u[0]])
    frame = np.stack([u, v], 1)
    column_mm, row_mm, depth_mm = sector_of(ed.picture, ed.spacing_mm)
    parts = [
        np.log(length),
        *(origin - (column_mm, row_mm)),
        np.degrees(np.arctan2(u[0], u[1])),
        depth_mm,
    ]
    for name in ("endo", "atrium"):
        for mark, still in zip(marks, (ed, es), strict=True):
            points = ((mark[name] - origin) @ frame / length).ravel()
            if name == "atrium" and cut(still, Label.LA_CAVITY):
                points = np.full_like(points, np.nan)
            parts.append(points)
    parts += [mark["wall"] / length for mark in marks]
    return np.concatenate([np.atleast_1d(part) for part in parts])


WALL_PLACES = (-0.5, -0.25, 0.0, 0.15, 0.4, 0.6, 0.85, 1.0, 1.2, 1.6, 2.2, 3.0)
"""Places across the wall, in thicknesses from the endocardium; at least 6 mm count as one."""
GRID = (14, 11)
"""Cells of the polar grid outside the heart: depths, angles."""
GRID_HALF_ANGLE_DEG = 42.0
SMOOTH_MM = 2.0


def smooth_greys(still: Still) -> np.ndarray:
    """Return the picture without its speckle, NaN outside the sector."""
    lit = ndimage.binary_fill_holes(ndimage.binary_closing(still.picture > 0, iterations=3))
    widths = [SMOOTH_MM / step for step in still.spacing_mm]
    weight = ndimage.gaussian_filter(lit.astype(float), widths)
    greys = ndimage.gaussian_filter(np.where(lit, still.picture, 0).astype(float), widths)
    return np.where(lit, greys / np.maximum(weight, 1e-3), np.nan)


def greys_at(
    greys: np.ndarray, places_mm: np.ndarray, spacing_mm: tuple[float, float]
) -> np.ndarray:
    """Return the greys at places (x, y); NaN off the picture."""
    at = [places_mm[..., 1] / spacing_mm[0], places_mm[..., 0] / spacing_mm[1]]
    return ndimage.map_coordinates(greys, at, order=1, cval=np.nan)


def grey_row(still: Still) -> np.ndarray:
    """Return one frame's greys: wall `25 x 12`, cavity `5 x 3`, atrium `3`, outside `14 x 11`."""
    mark, greys = landmarks(still), smooth_greys(still)
    endo, middle = mark["endo"], mark["middle"]
    along = np.gradient(endo, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    if ((endo - endo.mean(0)) * normal).sum() < 0:
        normal = -normal
    thick = np.maximum(mark["wall"], 6.0)[:, None, None]
    across = endo[:, None] + np.array(WALL_PLACES)[None, :, None] * thick * normal[:, None]
    left, right = endo[:SIDE_POINTS], endo[::-1][:SIDE_POINTS]
    levels = np.linspace(1, SIDE_POINTS - 2, 5).round().astype(int)
    cavity = np.stack([left[levels] + f * (right - left)[levels] for f in (0.25, 0.5, 0.75)], 1)
    roof = mark["atrium"][SIDE_POINTS - 1]
    atrium = np.stack([middle + f * (roof - middle) for f in (0.25, 0.5, 0.75)])
    column_mm, row_mm, depth_mm = sector_of(still.picture, still.spacing_mm)
    radius = (np.arange(GRID[0]) + 0.5) / GRID[0] * depth_mm
    angle = np.radians(np.linspace(-GRID_HALF_ANGLE_DEG, GRID_HALF_ANGLE_DEG, GRID[1]))
    polar = np.stack(
        [column_mm + radius[:, None] * np.sin(angle), row_mm + radius[:, None] * np.cos(angle)], -1
    )
    heart = ndimage.binary_dilation(still.mask > 0, iterations=3)
    outside = greys_at(np.where(heart, np.nan, greys), polar, still.spacing_mm)
    parts = [greys_at(greys, places, still.spacing_mm) for places in (across, cavity, atrium)]
    return np.concatenate([part.ravel() for part in (*parts, outside)])


def reduced(data: np.ndarray, scale: np.ndarray, num_modes: int) -> dict[str, object]:
    """Return mean and principal modes in standard deviations, rounded."""
    mean = data.mean(0)
    _, size, modes = np.linalg.svd((data - mean) / scale, full_matrices=False)
    scaled_modes = modes[:num_modes] * (size[:num_modes, None] / np.sqrt(len(data) - 1)) * scale
    digits = 5 if abs(mean).max() < 1000 and data[:, -1].mean() < 1 else 2
    return {
        "source": "CAMUS training patients, A4C, expert masks (Leclerc et al., IEEE TMI 2019)",
        "num_patients": len(data),
        "variance_kept": round(float((size[:num_modes] ** 2).sum() / (size**2).sum()), 4),
        "mean": [round(float(x), digits) for x in mean],
        "modes": [[round(float(x), digits) for x in mode] for mode in scaled_modes],
    }


def main() -> None:
    """Measure, reduce, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camus", type=Path)
    parser.add_argument("out", type=Path, help="folder")
    args = parser.parse_args()
    rows, greys = [], []
    stills = stills_of(args.camus)
    for ed, es in zip(stills, stills, strict=True):
        if any(cut(still, Label.LV_CAVITY) for still in (ed, es)):
            continue
        rows.append(row_of(ed, es))
        greys.append(grey_row(ed))
    data = fill_missing(np.stack(rows))
    scale = np.ones(data.shape[1])
    scale[:5] = data[:, :5].std(0) / 0.15  # the five lone numbers weigh like a border each
    shades = fill_missing(np.stack(greys))
    for name, document in (
        ("anatomy", reduced(data, scale, NUM_MODES)),
        ("greys", reduced(shades, np.ones(shades.shape[1]), NUM_GREY_MODES)),
    ):
        (args.out / f"{name}_camus.json").write_text(json.dumps(document) + "\n")
        print(name, {key: document[key] for key in ("num_patients", "variance_kept")})


if __name__ == "__main__":
    main()
