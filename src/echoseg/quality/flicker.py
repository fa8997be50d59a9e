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
    areas = count_pixels(masks, Label.LV_CAVITY)
    if len(masks) < MIN_FRAMES or not areas.any():
        return {"flicker_percent": None, "area_jitter_percent": None}
    cavities = (mask == Label.LV_CAVITY for mask in each(masks))
    common = np.array([np.count_nonzero(one & other) for one, other in pairwise(cavities)])
    scores = 2 * common / (areas[1:] + areas[:-1]).clip(min=1)  # 0 without a cavity
    return {
        "flicker_percent": 100 * (1 - float(np.percentile(scores, 10))),
        "area_jitter_percent": area_jitter_percent(areas),
    }
