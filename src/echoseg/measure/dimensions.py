"""Values measured at ED and ES: strain and rates per beat, sizes as means over the beats."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from echoseg.measure.curve import rates_per_s
from echoseg.measure.frame import MeasuredFrame
from echoseg.measure.geometry import area_length_volume_ml
from echoseg.measure.measurement import BeatMeasurement, Disks
from echoseg.measure.phases import Beat
from echoseg.measure.shape import Shape

Frames = Sequence[MeasuredFrame]
_MIN_FRAMES_FOR_RATES = 5


def measure_beats(
    beats: Sequence[Beat], curve: np.ndarray, frames: Frames, frame_s: float | None, *, scaled: bool
) -> tuple[BeatMeasurement, ...]:
    """Measure each beat; volumes in ml only when `scaled`, rates only with a frame interval."""
    rates = np.zeros(0) if frame_s is None else rates_per_s(curve, frame_s)
    return tuple(
        BeatMeasurement(
            ed_frame=beat.ed_frame,
            es_frame=beat.es_frame,
            ef_percent=100 * beat.ejection_ratio,
            edv_ml=beat.largest if scaled else None,
            esv_ml=beat.smallest if scaled else None,
            gls_percent=_strain_percent(frames, beat),
            peak_ejection_rate_edv_per_s=_peak(-rates, beat, beat.ed_frame, beat.es_frame),
            peak_filling_rate_edv_per_s=_peak(rates, beat, beat.es_frame, beat.next_ed_frame),
            heart_rate_bpm=60 / beat.length_s if beat.length_s and frame_s else None,
            left_out=beat.left_out,
        )
        for beat in beats
    )


def _peak(rates: np.ndarray, beat: Beat, first: int, last: int | None) -> float | None:
    """The largest rate from a frame to `last` or the end, in end-diastolic volumes per second."""
    part = rates[first:] if last is None else rates[first : last + 1]
    if len(part) < 2 or len(rates) < _MIN_FRAMES_FOR_RATES or beat.largest <= 0:
        return None
    peak = float(part.max() / beat.largest)
    return peak if peak > 0 else None


def _strain_percent(frames: Frames, beat: Beat) -> float | None:
    """100 (l_ES / l_ED - 1) of the endocardial contour, each a median over three frames."""
    ed, es = (
        _around(frames, frame, lambda s: s.line_mm) for frame in (beat.ed_frame, beat.es_frame)
    )
    if ed is None or es is None or ed <= 0:
        return None
    return 100 * (es / ed - 1)


def _around(frames: Frames, frame: int, value: Callable[[Shape], float]) -> float | None:
    """The median of a value over a frame and its neighbours."""
    reach = 1 if len(frames) > 2 else 0  # ED and ES alone are not neighbours
    near = frames[max(0, frame - reach) : frame + reach + 1]
    values = [value(one.shape) for one in near if one.shape is not None]
    return float(np.median(values)) if values else None


def mean_known(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def sd_known(values: Iterable[float | None]) -> float | None:
    """The standard deviation (n - 1) of the values that are not None; None of fewer than two."""
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None


def measure_dimensions(frames: Frames, beats: Sequence[Beat], *, scaled: bool) -> dict[str, Any]:
    """Measure sizes, means over the beats; only ratios unless `scaled`.

    Returns:
        Fields of `Measurement` by name.
    """

    def at(phase: str, value: Callable[[Shape], float]) -> float | None:
        return mean_known(_around(frames, getattr(beat, f"{phase}_frame"), value) for beat in beats)

    ed_area, es_area = at("ed", lambda s: s.area_mm2), at("es", lambda s: s.area_mm2)
    change = 100 * (1 - es_area / ed_area) if ed_area and es_area is not None else None
    sizes = {"fractional_area_change_percent": change}
    if not scaled:
        return sizes
    walls = [frames[beat.ed_frame].wall for beat in beats]
    return sizes | {
        "stroke_volume_ml": mean_known(beat.largest - beat.smallest for beat in beats),
        "lv_length_ed_mm": at("ed", lambda s: s.axis.length_mm),
        "lv_length_es_mm": at("es", lambda s: s.axis.length_mm),
        "lv_area_ed_cm2": None if ed_area is None else ed_area / 100,
        "lv_area_es_cm2": None if es_area is None else es_area / 100,
        "edv_area_length_ml": at("ed", lambda s: s.area_length_volume_ml),
        "esv_area_length_ml": at("es", lambda s: s.area_length_volume_ml),
        "la_volume_ml": mean_known(
            area_length_volume_ml(area_mm2, length_mm)
            for area_mm2, length_mm in _atria(frames, beats)
        ),
        "wall_thickness_mm": mean_known(wall.thickness_mm for wall in walls if wall),
        "lv_mass_g": mean_known(wall.mass_g for wall in walls if wall),
        "annular_excursion_mm": mean_known(_excursion_mm(frames, beat) for beat in beats),
    }


def _excursion_mm(frames: Frames, beat: Beat) -> float | None:
    """Motion of the annulus's center towards the apex along the ED long axis."""
    first, last = frames[beat.ed_frame].shape, frames[beat.es_frame].shape
    if first is None or last is None:
        return None
    moved = last.axis.annulus_mid_mm - first.axis.annulus_mid_mm
    return float(moved @ first.axis.direction)


def _atria(frames: Frames, beats: Sequence[Beat]) -> list[tuple[float, float]]:
    """Area and length of the left atrium at each ES that shows it whole."""
    atria = [frames[beat.es_frame].atrium for beat in beats]
    return [atrium for atrium in atria if atrium is not None]


def mean_disks(frames: Frames, beats: Sequence[Beat]) -> Disks | None:
    """Long axes, disks and atrium at ED and ES, means over the beats; None where one is missing."""
    atria = _atria(frames, beats)
    means: dict[str, Any] = {
        "la_area_mm2": mean_known(area for area, _ in atria),
        "la_length_mm": mean_known(length for _, length in atria),
    }
    for phase in ("ed", "es"):
        at = [frames[getattr(beat, f"{phase}_frame")].shape for beat in beats]
        known = [shape for shape in at if shape is not None]
        if not known:
            return None
        means[f"{phase}_length_mm"] = mean_known(shape.axis.length_mm for shape in known)
        means[f"{phase}_diameters_mm"] = tuple(np.mean([s.diameters_mm for s in known], 0).tolist())
    return Disks(**means)
