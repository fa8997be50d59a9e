"""Measures a clip's masks: shapes, volume curve, beats, and the values at ED and ES."""

from dataclasses import dataclass, replace

import numpy as np

from echoseg.clip import ClipWarning, Label
from echoseg.errors import MeasurementError
from echoseg.measure.dimensions import mean_disks, mean_known, measure_beats, measure_dimensions
from echoseg.measure.measurement import FrameMeasurement, Measurement
from echoseg.measure.phases import (
    Beat,
    beat_lengths_s,
    clip_as_beat,
    find_beats,
    frame_interval_s,
    heart_rate_bpm,
    is_irregular,
    smooth,
)
from echoseg.measure.plausible import fill_gaps, refusal_of, scale_warnings
from echoseg.measure.reference import ef_grade
from echoseg.measure.shape import Shape, measure_shape

MIN_LV_FRACTION = 0.003
"""Fraction of the picture below which a cavity counts as a stray piece."""
BEATS_IN_SINUS, BEATS_IN_FIBRILLATION = 3, 5
"""Beats to average, by the guideline (Lang et al., J Am Soc Echocardiogr 28:1-39, 2015)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """A clip's shapes and their volume curves; beats are detected in `smoothed`.

    `volumes` is `(T,)`, NaN where there is no cavity; `filled` and `smoothed` have no gaps.
    """

    shapes: tuple[Shape | None, ...]
    volumes: np.ndarray
    filled: np.ndarray
    smoothed: np.ndarray
    frame_s: float


def measure_masks(
    masks: np.ndarray,
    *,
    spacing_mm: tuple[float, float] | None,
    times_s: np.ndarray | None,
    r_wave_times_s: tuple[float, ...] = (),
    smoothing: bool = True,
    cavity_only: bool = False,
) -> Measurement:
    """Measure a clip's label maps.

    Args:
        masks: `(T, H, W)` uint8, values of `Label`; one cavity and one atrium per frame, as
            `clean_masks` returns them.
        spacing_mm: Pixel spacing (row, column) in mm; when None only EF is given.
        times_s: Time of each frame; None when unknown.
        r_wave_times_s: R waves, when the file has them.
        smoothing: Take volumes from the smoothed curve (`phases.smooth`); otherwise beats are
            detected in it and volumes are those of single frames.
        cavity_only: The masks trace the cavity alone, so a missing wall is not implausible.

    Returns:
        Values per frame, per beat and for the clip; `refusal` says why there is no EF.

    Raises:
        MeasurementError: If `masks` is not a stack of label maps.
    """
    check_masks(masks)
    shapes = tuple(_shape(mask, spacing_mm or (1.0, 1.0)) for mask in masks)
    volumes = np.array([np.nan if shape is None else shape.volume_ml for shape in shapes])
    lengths = np.array([np.nan if shape is None else shape.axis.length_mm for shape in shapes])
    warnings = scale_warnings(lengths, spacing_mm)
    if warnings:  # without a plausible pixel spacing there are no millilitres
        spacing_mm = None
    refusal = refusal_of(masks, volumes, times_s, cavity_only=cavity_only)
    if refusal:
        return Measurement(
            frames=_frame_rows(masks, shapes, spacing_mm, times_s),
            spacing_mm=spacing_mm,
            refusal=refusal,
            warnings=tuple(warnings),
            smoothed=smoothing,
        )
    frame_s = frame_interval_s(times_s)
    filled = fill_gaps(volumes)
    smoothed = smooth(filled, frame_s)
    curves = Curves(
        shapes=shapes, volumes=volumes, filled=filled, smoothed=smoothed, frame_s=frame_s
    )
    r_wave_frames = _r_wave_frames(r_wave_times_s, times_s)
    beats = find_beats(smoothed, frame_s, r_wave_frames, np.isfinite(volumes))
    lengths_s = beat_lengths_s(beats, times_s, r_wave_times_s)
    measurement = _measurement(masks, curves, beats, (spacing_mm, times_s), smoothing)
    warnings += _beat_warnings(beats, is_irregular(lengths_s))
    warnings += _quality_warnings(masks, volumes, measurement)
    return measurement.model_copy(
        update={"heart_rate_bpm": heart_rate_bpm(lengths_s), "warnings": tuple(warnings)}
    )


def check_masks(masks: np.ndarray) -> None:
    """Refuse what is not a stack of label maps.

    Raises:
        MeasurementError: If so.
    """
    if masks.ndim != 3 or masks.dtype != np.uint8 or 0 in masks.shape:
        raise MeasurementError(
            f"masks must be a non-empty (T, H, W) uint8 array, got {masks.shape} {masks.dtype}"
        )
    if masks.max() > max(Label):
        raise MeasurementError(f"masks must hold labels 0 to {max(Label)}, got {masks.max()}")


def _measurement(
    masks: np.ndarray,
    curves: Curves,
    beats: list[Beat],
    known: tuple[tuple[float, float] | None, np.ndarray | None],
    smoothing: bool,
) -> Measurement:
    """Everything but heart rate and warnings; `known` is (pixel spacing, times)."""
    spacing_mm, times_s = known
    scaled = spacing_mm is not None
    on_smoothed = beats or [clip_as_beat(curves.smoothed, np.isfinite(curves.volumes))]
    on_frames = [_on(curves.filled, beat) for beat in on_smoothed]
    reported = on_smoothed if smoothing else on_frames
    curve = curves.smoothed if smoothing else curves.filled
    ratios = np.array([beat.ejection_ratio for beat in reported])
    typical = reported[int(np.abs(ratios - ratios.mean()).argmin())]
    rows = measure_beats(reported, curve, curves.shapes, curves.frame_s, scaled=scaled)
    edv_ml = float(np.mean([beat.largest for beat in reported])) if scaled else None
    rates = {
        f"peak_{name}_rate": mean_known(
            getattr(row, f"peak_{name}_rate_edv_per_s") for row in (rows if beats else ())
        )
        for name in ("ejection", "filling")
    }
    ef_percent = float(100 * ratios.mean())
    return Measurement(
        ed_frame=typical.ed_frame,
        es_frame=typical.es_frame,
        ef_percent=ef_percent,
        ef_sd_points=float(100 * ratios.std(ddof=1)) if len(beats) > 1 else None,
        ef_grade=ef_grade(ef_percent),
        ef_unsmoothed_percent=float(100 * np.mean([beat.ejection_ratio for beat in on_frames])),
        smoothed=smoothing,
        num_beats=len(beats),
        edv_ml=edv_ml,
        esv_ml=float(np.mean([beat.smallest for beat in reported])) if scaled else None,
        gls_percent=mean_known(row.gls_percent for row in rows),
        **{f"{name}_edv_per_s": rate for name, rate in rates.items()},
        **{
            f"{name}_ml_per_s": rate * edv_ml
            for name, rate in rates.items()
            if rate is not None and edv_ml is not None
        },
        **measure_dimensions(masks, reported, curves.shapes, spacing_mm),
        beats=rows if beats else (),
        frames=_frame_rows(masks, curves.shapes, spacing_mm, times_s, (curve, typical.ed_frame)),
        spacing_mm=spacing_mm,
        notes=_notes(reported, on_frames, smoothing),
        disks=mean_disks(reported, curves.shapes),
    )


def _shape(mask: np.ndarray, spacing_mm: tuple[float, float]) -> Shape | None:
    """The shape of a frame's cavity; None where there is none, or only a stray piece."""
    area_px = (mask == Label.LV_CAVITY).sum()
    return (
        measure_shape(mask, spacing_mm) if area_px >= max(1, MIN_LV_FRACTION * mask.size) else None
    )


