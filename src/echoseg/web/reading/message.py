"""A reading as it is sent to the page."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from echoseg.clip import Label
from echoseg.inference.analysis import Analysis
from echoseg.inference.ef_statement import EfStatement
from echoseg.measure.frame import MeasuredFrame
from echoseg.measure.geometry import disk_lines_mm, mask_contour_mm
from echoseg.measure.measurement import Measurement
from echoseg.report.html import plain_words
from echoseg.web.api import Beat, Curve, DiskLines, FrameContours, Point
from echoseg.web.reading.contours import frame_contours, pixel_axis
from echoseg.web.reading.state import Parameters, State

_WORDS = (
    ("Set --spacing-mm (spacing_mm) if it is known.", "Set the scale by two depth ticks."),
    ("Give --spacing-mm (spacing_mm) if you know it.", "Set the scale by two depth ticks."),
    ("Set --fps (fps) if it is known.", "Set the frame rate if you know it."),
    ("Give --fps (fps) if you know it.", "Set the frame rate if you know it."),
    ("Give --fps (fps), or a file that is whole.", "Set the frame rate if you know it."),
    ("or set --fps (fps) if the times are wrong", "or set the frame rate if the times are wrong"),
    ("Give --view (view) if the clip shows one.", "State the view if the clip shows one."),
    ("give --view (view) if you know it.", "state the view if you know it."),
    ("If the stated view is wrong, give --view (view).", "If the view is wrong, state it."),
    (" Turn it off with smoothing=False (--no-smoothing).", ""),
)
"""Words of the command line, and what they are on the page."""
_DISK_LINES: WeakKeyDictionary[MeasuredFrame, DiskLines] = WeakKeyDictionary()


def for_clinician(message: str) -> str:
    """A message in words of the page instead of those of the command line."""
    for option, words in _WORDS:
        message = message.replace(option, words)
    return plain_words(message)


def reading_numbers(analysis: Analysis, state: State, network_ef: EfStatement) -> dict[str, Any]:
    """The fields of a `Reading` that rest on masks and parameters, but for the contours."""
    measurement, clip = analysis.measurement, analysis.clip
    ef, is_withheld = analysis.ef, analysis.ef.kind == "unreliable"
    ends = [one for one in (measurement.ed_frame, measurement.es_frame) if one is not None]
    return {
        "ef": ef,
        "network_ef": network_ef,
        "edv_ml": measurement.edv_ml,
        "esv_ml": measurement.esv_ml,
        "heart_rate_bpm": None if is_withheld else measurement.heart_rate_bpm,
        "ed_frame": measurement.ed_frame,
        "es_frame": measurement.es_frame,
        "beats": _beats(measurement, state.parameters, is_withheld=is_withheld),
        "curve": _curve(analysis),
        "disks": tuple(
            disk_lines(state.frames[frame], frame) for frame in ends if state.frames[frame].shape
        ),
        "view": str(clip.view),
        "spacing_mm": measurement.spacing_mm,
        "frame_rate_hz": clip.frame_rate_hz,
        "warnings": tuple(
            dict.fromkeys(filter(None, (for_clinician(w.message) for w in analysis.warnings)))
        ),
        "is_corrected": state.parameters.are_numbers_changed,
    }


def contours_of(state: State, frames: list[int]) -> tuple[FrameContours, ...]:
    """The curves of some frames."""
    parameters = state.parameters
    return tuple(
        FrameContours(
            frame=index,
            contours=frame_contours(
                state.frames[index],
                parameters.drawn.get(index, {}),
                is_reader=index in parameters.changed,
            ),
        )
        for index in frames
    )


def _beats(
    measurement: Measurement, parameters: Parameters, *, is_withheld: bool
) -> tuple[Beat, ...]:
    moved = [(one.ed_frame, one.es_frame) for one in parameters.beats if one.is_moved]
    withheld: dict[str, Any] = dict.fromkeys(("ef_percent", "gls_percent")) if is_withheld else {}
    return tuple(
        Beat(
            **(dict(beat) | withheld),
            is_excluded=beat.left_out == "reader",
            is_moved=any(
                ed in (None, beat.ed_frame) and es in (None, beat.es_frame) for ed, es in moved
            ),
        )
        for beat in measurement.beats
    )


def _curve(analysis: Analysis) -> Curve:
    frames, clip = analysis.measurement.frames, analysis.clip
    is_scaled = analysis.measurement.spacing_mm is not None
    times_s = np.arange(len(frames)) if clip.times_s is None else clip.times_s
    volumes = (one.volume_ml if is_scaled else one.relative_volume for one in frames)
    return Curve(
        times_s=tuple(np.asarray(times_s, float).tolist()),
        volumes=tuple(volumes),
        smoothed=tuple(one.smoothed_volume for one in frames),
        unit="ml" if is_scaled else "fraction",
        r_wave_times_s=clip.r_wave_times_s,
    )


def disk_lines(frame: MeasuredFrame, index: int) -> DiskLines:
    """Long axis, annulus and disks of a frame with a cavity, in pixels; found once."""
    lines = _DISK_LINES.get(frame)
    if lines is None or lines.frame != index:
        lines = _DISK_LINES[frame] = _disk_lines(frame, index)
    return lines


def _disk_lines(frame: MeasuredFrame, index: int) -> DiskLines:
    axis = pixel_axis(frame)
    contour = mask_contour_mm(frame.mask == Label.LV_CAVITY, (1.0, 1.0))
    return DiskLines(
        frame=index,
        axis=(_point(axis.annulus_mid_mm), _point(axis.apex_mm)),
        annulus=(_point(axis.hinges_mm[0]), _point(axis.hinges_mm[1])),
        disks=tuple((_point(one[0]), _point(one[1])) for one in disk_lines_mm(contour, axis)),
    )


def _point(values: np.ndarray) -> Point:
    return round(float(values[0]), 2), round(float(values[1]), 2)
