"""End of diastole and end of systole from the volume curve alone.

ED is the frame of the largest volume of a beat on the *smoothed* curve, ES that of the smallest
(median of 3, then Savitzky-Golay of order 2); their volumes are read from the curve itself. So a
single frame that sticks out is neither, even if the unsmoothed curve is largest there.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import find_peaks, savgol_filter

SLOWEST_BPM, FASTEST_BPM = 35.0, 200.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """ED, the ES that follows or precedes it, and EF between them as a ratio."""

    ed_frame: int
    es_frame: int
    ejection_ratio: float


def smooth(volumes: np.ndarray) -> np.ndarray:
    """Return the curve used to pick frames; ends are mirrored."""
    if len(volumes) < 5:
        return volumes
    window = max(5, min(2 * (len(volumes) // 20) + 1, 11))
    calm = median_filter(volumes, 3, mode="nearest")
    return np.asarray(savgol_filter(calm, window, 2, mode="interp"))


def end_diastoles(curve: np.ndarray, times_s: np.ndarray | None) -> list[int]:
    """Return the frames of the maxima that stand out by 35 % of the curve's span.

    The clip's first and last frame are none: the true maximum may lie outside.
    """
    span = float(np.ptp(curve))
    if span <= 0:
        return []
    frame_s = float(np.median(np.diff(times_s))) if times_s is not None else 1 / 30
    distance = max(1, round(60 / FASTEST_BPM / frame_s))
    peaks, _ = find_peaks(curve, prominence=0.35 * span, distance=distance)
    return [int(peak) for peak in peaks]


def find_beats(
    volumes: np.ndarray,
    times_s: np.ndarray | None,
    r_wave_frames: tuple[int, ...] = (),
    known: np.ndarray | None = None,
) -> list[Beat]:
    """Return the whole beats of a volume curve, which may be none.

    With R waves a beat runs from one to the next; without, from one maximum to the next.
    Frames where `known` is false hold no measured volume and are neither ED nor ES.
    """
    curve = smooth(volumes)
    usable = np.ones(len(volumes), bool) if known is None else known
    borders = list(r_wave_frames) if len(r_wave_frames) > 1 else end_diastoles(curve, times_s)
    beats = []
    for begin, end in pairwise(borders):
        if end - begin >= 4 and usable[begin : end + 1].any():
            beats.append(_beat(volumes, curve, usable, slice(begin, end + 1)))
    return beats


def clip_as_beat(volumes: np.ndarray, known: np.ndarray) -> Beat:
    """Return the largest and smallest of the whole curve, for a clip without a whole beat."""
    return _beat(volumes, smooth(volumes), known, slice(0, len(volumes)))


def _beat(volumes: np.ndarray, curve: np.ndarray, usable: np.ndarray, part: slice) -> Beat:
    ed = part.start + int(np.where(usable, curve, -np.inf)[part].argmax())
    es = part.start + int(np.where(usable, curve, np.inf)[part].argmin())
    largest, smallest = float(volumes[ed]), float(volumes[es])
    ratio = max(0.0, 1 - smallest / largest) if largest > 0 else 0.0
    return Beat(ed_frame=ed, es_frame=es, ejection_ratio=ratio)


def heart_rate_bpm(
    volumes: np.ndarray, times_s: np.ndarray | None, r_wave_times_s: tuple[float, ...] = ()
) -> float | None:
    """Return the rate from R waves, else from maxima or minima; None when it cannot be told."""
    if len(r_wave_times_s) > 1:
        interval_s = float(np.median(np.diff(r_wave_times_s)))
    elif times_s is not None:
        curve = smooth(volumes)
        maxima, minima = end_diastoles(curve, times_s), end_diastoles(-curve, times_s)
        turns = maxima if len(maxima) >= len(minima) else minima
        if len(turns) < 2:
            return None
        interval_s = float(np.median(np.diff(times_s[turns])))
    else:
        return None
    rate = 60 / interval_s if interval_s > 0 else 0.0
    return rate if SLOWEST_BPM <= rate <= FASTEST_BPM else None
