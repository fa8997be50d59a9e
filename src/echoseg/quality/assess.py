"""Reliability of a clip's EF: uncertainty features, interval, and reasons not to rely on it."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from echoseg.errors import ArgumentError
from echoseg.measure.measurement import Measurement
from echoseg.quality.conformal import Calibration, ef_interval
from echoseg.quality.flicker import temporal_features
from echoseg.quality.image_quality import NUM_SEGMENTS, frame_quality
from echoseg.quality.reasons import unreliable_because
from echoseg.quality.reliability import ClipReliability, ClipUncertainty
from echoseg.quality.uncertainty import still_features

if TYPE_CHECKING:
    from echoseg.models.segmenter import Segmenter


class Ends(NamedTuple):
    """ED and ES of a clip, in this order.

    Attributes:
        stills: Input of the network, `(2, 1, S, S)` in [0, 1].
        frames: On the clip's own grid, `(2, H, W)` uint8.
        masks: Their label maps, `(2, H, W)`.
        sector: `(H, W)` bool, true inside the ultrasound sector; None: the whole picture.
    """

    stills: Tensor
    frames: np.ndarray
    masks: np.ndarray
    sector: np.ndarray | None = None


def clip_uncertainty(
    network: "Segmenter",
    ends: Ends,
    masks: np.ndarray | None = None,
    *,
    beats_error_points: float | None = None,
) -> tuple[ClipUncertainty, float]:
    """Uncertainty features of a clip, and the percentage of its ventricle outside the sector.

    Args:
        network: A Segmenter.
        ends: ED and ES.
        masks: Label maps of all frames of a clip, `(T, H, W)`; None for stills.
        beats_error_points: As in `ClipUncertainty`.
    """
    qualities = [
        frame_quality(frame, mask, ends.sector)
        for frame, mask in zip(ends.frames, ends.masks, strict=True)
    ]
    unseen = [quality.segments_unseen if quality else NUM_SEGMENTS for quality in qualities]
    features: dict[str, Any] = still_features(network, ends.stills)
    features |= {} if masks is None else temporal_features(masks)
    uncertainty = ClipUncertainty(
        **features, segments_unseen=float(np.mean(unseen)), beats_error_points=beats_error_points
    )
    return uncertainty, max((one.outside_percent for one in qualities if one), default=0.0)


def assess_reliability(
    network: "Segmenter",
    ends: Ends,
    masks: np.ndarray,
    measurement: Measurement,
    *,
    view: str,
    calibration: Calibration | None = None,
) -> ClipReliability:
    """Assess the reliability of a clip's EF.

    Args:
        network: A Segmenter.
        ends: ED and ES.
        masks: Label maps of all frames, `(T, H, W)`.
        measurement: The clip's measurement, with an EF.
        view: The clip's view.
        calibration: Calibration of the network's weights.

    Raises:
        ArgumentError: If the measurement has no EF.
    """
    ef_percent, beats_sd = measurement.ef_percent, measurement.ef_sd_points
    if ef_percent is None:
        raise ArgumentError("reliability is that of an EF; this measurement has none")
    spread = None if beats_sd is None else beats_sd / math.sqrt(measurement.num_beats)
    uncertainty, outside = clip_uncertainty(network, ends, masks, beats_error_points=spread)
    interval = calibration and ef_interval(
        ef_percent, uncertainty, calibration, view=view, is_part_of_beat=measurement.is_part_of_beat
    )
    return ClipReliability(
        interval=interval,
        uncertainty=uncertainty,
        lv_outside_sector_percent=outside,
        unreliable_because=unreliable_because(
            ef_percent,
            uncertainty,
            calibration,
            interval=interval,
            beats_sd_points=beats_sd,
            outside_percent=outside,
        ),
    )
