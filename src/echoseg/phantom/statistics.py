"""Statistics of annotated frames, for comparing real and simulated images.

Contrast along the borders (see `borders`) is what a network reads; lengths and thicknesses come
from the masks, greys from the images; `fine` grey is the residual of a 7 x 7 mean at 160 px. Two
data sets are compared quantity by quantity:
(mean difference) / sqrt((variance_a + variance_b) / 2).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.transform import resize

from echoseg.clip import Label, Phase, View
from echoseg.errors import MeasurementError
from echoseg.measure.geometry import disk_diameters_mm, long_axis, mask_contour_mm
from echoseg.phantom.borders import LEVELS, SIDES, border_contrast

FRAME_PX = 160
_FINE_PX = 7
_NEAR_MM = 20.0
_MIN_PIXELS = 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Still:
    """One annotated frame: picture and mask `H W`, spacing (row, column) in mm or None."""

    picture: np.ndarray
    mask: np.ndarray
    spacing_mm: tuple[float, float] | None
    phase: Phase
    view: View = View.A4C


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """A quantity over frames."""

    number: int
    mean: float
    sd: float


Table = dict[str, Distribution]


def describe(stills: Iterable[Still]) -> Table:
    """Distribution of every quantity, separately for ED and ES."""
    values: dict[str, list[float]] = {}
    for still in stills:
        for name, value in {**_borders(still), **_shape(still), **_greys(still)}.items():
            if np.isfinite(value):
                values.setdefault(f"{still.phase} {name}", []).append(float(value))
    return {
        name: Distribution(
            number=len(sample),
            mean=float(np.mean(sample)),
            sd=float(np.std(sample, ddof=len(sample) > 1)),
        )
        for name, sample in sorted(values.items())
    }


def is_border(name: str) -> bool:
    """Whether a quantity of `describe` is a contrast along a border."""
    return " border, " in name


def distance(one: Distribution, other: Distribution) -> float:
    """Difference of two means in units of the pooled standard deviation."""
    spread = np.sqrt((one.sd**2 + other.sd**2) / 2)
    return float((one.mean - other.mean) / max(spread, 1e-9))


def _borders(still: Still) -> dict[str, float]:
    """Contrast along the borders; only with a pixel spacing and of views with named walls."""
    if still.spacing_mm is None or still.view not in SIDES:
        return {}
    try:
        axis = long_axis(still.mask, still.spacing_mm)
    except MeasurementError:
        return {}
    return border_contrast(still.picture, still.mask, still.spacing_mm, axis, SIDES[still.view])


def _shape(still: Still) -> dict[str, float]:
    """Quantities of the mask; lengths only with a pixel spacing."""
    mask = still.mask
    cavity, wall = mask == Label.LV_CAVITY, mask == Label.LV_MYOCARDIUM
    atrium = mask == Label.LA_CAVITY
    step = still.spacing_mm or (1.0, 1.0)
    side = max(mask.shape[0] * step[0], mask.shape[1] * step[1])
    quantities = {"LV share of the square frame": cavity.sum() * step[0] * step[1] / side**2}
    if wall.any():
        quantities["LV share of the epicardial area"] = cavity.sum() / (cavity | wall).sum()
    if still.spacing_mm is None or not cavity.any():
        return quantities
    try:
        axis = long_axis(mask, step)
    except MeasurementError:
        return quantities
    contour = mask_contour_mm(cavity, step)
    widths = disk_diameters_mm(contour, axis)
    down = axis.annulus_mid_mm - axis.apex_mm
    quantities |= {
        "LV length (mm)": axis.length_mm,
        "LV width, basal (mm)": widths[3],
        "LV width, mid (mm)": widths[9],
        "LV width, apical (mm)": widths[16],
        "LV area (cm2)": cavity.sum() * step[0] * step[1] / 100,
        "tilt (deg)": float(np.degrees(np.arctan2(down[0], down[1]))),
    }
    if atrium.any():
        away = np.linalg.norm(mask_contour_mm(atrium, step) - axis.annulus_mid_mm, axis=1)
        quantities["LA length (mm)"] = away.max()
        quantities["LA area (cm2)"] = atrium.sum() * step[0] * step[1] / 100
    if wall.any():
        thick = _depth(np.pad(cavity | wall, 1), step)
        place = np.rint(contour[:, ::-1] / step).astype(int) + 1
        inside = (place < thick.shape).all(1)
        for name, chosen in _segments(contour, axis.apex_mm, down):
            points = place[chosen & inside]
            if len(points):
                quantities[f"wall, {name} (mm)"] = np.median(thick[points[:, 0], points[:, 1]])
    return quantities


def _depth(region: np.ndarray, step: tuple[float, float]) -> np.ndarray:
    """Depth of each pixel inside a region, in mm; 0 outside."""
    return np.asarray(ndimage.distance_transform_edt(region, sampling=step))


def _segments(
    points: np.ndarray, apex: np.ndarray, down: np.ndarray
) -> Iterable[tuple[str, np.ndarray]]:
    """Yield the six wall segments: name and which points belong to it."""
    length = np.linalg.norm(down)
    along = (points - apex) @ down / length**2
    across = (points - apex) @ np.array([down[1], -down[0]])
    for side in ("left", "right"):
        for level, (low, high) in LEVELS.items():
            chosen = (along >= low) & (along < high) & ((across < 0) == (side == "left"))
            yield f"{side} {level}", chosen


def _greys(still: Still) -> dict[str, float]:
    """Grey-level quantities at 160 px."""
    scale = FRAME_PX / max(still.picture.shape)
    size = tuple(max(8, round(edge * scale)) for edge in still.picture.shape)
    grey = np.asarray(resize(still.picture.astype(float), size, order=1, anti_aliasing=scale < 1))
    mask = np.asarray(resize(still.mask, size, order=0, preserve_range=True, anti_aliasing=False))
    closed = ndimage.binary_closing(grey > 2, iterations=2)
    sector = np.asarray(ndimage.binary_fill_holes(closed), bool)
    heart = np.asarray(ndimage.binary_dilation(mask > 0, iterations=2), bool)
    fine = grey - ndimage.uniform_filter(grey, _FINE_PX)
    parts = {
        "LV": mask == Label.LV_CAVITY,
        "myocardium": mask == Label.LV_MYOCARDIUM,
        "LA": mask == Label.LA_CAVITY,
        "outside": sector & ~heart,
    }
    quantities: dict[str, float] = {}
    for name, part in parts.items():
        inner = np.asarray(ndimage.binary_erosion(part, iterations=1), bool)
        if inner.sum() < _MIN_PIXELS:
            continue
        quantities[f"grey, {name}"] = grey[inner].mean()
        quantities[f"grey spread, {name}"] = grey[inner].std()
        quantities[f"fine grey, {name}"] = fine[inner].std()
    cavity, wall = parts["LV"], parts["myocardium"]
    if min(cavity.sum(), wall.sum()) >= _MIN_PIXELS:
        bins = np.linspace(0, 256, 65)
        shares = [np.histogram(grey[part], bins)[0] / part.sum() for part in (cavity, wall)]
        quantities["gCNR, wall to cavity"] = 1 - np.minimum(*shares).sum()
        inner = np.asarray(ndimage.binary_erosion(cavity, iterations=2), bool)
        if inner.sum() >= _MIN_PIXELS:
            for axis, name in ((0, "depth"), (1, "width")):
                quantities[f"fine grey's correlation over a pixel, {name}"] = np.corrcoef(
                    fine[inner], np.roll(fine, 1, axis)[inner]
                )[0, 1]
    quantities |= _spectrum(grey, sector)
    rows = np.flatnonzero(sector.any(1))
    if still.spacing_mm is not None and rows.size:
        end = rows[0] + _NEAR_MM / (still.spacing_mm[0] / scale)
        quantities["grey, nearest 20 mm"] = grey[
            sector & (np.arange(len(grey))[:, None] < end)
        ].mean()
    return quantities


def _spectrum(grey: np.ndarray, sector: np.ndarray) -> dict[str, float]:
    """Fractions of the image's power in three frequency bands."""
    if not sector.any():
        return {}
    flat = np.where(sector, grey - grey[sector].mean(), 0)
    power = np.abs(np.fft.fft2(flat, (FRAME_PX, FRAME_PX))) ** 2
    rate = np.hypot(*np.meshgrid(*[np.fft.fftfreq(FRAME_PX)] * 2))
    bands = {
        "coarse (over 20 px)": (0.0, 0.05),
        "middle": (0.05, 0.2),
        "fine (under 5 px)": (0.2, 1.0),
    }
    total = power[rate > 0].sum()
    return {
        f"power, {name}": power[(rate > low) & (rate <= high)].sum() / max(total, 1e-9)
        for name, (low, high) in bands.items()
    }
