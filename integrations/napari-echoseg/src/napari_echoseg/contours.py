"""Masks as polygons that napari edits, and back.

As on echoseg's page, a contour that was not edited changes no pixel, and one that was moves the
pixels between it and the contour shown before, and no others.
"""

from collections.abc import Sequence

import numpy as np

from echoseg.errors import ArgumentError
from echoseg.io.label_names import polygon
from echoseg.measure.outline import trace_outline
from echoseg.web.api import Structure
from echoseg.web.reading.regions import region_of, set_region

STRUCTURES: dict[str, Structure] = {
    "LV epicardium": "lv_epi",
    "LV cavity": "lv_cavity",
    "left atrium": "la",
}
"""What a contour encloses, in the order in which edited ones are drawn."""
COLORS = {"LV epicardium": "#33b34d", "LV cavity": "#d93333", "left atrium": "#4073e6"}
MIN_PIXELS = 12
"""Pixels below which a region has no contour, and a drawn contour is refused."""
TOLERANCE_PX = 0.6
"""Distance of a contour from the outline of its pixels."""
_SAME_PX = 0.01


def mask_contours(masks: np.ndarray) -> tuple[list[np.ndarray], list[str]]:
    """Polygons of every frame.

    Args:
        masks: Label maps, `(T, H, W)` uint8, with one cavity and one atrium per frame.

    Returns:
        Vertices `(P, 3)` of (frame, row, column) in pixels, and what each polygon encloses.
    """
    polygons, names = [], []
    for frame, mask in enumerate(masks):
        for name in STRUCTURES:
            if (points := _outline(mask, name)) is not None:
                polygons.append(np.insert(points, 0, frame, axis=1))
                names.append(name)
    return polygons, names


def contour_masks(
    masks: np.ndarray, polygons: Sequence[np.ndarray], names: Sequence[str]
) -> np.ndarray:
    """Label maps after an edit of their contours.

    Args:
        masks: The label maps before, as `mask_contours` took them.
        polygons: Vertices `(P, 3)` as it gave them, moved, added or fewer.
        names: What each encloses.

    Raises:
        ArgumentError: If a polygon lies on no frame, or on several, is too small or names no
            structure, or if a frame has two of one structure.
    """
    drawn: dict[tuple[int, str], np.ndarray] = {}
    for points, name in zip(polygons, names, strict=True):
        frame = _frame(points, len(masks))
        if name not in STRUCTURES:
            raise ArgumentError(
                f"the structure of a contour must be one of {', '.join(STRUCTURES)}, on frame "
                f"{frame} it is {name!r}; change it in the layer's features"
            )
        if (frame, name) in drawn:
            raise ArgumentError(
                f"frame {frame} must have one contour of the {name}, it has several; delete the "
                "others, or name their structure in the layer's features"
            )
        drawn[frame, name] = points[:, 1:]
    changed = masks.copy()
    for frame, mask in enumerate(masks):
        for name in STRUCTURES:
            before, after = _outline(mask, name), drawn.get((frame, name))
            if not _is_same(before, after):
                changed[frame] = _draw(changed[frame], name, before, after, frame)
    return changed


def _frame(points: np.ndarray, num_frames: int) -> int:
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 3 or not np.isfinite(points).all():
        raise ArgumentError(
            f"a contour must be a polygon of at least 3 points (frame, row, column), got "
            f"{points.shape}"
        )
    frames = {int(frame) for frame in np.round(points[:, 0])}
    if len(frames) > 1 or not 0 <= min(frames) < num_frames:
        raise ArgumentError(
            f"a contour must lie on one frame, 0 to {num_frames - 1}, got {sorted(frames)[:5]}"
        )
    return frames.pop()


def _outline(mask: np.ndarray, name: str) -> np.ndarray | None:
    """Few points (row, column) on the outline of a structure; None where it is too small."""
    from skimage.measure import approximate_polygon

    region = region_of(mask, STRUCTURES[name])
    if np.count_nonzero(region) < MIN_PIXELS:
        return None
    return approximate_polygon(trace_outline(region), TOLERANCE_PX)[:-1]


def _is_same(before: np.ndarray | None, after: np.ndarray | None) -> bool:
    if before is None or after is None:
        return before is after
    return before.shape == after.shape and bool(np.abs(before - after).max() < _SAME_PX)


def _draw(
    mask: np.ndarray,
    name: str,
    before: np.ndarray | None,
    after: np.ndarray | None,
    frame: int,
) -> np.ndarray:
    structure = STRUCTURES[name]
    region = region_of(mask, structure)
    if after is None:
        return set_region(mask, structure, np.zeros_like(region))
    inside = _fill(after, mask.shape)
    if np.count_nonzero(inside) < MIN_PIXELS:
        raise ArgumentError(
            f"the contour of the {name} on frame {frame} must enclose at least {MIN_PIXELS} "
            "pixels of the picture; draw it larger, or delete it"
        )
    if before is None:
        return set_region(mask, structure, inside)
    moved = inside ^ _fill(before, mask.shape)
    return set_region(mask, structure, np.where(moved, inside, region))


def _fill(points: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Pixels `(H, W)` bool whose centers are inside; napari's lie on whole numbers."""
    return polygon(points[:, ::-1] + 0.5, (size[0], size[1]))
