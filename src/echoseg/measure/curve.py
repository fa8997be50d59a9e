"""The volume curve: regularized, its rate of change, and how much its frames jitter.

The curve takes the median of 3 frames, then a Savitzky-Golay parabola over 0.15 s, which takes the
jitter of single frames off and keeps a systole of 0.3 s within 1 %. Where the jitter is large for
the stroke, as in a weak ventricle, 0.15 s is not enough: the largest and the smallest of what is
left of the jitter would be read as a stroke. The parabola is then longer, up to 0.4 s.

A parabola overshoots where a plateau ends, and most of all at the clip's ends. No regularized
value leaves the range of the frames it was computed from.

Reference:
    Savitzky and Golay, Analytical Chemistry 36 (1964), 1627-1639.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import maximum_filter1d, median_filter, minimum_filter1d

SMOOTHING_S = 0.15
"""Shortest parabola; at least 5 frames."""
LONGER_S = (0.2, 0.25, 0.3, 0.35, 0.4)
"""Parabolas for curves that jitter; on clean curves the longest changes a stroke by 2 %."""
MAX_JITTER_SHARE = 0.1
"""Share of the stroke that two standard deviations of the remaining jitter may have."""
ASSUMED_FRAME_S = 1 / 30
"""Where the clip has no times."""


def frame_interval_s(times_s: np.ndarray | None) -> float:
    """Return the median time between frames; 1/30 s where the clip has no times."""
    if times_s is None or len(times_s) < 2:
        return ASSUMED_FRAME_S
    return float(np.median(np.diff(times_s)))


def smooth(
    values: np.ndarray, frame_s: float = ASSUMED_FRAME_S, *, longer: bool = True
) -> np.ndarray:
    """Return the regularized curve `T`; clips of fewer than 5 frames as they are.

    Without `longer` the parabola stays at 0.15 s, however large the jitter.
    """
    return _smooth(values, frame_s, LONGER_S if longer else ())[0]


def smooth_at_length(values: np.ndarray, frame_s: float) -> tuple[np.ndarray, float]:
    """Return what `smooth` makes of a curve `T`, and the length of its parabola in seconds."""
    return _smooth(values, frame_s, LONGER_S)


def jitter(values: np.ndarray) -> float:
    """Return the SD of what differs from frame to frame at random, in the curve's unit.

    Estimated robustly from third differences, in which a heart's motion all but cancels: their
    median absolute value times 1.4826, over sqrt(20), their SD for independent errors of SD 1.
    """
    if len(values) < 5:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(values, 3))) / np.sqrt(20))


def rates_per_s(values: np.ndarray, frame_s: float) -> np.ndarray:
    """The curve's change per second, from the same parabolas."""
    if len(values) < 5:
        return np.gradient(values, frame_s) if len(values) > 1 else np.zeros(len(values))
    window = _window(len(values), SMOOTHING_S, frame_s)
    return parabolas(_calm(values, frame_s), window)[1] / frame_s


def parabolas(values: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """The values and slopes per frame, at each frame, of the parabola fitted around it.

    Frames near the ends take the parabola of the first or last whole window. The same as
    `scipy.signal.savgol_filter(values, window, 2)`, whose import takes as long as half a clip.

    Args:
        values: One per frame, at least `window`.
        window: Frames that a parabola is fitted to, odd.
    """
    half = window // 2
    places = np.arange(-half, half + 1.0)
    powers = np.vander(places, 3, increasing=True)  # (window, 3): 1, x, x^2
    slopes = powers[:, [0, 0, 1]] * (0, 1, 2)  # 0, 1, 2 x
    fits = np.linalg.pinv(powers) @ sliding_window_view(np.asarray(values, float), window).T

    def evaluate(terms: np.ndarray) -> np.ndarray:
        ends = terms[:half] @ fits[:, 0], terms[half + 1 :] @ fits[:, -1]
        return np.concatenate([ends[0], terms[half] @ fits, ends[1]])

    return evaluate(powers), evaluate(slopes)


def _smooth(
    values: np.ndarray, frame_s: float, longer_s: tuple[float, ...]
) -> tuple[np.ndarray, float]:
    """The regularized curve and the length of its parabola."""
    values = np.asarray(values, float)
    if len(values) < 5:
        return values, 0.0
    calm, noise = _calm(values, frame_s), jitter(values)
    curve, length_s = values, SMOOTHING_S
    for length_s in (SMOOTHING_S, *longer_s):
        window = _window(len(values), length_s, frame_s)
        low, high = minimum_filter1d(values, window), maximum_filter1d(values, window)
        curve = np.clip(parabolas(calm, window)[0], low, high)
        # SD of the middle of a parabola through n independent values: sqrt(9 / 4 n)
        if 2 * noise * np.sqrt(2.25 / window) <= MAX_JITTER_SHARE * np.ptp(curve):
            break
    return curve, length_s


def _calm(values: np.ndarray, frame_s: float) -> np.ndarray:
    """The median of 3 frames, at high frame rates."""
    return median_filter(values, 3, mode="nearest") if frame_s < 0.045 else values


def _window(num_frames: int, length_s: float, frame_s: float) -> int:
    """Odd number of frames of a parabola, at least 5, and no more than there are."""
    window = max(5, 2 * round(length_s / frame_s / 2) + 1)
    return min(window, num_frames - 1 + num_frames % 2)
