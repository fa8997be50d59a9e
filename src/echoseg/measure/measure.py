"""From a clip's masks to its Measurement."""

from dataclasses import dataclass, replace

import numpy as np

from echoseg.clip import ClipWarning, Label
from echoseg.errors import MeasurementError
from echoseg.measure.dimensions import beat_rows, dimensions_of, disks_of
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
from echoseg.measure.shape import Shape, measure_shape

LEAST_LV_SHARE = 0.003
"""Share of the picture below which a cavity is taken for a stray piece."""
BEATS_IN_SINUS, BEATS_IN_FIBRILLATION = 3, 5
"""Beats that guidelines average (Lang et al., J Am Soc Echocardiogr 28:1-39, 2015)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """A clip's shapes and the curves read off them, gaps filled; beats are found on `smoothed`."""

    shapes: tuple[Shape | None, ...]
    volumes: np.ndarray
    """`T`, NaN where there is no cavity."""
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
        masks: `T H W` uint8, values of `anatomy.Label`; one cavity and one atrium a frame, as
            `clean_masks` leaves them.
        spacing_mm: (row, column) millimetres a pixel; None when unknown: then volumes are
            relative and only EF is given.
        times_s: Time of each frame; None when unknown.
        r_wave_times_s: R waves, when the file has them.
        smoothing: Read volumes off the regularised curve (`phases.smooth`); otherwise beats are
            found on it and volumes are those of the single frames.
        cavity_only: The masks trace the cavity alone: that nothing surrounds it is no reason to
            doubt it.

    Returns:
        One row a frame, one a beat and the clip's numbers; `refusal` says why where there is no EF.

    Raises:
        MeasurementError: If `masks` is no stack of label maps.
    """
    check_masks(masks)
    shapes = tuple(_shape(mask, spacing_mm or (1.0, 1.0)) for mask in masks)
    volumes = np.array([np.nan if shape is None else shape.volume_ml for shape in shapes])
    lengths = np.array([np.nan if shape is None else shape.axis.length_mm for shape in shapes])
    warnings = scale_warnings(lengths, spacing_mm)
    if warnings:  # a scale that is missing or cannot be right gives no millilitres
        spacing_mm = None
    refusal = refusal_of(masks, volumes, times_s, cavity_only=cavity_only)
    if refusal:
        return Measurement(
            frames=_frame_rows(masks, shapes, spacing_mm, times_s), spacing_mm=spacing_mm,
            ed_frame=None, es_frame=None, ef_percent=None, edv_ml=None, esv_ml=None,
            heart_rate_bpm=None, refusal=refusal, warnings=tuple(warnings), notes=(),
            smoothed=smoothing,
        )  # fmt: skip
    frame_s = frame_interval_s(times_s)
    filled = fill_gaps(volumes)
    curves = Curves(
        shapes=shapes, volumes=volumes, filled=filled, smoothed=smooth(filled, frame_s),
        frame_s=frame_s,
    )  # fmt: skip
    beats = find_beats(
        curves.smoothed, frame_s, _r_wave_frames(r_wave_times_s, times_s), np.isfinite(volumes)
    )
    lengths_s = beat_lengths_s(beats, times_s, r_wave_times_s)
    measured = _measurement(masks, curves, beats, (spacing_mm, times_s), smoothing)
    few = _beat_warnings(beats, is_irregular(lengths_s))
    return replace(
        measured,
        heart_rate_bpm=heart_rate_bpm(lengths_s),
        warnings=tuple(warnings + few + _quality_warnings(masks, volumes, measured)),
    )


def check_masks(masks: np.ndarray) -> None:
    """Refuse what is no stack of label maps.

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
    """Return the numbers, without heart rate and warnings; `known` is (scale, times)."""
    spacing_mm, times_s = known
    scaled = spacing_mm is not None
    whole = beats or [clip_as_beat(curves.smoothed, np.isfinite(curves.volumes))]
    single = [_on(curves.filled, beat) for beat in whole]
    told = whole if smoothing else single
    ratios = np.array([beat.ejection_ratio for beat in told])
    shown = told[int(np.abs(ratios - ratios.mean()).argmin())]
    curve = curves.smoothed if smoothing else curves.filled
    rows = beat_rows(told, curve, curves.shapes, curves.frame_s, scaled=scaled)
    gls = [row.gls_percent for row in rows if row.gls_percent is not None]
    return Measurement(
        frames=_frame_rows(masks, curves.shapes, spacing_mm, times_s, (curve, shown.ed_frame)),
        spacing_mm=spacing_mm,
        ed_frame=shown.ed_frame,
        es_frame=shown.es_frame,
        ef_percent=float(100 * ratios.mean()),
        edv_ml=float(np.mean([beat.largest for beat in told])) if scaled else None,
        esv_ml=float(np.mean([beat.smallest for beat in told])) if scaled else None,
        heart_rate_bpm=None,
        refusal="",
        warnings=(),
        notes=_notes(told, single, smoothing),
        beats=rows if beats else (),
        ef_sd_points=float(100 * ratios.std(ddof=1)) if len(beats) > 1 else None,
        ef_unsmoothed_percent=float(100 * np.mean([beat.ejection_ratio for beat in single])),
        smoothed=smoothing,
        gls_percent=float(np.mean(gls)) if gls else None,
        dimensions=dimensions_of(masks, told, curves.shapes, spacing_mm),
        disks=disks_of(told, curves.shapes),
    )


