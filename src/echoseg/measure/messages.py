"""Notes on how a clip's numbers were computed, and warnings about its beats and masks."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from echoseg.clip import ClipWarning, Label
from echoseg.measure.curve import frame_interval_s
from echoseg.measure.frame import MeasuredFrame
from echoseg.measure.measurement import Measurement
from echoseg.measure.phases import Beat
from echoseg.measure.rhythm import FASTEST_BPM, MAX_SYSTOLE_S, MIN_SYSTOLE_S, SLOWEST_BPM

CUT_BEAT = "cut_beat"
"""Code of the warning that a clip may not show ED and ES of one beat: its EF is not reliable."""
BEATS_IN_SINUS, BEATS_IN_FIBRILLATION = 3, 5
"""Beats to average, by the guideline (Lang et al., J Am Soc Echocardiogr 28:1-39, 2015)."""
MAX_JUMP = 0.15
"""Share of the largest volume by which a drawn frame may differ from the mean of the frames before
and after it: a heart with an EF of 80 % and a systole of 0.2 s stays under .12 at 20 frames/s."""
MAX_WALL_OUTSIDE = 0.1
"""Share of the wall outside the sector above which its thickness and mass are guesses."""


def notes_on_reading(
    reported: Sequence[Beat], on_frames: Sequence[Beat], parabola_s: float | None
) -> tuple[ClipWarning, ...]:
    """How the numbers were computed; `parabola_s` is None without smoothing."""
    message = (
        "EDV and ESV are the largest and smallest volume of the smoothed curve within a beat, from "
        "the video alone; the frames marked ED and ES are those of these two."
        if parabola_s
        else "EDV and ESV are the single frames' own volumes where the smoothed curve is largest "
        "and smallest within a beat, from the video alone."
    )
    notes = [ClipWarning(code="largest_smallest_volume", message=message)]
    if len(reported) > 1:
        listed = ", ".join(f"{100 * beat.ejection_ratio:.0f}" for beat in reported)
        message = f"EF is the mean of {len(reported)} beats ({listed} %)."
        notes.append(ClipWarning(code="mean_of_beats", message=message))
    if parabola_s:
        smooth, single = (
            100 * float(np.mean([beat.ejection_ratio for beat in some]))
            for some in (reported, on_frames)
        )
        message = (
            f"The volume curve was smoothed with a parabola over {parabola_s:.2g} s. The own "
            f"volumes of the frames marked ED and ES give {single:.1f} % (smoothing changes EF by "
            f"{smooth - single:+.1f} points). Turn it off with smoothing=False (--no-smoothing)."
        )
        notes.append(ClipWarning(code="regularised", message=message))
    return tuple(notes)


def beat_warnings(
    beats: Sequence[Beat], *, ends: tuple[int | None, int | None], irregular: bool, cut_reason: str
) -> list[ClipWarning]:
    """Warnings about number and rhythm of the beats.

    `ends` are the frames of ED and ES that were read; `cut_reason` is `phases.cut_reason`.
    """
    warnings = []
    left_out = [beat for beat in beats if beat.left_out]
    if any(beat.left_out != "reader" for beat in left_out):
        early = sum(beat.left_out == "premature" for beat in left_out)
        message = (
            f"{early} of {len(beats)} beats {'is' if early == 1 else 'are'} premature. They and "
            "the beats after them are not in the mean."
        )
        warnings.append(ClipWarning(code="premature_beats", message=message))
    if irregular:
        message = "Beat lengths differ by more than 15 %: possible atrial fibrillation."
        warnings.append(ClipWarning(code="irregular_rhythm", message=message))
    num_kept = len(beats) - len(left_out)
    if cut_reason:
        message = (
            f"{cut_reason}: the frames read as ED and ES are {ends[0]} and {ends[1]}, counted from "
            "0. Use a clip of at least one whole beat."
        )
        warnings.append(ClipWarning(code=CUT_BEAT, message=message))
    elif not beats:
        message = (
            "This EF is of a part of a beat: the clip shows no complete systole. It pairs ED frame "
            f"{ends[0]} with ES frame {ends[1]}, counted from 0, and the true volumes "
            "may lie outside the clip. Use a clip of at least one whole beat."
        )
        warnings.append(ClipWarning(code="part_of_beat", message=message))
    elif num_kept < (BEATS_IN_FIBRILLATION if irregular else BEATS_IN_SINUS):
        message = (
            f"EF rests on {num_kept} beat{'s' * (num_kept > 1)}. Guidelines average at least "
            f"{BEATS_IN_SINUS} in sinus rhythm and {BEATS_IN_FIBRILLATION} in atrial fibrillation."
        )
        warnings.append(ClipWarning(code="few_beats", message=message))
    return warnings


def clock_warning(
    times_s: np.ndarray | None, rate_bpm: float | None, systole_s: float | None
) -> ClipWarning:
    """The warning that frame times, or R waves alone, imply a rate or systole that no heart has."""
    implied = [] if rate_bpm is None else [f"{rate_bpm:.0f} beats per minute"]
    implied += [] if systole_s is None else [f"a systole of {systole_s:.2f} s"]
    source, way_out = "R waves", ""
    if times_s is not None:
        source = f"frame times, {1 / frame_interval_s(times_s):.4g} frames per second,"
        way_out = " Set --fps (fps) if it is known."
    message = (
        f"The {source} imply {' and '.join(implied)}; hearts have {SLOWEST_BPM:.0f} to "
        f"{FASTEST_BPM:.0f} per minute, and {MIN_SYSTOLE_S:g} to {MAX_SYSTOLE_S:g} s. The times "
        f"are probably not the heart's, so there is no heart rate and no rate per second.{way_out}"
    )
    return ClipWarning(code="clock_implausible", message=message)


def mask_warnings(frames: Sequence[MeasuredFrame], ef_percent: float | None) -> list[ClipWarning]:
    """Warnings about the masks of all frames."""
    warnings = []
    missing = sum(frame.shape is None for frame in frames)
    if missing:
        message = f"No left ventricle on {missing} of {len(frames)} frames."
        warnings.append(ClipWarning(code="lv_missing_frames", message=message))
    if ef_percent is not None and ef_percent < 5:
        message = "The LV volume changes by less than 5 %: the clip may be frozen."
        warnings.append(ClipWarning(code="little_motion", message=message))
    if np.mean([frame.is_cut_off for frame in frames]) > 0.2:
        message = "The left ventricle touches the edge of the picture: part of it is cut off."
        warnings.append(ClipWarning(code="lv_cut_off", message=message))
    return warnings


def drawn_warnings(volumes: np.ndarray, drawn_frames: Sequence[int]) -> list[ClipWarning]:
    """The warning that frames which a reader drew jump against the frames before and after them.

    Args:
        volumes: Volume of each frame `T`, without gaps.
        drawn_frames: The frames that were drawn.
    """
    jumps = {}
    for frame in drawn_frames if len(volumes) > 2 else ():
        around = [volumes[one] for one in (frame - 1, frame + 1) if 0 <= one < len(volumes)]
        largest = max(float(np.delete(volumes, frame).max()), 1e-9)
        jump = float(volumes[frame] - np.mean(around)) / largest
        if abs(jump) > MAX_JUMP * (3 - len(around)):  # twice as much at either end of the clip
            jumps[frame] = jump
    if not jumps:
        return []
    worst = max(jumps, key=lambda frame: abs(jumps[frame]))
    message = (
        f"The contour that a reader drew on frame {worst}, counted from 0, makes its volume "
        f"{100 * abs(jumps[worst]):.0f} % of the largest one "
        f"{'more' if jumps[worst] > 0 else 'less'} than the frames before and after it have. "
        "Check it, or carry the correction to these frames."
    )
    return [ClipWarning(code="drawn_jump", message=message)]


def flag_wall(
    measurement: Measurement, frames: Sequence[MeasuredFrame], sector: np.ndarray
) -> Measurement:
    """Take the wall's values away where the wall at ED leaves the ultrasound sector.

    Args:
        measurement: Of the clip's masks.
        frames: The clip's frames.
        sector: `(H, W)` bool, where the picture is ultrasound.

    Returns:
        The measurement, without thickness and mass and with the warning `wall_cut_off`, where
        more than `MAX_WALL_OUTSIDE` of the wall lies outside the sector or at its edge.
    """
    if measurement.ed_frame is None or measurement.lv_mass_g is None:
        return measurement
    wall = frames[measurement.ed_frame].mask == Label.LV_MYOCARDIUM
    inside = np.asarray(
        ndimage.binary_erosion(sector, iterations=2)
    )  # what touches the edge goes on beyond it
    outside = float((wall & np.logical_not(inside)).sum() / max(1, wall.sum()))
    if outside <= MAX_WALL_OUTSIDE:
        return measurement
    message = (
        f"{100 * outside:.0f} % of the heart wall at ED lies at or outside the edge of the "
        "ultrasound sector, so its thickness and mass are not given."
    )
    warning = ClipWarning(code="wall_cut_off", message=message)
    return measurement.model_copy(
        update={
            "wall_thickness_mm": None,
            "lv_mass_g": None,
            "warnings": (*measurement.warnings, warning),
        }
    )
