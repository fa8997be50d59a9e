"""How much masks flicker over time, without a network."""

from itertools import pairwise

import numpy as np

from echoseg.clip import Label
from echoseg.frame_store import count_pixels, each
from echoseg.metrics.segmentation import area_jitter_percent

MIN_FRAMES = 4
"""Frames of a clip, not stills, whose change over time can be measured."""


def temporal_features(masks: np.ndarray) -> dict[str, float | None]:
    """`flicker_percent` and `area_jitter_percent` of a clip's label maps, `(T, H, W)`.

    None where there are too few frames, or no cavity on any.
    """
    cavities = (mask == Label.LV_CAVITY for mask in each(masks))
    common = np.array([np.count_nonzero(one & other) for one, other in pairwise(cavities)])
    return area_features(count_pixels(masks, Label.LV_CAVITY), common)


def area_features(areas: np.ndarray, common: np.ndarray) -> dict[str, float | None]:
    """`temporal_features` of a clip whose cavities are counted.

    Args:
        areas: Pixels of each cavity, `(T,)`.
        common: Pixels of each that belong to the cavity of the next frame too, `(T - 1,)`.
    """
    if len(areas) < MIN_FRAMES or not areas.any():
        return {"flicker_percent": None, "area_jitter_percent": None}
    scores = 2 * common / (areas[1:] + areas[:-1]).clip(min=1)  # 0 without a cavity
    return {
        "flicker_percent": 100 * (1 - float(np.percentile(scores, 10))),
        "area_jitter_percent": area_jitter_percent(areas),
    }
