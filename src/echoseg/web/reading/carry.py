"""A reader's correction of one frame, carried to its neighbors along the motion of the picture.

What is carried is the change d of the signed distance to each border, between the network's mask of
the frame and the reader's. From frame to frame d moves with the tissue, by optical flow, and each
neighbor's own border is moved by it: distance + w d > 0 is inside. So a neighbor keeps what was
right of its own mask, and the motion of the heart. The weight w fades with the time t from the
corrected frame, exp(-t^2 / (2 FADE_S^2)), since the network is wrong in another way in another
phase of the beat. Frames that a reader corrected stay as they are. Measured against other ways:
docs/results/carry.md.

Reference:
    Le Besnerais and Champagnat, ICIP 2005: dense iterative Lucas-Kanade optical flow.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import map_coordinates
from skimage.registration import optical_flow_ilk
from skimage.transform import resize

from echoseg.clip import Label
from echoseg.measure.clean import clean_mask
from echoseg.preprocess.registration import heart_box, signed_distances
from echoseg.web.api import Carry
from echoseg.web.reading.opened import OpenedClip
from echoseg.web.reading.state import State
from echoseg.web.refusal import Refusal

MAX_FRAMES = 60
"""Frames on either side to which a correction is carried."""
FADE_S = 0.25
"""Time after which a correction counts by .61; the best of six on animated training clips."""
FLOW_SIDE = 128
"""Longest side of the pictures whose flow is computed, in pixels."""
FALLBACK_HZ = 30.0
"""Frame rate where it is unknown."""
RADIUS = 7
"""Half side of the windows whose motion is taken as one, in pixels of these pictures."""


def carry_masks(operation: Carry, opened: OpenedClip, state: State) -> dict[int, np.ndarray]:
    """The label maps of the neighbors, by frame; without those that a reader corrected.

    Args:
        operation: Which frame's correction, and to which frames.
        opened: The network's result.
        state: The reading.

    Raises:
        Refusal: With 422, if the frame was not corrected, or the neighbors are too many.
    """
    start, first, last = operation.frame, operation.first, operation.last
    if max(start - first, last - start) > MAX_FRAMES:
        raise Refusal(
            422, f"A correction is carried over at most {MAX_FRAMES} frames on either side."
        )
    own, corrected = opened.masks[start], state.frames[start].mask
    if np.array_equal(own, corrected):
        raise Refusal(422, "Correct this frame first; its contours are still the network's.")
    masks = [frame.mask for frame in state.frames]
    masks[start] = own
    changed = set(state.parameters.changed)
    wanted = [frame for frame in range(first, last + 1) if frame not in changed]
    times_s = opened.clip(state.parameters).times_s
    if times_s is None:
        times_s = np.arange(len(masks)) / FALLBACK_HZ
    return carry_correction(opened.frames, times_s, masks, start, corrected, wanted)


def carry_correction(
    frames: np.ndarray,
    times_s: np.ndarray,
    masks: Sequence[np.ndarray],
    start: int,
    corrected: np.ndarray,
    wanted: Sequence[int],
) -> dict[int, np.ndarray]:
    """The label maps of some frames after the correction of one.

    Args:
        frames: Grey frames `T H W` uint8.
        times_s: Time of each frame.
        masks: Label map `H W` uint8 of each frame, before the correction.
        start: The frame that was corrected.
        corrected: Its label map now.
        wanted: The frames.

    Returns:
        By frame, `H W` uint8.
    """
    box = heart_box(np.stack([*(masks[frame] for frame in wanted), masks[start], corrected]))
    pictures = _Pictures(frames, box)
    change = (signed_distances(corrected) - signed_distances(masks[start])).numpy()[:, *box]
    carried, (first, last) = {}, (min(wanted, default=start), max(wanted, default=start))
    for way in (range(start + 1, last + 1), range(start - 1, first - 1, -1)):
        moved, before = pictures.small(change), start
        for frame in way:
            moved = pictures.follow(moved, before, frame)
            before = frame
            if frame in wanted:
                weight = math.exp(-(((times_s[frame] - times_s[start]) / FADE_S) ** 2) / 2)
                carried[frame] = moved_mask(masks[frame], weight * pictures.full(moved), box)
    return carried


class _Pictures:
    """Pictures of the heart at the size in which flow is computed.

    Args:
        frames: Grey frames `T H W`.
        box: Rows and columns of the heart.
    """

    def __init__(self, frames: np.ndarray, box: tuple[slice, slice]) -> None:
        self._frames, self._box = frames, box
        self._size = frames[0][box].shape
        scale = min(1.0, FLOW_SIDE / max(self._size))
        self._small = tuple(max(8, round(side * scale)) for side in self._size)
        self._grid = np.mgrid[: self._small[0], : self._small[1]].astype(float)

    def small(self, maps: np.ndarray) -> np.ndarray:
        """Maps `C H W` of the box at the size of the flow."""
        return np.stack([_resized(one, self._small) for one in maps])

    def full(self, maps: np.ndarray) -> np.ndarray:
        """Maps at the size of the flow as those of the box, `C H W`."""
        return np.stack([_resized(one, self._size) for one in maps])

    def follow(self, maps: np.ndarray, before: int, after: int) -> np.ndarray:
        """Maps of one frame moved to the next by the flow of the pictures."""
        one, other = (
            _resized(self._frames[index][self._box] / 255.0, self._small)
            for index in (before, after)
        )
        flow = optical_flow_ilk(other, one, radius=RADIUS)
        places = self._grid + flow
        return np.stack([map_coordinates(one, places, order=1, mode="nearest") for one in maps])


def _resized(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return np.asarray(resize(values, size, order=1, anti_aliasing=size[0] < len(values)))


def moved_mask(mask: np.ndarray, change: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """A label map whose borders are moved by a change of their distances, `3 H W` in the box."""
    distances = signed_distances(mask).numpy()[:, *box] + change
    cavity, epi, atrium = distances > 0
    labels = np.zeros(cavity.shape, np.uint8)
    labels[atrium] = Label.LA_CAVITY
    labels[epi] = Label.LV_MYOCARDIUM
    labels[cavity] = Label.LV_CAVITY
    moved = mask.copy()
    moved[box] = labels
    return clean_mask(moved)
