"""Measures a clip's masks, and withholds what rests on a contradiction of the clip's sources."""

from dataclasses import replace

import numpy as np

from echoseg.clip import Clip, ClipWarning
from echoseg.io.arbitration import agree, describe
from echoseg.measure.measure import measure_masks
from echoseg.measure.measurement import Measurement

MAX_EF_CHANGE_POINTS, MAX_VOLUME_CHANGE = 2.0, 0.1
"""Changes of EF, and relative ones of EDV, by another choice, from which the EF is withheld."""
CONTRADICTED_EF = "contradicted_ef"
_RATES = [f"peak_{name}_rate_edv_per_s" for name in ("ejection", "filling")]


def measure_clip(
    clip: Clip, masks: np.ndarray, *, smoothing: bool = True, cavity_only: bool = False
) -> Measurement:
    """Measure the masks of a clip as `measure_masks` does, which has the arguments.

    R waves that contradict the volume curve are not used. Where the sources of frame rate or
    number of frames contradict each other, the EF is measured by each and the warning
    `contradicted_ef` is added where that changes it. Heart rate and rates per second are None
    where they are contradicted or rest on an assumed frame rate.
    """

    def measure(clip: Clip, masks: np.ndarray) -> Measurement:
        return measure_masks(
            masks,
            spacing_mm=clip.spacing_mm,
            times_s=clip.times_s,
            r_wave_times_s=clip.r_wave_times_s,
            smoothing=smoothing,
            cavity_only=cavity_only,
        )

    measurement = by_curve = measure(clip, masks)
    rate, is_timed = clip.decision("frame_rate_hz"), True
    notes: list[ClipWarning] = []
    if len(clip.r_wave_times_s) > 1:
        clip_without = replace(clip, r_wave_times_s=())
        by_curve = measure(clip_without, masks)
    bpm, curve_bpm = measurement.heart_rate_bpm, by_curve.heart_rate_bpm
    if bpm is not None and _contradicts(by_curve, bpm):
        clip, measurement, is_timed = replace(clip, r_wave_times_s=()), by_curve, False
        curve = f"{curve_bpm:.0f}" if curve_bpm else "implausibly few or many"
        message = (
            f"The R waves give {bpm:.0f} beats per minute, the volume curve {curve}: the times of "
            "one are wrong, so R waves are not used and no heart rate is given. Give fps (--fps)."
        )
        notes.append(ClipWarning(code="contradicted_r_waves", message=message))
    elif bpm is not None:
        for one in clip.decision("heart_rate_bpm").statements:
            if one.value and not agree("heart_rate_bpm", one.value, bpm):
                stated = describe("heart_rate_bpm", one)
                message = f"{stated}, but the clip shows {bpm:.0f}: no heart rate is given."
                notes.append(ClipWarning(code="contradicted_heart_rate", message=message))
                is_timed = False
    notes += _changes(measurement, [(name, measure(*pair)) for name, pair in _others(clip, masks)])
    if rate.contradicting or (clip.sources and rate.choice is None) or not is_timed:
        measurement = _without_rates(measurement)
    return measurement.model_copy(update={"warnings": (*measurement.warnings, *notes)})


def _contradicts(by_curve: Measurement, r_wave_bpm: float) -> bool:
    """Whether the volume curve alone gives another heart rate than the R waves."""
    if by_curve.heart_rate_bpm is None:
        return any(warning.code == "clock_implausible" for warning in by_curve.warnings)
    return not agree("heart_rate_bpm", by_curve.heart_rate_bpm, r_wave_bpm)


def _others(clip: Clip, masks: np.ndarray) -> list[tuple[str, tuple[Clip, np.ndarray]]]:
    """The clip and masks by each statement that contradicts the one that was taken."""
    clip = replace(clip, r_wave_times_s=())
    others = []
    for one in clip.decision("frame_rate_hz").contradictions:
        times_s = np.arange(clip.num_frames) / float(one.value)  # type: ignore[arg-type]
        others.append((one.origin, (replace(clip, times_s=times_s), masks)))
    for one in clip.decision("num_frames").contradictions:
        num = int(one.value)  # type: ignore[arg-type]
        if 1 < num < clip.num_frames:
            times_s = None if clip.times_s is None else clip.times_s[:num]
            part = replace(clip, frames=clip.frames[:num], times_s=times_s)
            others.append((one.origin, (part, masks[:num])))
    return others


def _changes(
    measurement: Measurement, others: list[tuple[str, Measurement]]
) -> tuple[ClipWarning, ...]:
    """A warning where another statement changes EF or EDV too much."""
    for name, other in others:
        if measurement.ef_percent is None or other.ef_percent is None:
            continue
        is_ef = abs(other.ef_percent - measurement.ef_percent) > MAX_EF_CHANGE_POINTS
        edv_ml, other_ml = measurement.edv_ml, other.edv_ml
        is_edv = edv_ml and other_ml and abs(other_ml / edv_ml - 1) > MAX_VOLUME_CHANGE
        if is_ef or is_edv:
            what = f"the EF by over {MAX_EF_CHANGE_POINTS:g} points" if is_ef else "EDV by 10 %"
            message = (
                f"The file's sources contradict each other, and {name} would change {what}. Give "
                "fps (--fps), or a file that is whole."
            )
            return (ClipWarning(code=CONTRADICTED_EF, message=message),)
    return ()


def _without_rates(measurement: Measurement) -> Measurement:
    """The measurement without heart rate and rates per second."""
    per_s = dict.fromkeys(_RATES)
    beats = tuple(beat.model_copy(update=per_s) for beat in measurement.beats)
    ml_per_s = dict.fromkeys(name.replace("edv", "ml") for name in _RATES)
    update = {"heart_rate_bpm": None, "beats": beats} | per_s | ml_per_s
    return measurement.model_copy(update=update)
