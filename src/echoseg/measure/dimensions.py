"""What is read at ED and ES: strain and rates of each beat, sizes as means over the beats."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from echoseg.measure.measurement import BeatMeasurement, Dimensions, Disks
from echoseg.measure.phases import Beat, rates_per_s
from echoseg.measure.shape import Shape, atrium_volume_ml, measure_wall

Shapes = Sequence[Shape | None]
_LEAST_FOR_RATES = 5


def beat_rows(
    beats: Sequence[Beat], curve: np.ndarray, shapes: Shapes, frame_s: float, *, scaled: bool
) -> tuple[BeatMeasurement, ...]:
    """Return a row a beat; volumes in ml only when `scaled`."""
    rates = rates_per_s(curve, frame_s)
    return tuple(
        BeatMeasurement(
            ed_frame=beat.ed_frame,
            es_frame=beat.es_frame,
            ef_percent=100 * beat.ejection_ratio,
            edv_ml=beat.largest if scaled else None,
            esv_ml=beat.smallest if scaled else None,
            gls_percent=_strain_percent(shapes, beat),
            peak_ejection_rate_edv_per_s=_peak(-rates, beat, beat.ed_frame, beat.es_frame),
            peak_filling_rate_edv_per_s=_peak(rates, beat, beat.es_frame, _end(beat, len(curve))),
        )
        for beat in beats
    )


def _end(beat: Beat, num_frames: int) -> int:
    return num_frames - 1 if beat.next_ed_frame is None else beat.next_ed_frame


def _peak(rates: np.ndarray, beat: Beat, first: int, last: int) -> float | None:
    """Return the largest rate between two frames in end-diastolic volumes a second."""
    part = rates[first : last + 1]
    if len(part) < 2 or len(rates) < _LEAST_FOR_RATES or beat.largest <= 0:
        return None
    peak = float(part.max() / beat.largest)
    return peak if peak > 0 else None


def _strain_percent(shapes: Shapes, beat: Beat) -> float | None:
    """Return 100 (l_ES / l_ED - 1) of the endocardial line, means over three frames each."""
    ends = [_around(shapes, frame, lambda s: s.line_mm) for frame in (beat.ed_frame, beat.es_frame)]
    if ends[0] is None or ends[1] is None or ends[0] <= 0:
        return None
    return 100 * (ends[1] / ends[0] - 1)


def _around(shapes: Shapes, frame: int, value: Callable[[Shape], float]) -> float | None:
    """Return the median of a value over a frame and its neighbours."""
    near = [shape for shape in shapes[max(0, frame - 1) : frame + 2] if shape is not None]
    return float(np.median([value(shape) for shape in near])) if near else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def dimensions_of(
    masks: np.ndarray,
    beats: Sequence[Beat],
    shapes: Shapes,
    spacing_mm: tuple[float, float] | None,
) -> Dimensions:
    """Return the sizes, means over the beats; without a scale only what is a ratio."""

    def at(phase: str, value: Callable[[Shape], float]) -> float | None:
        return _mean(_around(shapes, getattr(beat, f"{phase}_frame"), value) for beat in beats)

    areas = at("ed", lambda s: s.area_mm2), at("es", lambda s: s.area_mm2)
    change = None
    if areas[0] and areas[1] is not None:
        change = 100 * (1 - areas[1] / areas[0])
    if spacing_mm is None:
        return Dimensions(fractional_area_change_percent=change)
    walls = [
        measure_wall(masks[beat.ed_frame], spacing_mm, shape)
        for beat in beats
        if (shape := shapes[beat.ed_frame]) is not None
    ]
    return Dimensions(
        stroke_volume_ml=_mean(beat.largest - beat.smallest for beat in beats),
        fractional_area_change_percent=change,
        lv_length_ed_mm=at("ed", lambda s: s.axis.length_mm),
        lv_length_es_mm=at("es", lambda s: s.axis.length_mm),
        lv_area_ed_cm2=None if areas[0] is None else areas[0] / 100,
        lv_area_es_cm2=None if areas[1] is None else areas[1] / 100,
        edv_area_length_ml=at("ed", lambda s: s.area_length_volume_ml),
        esv_area_length_ml=at("es", lambda s: s.area_length_volume_ml),
        la_volume_ml=_mean(
            atrium_volume_ml(masks[beat.es_frame], spacing_mm, shape.axis)
            for beat in beats
            if (shape := shapes[beat.es_frame]) is not None
        ),
        wall_thickness_mm=_mean(wall.thickness_mm for wall in walls if wall),
        lv_mass_g=_mean(wall.mass_g for wall in walls if wall),
        annular_excursion_mm=_mean(_excursion_mm(shapes, beat) for beat in beats),
    )


def _excursion_mm(shapes: Shapes, beat: Beat) -> float | None:
    """Return the way of the annulus's middle towards the apex along the ED long axis."""
    first, last = shapes[beat.ed_frame], shapes[beat.es_frame]
    if first is None or last is None:
        return None
    moved = last.axis.annulus_mid_mm - first.axis.annulus_mid_mm
    return float(moved @ first.axis.direction)


def disks_of(beats: Sequence[Beat], shapes: Shapes) -> Disks | None:
    """Return long axes and disks at ED and ES, means over the beats; None where one is missing."""
    found: list[tuple[float, np.ndarray]] = []
    for phase in ("ed_frame", "es_frame"):
        at = [shapes[getattr(beat, phase)] for beat in beats]
        known = [shape for shape in at if shape is not None]
        if not known:
            return None
        widths = np.mean([shape.diameters_mm for shape in known], 0)
        found.append((float(np.mean([shape.axis.length_mm for shape in known])), widths))
    (ed_length, ed_widths), (es_length, es_widths) = found
    return Disks(
        ed_length_mm=ed_length,
        es_length_mm=es_length,
        ed_diameters_mm=tuple(float(width) for width in ed_widths),
        es_diameters_mm=tuple(float(width) for width in es_widths),
    )
