"""A reading's numbers, and what may be stated of them: by `measure`, `quality` and `inference`.

While the masks are the network's, its uncertainty at its own ED and ES gives the interval, by the
EF, the beats and the view as they are stated now. After a mask was changed there is none; the
reasons not to rely on the EF that rest on masks alone are found in the new masks, and the network's
own remain until ED and ES of the beat that is shown are the reader's.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from weakref import WeakKeyDictionary, ref

import numpy as np

from echoseg.clip import ClipWarning, Label
from echoseg.inference.analysis import CORRECTED, Analysis
from echoseg.inference.clip_measurement import measure_clip
from echoseg.measure.frame import MeasuredFrame
from echoseg.measure.measurement import Measurement, refused
from echoseg.measure.messages import flag_wall
from echoseg.measure.stated_beats import Statements
from echoseg.quality.conformal import ef_interval
from echoseg.quality.flicker import area_features
from echoseg.quality.reasons import unreliable_because
from echoseg.quality.reliability import ClipReliability, ClipUncertainty
from echoseg.web.reading.opened import OpenedClip
from echoseg.web.reading.state import State

STATE_VIEW = "State the view if the clip shows A4C or A2C, and check the contours"
GIVE_GREY = "Add an apical clip in grey B-mode"
_COMMON_PX: WeakKeyDictionary[MeasuredFrame, tuple[ref[MeasuredFrame], int]] = WeakKeyDictionary()
_NOTE = "A reader corrected the masks of {} of {} frames."


def measure_state(opened: OpenedClip, state: State, *, is_whole: bool = False) -> Analysis:
    """Measure a reading as it is after an edit.

    Args:
        opened: The network's result.
        state: The reading.
        is_whole: Give masks and pictures too, and check the wall, as a report needs it; otherwise
            the analysis holds numbers and statements only.
    """
    parameters = state.parameters
    clip = opened.clip(parameters, opened.frames if is_whole else None)
    sector = opened.sector if is_whole else opened.depth_sector(parameters)
    stated = Statements(beats=parameters.beats, drawn_frames=parameters.changed)
    measurement = measure_clip(clip, state.frames, sector=sector, stated=stated)
    if is_whole and sector is not None:
        measurement = flag_wall(measurement, state.frames, sector.mask)
    if parameters.changed:
        message = _NOTE.format(len(parameters.changed), len(state.frames))
        note = ClipWarning(code=CORRECTED, message=message)
        measurement = measurement.model_copy(update={"notes": (note, *measurement.notes)})
    is_readers = bool(parameters.changed) and parameters.view is not None
    black = np.broadcast_to(np.uint8(0), clip.frames.shape)
    analysis = Analysis(
        clip=clip,
        masks=np.stack([frame.mask for frame in state.frames]) if is_whole else black,
        measurement=measurement,
        model=opened.card,
        predicted_view=None if is_readers else opened.report.predicted_view,
        axes_px=tuple(frame.axis_px for frame in state.frames) if is_whole else (),
    )
    if analysis.wrong_view:
        is_doppler = any(warning.code == "colour_doppler" for warning in clip.warnings)
        why = f"{analysis.wrong_view}. {GIVE_GREY if is_doppler else STATE_VIEW}"
        return replace(analysis, measurement=refused(measurement, why))
    reliability = _reliability(opened, state, analysis)
    return replace(analysis, reliability=reliability)


def _reliability(opened: OpenedClip, state: State, analysis: Analysis) -> ClipReliability | None:
    """How far the EF of a reading can be relied on; None where the network was not asked."""
    own, parameters = opened.report.reliability, state.parameters
    measurement = analysis.measurement
    if own is None or measurement.ef_percent is None:
        return None
    if not parameters.are_numbers_changed:
        return own
    if parameters.changed:
        return _of_masks(own, state, measurement)
    uncertainty = replace(own.uncertainty, beats_error_points=_spread(measurement))
    network = opened.report.results
    is_same = (measurement.ed_frame, measurement.es_frame) == (network.ed_frame, network.es_frame)
    interval = None
    if is_same and opened.calibration is not None and opened.card is not None:
        view, predicted = analysis.clip.view, analysis.predicted_view
        interval = ef_interval(
            measurement.ef_percent,
            uncertainty,
            opened.calibration,
            view=str(predicted.interval_view(view, opened.card.views) if predicted else view),
            is_part_of_beat=measurement.is_part_of_beat,
        )
    reasons = unreliable_because(
        measurement.ef_percent,
        uncertainty,
        opened.calibration,
        interval=interval,
        beats_sd_points=measurement.ef_sd_points,
        outside_percent=own.lv_outside_sector_percent,
    )
    return own.model_copy(
        update={"interval": interval, "uncertainty": uncertainty, "unreliable_because": reasons}
    )


def _of_masks(own: ClipReliability, state: State, measurement: Measurement) -> ClipReliability:
    """Reliability of corrected masks, of which the network says nothing any more."""
    assert measurement.ef_percent is not None
    uncertainty = _of_frames(own.uncertainty, state.frames, measurement)
    reasons = unreliable_because(
        measurement.ef_percent, uncertainty, None, beats_sd_points=measurement.ef_sd_points
    )
    ends = {measurement.ed_frame, measurement.es_frame}
    if own.unreliable_because and not ends <= set(state.parameters.changed):
        reasons += (
            "The network's contours were not reliable; check and correct those of ED and ES.",
        )
    return ClipReliability(
        interval=None,
        uncertainty=uncertainty,
        lv_outside_sector_percent=own.lv_outside_sector_percent,
        unreliable_because=reasons,
    )


def _of_frames(
    own: ClipUncertainty, frames: Sequence[MeasuredFrame], measurement: Measurement
) -> ClipUncertainty:
    """The features with those that rest on masks alone measured anew."""
    areas = np.array([frame.area_px for frame in frames])
    if areas.any():
        common = np.array([_common_px(one, other) for one, other in pairwise(frames)])
        own = replace(own, **area_features(areas, common))
    return replace(own, beats_error_points=_spread(measurement))


def _common_px(one: MeasuredFrame, next_: MeasuredFrame) -> int:
    """Pixels that the cavities of two frames share; counted once."""
    known = _COMMON_PX.get(one)
    if known is None or known[0]() is not next_:
        both = np.array([one.box, next_.box])
        (top, left), (bottom, right) = both[:, :2].max(0), both[:, 2:].min(0)
        box = slice(top, max(top, bottom)), slice(left, max(left, right))
        cavities = [frame.mask[box] == Label.LV_CAVITY for frame in (one, next_)]
        known = ref(next_), int(np.count_nonzero(cavities[0] & cavities[1]))
        _COMMON_PX[one] = known
    return known[1]


def _spread(measurement: Measurement) -> float | None:
    """Standard error of the mean EF over the beats; None for fewer than two."""
    sd = measurement.ef_sd_points
    return None if sd is None else sd / math.sqrt(measurement.num_beats)
