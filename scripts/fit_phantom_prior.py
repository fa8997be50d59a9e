"""Measure the hearts of CAMUS's training patients and write the phantom's prior: numbers only.

    python scripts/fit_phantom_prior.py CAMUS src/echoseg/phantom

Every patient becomes one row: landmarks of ED and ES in A4C in the frame of the ED long axis
(origin at the visible apex, u towards the base, v towards the lateral wall), in units of the ED
length; of A2C its width and the difference of its walls beside A4C's, and its place in the sector
(the scale of A2C is assumed to be A4C's where the data set does not have its own).
Of each view a row holds smoothed grey levels of ED and ES in places named by the anatomy: across
the wall, down the cavities, and at ED outside the heart on a polar grid.
Only the mean and the principal modes are kept; no image, mask or patient.

Then the imaging is fitted in a closed loop: hearts are simulated and measured in the same way, and
the requested greys are corrected by the difference of the means (`correction`) and the ratio of
the standard deviations (`spread`), place by place.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from echoseg.clip import Label, Phase, View
from echoseg.data.phantom import phantom_stills, stills_of
from echoseg.errors import MeasurementError
from echoseg.measure.geometry import long_axis, mask_contour_mm
from echoseg.phantom import prior
from echoseg.phantom.borders import LEVELS, SIDES
from echoseg.phantom.prior import BORDER_POINTS, WALL_PLACES
from echoseg.phantom.statistics import Still, describe, is_border

SIDE_POINTS = 13
"""Points on each side of a border, its two ends included."""
NUM_MODES = 24
NUM_GREY_MODES = 30
NUM_SHAPE_MODES = 6
FIRST_SEED = 600_000
"""Hearts of the closed loop; `echoseg phantom calibrate` compares others."""
MIN_VALUES = 20
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


GRID = (14, 11)
"""Cells of the polar grid outside the heart: depths, angles."""
GRID_HALF_ANGLE_DEG = 42.0
SMOOTH_MM = 1.5


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


def grey_row(still: Still) -> list[np.ndarray]:
    """Return one frame's greys: wall `25 x 12`, cavity `5 x 3`, atrium `3`, outside `14 x 11`.

    Places off the picture are NaN.
    """
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
    return [part.ravel() for part in (*parts, outside)]


def greys_of(pair: tuple[Still, Still]) -> np.ndarray | None:
    """Return the greys of ED and ES, wall, cavity and atrium of both, then outside at ED."""
    try:
        ed, es = map(grey_row, pair)
    except MeasurementError:
        return None
    return np.concatenate([*(part for both in zip(ed, es, strict=True) for part in both)][:-1])


def relative_width(endo: np.ndarray) -> np.ndarray:
    """Return the distance of both sides, base to apex, over the long axis."""
    across = endo[::-1][:SIDE_POINTS] - endo[:SIDE_POINTS]
    length_mm = np.linalg.norm(endo[SIDE_POINTS - 1] - endo[[0, -1]].mean(0))
    return np.linalg.norm(across, axis=1) / length_mm


def a2c_row(pair: tuple[Still, Still], a4c: tuple[Still, Still]) -> np.ndarray:
    """Return roundness, asymmetry and thickness, `13` each, and A2C's apex (x, y) in mm and tilt.

    The A2C plane, turned by 60 degrees, cuts an ellipse of half axes 1 and e at r:
    cos(60)^2 / 1 + sin(60)^2 / e^2 = 1 / r^2. The wall there is mean + cos(60) C + sin(60) S with
    C, S half the differences of lateral and septal, anterior and inferior wall.
    """
    cosine, sine = 0.5, np.sqrt(0.75)
    widths, walls, differences = [], [], []
    for both in (pair, a4c):
        marks = [landmarks(still) for still in both]
        widths.append(np.mean([relative_width(mark["endo"]) for mark in marks], 0))
        left, right = marks[0]["wall"][:SIDE_POINTS], marks[0]["wall"][::-1][:SIDE_POINTS]
        walls.append(0.5 * (left + right))
        differences.append(0.5 * (right - left))
    ratio = np.clip(widths[0] / np.maximum(widths[1], 1e-3), 0.6, 1.6)
    ratio[-1] = ratio[-2]  # both sides meet in the apex
    roundness = sine * ratio / np.sqrt(np.maximum(1 - (cosine * ratio) ** 2, 0.2))
    uneven = (differences[0] - cosine * differences[1]) / sine / np.maximum(walls[1], 3.0)
    axis = long_axis(pair[0].mask, pair[0].spacing_mm)
    column_mm, row_mm, _ = sector_of(pair[0].picture, pair[0].spacing_mm)
    down = axis.annulus_mid_mm - axis.apex_mm
    pose = [*(axis.apex_mm - (column_mm, row_mm)), np.degrees(np.arctan2(down[0], down[1]))]
    thicker = np.clip(walls[0] / np.maximum(walls[1], 3.0), 0.5, 2.5)
    return np.concatenate([roundness, np.clip(uneven, -0.6, 0.6), thicker, pose])


def reduced(data: np.ndarray, scale: np.ndarray, num_modes: int) -> dict[str, Any]:
    """Return mean and principal modes in standard deviations, rounded."""
    mean = data.mean(0)
    _, size, modes = np.linalg.svd((data - mean) / scale, full_matrices=False)
    scaled_modes = modes[:num_modes] * (size[:num_modes, None] / np.sqrt(len(data) - 1)) * scale
    digits = 1 if abs(data[:, -1]).mean() > 2 else 4  # grey levels, or parts of a length
    return {
        "num_patients": len(data),
        "variance_kept": round(float((size[:num_modes] ** 2).sum() / (size**2).sum()), 4),
        "mean": np.round(mean, digits).tolist(),
        "modes": np.round(scaled_modes, digits).tolist(),
    }


def write(folder: Path, name: str, views: dict[str, dict[str, Any]]) -> None:
    """Write the statistics of all views."""
    source = "CAMUS training patients, expert masks (Leclerc et al., IEEE TMI 2019)"
    document = json.dumps({"source": source, "views": views}, separators=(",", ":"))
    (folder / f"{name}_camus.json").write_text(document + "\n")


def pairs_of(stills: Any) -> list[tuple[Still, Still]]:
    """Return (ED, ES) of each heart."""
    stills = iter(stills)
    return list(zip(stills, stills, strict=True))


def anatomy(pairs: dict[View, list[tuple[Still, Still]]]) -> dict[str, dict[str, Any]]:
    """Reduce the shapes of both views."""
    whole = [not any(cut(still, Label.LV_CAVITY) for still in pair) for pair in pairs[View.A4C]]
    data = fill_missing(
        np.stack([row_of(*p) for p, good in zip(pairs[View.A4C], whole, strict=True) if good])
    )
    scale = np.ones(data.shape[1])
    scale[:5] = data[:, :5].std(0) / 0.15  # the five lone numbers weigh like a border each
    both = [
        a2c_row(two, four)
        for two, four, good in zip(pairs[View.A2C], pairs[View.A4C], whole, strict=True)
        if good and not any(cut(still, Label.LV_CAVITY) for still in two)
    ]
    rows = np.stack(both)
    shape, pose = rows[:, : 3 * SIDE_POINTS], rows[:, 3 * SIDE_POINTS :]
    a2c = reduced(shape, np.ones(shape.shape[1]), NUM_SHAPE_MODES)
    modes = np.linalg.cholesky(np.cov(pose.T)).T
    a2c |= {"pose_mean": pose.mean(0).round(2).tolist(), "pose_modes": modes.round(2).tolist()}
    return {"A4C": reduced(data, scale, NUM_MODES), "A2C": a2c}


def border_errors(view: dict[str, Any], pairs: list[tuple[Still, Still]]) -> np.ndarray:
    """Return real less simulated contrast of wall and cavity along the border, `2 25`."""
    table = describe(still for pair in pairs for still in pair)
    errors = np.zeros((2, BORDER_POINTS))
    centers = [(1 - np.mean(part)) * (SIDE_POINTS - 1) for part in LEVELS.values()]
    for row, phase in enumerate(Phase):
        for side, wall in enumerate(SIDES[pairs[0][0].view]):
            names = [f"{phase} border, {wall} {level}: wall - cavity" for level in LEVELS]
            off = [view["borders"][name][0] - table[name].mean for name in names]
            along = np.interp(np.arange(SIDE_POINTS), centers, off)
            errors[row][:: -1 if side else 1][:SIDE_POINTS] = along
            print("  " + " ".join(f"{value:+.1f}" for value in off), end="")
    print()
    return errors


def refine(view: dict[str, Any], pairs: list[tuple[Still, Still]], step: float) -> None:
    """Move correction and spread of a view by what simulated and real greys still differ.

    In the wall beside the endocardium the contrast of the bands counts, not the grey itself, for
    the blur leaves some of the wall in the cavity.
    """
    simulated = grey_rows(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # places that no heart shows
        off = np.array(view["mean"]) - np.nanmean(simulated, 0)
        ratio = np.array(view["sd"]) / np.maximum(np.nanstd(simulated, 0), 1)
    known = ((~np.isnan(simulated)).sum(0) >= MIN_VALUES) & (np.array(view["sd"]) > 0)
    print(f"  mean off {np.abs(off[known]).mean():.2f}, sd ratio {np.median(ratio[known]):.3f}")
    off = np.where(known, np.clip(off, -25, 25), 0)
    wall = off[: 2 * len(WALL_PLACES) * BORDER_POINTS].reshape(2, BORDER_POINTS, -1)
    wall[:] = ndimage.gaussian_filter1d(wall, 0.8, axis=1, mode="nearest")
    wall[..., 3:7] = border_errors(view, pairs)[..., None]
    correction = view["correction"] + step * off
    spread = view["spread"] * np.where(known, np.clip(ratio, 0.7, 1.4) ** (0.8 * step), 1)
    view["correction"] = np.clip(correction, -70, 70).round(1).tolist()
    view["spread"] = np.clip(spread, 0.4, 1.8).round(2).tolist()


def measured(camus: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Measure CAMUS, write the anatomy, return the greys of both views, nothing fitted yet."""
    pairs = {view: pairs_of(stills_of(camus, view=view)) for view in (View.A4C, View.A2C)}
    write(out, "anatomy", anatomy(pairs))
    greys = {}
    for view, both in pairs.items():
        data = grey_rows(both)
        few = (~np.isnan(data)).sum(0) < MIN_VALUES
        filled = fill_missing(data)
        borders = describe(still for pair in both for still in pair)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            sd = np.where(few, 0, np.nanstd(data, 0))
        greys[str(view)] = reduced(filled, np.ones(filled.shape[1]), NUM_GREY_MODES) | {
            "sd": sd.round(1).tolist(),
            "correction": [0.0] * filled.shape[1],
            "spread": [1.0] * filled.shape[1],
            "borders": {
                name: [round(value.mean, 3), round(value.sd, 3)]
                for name, value in borders.items()
                if is_border(name)
            },
        }
    return greys


def grey_rows(pairs: list[tuple[Still, Still]]) -> np.ndarray:
    """Return the greys of all hearts that can be measured."""
    return np.stack([row for row in map(greys_of, pairs) if row is not None])


def main() -> None:
    """Measure, reduce, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camus", type=Path)
    parser.add_argument("out", type=Path, help="the phantom's folder")
    parser.add_argument("--hearts", type=int, default=80, help="simulated in each round and view")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--refine", action="store_true", help="go on from the files in the folder")
    args = parser.parse_args()
    file = args.out / "greys_camus.json"
    if args.refine:
        greys = json.loads(file.read_text("utf-8"))["views"]
    else:
        greys = measured(args.camus, args.out)
    for number in range(args.rounds):
        write(args.out, "greys", greys)
        prior.statistics.cache_clear()
        for name, view in greys.items():
            seed = FIRST_SEED + (10 * number + args.refine) * args.hearts
            stills = pairs_of(phantom_stills(args.hearts, seed, View(name)))
            print(f"round {number + 1}, {name}")
            refine(view, stills, 0.9 if number < 2 and not args.refine else 0.6)
    write(args.out, "greys", greys)


if __name__ == "__main__":
    main()
