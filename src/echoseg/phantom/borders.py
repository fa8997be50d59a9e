"""Contrast along the borders of the wall, where a segmentation network reads it.

Bands of 5 mm lie on both sides of the endocardium (cavity, wall) and of the epicardium (wall,
surroundings), by side of the wall and by level. Where the scale of an image is assumed, as for A2C
of the CAMUS copy without its own pixel spacing, so are the 5 mm.

Reference:
    gCNR: Rodriguez-Molares et al., IEEE Trans. Ultrason. Ferroelectr. Freq. Control 67(4), 2020.
"""

from itertools import pairwise

import numpy as np
from scipy import ndimage

from echoseg.clip import Label, View
from echoseg.measure.geometry import LongAxis

BAND_MM = 5.0
SIDES = {View.A4C: ("septal", "lateral"), View.A2C: ("inferior", "anterior")}
"""Names of the wall on the left and on the right of the picture."""
LEVELS = {"basal": (0.6, 0.9), "mid": (0.33, 0.6), "apical": (0.05, 0.33)}
"""Parts of the long axis from the apex."""
_MIN_PIXELS = 20
_GREY_BINS = np.linspace(0, 256, 33)


def border_contrast(
    picture: np.ndarray,
    mask: np.ndarray,
    spacing_mm: tuple[float, float],
    axis: LongAxis,
    sides: tuple[str, str],
) -> dict[str, float]:
    """Contrast of one frame, by side and level; bands outside the sector are left out.

    Args:
        picture: Grey levels `H W`, 0 outside the sector.
        mask: Label map `H W`.
        spacing_mm: (row, column).
        axis: Long axis of the mask.
        sides: Names of the left and the right wall.

    Returns:
        For each side and level the mean grey of the wall less that of the cavity, the gCNR of
        the two, and the mean of the wall less that of its surroundings; for each side the
        percentage of stretches of 5 mm along the border with the wall darker than the cavity.
    """
    sector = ndimage.binary_fill_holes(ndimage.binary_closing(picture > 2, iterations=2))
    bands = _bands(mask, np.asarray(sector, bool), spacing_mm)
    down = axis.annulus_mid_mm - axis.apex_mm
    right = np.array([down[1], -down[0]]) / axis.length_mm
    greys, along, across = {}, {}, {}
    for name, band in bands.items():
        rows, columns = np.nonzero(band)
        offset = np.stack([columns * spacing_mm[1], rows * spacing_mm[0]], 1) - axis.apex_mm
        greys[name] = picture[rows, columns].astype(float)
        along[name], across[name] = offset @ down / axis.length_mm**2, offset @ right
    quantities: dict[str, float] = {}
    for index, side in enumerate(sides):

        def of(name: str, low: float, high: float, index: int = index) -> np.ndarray:
            inside = (along[name] >= low) & (along[name] < high)
            return greys[name][inside & ((across[name] >= 0) == bool(index))]

        for level, part in LEVELS.items():
            wall, cavity, outer, surroundings = (of(name, *part) for name in bands)
            if min(len(wall), len(cavity)) >= _MIN_PIXELS:
                label = f"border, {side} {level}"
                quantities[f"{label}: wall - cavity"] = wall.mean() - cavity.mean()
                quantities[f"{label}: gCNR"] = gcnr(wall, cavity)
            if min(len(outer), len(surroundings)) >= _MIN_PIXELS:
                name = f"border, {side} {level}: wall - surroundings"
                quantities[name] = outer.mean() - surroundings.mean()
        edges = np.arange(0.05, 0.9, BAND_MM / axis.length_mm)
        pairs = [(of("wall", *part), of("cavity", *part)) for part in pairwise(edges)]
        darker = [w.mean() < c.mean() for w, c in pairs if min(len(w), len(c)) >= _MIN_PIXELS]
        if darker:
            quantities[f"border, {side}: wall darker (%)"] = 100 * float(np.mean(darker))
    return quantities


def gcnr(one: np.ndarray, other: np.ndarray) -> float:
    """Generalized contrast-to-noise ratio of two samples: 1 less the histograms' overlap."""
    shares = [np.histogram(sample, _GREY_BINS)[0] / len(sample) for sample in (one, other)]
    return float(1 - np.minimum(*shares).sum())


def _bands(
    mask: np.ndarray, sector: np.ndarray, spacing_mm: tuple[float, float]
) -> dict[str, np.ndarray]:
    """Bands of wall and cavity at the endocardium, of wall and surroundings at the epicardium."""
    cavity, wall = mask == Label.LV_CAVITY, mask == Label.LV_MYOCARDIUM
    beyond = mask == Label.BACKGROUND

    def near(region: np.ndarray) -> np.ndarray:
        distance = ndimage.distance_transform_edt(~region, sampling=spacing_mm)
        return (np.asarray(distance) < BAND_MM) & sector

    at_wall = near(wall)
    return {
        "wall": wall & near(cavity),
        "cavity": cavity & at_wall,
        "outer wall": wall & near(beyond),
        "surroundings": beyond & at_wall,
    }
