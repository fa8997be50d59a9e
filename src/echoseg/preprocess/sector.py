"""Finds the ultrasound sector: a screen also holds text, scales and menus.

Speckle and the heart move; text does not. So the sector is the largest connected region whose
grey level changes over time.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import convex_hull_image

from echoseg.clip import Clip
from echoseg.frame_store import FrameStore, each
from echoseg.preprocess.strip import without_strips

BURNED_IN = "burned_in_text"
"""Code of the warning of text outside the sector."""
_MIN_CHANGE = 1.5
"""Standard deviation over time, in grey levels, from which a pixel counts as moving.

Static text in a JPEG clip stays under 1; the darkest speckle in the clips examined is over 2."""
_CHANGE_ROWS = 64
_MIN_LINE, _MAX_LIT, _MIN_LINE_FRAMES = 60, 0.2, 12
"""Grey levels by which a line differs from what it passes, share of frames it is on a pixel, and
frames from which that is not by chance."""
_MAX_WITHOUT_LINES = 0.95
"""Share of the region that remains without lines, under which they are a trace beside it."""
_MIN_SHARE = 0.02
"""Fraction of the image below which the moving region is not the sector."""
Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sector:
    """The part of the picture that shows ultrasound.

    Attributes:
        mask: `H W` bool, convex.
        box: (top, left, bottom, right), half open.
        trace_boxes: Boxes inside it that hold an ECG or another trace.
    """

    mask: np.ndarray
    box: Box
    trace_boxes: tuple[Box, ...] = ()

    @property
    def num_rows(self) -> int:
        """Height in pixels."""
        return self.box[2] - self.box[0]

    def mirror(self) -> "Sector":
        """The sector of the picture with left and right exchanged."""
        columns = self.mask.shape[1]
        box, *traces = (
            (top, columns - right, bottom, columns - left)
            for top, left, bottom, right in (self.box, *self.trace_boxes)
        )
        return Sector(mask=self.mask[:, ::-1].copy(), box=box, trace_boxes=tuple(traces))


def _motion(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that move, and those that a bright thin line passes, from frames over the clip."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, 40).round().astype(int))
    parts = []
    for top in range(0, frames.shape[1], _CHANGE_ROWS):  # so that floats take little memory
        rows = frames[chosen, top : top + _CHANGE_ROWS]
        low, high = rows.min(0), rows.max(0)
        middle = (low + (high - low) / 2).astype(np.uint8)
        is_rare = np.abs((rows > middle).mean(0) - 0.5) >= 0.5 - _MAX_LIT
        is_line = is_rare & (high - low >= _MIN_LINE) & (len(chosen) >= _MIN_LINE_FRAMES)
        parts.append((rows.astype(np.float32).std(0) > _MIN_CHANGE, is_line))
    moving, lines = (np.concatenate(part) for part in zip(*parts, strict=True))
    return moving, lines


def find_sector(clip: Clip) -> Sector | None:
    """Find the sector; None when nothing in the picture moves.

    A box from the file (`clip.sector_box`) bounds the search, and boxes of traces
    (`clip.trace_boxes`) are not in it. A trace that runs through the picture is left out too.
    """
    moving, lines = _motion(clip.frames)
    inside, no_trace = np.ones_like(moving), np.ones_like(moving)
    if clip.sector_box is not None:
        inside[:] = False
        inside[box_slices(clip.sector_box)] = True
    for box in clip.trace_boxes:
        no_trace[box_slices(box)] = False
    moving &= inside & no_trace
    # in few frames much of the sector does not move, and seems apart
    moving = without_strips(moving, small=clip.num_frames >= _MIN_LINE_FRAMES)
    mask, without_lines = _largest_region(moving), _largest_region(moving & ~lines)
    if mask is None:
        return None
    if without_lines is not None and without_lines.sum() < _MAX_WITHOUT_LINES * mask.sum():
        mask = without_lines
    mask &= no_trace
    if not mask.any():
        return None
    inside_rows, inside_columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    box = (inside_rows[0], inside_columns[0], inside_rows[-1] + 1, inside_columns[-1] + 1)
    top, left, bottom, right = (int(edge) for edge in box)
    return Sector(mask=mask, box=(top, left, bottom, right), trace_boxes=clip.trace_boxes)


def box_slices(box: Box) -> tuple[slice, slice]:
    """Rows and columns of a box."""
    top, left, bottom, right = box
    return slice(top, bottom), slice(left, right)


def _largest_region(moving: np.ndarray) -> np.ndarray | None:
    """Convex hull of the largest region, `H W` bool; None where none is as large as a sector."""
    rows, columns = moving.shape
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
    return convex_hull_image(labels == 1 + int(sizes.argmax()))


def blank_outside(clip: Clip) -> Clip:
    """The clip with everything outside its sector black; all of it where no sector is found."""
    sector, store = find_sector(clip), FrameStore()
    for frame in each(clip.frames):
        store.add(blank_frame(frame, sector))
    warnings = tuple(one for one in clip.warnings if one.code != BURNED_IN)
    return replace(clip, frames=store.frames(), warnings=warnings)


def blank_frame(frame: np.ndarray, sector: Sector | None) -> np.ndarray:
    """A frame `H W` with everything outside the sector black; black without a sector."""
    return np.zeros_like(frame) if sector is None else np.where(sector.mask, frame, 0)


def sector_gain(clip: Clip, sector: Sector) -> float:
    """Factor that brings the bright tissue of a dark clip to the level of training clips.

    The 98th percentile inside the sector is raised to 0.7; brighter clips stay as they are.
    """
    chosen = np.unique(np.linspace(0, clip.num_frames - 1, 8).round().astype(int))
    bright = float(np.percentile(clip.frames[chosen][:, sector.mask], 98)) / 255
    return min(3.0, max(1.0, 0.7 / max(bright, 0.05)))
