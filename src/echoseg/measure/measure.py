"""Measures a clip's masks: shapes, volume curve, beats, and the values at ED and ES."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from echoseg.clip import Label, check_spacing, check_times
from echoseg.errors import MeasurementError
from echoseg.frame_store import each
from echoseg.measure.curve import frame_interval_s, smooth_at_length
from echoseg.measure.dimensions import (
    mean_disks,
    mean_known,
    measure_beats,
    measure_dimensions,
    sd_known,
)
from echoseg.measure.frame import MeasuredFrame, measure_each
from echoseg.measure.measurement import FrameMeasurement, Measurement
from echoseg.measure.messages import (
    beat_warnings,
    clock_warning,
    drawn_warnings,
    mask_warnings,
    notes_on_reading,
)
from echoseg.measure.phases import Beat, cut_reason, find_beats, part_of_beat
from echoseg.measure.plausible import fill_gaps, refusal_of, scale_warnings
from echoseg.measure.reference import ef_grade
from echoseg.measure.rhythm import (
    MAX_SYSTOLE_RATIO,
    TYPICAL_SYSTOLE_S,
    beat_lengths_s,
    heart_rate_bpm,
    is_heart_rate,
    is_irregular,
    is_systole,
    mark_premature,
    systole_frames,
    time_beats,
)
from echoseg.measure.stated_beats import (
    NOTHING_STATED,
    Statements,
    drawn_alone,
    on_drawn_frames,
    state_beats,
)

MAX_CLOCK_STEPS = 2
"""Times that beats are found anew where the clock does not fit them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Timing:
    """When frames were taken, and what is known of the beats besides their volumes.

    Attributes:
        times_s: Time of each frame; None when unknown.
        r_wave_times_s: R waves, when the file has them.
        stated: What a reader states of the volumes.
    """

    times_s: np.ndarray | None
    r_wave_times_s: tuple[float, ...] = ()
    stated: Statements = NOTHING_STATED

    @property
    def r_wave_frames(self) -> tuple[int, ...]:
        """The frames nearest the R waves inside the clip."""
        times_s = self.times_s
        if times_s is None:
            return ()
        inside = [t for t in self.r_wave_times_s if times_s[0] <= t <= times_s[-1]]
        return tuple(dict.fromkeys(int(np.abs(times_s - t).argmin()) for t in inside))


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """A clip's volume curves; beats are detected in `smoothed`.

    `volumes` is `(T,)`, NaN where there is no cavity; `filled` and `smoothed` have no gaps.
    `parabola_s` is None where the volumes are those of single frames. `frame_s` is None where the
    times are unknown or fit no heart: nothing may be computed per second; `systole_s` is by them.
    `cut_reason` is why the clip may not show ED and ES of one beat, empty where it does.
    `drawn_frames` are those whose cavity a reader drew.
    """

    volumes: np.ndarray
    filled: np.ndarray
    smoothed: np.ndarray
    parabola_s: float | None
    frame_s: float | None
    systole_s: float | None = None
    cut_reason: str = ""
    drawn_frames: tuple[int, ...] = ()

    @property
    def reported(self) -> np.ndarray:
        """The curve that EDV and ESV are read off."""
        return self.filled if self.parabola_s is None else self.smoothed


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
        times_s: Time of each frame; None when unknown, and nothing is given per second.
        r_wave_times_s: R waves, when the file has them.
        smoothing: Take volumes from the smoothed curve (`phases.smooth`); otherwise beats are
            detected in it and volumes are those of single frames.
        cavity_only: The masks trace the cavity alone, so a missing wall is not implausible.

    Returns:
        Values per frame, per beat and for the clip; `refusal` says why there is no EF.

    Raises:
        MeasurementError: If `masks` is not a stack of label maps.
        ArgumentError: If spacing or times are invalid, as those of a `Clip` are.
    """
    check_masks(masks)
    check_spacing(spacing_mm)
    check_times(times_s, len(masks))
    return measure_frames(
        measure_each(masks, spacing_mm),
        Timing(times_s=times_s, r_wave_times_s=r_wave_times_s),
        smoothing=smoothing,
        cavity_only=cavity_only,
    )


def measure_frames(
    frames: Sequence[MeasuredFrame],
    timing: Timing,
    *,
    smoothing: bool = True,
    cavity_only: bool = False,
) -> Measurement:
    """Measure a clip from its measured frames, as `measure_masks` does.

    Args:
        frames: All frames, measured with one pixel spacing.
        timing: When they were taken.
        smoothing: As in `measure_masks`.
        cavity_only: As in `measure_masks`.

    Raises:
        ArgumentError: If a stated beat names a frame outside of the clip.
    """
    spacing_mm, warnings = frames[0].spacing_mm, scale_warnings(frames)
    if warnings:  # without a plausible pixel spacing there are no millilitres
        spacing_mm = None

    def refuse(why: str) -> Measurement:
        return Measurement(
            frames=frame_rows(frames, spacing_mm, timing.times_s),
            spacing_mm=spacing_mm,
            refusal=why,
            warnings=tuple(warnings),
            smoothed=smoothing,
        )

    if refusal := refusal_of(frames, timing.times_s, cavity_only=cavity_only):
        return refuse(refusal)
    volumes = np.array([frame.volume for frame in frames])
    curves, beats, lengths_s = read_curves(volumes, timing)
    if beats and all(beat.left_out for beat in beats):
        return refuse("every beat is left out of the mean; take one in again")
    if not smoothing:
        curves = replace(curves, parabola_s=None)
    rate_bpm, is_timed = heart_rate_bpm(lengths_s), curves.frame_s is not None
    if timing.times_s is None:  # by R waves, if at all
        is_timed = is_heart_rate(rate_bpm)
    measurement = measure_reading(frames, curves, beats, (spacing_mm, timing.times_s))
    has_premature = any(beat.left_out not in ("", "reader") for beat in beats)
    warnings += beat_warnings(
        beats,
        ends=(measurement.ed_frame, measurement.es_frame),
        irregular=is_irregular(lengths_s[:0] if has_premature else lengths_s),
        cut_reason=curves.cut_reason,
    )
    if not is_timed:
        warnings.append(clock_warning(timing.times_s, rate_bpm, curves.systole_s))
    warnings += mask_warnings(frames, measurement.ef_percent)
    warnings += drawn_warnings(curves.filled, curves.drawn_frames)
    return measurement.model_copy(
        update={
            "heart_rate_bpm": rate_bpm if is_timed else None,
            "heart_rate_unreliable_bpm": None if is_timed else rate_bpm,
            "warnings": tuple(warnings),
        }
    )


def read_curves(volumes: np.ndarray, timing: Timing) -> tuple[Curves, list[Beat], np.ndarray]:
    """The curves, the beats with their extremes' frames, and their lengths by the clip's times.

    Where the times imply no heart's rate or systole, the curve is smoothed as if a systole lasted
    `TYPICAL_SYSTOLE_S`. Lengths and rhythm are those of the detected beats, not of stated ones.
    """
    times_s, r_wave_frames = timing.times_s, timing.r_wave_frames
    frame_s = clock_s = frame_interval_s(times_s)
    filled, known = fill_gaps(volumes), np.isfinite(volumes)
    smoothed, parabola_s = smooth_at_length(filled, frame_s)
    beats = find_beats(smoothed, frame_s, r_wave_frames, known)
    for _ in range(MAX_CLOCK_STEPS if times_s is not None else 0):
        num_frames = systole_frames(beats)
        ratio = 1.0 if num_frames is None else num_frames * frame_s / TYPICAL_SYSTOLE_S
        if 1 / MAX_SYSTOLE_RATIO <= ratio <= MAX_SYSTOLE_RATIO:
            break
        frame_s /= ratio
        smoothed, parabola_s = smooth_at_length(filled, frame_s)
        beats = find_beats(smoothed, frame_s, r_wave_frames, known)
    lengths_s = beat_lengths_s(beats, times_s, timing.r_wave_times_s)
    num_frames = systole_frames(beats) if times_s is not None else None
    systole_s = None if num_frames is None else num_frames * clock_s
    is_timed = is_heart_rate(heart_rate_bpm(lengths_s)) and is_systole(systole_s, clock_s)
    cut, stated = cut_reason(smoothed, beats, known, frame_s), timing.stated
    drawn = drawn_alone(stated.drawn_frames, len(filled), frame_s)
    smoothed[drawn] = filled[drawn]
    curves = Curves(
        volumes=volumes,
        filled=filled,
        smoothed=smoothed,
        parabola_s=parabola_s,
        frame_s=clock_s if is_timed and times_s is not None else None,
        systole_s=systole_s,
        cut_reason="" if any(one.is_moved for one in stated.beats) else cut,
        drawn_frames=stated.drawn_frames,
    )
    beats = time_beats(mark_premature(beats), times_s, timing.r_wave_times_s)
    beats = [beat.at_extremes() for beat in beats]
    beats = on_drawn_frames(beats, drawn, smoothed, frame_s)
    return curves, state_beats(beats, stated.beats, smoothed), lengths_s


def check_masks(masks: np.ndarray) -> None:
    """Refuse what is not a stack of label maps.

    Raises:
        MeasurementError: If so.
    """
    is_array = isinstance(masks, np.ndarray)
    if not is_array or masks.ndim != 3 or masks.dtype != np.uint8 or 0 in masks.shape:
        got = f"{masks.shape} {masks.dtype}" if is_array else type(masks).__name__
        raise MeasurementError(f"masks must be a non-empty (T, H, W) uint8 array, got {got}")
    largest = max(mask.max() for mask in each(masks))
    if largest > max(Label):
        raise MeasurementError(f"masks must hold labels 0 to {max(Label)}, got {largest}")


def measure_reading(
    frames: Sequence[MeasuredFrame],
    curves: Curves,
    beats: list[Beat],
    known: tuple[tuple[float, float] | None, np.ndarray | None],
) -> Measurement:
    """Everything but heart rate and warnings; `known` is (pixel spacing, times)."""
    spacing_mm, times_s = known
    scaled = spacing_mm is not None
    on_smoothed = beats or [part_of_beat(curves.smoothed, np.isfinite(curves.volumes))]
    on_frames = [_on(curves.filled, beat) for beat in on_smoothed]
    every = on_frames if curves.parabola_s is None else on_smoothed
    reported, single = ([b for b in some if not b.left_out] for some in (every, on_frames))
    ratios = np.array([beat.ejection_ratio for beat in reported])
    typical = _typical(reported, curves.drawn_frames)
    rows = measure_beats(every, curves.reported, frames, curves.frame_s, scaled=scaled)
    averaged = [row for row in rows if not row.left_out]
    edv_ml = float(np.mean([beat.largest for beat in reported])) if scaled else None
    deviations = {
        f"{key}_sd_{unit}": sd_known(getattr(row, f"{key}_{unit}") for row in averaged)
        for key, unit in (("edv", "ml"), ("esv", "ml"), ("heart_rate", "bpm"))
    }
    rates = {
        f"peak_{name}_rate": mean_known(
            getattr(row, f"peak_{name}_rate_edv_per_s") for row in (averaged if beats else ())
        )
        for name in ("ejection", "filling")
    }
    ef_percent = float(100 * ratios.mean())
    return Measurement(
        ed_frame=typical.ed_frame,
        es_frame=typical.es_frame,
        ef_percent=ef_percent,
        ef_sd_points=float(100 * ratios.std(ddof=1)) if len(averaged) > 1 else None,
        ef_grade=ef_grade(ef_percent),
        ef_unsmoothed_percent=float(100 * np.mean([beat.ejection_ratio for beat in single])),
        smoothed=curves.parabola_s is not None,
        num_beats=len(averaged) if beats else 0,
        is_part_of_beat=not beats,
        edv_ml=edv_ml,
        esv_ml=float(np.mean([beat.smallest for beat in reported])) if scaled else None,
        **deviations,
        gls_percent=mean_known(row.gls_percent for row in averaged),
        **{f"{name}_edv_per_s": rate for name, rate in rates.items()},
        **{
            f"{name}_ml_per_s": rate * edv_ml
            for name, rate in rates.items()
            if rate is not None and edv_ml is not None
        },
        **measure_dimensions(frames, reported, scaled=scaled),
        beats=rows if beats else (),
        frames=frame_rows(frames, spacing_mm, times_s, (curves, typical.ed_frame)),
        spacing_mm=spacing_mm,
        notes=notes_on_reading(reported, single, curves.parabola_s),
        disks=mean_disks(frames, reported),
    )


def _typical(beats: Sequence[Beat], drawn_frames: Sequence[int]) -> Beat:
    """The beat whose ED and ES are shown: that of the reader's, else the nearest the mean EF.

    The reader's is the one with the most of its ED and ES drawn, then with any of its frames.
    """
    mean, drawn = np.mean([beat.ejection_ratio for beat in beats]), set(drawn_frames)

    def order(beat: Beat) -> tuple[int, bool, float]:
        ends = {beat.ed_frame, beat.es_frame}
        is_touched = not drawn.isdisjoint(range(min(ends), max(ends) + 1))
        return -len(ends & drawn), not is_touched, abs(beat.ejection_ratio - float(mean))

    return min(beats, key=order)


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


def frame_rows(
    frames: Sequence[MeasuredFrame],
    spacing_mm: tuple[float, float] | None,
    times_s: np.ndarray | None,
    read: tuple[Curves, int] | None = None,
) -> tuple[FrameMeasurement, ...]:
    """One row per frame; `read` is the curves and the ED frame, where there is an EF."""
    shapes = [frame.shape for frame in frames]
    largest = max((shape.volume_ml for shape in shapes if shape is not None), default=1.0)
    pixel_cm2 = None if spacing_mm is None else spacing_mm[0] * spacing_mm[1] / 100
    first = shapes[read[1]] if read else None
    rows = []
    for index, (frame, shape) in enumerate(zip(frames, shapes, strict=True)):
        scaled = shape if spacing_mm else None
        strain = None
        if shape and first and first.line_mm > 0:
            strain = 100 * (shape.line_mm / first.line_mm - 1)
        row = FrameMeasurement(
            frame_index=index,
            time_s=None if times_s is None else float(times_s[index]),
            lv_area_px=frame.area_px,
            lv_area_cm2=None if pixel_cm2 is None else frame.area_px * pixel_cm2,
            lv_length_mm=scaled and scaled.axis.length_mm,
            relative_volume=shape and shape.volume_ml / largest,
            volume_ml=scaled and scaled.volume_ml,
            smoothed_volume=read
            and float(read[0].reported[index] / (1.0 if spacing_mm else largest)),
            strain_percent=strain,
        )
        rows.append(row)
    return tuple(rows)
