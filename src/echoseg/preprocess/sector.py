"""Finds the ultrasound sector: a screen also holds text, scales and menus.

Speckle and the heart move; text does not. So the sector is the largest connected region whose
grey level changes over time.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import convex_hull_image

from echoseg.clip import Clip

_MIN_CHANGE = 1.5
"""Standard deviation over time, in grey levels, from which a pixel counts as moving.

Static text in a JPEG clip stays under 1; the darkest speckle in the clips examined is over 2."""
_CHANGE_ROWS = 64
_MIN_SHARE = 0.02
"""Fraction of the image below which the moving region is not the sector."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sector:
    """The part of the picture that shows ultrasound.

    Attributes:
        mask: `H W` bool, convex.
        box: (top, left, bottom, right), half open.
    """

    mask: np.ndarray
    box: tuple[int, int, int, int]

    def mirror(self) -> "Sector":
        """The sector of the picture with left and right exchanged."""
        top, left, bottom, right = self.box
        columns = self.mask.shape[1]
        return Sector(
            mask=self.mask[:, ::-1].copy(), box=(top, columns - right, bottom, columns - left)
        )


def _change(frames: np.ndarray) -> np.ndarray:
    """Standard deviation over time of up to 40 frames spread over the clip."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, 40).round().astype(int))
    rows = range(0, frames.shape[1], _CHANGE_ROWS)  # so that floats take little memory
    parts = [frames[chosen, top : top + _CHANGE_ROWS].astype(np.float32).std(0) for top in rows]
    return np.concatenate(parts)


def find_sector(clip: Clip) -> Sector | None:
    """Find the sector; None when nothing in the picture moves.

    A box from the file (`clip.sector_box`) bounds the search.
    """
    rows, columns = clip.size
    moving = _change(clip.frames) > _MIN_CHANGE
    if clip.sector_box is not None:
        inside = np.zeros_like(moving)
        top, left, bottom, right = clip.sector_box
        inside[top:bottom, left:right] = True
        moving &= inside
    reach = max(1, round(0.008 * max(rows, columns)))
    # opening cuts thin bridges to a moving ECG trace or ruler, closing fills dark cavities
    solid = ndimage.binary_opening(
        ndimage.binary_closing(np.pad(moving, 4 * reach), iterations=2 * reach),
        iterations=2 * reach,
    )[4 * reach : -4 * reach, 4 * reach : -4 * reach]
    labels = np.asarray(label(solid, connectivity=1))
    sizes = np.bincount(labels.ravel())[1:]
    for index, (high, wide) in enumerate(ndimage.find_objects(labels)):
        if wide.stop - wide.start > 4 * (high.stop - high.start):
            sizes[index] = 0  # an ECG or another trace, not a heart
    if sizes.max(initial=0) < _MIN_SHARE * rows * columns:
        return None
    # a sector is convex, and its dark corners hardly move
    mask = convex_hull_image(labels == 1 + int(sizes.argmax()))
    inside_rows, inside_columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    box = (inside_rows[0], inside_columns[0], inside_rows[-1] + 1, inside_columns[-1] + 1)
    top, left, bottom, right = (int(edge) for edge in box)
    return Sector(mask=mask, box=(top, left, bottom, right))


def sector_gain(clip: Clip, sector: Sector) -> float:
    """Factor that brings the bright tissue of a dark clip to the level of training clips.

    The 98th percentile inside the sector is raised to 0.7; brighter clips stay as they are.
    """
    chosen = np.unique(np.linspace(0, clip.num_frames - 1, 8).round().astype(int))
    bright = float(np.percentile(clip.frames[chosen][:, sector.mask], 98)) / 255
    return min(3.0, max(1.0, 0.7 / max(bright, 0.05)))
