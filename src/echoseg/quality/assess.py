"""Reliability of a clip's EF, from its ED and ES: image quality, network uncertainty, interval."""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from echoseg.metrics.segmentation import area_jitter_percent
from echoseg.quality.conformal import CONTRAST_ENOUGH, FEATURES, Calibration, ef_interval
from echoseg.quality.image_quality import NUM_SEGMENTS, frame_quality
from echoseg.quality.reliability import ClipReliability, ClipUncertainty
from echoseg.quality.uncertainty import uncertainty_features

if TYPE_CHECKING:
    from echoseg.models.segmenter import Segmenter


def assess_reliability(  # noqa: PLR0913  # pictures, masks, and the network with its input
    network: "Segmenter",
    stills: Tensor,
    frames: np.ndarray,
    masks: np.ndarray,
    *,
    ef_percent: float,
    sector: np.ndarray | None = None,
    calibration: Calibration | None = None,
    lv_areas_px: np.ndarray | None = None,
) -> ClipReliability:
    """Assess the reliability of a clip's EF.

    Args:
        network: A Segmenter.
        stills: ED and ES as the network's input, `(2, 1, S, S)` in [0, 1].
        frames: ED and ES on the clip's own grid, `(2, H, W)` uint8.
        masks: Their label maps, `(2, H, W)`.
        ef_percent: The measured EF.
        sector: `(H, W)` bool, true inside the ultrasound sector.
        calibration: Calibration of the network's weights.
        lv_areas_px: Cavity area of every frame of the clip, `(T,)`.
    """
    qualities = [frame_quality(f, m, sector) for f, m in zip(frames, masks, strict=True)]
    parts = [
        features
        | {
            "segments_unseen": float(quality.segments_unseen if quality else NUM_SEGMENTS),
            "contrast_lacking": np.clip(CONTRAST_ENOUGH - quality.contrast, 0, CONTRAST_ENOUGH)
            if quality
            else CONTRAST_ENOUGH,
        }
        for features, quality in zip(uncertainty_features(network, stills), qualities, strict=True)
    ]
    uncertainty = ClipUncertainty(
        **{name: float(np.mean([part[name] for part in parts])) for name in FEATURES}
    )
    jitter = None
    if lv_areas_px is not None and len(lv_areas_px) > 2 and lv_areas_px.any():
        jitter = area_jitter_percent(lv_areas_px)
    return ClipReliability(
        interval=calibration and ef_interval(ef_percent, uncertainty, calibration),
        uncertainty=uncertainty,
        lv_outside_sector_percent=max((q.outside_percent for q in qualities if q), default=0.0),
        lv_area_jitter_percent=jitter,
    )
