"""Measures a clip's masks, and withholds what rests on a contradiction of the clip's sources."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from echoseg.clip import Clip, ClipWarning
from echoseg.io.arbitration import MAX_VOLUME_CHANGE, agree, describe
from echoseg.measure.frame import MeasuredFrame, measure_each
from echoseg.measure.measure import Timing, measure_frames
from echoseg.measure.measurement import Measurement
from echoseg.measure.plausible import NO_SCALE, depth_warnings
from echoseg.measure.stated_beats import NOTHING_STATED, Statements
from echoseg.preprocess.sector import Sector

MAX_EF_CHANGE_POINTS = 2.0
"""Change of EF by another choice from which it is withheld."""
CONTRADICTED_EF = "contradicted_ef"
_RATES = [f"peak_{name}_rate_edv_per_s" for name in ("ejection", "filling")]


def measure_clip(
    clip: Clip,
    masks: np.ndarray | Sequence[MeasuredFrame],
    *,
    sector: Sector | None = None,
    smoothing: bool = True,
    cavity_only: bool = False,
    stated: Statements = NOTHING_STATED,
) -> Measurement:
    """Measure the masks of a clip as `measure_masks` does, which has the other arguments.

    Without a plausible depth of its `sector` there are no volumes in ml (`implausible_depth`).
    R waves that contradict the volume curve are not used. Where an EF or EDV depends on which of
    two sources is right, `contradicted_ef` is added. Heart rate and rates per second are None
    where they are contradicted or rest on an assumed frame rate or on times with a pause. Of
    frames that were measured before (`usable_spacing_mm`) only the clip's values are computed.
    """
    depth = () if sector is None else depth_warnings(sector.num_rows, clip.spacing_mm)
    frames = measure_each(masks, usable_spacing_mm(clip, sector))

    def measure(num: int, times_s: np.ndarray | None, *r_wave_times_s: float) -> Measurement:
        timing = Timing(times_s=times_s, r_wave_times_s=r_wave_times_s, stated=stated)
        return measure_frames(frames[:num], timing, smoothing=smoothing, cavity_only=cavity_only)

    measurement = by_curve = measure(len(frames), clip.times_s)
    if clip.r_wave_times_s:
        measurement = measure(len(frames), clip.times_s, *clip.r_wave_times_s)
    rate, codes = clip.decision("frame_rate_hz"), {one.code for one in by_curve.warnings}
    bpm, curve_bpm = (
        one.heart_rate_bpm or one.heart_rate_unreliable_bpm for one in (measurement, by_curve)
    )
    notes = []
    is_timed = not rate.contradicting and (rate.choice is not None or not clip.sources)
    is_timed = is_timed and not any(one.code == "pause_in_times" for one in clip.warnings)
    if bpm and (
        not agree("heart_rate_bpm", curve_bpm, bpm) if curve_bpm else "clock_implausible" in codes
    ):
        curve = f"{curve_bpm:.0f}" if curve_bpm else "a rate of no heart"
        message = (
            f"The R waves give {bpm:.0f} beats per minute, the volume curve {curve}: R waves are "
            "not used, and no heart rate is given. Give --fps (fps) if you know it."
        )
        notes.append(ClipWarning(code="contradicted_r_waves", message=message))
        measurement, is_timed = by_curve, False
    for one in clip.decision("heart_rate_bpm").statements if bpm and is_timed else ():
        is_used = one.value and not one.unused_because
        if is_used and not agree("heart_rate_bpm", one.value, bpm):
            rate_text = describe("heart_rate_bpm", one)
            message = f"{rate_text}, but the clip shows {bpm:.0f}: no heart rate is given."
            notes.append(ClipWarning(code="contradicted_heart_rate", message=message))
            is_timed = False
    changing = [
        origin for origin, times_s, num in _others(clip) if _differ(by_curve, measure(num, times_s))
    ]
    if changing:
        message = (
            f"The file's sources contradict each other, and {', '.join(changing)} would change EF "
            f"by over {MAX_EF_CHANGE_POINTS:g} points or EDV by over 10 %. Give --fps (fps), or a "
            "file that is whole."
        )
        notes.append(ClipWarning(code=CONTRADICTED_EF, message=message))
    own = (one for one in measurement.warnings if not (depth and one.code == NO_SCALE))
    update = {"warnings": (*depth, *own, *notes)}
    return measurement.model_copy(update=update | ({} if is_timed else _no_rates(measurement)))


def usable_spacing_mm(clip: Clip, sector: Sector | None) -> tuple[float, float] | None:
    """The pixel spacing that a clip's frames are measured with; None where it is implausible."""
    is_off = sector is not None and depth_warnings(sector.num_rows, clip.spacing_mm)
    return None if is_off else clip.spacing_mm


def _others(clip: Clip) -> Iterator[tuple[str, np.ndarray | None, int]]:
    """Origin, times and number of frames by each statement that contradicts the one in use."""
    for one in clip.decision("frame_rate_hz").contradictions:
        yield one.origin, np.arange(clip.num_frames) / np.asarray(one.value), clip.num_frames
    for one in clip.decision("num_frames").contradictions:
        if 1 < (num := int(one.value)) < clip.num_frames:  # type: ignore[arg-type]
            yield one.origin, None if clip.times_s is None else clip.times_s[:num], num


def _differ(one: Measurement, other: Measurement) -> bool:
    """Whether EF or EDV differ too much; where one has no EF, nothing is known."""
    if one.ef_percent is None or other.ef_percent is None:
        return False
    edv_ml, other_ml = one.edv_ml or 1.0, other.edv_ml or 1.0
    is_ef = abs(other.ef_percent - one.ef_percent) > MAX_EF_CHANGE_POINTS
    return is_ef or abs(other_ml / edv_ml - 1) > MAX_VOLUME_CHANGE


def _no_rates(measurement: Measurement) -> dict[str, Any]:
    """What an update that withholds the heart rate and all rates per second holds."""
    per_beat = dict.fromkeys([*_RATES, "heart_rate_bpm"])
    beats = tuple(beat.model_copy(update=per_beat) for beat in measurement.beats)
    withheld = measurement.heart_rate_bpm or measurement.heart_rate_unreliable_bpm
    values = {"heart_rate_unreliable_bpm": withheld, "heart_rate_sd_bpm": None, "beats": beats}
    return per_beat | values | dict.fromkeys(name.replace("edv", "ml") for name in _RATES)
