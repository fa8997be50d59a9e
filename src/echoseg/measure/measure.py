"""From a clip's masks to its Measurement."""

import numpy as np

from echoseg.anatomy import Label
from echoseg.clip import ClipWarning
from echoseg.errors import MeasurementError
from echoseg.measure.measurement import FrameMeasurement, Measurement
from echoseg.measure.phases import Beat, clip_as_beat, find_beats, heart_rate_bpm, smooth
from echoseg.measure.volumes import mask_volume_ml

LEAST_LV_SHARE = 0.003
"""Share of the picture below which a cavity is taken for a stray piece."""
LEAST_FRAMES_SHARE = 0.5
"""Share of frames that must show a cavity for an EF to be given."""
MOST_JUMP = 0.2
"""Median change of volume from frame to frame, as a share of the largest, that no heart makes."""
LEAST_RING_SHARE = 0.5
"""Share of the cavity's border that must touch myocardium or atrium, in the median frame."""
SHORTEST_LV_MM, LONGEST_LV_MM = 40, 150
"""Long axes outside these are no adult's left ventricle: the scale is wrong."""
FEW_BEATS = 3
SHORTEST_S = 0.4
"""A clip shorter than this is over before a heart gets from ED to ES."""


def measure_masks(
    masks: np.ndarray,
    *,
    spacing_mm: tuple[float, float] | None,
    times_s: np.ndarray | None,
    r_wave_times_s: tuple[float, ...] = (),
) -> Measurement:
    """Measure a clip's label maps.

    Args:
        masks: `T H W` uint8, values of `anatomy.Label`; one cavity and one atrium a frame, as
            `clean_masks` leaves them.
        spacing_mm: (row, column) millimetres a pixel; None when unknown: then volumes are
            relative and only EF is given.
        times_s: Time of each frame; None when unknown.
        r_wave_times_s: R waves, when the file has them.

    Returns:
        One row a frame and the clip's numbers; `refusal` says why where there is no EF.

    Raises:
        MeasurementError: If `masks` is no stack of label maps.
    """
    if masks.ndim != 3 or masks.dtype != np.uint8 or 0 in masks.shape:
        raise MeasurementError(
            f"masks must be a non-empty (T, H, W) uint8 array, got {masks.shape} {masks.dtype}"
        )
    if masks.max() > max(Label):
        raise MeasurementError(f"masks must hold labels 0 to {max(Label)}, got {masks.max()}")
    volumes, lengths = _volumes(masks, spacing_mm or (1.0, 1.0))
    warnings = _scale_warnings(lengths, spacing_mm)
    if warnings:  # a scale that is missing or cannot be right gives no millilitres
        spacing_mm = None
    frames = _frame_rows(masks, volumes, lengths, spacing_mm, times_s)
    refusal = _refusal(masks, volumes, times_s)
    if refusal:
        return Measurement(
            frames=frames, spacing_mm=spacing_mm, ed_frame=None, es_frame=None, ef_percent=None,
            edv_ml=None, esv_ml=None, heart_rate_bpm=None, refusal=refusal,
            warnings=tuple(warnings), notes=(),
        )  # fmt: skip
    filled = _fill_gaps(volumes)
    r_wave_frames = _r_wave_frames(r_wave_times_s, times_s)
    beats = find_beats(filled, times_s, r_wave_frames, np.isfinite(volumes))
    beat = clip_as_beat(filled, np.isfinite(volumes))
    if beats:
        beat = sorted(beats, key=lambda b: b.ejection_ratio)[len(beats) // 2]
    scaled = spacing_mm is not None
    return Measurement(
        frames=frames,
        spacing_mm=spacing_mm,
        ed_frame=beat.ed_frame,
        es_frame=beat.es_frame,
        ef_percent=100 * beat.ejection_ratio,
        edv_ml=float(filled[beat.ed_frame]) if scaled else None,
        esv_ml=float(filled[beat.es_frame]) if scaled else None,
        heart_rate_bpm=heart_rate_bpm(filled, times_s, r_wave_times_s),
        refusal="",
        warnings=tuple(warnings + _quality_warnings(masks, volumes, beats, beat)),
        notes=_notes(beats),
    )


def _volumes(masks: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return volume and long axis of each frame, NaN where there is no cavity."""
    volumes = np.full(len(masks), np.nan)
    lengths = np.full(len(masks), np.nan)
    least = LEAST_LV_SHARE * masks[0].size
    for index, mask in enumerate(masks):
        if (mask == Label.LV_CAVITY).sum() >= least:
            volume, length = mask_volume_ml(mask, spacing_mm)
            if volume > 0:
                volumes[index], lengths[index] = volume, length
    return volumes, lengths


def _frame_rows(
    masks: np.ndarray,
    volumes: np.ndarray,
    lengths: np.ndarray,
    spacing_mm: tuple[float, float] | None,
    times_s: np.ndarray | None,
) -> tuple[FrameMeasurement, ...]:
    largest = np.nanmax(volumes) if np.isfinite(volumes).any() else np.nan
    pixel_cm2 = None if spacing_mm is None else spacing_mm[0] * spacing_mm[1] / 100
    rows = []
    for index, mask in enumerate(masks):
        area_px = int((mask == Label.LV_CAVITY).sum())
        known = bool(np.isfinite(volumes[index]))
        scaled = known and spacing_mm is not None
        rows.append(
            FrameMeasurement(
                frame_index=index,
                time_s=None if times_s is None else float(times_s[index]),
                lv_area_px=area_px,
                lv_area_cm2=None if pixel_cm2 is None else area_px * pixel_cm2,
                lv_length_mm=float(lengths[index]) if scaled else None,
                relative_volume=float(volumes[index] / largest) if known else None,
                volume_ml=float(volumes[index]) if scaled else None,
            )
        )
    return tuple(rows)


def _refusal(masks: np.ndarray, volumes: np.ndarray, times_s: np.ndarray | None) -> str:
    """Return why no EF can be given, or nothing."""
    found = int(np.isfinite(volumes).sum())
    if found < max(2, LEAST_FRAMES_SHARE * len(masks)):
        return (
            f"a left ventricle was found on {found} of {len(masks)} frames; EF needs it on at "
            "least half of them: is this an apical four-chamber view?"
        )
    ring = np.median([_ring_share(mask) for mask in masks])
    if ring < LEAST_RING_SHARE:
        return (
            f"what was taken for the left ventricle has heart wall or atrium on {100 * ring:.0f} % "
            f"of its border, at least {100 * LEAST_RING_SHARE:.0f} % is needed: is this a heart?"
        )
    if times_s is not None:
        # the last frame lasts as long as the others
        length_s = float(times_s[-1] - times_s[0]) * len(masks) / (len(masks) - 1)
        if length_s < SHORTEST_S - 1e-6:
            return (
                f"the clip lasts {length_s:.2f} s and EF needs at least {SHORTEST_S:g} s, or it "
                "cannot hold both the end of diastole and that of systole: give a longer clip, or "
                "the right --fps if its times are wrong"
            )
    steps = np.abs(np.diff(smooth(_fill_gaps(volumes)))) / np.nanmax(volumes)
    if len(steps) and np.median(steps) > MOST_JUMP:
        return (
            f"the cavity's volume jumps by {100 * np.median(steps):.0f} % of its largest from "
            "frame to frame, which no heart does: is this a heart?"
        )
    return ""


def _ring_share(mask: np.ndarray) -> float:
    """Return the share of the cavity's outer border pixels that are myocardium or atrium."""
    rows, columns = np.nonzero(mask == Label.LV_CAVITY)
    if not rows.size:
        return 0.0
    crop = np.pad(mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], 1)
    if rows.min() > 0:
        crop[0, 1:-1] = mask[rows.min() - 1, columns.min() : columns.max() + 1]
    if rows.max() + 1 < mask.shape[0]:
        crop[-1, 1:-1] = mask[rows.max() + 1, columns.min() : columns.max() + 1]
    if columns.min() > 0:
        crop[1:-1, 0] = mask[rows.min() : rows.max() + 1, columns.min() - 1]
    if columns.max() + 1 < mask.shape[1]:
        crop[1:-1, -1] = mask[rows.min() : rows.max() + 1, columns.max() + 1]
    cavity = crop == Label.LV_CAVITY
    outer = np.zeros_like(cavity)
    for axis in (0, 1):
        for shift in (-1, 1):
            outer |= np.roll(cavity, shift, axis)
    border = crop[outer & ~cavity]
    return float((border != Label.BACKGROUND).mean()) if border.size else 0.0


def _fill_gaps(volumes: np.ndarray) -> np.ndarray:
    """Return the curve with missing frames interpolated between their neighbours."""
    known = np.isfinite(volumes)
    return np.interp(np.arange(len(volumes)), np.nonzero(known)[0], volumes[known])


def _r_wave_frames(
    r_wave_times_s: tuple[float, ...], times_s: np.ndarray | None
) -> tuple[int, ...]:
    if times_s is None or len(r_wave_times_s) < 2:
        return ()
    inside = [t for t in r_wave_times_s if times_s[0] <= t <= times_s[-1]]
    return tuple(int(np.abs(times_s - t).argmin()) for t in inside)


def _scale_warnings(
    lengths: np.ndarray, spacing_mm: tuple[float, float] | None
) -> list[ClipWarning]:
    if spacing_mm is None:
        message = (
            "volumes in ml are refused since the clip has no scale; EF needs none. "
            "Pass --spacing-mm ROW COL if you know it"
        )
        return [ClipWarning(code="no_scale_no_millilitres", message=message)]
    longest = np.nanmax(lengths) if np.isfinite(lengths).any() else np.nan
    if np.isfinite(longest) and not SHORTEST_LV_MM <= longest <= LONGEST_LV_MM:
        message = (
            f"the left ventricle would be {longest:.0f} mm long, outside {SHORTEST_LV_MM} to "
            f"{LONGEST_LV_MM} mm: the clip's scale cannot be right and volumes in ml are refused. "
            "Pass --spacing-mm ROW COL if you know it"
        )
        return [ClipWarning(code="implausible_size", message=message)]
    return []


def _notes(beats: list[Beat]) -> tuple[ClipWarning, ...]:
    """Return how the numbers were read."""
    message = (
        "ED and ES are the largest and smallest volume of the smoothed curve inside a beat, from "
        "the video alone"
    )
    notes = [ClipWarning(code="largest_smallest_volume", message=message)]
    if len(beats) > 1:
        listed = ", ".join(f"{100 * b.ejection_ratio:.0f}" for b in beats)
        message = f"EF is that of the median of {len(beats)} beats ({listed} %)"
        notes.append(ClipWarning(code="median_beat", message=message))
    return tuple(notes)


def _quality_warnings(
    masks: np.ndarray, volumes: np.ndarray, beats: list[Beat], beat: Beat
) -> list[ClipWarning]:
    """Return what makes the numbers doubtful."""
    warnings = []

    def warn(code: str, message: str) -> None:
        warnings.append(ClipWarning(code=code, message=message))

    missing = int((~np.isfinite(volumes)).sum())
    if missing:
        warn("lv_missing_frames", f"no left ventricle on {missing} of {len(masks)} frames")
    if not beats:
        warn(
            "no_whole_beat",
            "the clip holds no whole beat: EF is read between the largest and smallest volume it "
            "shows, and is too low where the true ones lie outside it",
        )
    elif len(beats) < FEW_BEATS:
        warn(
            "few_beats",
            f"EF is read from {len(beats)} beat{'s' * (len(beats) > 1)}; guidelines average at "
            "least 3 in sinus rhythm, 5 in atrial fibrillation",
        )
    if beat.ejection_ratio < 0.05:
        warn("little_motion", "the cavity's volume changes by less than 5 %: is the clip frozen?")
    cavity = masks == Label.LV_CAVITY
    at_edge = cavity[:, [0, -1], :].any((1, 2)) | cavity[:, :, [0, -1]].any((1, 2))
    if at_edge.mean() > 0.2:
        warn("lv_cut_off", "the left ventricle touches the picture's edge: part of it is not seen")
    return warnings