def _shape(mask: np.ndarray, spacing_mm: tuple[float, float]) -> Shape | None:
    """Return a frame's shape; None where there is no cavity, or a stray piece of one."""
    if (mask == Label.LV_CAVITY).sum() < LEAST_LV_SHARE * mask.size:
        return None
    return measure_shape(mask, spacing_mm) if (mask == Label.LV_CAVITY).any() else None


def _on(curve: np.ndarray, beat: Beat) -> Beat:
    """Return a beat with the volumes that another curve has on its two frames.

    Where that curve would rise from ED to ES, its largest and smallest between the two stand for
    them: a curve of single frames may hold any jump.
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
    """Return a row a frame; `read` is the curve that was read and the ED frame, if there are."""
    largest = max((shape.volume_ml for shape in shapes if shape is not None), default=1.0)
    pixel_cm2 = None if spacing_mm is None else spacing_mm[0] * spacing_mm[1] / 100
    first = shapes[read[1]] if read else None
    rows = []
    for index, (mask, shape) in enumerate(zip(masks, shapes, strict=True)):
        area_px = int((mask == Label.LV_CAVITY).sum())
        row = FrameMeasurement(
            frame_index=index,
            time_s=None if times_s is None else float(times_s[index]),
            lv_area_px=area_px,
            lv_area_cm2=None if pixel_cm2 is None else area_px * pixel_cm2,
            lv_length_mm=None,
            relative_volume=None,
            volume_ml=None,
            smoothed_volume=read and float(read[0][index] / (1.0 if spacing_mm else largest)),
        )
        if shape is not None:
            strain = None
            if first is not None and first.line_mm > 0:
                strain = 100 * (shape.line_mm / first.line_mm - 1)
            row = replace(
                row,
                lv_length_mm=shape.axis.length_mm if spacing_mm else None,
                relative_volume=shape.volume_ml / largest,
                volume_ml=shape.volume_ml if spacing_mm else None,
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


def _notes(told: list[Beat], single: list[Beat], smoothing: bool) -> tuple[ClipWarning, ...]:
    """Return how the numbers were read."""
    curve = "regularised curve" if smoothing else "curve of single frames"
    message = (
        f"EDV and ESV are the largest and smallest volume of the {curve} inside a beat, from the "
        "video alone"
    )
    notes = [ClipWarning(code="largest_smallest_volume", message=message)]
    if len(told) > 1:
        listed = ", ".join(f"{100 * beat.ejection_ratio:.0f}" for beat in told)
        message = f"EF is the mean of {len(told)} beats ({listed} %)"
        notes.append(ClipWarning(code="mean_of_beats", message=message))
    if smoothing:
        change = 100 * np.mean(
            [a.ejection_ratio - b.ejection_ratio for a, b in zip(told, single, strict=True)]
        )
        message = (
            f"a parabola over 0.15 s regularises the volume curve; it changes EF by {change:+.1f} "
            "points; --no-smoothing leaves it out"
        )
        notes.append(ClipWarning(code="regularised", message=message))
    return tuple(notes)


def _beat_warnings(beats: list[Beat], irregular: bool) -> list[ClipWarning]:
    """Return what is to be said of number and rhythm of the beats."""
    warnings = []
    if irregular:
        message = "the beats differ in length by over 15 %: is this atrial fibrillation?"
        warnings.append(ClipWarning(code="irregular_rhythm", message=message))
    if not beats:
        message = (
            "the clip holds no whole systole: EF is read between the largest and smallest volume "
            "it shows, and is too low where the true ones lie outside it"
        )
        warnings.append(ClipWarning(code="no_whole_beat", message=message))
    elif len(beats) < (BEATS_IN_FIBRILLATION if irregular else BEATS_IN_SINUS):
        message = (
            f"EF is read from {len(beats)} beat{'s' * (len(beats) > 1)}; guidelines average at "
            "least 3 in sinus rhythm, 5 in atrial fibrillation"
        )
        warnings.append(ClipWarning(code="few_beats", message=message))
    return warnings


def _quality_warnings(
    masks: np.ndarray, volumes: np.ndarray, measured: Measurement
) -> list[ClipWarning]:
    """Return what else makes the numbers doubtful."""
    warnings = []
    missing = int((~np.isfinite(volumes)).sum())
    if missing:
        message = f"no left ventricle on {missing} of {len(masks)} frames"
        warnings.append(ClipWarning(code="lv_missing_frames", message=message))
    if measured.ef_percent is not None and measured.ef_percent < 5:
        message = "the cavity's volume changes by less than 5 %: is the clip frozen?"
        warnings.append(ClipWarning(code="little_motion", message=message))
    cavity = masks == Label.LV_CAVITY
    at_edge = cavity[:, [0, -1], :].any((1, 2)) | cavity[:, :, [0, -1]].any((1, 2))
    if at_edge.mean() > 0.2:
        message = "the left ventricle touches the picture's edge: part of it is not seen"
        warnings.append(ClipWarning(code="lv_cut_off", message=message))
    return warnings