def _on(curve: np.ndarray, beat: Beat) -> Beat:
    """The same beat with the volumes of another curve on its two frames.

    Where that curve rises from ED to ES, its largest and smallest value between the two are used:
    a curve of single frames may hold any jump.
    """
    largest, smallest = float(curve[beat.ed_frame]), float(curve[beat.es_frame])
    if smallest > largest:
        first, last = sorted((beat.ed_frame, beat.es_frame))
        part = curve[first : last + 1]
        largest, smallest = float(part.max()), float(part.min())
    return replace(beat, largest=largest, smallest=smallest)


def _frame_rows(
    masks: np.ndarray,
    shapes: tuple[Shape | None, ...],
    spacing_mm: tuple[float, float] | None,
    times_s: np.ndarray | None,
    read: tuple[np.ndarray, int] | None = None,
) -> tuple[FrameMeasurement, ...]:
    """One row per frame; `read` is the curve in use and the ED frame, where there is an EF."""
    largest = max((shape.volume_ml for shape in shapes if shape is not None), default=1.0)
    pixel_cm2 = None if spacing_mm is None else spacing_mm[0] * spacing_mm[1] / 100
    first = shapes[read[1]] if read else None
    rows = []
    for index, (mask, shape) in enumerate(zip(masks, shapes, strict=True)):
        area_px = int((mask == Label.LV_CAVITY).sum())
        scaled = shape if spacing_mm else None
        strain = None
        if shape and first and first.line_mm > 0:
            strain = 100 * (shape.line_mm / first.line_mm - 1)
        row = FrameMeasurement(
            frame_index=index,
            time_s=None if times_s is None else float(times_s[index]),
            lv_area_px=area_px,
            lv_area_cm2=None if pixel_cm2 is None else area_px * pixel_cm2,
            lv_length_mm=scaled and scaled.axis.length_mm,
            relative_volume=shape and shape.volume_ml / largest,
            volume_ml=scaled and scaled.volume_ml,
            smoothed_volume=read and float(read[0][index] / (1.0 if spacing_mm else largest)),
            strain_percent=strain,
        )
        rows.append(row)
    return tuple(rows)


