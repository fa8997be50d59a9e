"""Ground truth of a simulated clip."""

from dataclasses import dataclass

import numpy as np

from echoseg.measure.geometry import LongAxis, disk_diameters_mm, disk_volume_ml


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """Ground truth of a clip, frame by frame.

    Attributes:
        masks: `T H W` uint8, labels as in `Label`; they end with the box about the sector.
        volume_ml: Volume of the ventricle in three dimensions, `T`.
        disk_volume_ml: Single-plane disk summation of the visible contour, `T`.
        contraction: 0 at rest, about 1 at the end of a full systole, `T`.
        beat_index: Beat of each frame, `T`.
        r_peaks_s: R waves, from the first frame; the first lies before it.
        premature: Whether each beat came too early.
        times_s: Time of each frame, `T`.
        beats: (ED frame, ES frame) of each beat that lies wholly in the clip.
        ed_frame: Frame of largest volume.
        es_frame: Frame of smallest volume.
        ef_percent: Over the frames of the clip, from the true volumes.
        strain_percent: 100 (l / l_ED - 1) of the visible endocardium's length l, `T`.
        endo_mm: Endocardium from the probe's face, `T P 2`, left hinge over apex to right hinge.
        epi_mm: Epicardium, point by point.
        hinges_px: Left and right end of the annulus, `T 2 2` (x, y).
        apex_px: Point of the endocardium farthest from the annulus's middle, `T 2` (x, y).
        foreshortening_deg: Angle of the plane to the long axis.
        spacing_mm: (row, column).
    """

    masks: np.ndarray
    volume_ml: np.ndarray
    disk_volume_ml: np.ndarray
    contraction: np.ndarray
    beat_index: np.ndarray
    r_peaks_s: np.ndarray
    premature: np.ndarray
    times_s: np.ndarray
    beats: tuple[tuple[int, int], ...]
    ed_frame: int
    es_frame: int
    ef_percent: float
    strain_percent: np.ndarray
    endo_mm: np.ndarray
    epi_mm: np.ndarray
    hinges_px: np.ndarray
    apex_px: np.ndarray
    foreshortening_deg: float
    spacing_mm: tuple[float, float]


def long_axis_of(endo_mm: np.ndarray) -> LongAxis:
    """Return the long axis of an endocardium `P 2`, left hinge over apex to right hinge."""
    middle = 0.5 * (endo_mm[0] + endo_mm[-1])
    apex = endo_mm[np.linalg.norm(endo_mm - middle, axis=1).argmax()]
    return LongAxis(hinges_mm=endo_mm[[0, -1]], annulus_mid_mm=middle, apex_mm=apex)


def disk_volumes_ml(endo_mm: np.ndarray) -> np.ndarray:
    """Single-plane disk volume of each visible endocardium, `T`."""
    volumes = []
    for line in endo_mm:
        axis = long_axis_of(line)
        volumes.append(disk_volume_ml(disk_diameters_mm(line, axis), axis.length_mm))
    return np.array(volumes)


def whole_beats(
    volume_ml: np.ndarray, beat_index: np.ndarray, times_s: np.ndarray, r_peaks_s: np.ndarray
) -> tuple[tuple[int, int], ...]:
    """(ED frame, ES frame) of each beat that starts and ends inside the clip.

    ED comes before ES: a beat's last frame, filled for the next one, may be as large as its first.
    """
    frame_pairs = []
    for beat in np.unique(beat_index):
        if r_peaks_s[beat] < times_s[0] or r_peaks_s[beat + 1] > times_s[-1]:
            continue
        frames = np.flatnonzero(beat_index == beat)
        smallest = int(volume_ml[frames].argmin())
        ed_frame = int(frames[volume_ml[frames[: smallest + 1]].argmax()])
        es_frame = int(frames[smallest])
        if ed_frame != es_frame:
            frame_pairs.append((ed_frame, es_frame))
    return tuple(frame_pairs)
