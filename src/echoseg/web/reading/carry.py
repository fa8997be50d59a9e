"""A reader's correction of one frame, carried to its neighbors along the motion of the picture.

What is carried is the change d of the signed distance to each border, between the network's mask of
the frame and the reader's. From frame to frame d moves with the tissue, by optical flow, and each
neighbor's own border is moved by it: distance + d > 0 is inside. So a neighbor keeps what was right
of its own mask, and the motion of the heart. Frames that a reader corrected stay as they are.

Reference:
    Le Besnerais and Champagnat, ICIP 2005: dense iterative Lucas-Kanade optical flow.
"""

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
FLOW_SIDE = 128
"""Longest side of the pictures whose flow is computed, in pixels."""
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
    masks = [frame.mask for frame in state.frames[first : last + 1]]
    box = heart_box(np.stack([*masks, own, corrected]))
    pictures = _Pictures(opened.frames, box)
    change = (signed_distances(corrected) - signed_distances(own)).numpy()[:, *box]
    carried = {}
    for way in (range(start + 1, last + 1), range(start - 1, first - 1, -1)):
        moved, before = pictures.small(change), start
        for frame in way:
            moved = pictures.follow(moved, before, frame)
            before = frame
            if frame >= first and frame <= last and frame not in state.parameters.changed:
                carried[frame] = _moved_mask(state.frames[frame].mask, pictures.full(moved), box)
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


def _moved_mask(mask: np.ndarray, change: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
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