def _r_wave_frames(
    r_wave_times_s: tuple[float, ...], times_s: np.ndarray | None
) -> tuple[int, ...]:
    if times_s is None:
        return ()
    inside = [t for t in r_wave_times_s if times_s[0] <= t <= times_s[-1]]
    return tuple(dict.fromkeys(int(np.abs(times_s - t).argmin()) for t in inside))


def _notes(reported: list[Beat], on_frames: list[Beat], smoothing: bool) -> tuple[ClipWarning, ...]:
    """How the numbers were computed."""
    curve = "smoothed curve" if smoothing else "unsmoothed curve"
    message = (
        f"EDV and ESV are the largest and smallest volume of the {curve} within a beat, from the "
        "video alone."
    )
    notes = [ClipWarning(code="largest_smallest_volume", message=message)]
    if len(reported) > 1:
        listed = ", ".join(f"{100 * beat.ejection_ratio:.0f}" for beat in reported)
        message = f"EF is the mean of {len(reported)} beats ({listed} %)."
        notes.append(ClipWarning(code="mean_of_beats", message=message))
    if smoothing:
        change = 100 * np.mean(
            [a.ejection_ratio - b.ejection_ratio for a, b in zip(reported, on_frames, strict=True)]
        )
        message = (
            "The volume curve was smoothed with a parabola over 0.15 s, which changes EF by "
            f"{change:+.1f} points. Turn it off with smoothing=False (--no-smoothing)."
        )
        notes.append(ClipWarning(code="regularised", message=message))
    return tuple(notes)


def _beat_warnings(beats: list[Beat], irregular: bool) -> list[ClipWarning]:
    """Warnings about number and rhythm of the beats."""
    warnings = []
    if irregular:
        message = "Beat lengths differ by more than 15 %: possible atrial fibrillation."
        warnings.append(ClipWarning(code="irregular_rhythm", message=message))
    if not beats:
        message = (
            "The clip shows no complete systole. EF is computed from the largest and smallest "
            "visible volume and is too low if the true ones lie outside the clip."
        )
        warnings.append(ClipWarning(code="no_whole_beat", message=message))
    elif len(beats) < (BEATS_IN_FIBRILLATION if irregular else BEATS_IN_SINUS):
        message = (
            f"EF rests on {len(beats)} beat{'s' * (len(beats) > 1)}. Guidelines average at least "
            f"{BEATS_IN_SINUS} in sinus rhythm and {BEATS_IN_FIBRILLATION} in atrial fibrillation."
        )
        warnings.append(ClipWarning(code="few_beats", message=message))
    return warnings


def _quality_warnings(
    masks: np.ndarray, volumes: np.ndarray, measurement: Measurement
) -> list[ClipWarning]:
    """Warnings about the masks."""
    warnings = []
    missing = int((~np.isfinite(volumes)).sum())
    if missing:
        message = f"No left ventricle on {missing} of {len(masks)} frames."
        warnings.append(ClipWarning(code="lv_missing_frames", message=message))
    if measurement.ef_percent is not None and measurement.ef_percent < 5:
        message = "The LV volume changes by less than 5 %: the clip may be frozen."
        warnings.append(ClipWarning(code="little_motion", message=message))
    cavity = masks == Label.LV_CAVITY
    at_edge = cavity[:, [0, -1], :].any((1, 2)) | cavity[:, :, [0, -1]].any((1, 2))
    if at_edge.mean() > 0.2:
        message = "The left ventricle touches the edge of the picture: part of it is cut off."
        warnings.append(ClipWarning(code="lv_cut_off", message=message))
    return warnings
