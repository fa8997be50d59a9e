"""Shape and motion of a clip's masks, by which a view that the network cannot segment shows."""

import numpy as np

from echoseg.clip import Label
from echoseg.frame_store import count_pixels, each
from echoseg.measure.shape import ring_fraction
from echoseg.metrics.segmentation import dice

FEATURES = (
    "cavity_share",
    "steadiness",
    "area_change",
    "atrium_share",
    "atrium_below",
    "elongation",
    "uprightness",
    "ring",
    "row",
    "off_center",
    "size",
)
"""What `shape_features` returns, in its order; all are ratios.

- cavity_share, atrium_share: frames with a cavity; of these, frames with an atrium of a twentieth
  of its area or more.
- steadiness: tenth percentile of the Dice of the cavity in one frame and in the next.
- area_change: 1 minus the fifth percentile of the cavity's area over its 95th.
- atrium_below: cosine of the angle between downwards and the way from cavity to atrium.
- elongation: length over width, as the ratio of the second moments' roots.
- uprightness: absolute cosine of the angle between the long axis and the vertical.
- ring: fraction of the cavity's border that touches wall or atrium.
- row, off_center: place of the cavity's centroid in the sector's box: from its top, and from the
  middle column.
- size: root of the cavity's share of the box.
"""
_SIDE_PX = 128
_MIN_CAVITY, _MIN_ATRIUM = 0.003, 0.05


def shape_features(masks: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Features `(F,)` of label maps `(T, H, W)`; medians over the frames with a cavity.

    Args:
        masks: Label maps of consecutive frames.
        box: (top, left, bottom, right) of the sector. Features do not change when masks and box
            are mirrored or enlarged.

    Returns:
        The values of `FEATURES`; all 0 where no frame has a cavity.
    """
    top, left, bottom, right = box
    step = max(1, min(bottom - top, right - left) // _SIDE_PX)
    small = np.stack([mask[top:bottom:step, left:right:step].copy() for mask in each(masks)])
    cavity = small == Label.LV_CAVITY
    areas = cavity.sum((1, 2))
    frames = np.flatnonzero(areas >= max(4, _MIN_CAVITY * small[0].size))
    if not len(frames):
        return np.zeros(len(FEATURES))
    pairs = [dice(cavity[k], cavity[k + 1]) or 0.0 for k in range(len(cavity) - 1)]
    low, high = np.percentile(areas[frames], [5, 95])
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, 24).round().astype(int))]
    median = np.median([_of_frame(small[k]) for k in chosen], axis=0)
    atria = count_pixels(small, Label.LA_CAVITY)[frames] >= _MIN_ATRIUM * areas[frames]
    return np.array(
        [
            len(frames) / len(masks),
            float(np.percentile(pairs, 10)) if pairs else 1.0,
            1 - low / high,
            atria.mean(),
            *median,
        ]
    )


def _of_frame(mask: np.ndarray) -> list[float]:
    """The last seven of `FEATURES`, of one label map with a cavity."""
    rows, columns = np.nonzero(mask == Label.LV_CAVITY)
    row, column = rows.mean(), columns.mean()
    values, vectors = np.linalg.eigh(np.cov(np.stack([rows, columns])) + 0.1 * np.eye(2))
    below = 0.0
    atrium = np.argwhere(mask == Label.LA_CAVITY)
    if len(atrium) >= _MIN_ATRIUM * len(rows):
        way = atrium.mean(0) - (row, column)
        below = float(way[0] / max(np.hypot(*way), 1e-6))
    height, width = mask.shape
    return [
        below,
        float(np.sqrt(values[1] / values[0])),
        float(abs(vectors[0, 1])),
        ring_fraction(mask),
        float(row / height),
        float(abs((column + 0.5) / width - 0.5)),
        float(np.sqrt(len(rows) / mask.size)),
    ]
