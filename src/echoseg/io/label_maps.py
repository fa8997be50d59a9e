"""Label maps: distinguished from frames by their values, and brought to those of `Label`."""

from pathlib import Path

import numpy as np

from echoseg.clip import ClipWarning, Label
from echoseg.errors import FormatError

MASKS_ONLY = (
    "the pixels have the few values of label maps, so these are masks and not frames of a clip; "
    "give the frames, or measure the masks with `echoseg measure`"
)
_MAX_LEVELS, _MAX_PEAKS = 8, 4
"""Labels of a map at most, as they are and where compression added noise."""
_REACH, _MIN_GAP, _COVERED = 4, 20, 0.985
"""Noise around a label, least distance of two, and the part of the pixels that are near one."""
_SAMPLES, _MAX_CHANNELS = 16, 5
_STEPS = (85, 50, 64)
"""Grey levels between neighboring labels, where a tool made labels visible: 85 is 255 / 3."""


def are_label_maps(frames: np.ndarray) -> bool:
    """Whether frames `T H W` of any number type, by some of them, have the values of label maps.

    They have two to eight values, one of them 0, or, after lossy compression, two to four that are
    far apart with little noise. A clip has tens of grey levels.
    """
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLES)).round().astype(int)
    if frames.dtype == np.uint8:
        counts = np.sum([np.bincount(frames[i].ravel(), minlength=256) for i in chosen], axis=0)
        levels = np.flatnonzero(counts)
    else:
        counts, levels = None, np.unique(np.concatenate([np.unique(frames[i]) for i in chosen]))
    if len(levels) <= _MAX_LEVELS:
        return len(levels) > 1 and 0 in levels
    return counts is not None and _has_peaks(counts)


def _has_peaks(counts: np.ndarray) -> bool:
    rest, peaks = (1 - _COVERED) * counts.sum(), list[int]()
    while len(peaks) <= _MAX_PEAKS and counts.sum() > rest:
        peak = int(counts.argmax())
        peaks.append(peak)
        counts[max(0, peak - _REACH) : peak + _REACH + 1] = 0
    return 2 <= len(peaks) <= _MAX_PEAKS and np.diff(sorted(peaks)).min() >= _MIN_GAP


def to_labels(path: Path, values: np.ndarray) -> tuple[np.ndarray, tuple[ClipWarning, ...]]:
    """Label maps `T H W` uint8 of `Label`, and a warning where the values had another meaning.

    Of two values, 0 and another than a label, the other is the LV cavity; multiples of one step,
    such as 0, 85, 170, 255, are labels made visible.

    Args:
        path: For messages.
        values: `T H W` of any number type, or bool.

    Raises:
        FormatError: If the values have another meaning.
    """
    levels = np.unique(np.concatenate([np.unique(frame) for frame in values])).tolist()
    if set(levels) <= set(Label):
        return np.array(values, np.uint8, order="C"), ()
    if len(levels) == 2 and levels[0] == 0 and levels[1] > 0 and float(levels[1]).is_integer():
        return (values != 0).astype(np.uint8), (
            _note(f"The masks hold 0 and {levels[1]:g}: {levels[1]:g} is taken as the LV cavity."),
        )
    for step in _STEPS:
        if {value / step for value in levels} <= set(Label) and len(levels) > 2:
            steps = ", ".join(f"{value:g}" for value in levels)
            return (values / step).astype(np.uint8), (
                _note(f"The masks hold {steps}: taken as labels 0 to 3 times {step}."),
            )
    unknown = [value for value in levels if value not in set(Label)]
    are_parts = 0 <= min(levels) and max(levels) <= 1
    raise FormatError(
        f"{path}: masks may hold only 0 background, 1 LV cavity, 2 LV myocardium and 3 left "
        f"atrium, these hold {', '.join(f'{value:g}' for value in unknown[:5])}; "
        + ("they look like probabilities: cut them at 0.5" if are_parts else "relabel it")
    )


def _note(message: str) -> ClipWarning:
    return ClipWarning(code="relabeled_masks", message=f"{message} Relabel them if that is wrong.")


def merge_channels(path: Path, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Label maps of three axes from one-hot ones of four, and the axis of channels.

    A channel per label: where every pixel is in one, the first is the background, else it is
    label 1. Equal channels, as of grey pictures stored as RGB, are one.

    Args:
        path: For messages.
        values: Of which one axis has the channels, two to five.

    Raises:
        FormatError: If no axis is so.
    """
    for axis in (3, 1, 0, 2):
        if not 2 <= values.shape[axis] <= _MAX_CHANNELS:
            continue
        parts = np.moveaxis(values, axis, 0)
        if all(np.array_equal(parts[0], part) for part in parts[1:]):
            return parts[0], axis
        inside = parts != 0
        depth = inside.sum(0, dtype=np.uint8)
        if len(np.unique(values)) == 2 and depth.max() == 1:
            first = 0 if depth.all() else 1
            labels = np.zeros(depth.shape, np.uint8)
            for index, part in enumerate(inside):
                labels[part] = index + first
            return labels, axis
    raise FormatError(
        f"{path}: masks must be label maps of three axes (rows, columns, time), or one channel of "
        f"0 and 1 per label without overlap, these have the shape {values.shape}"
    )
