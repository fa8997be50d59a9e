"""A clip's trust, from its ED and ES: quality of the picture, the network's doubt, the interval."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from echoseg.clip import ClipWarning
from echoseg.quality.conformal import (
    CONTRAST_ENOUGH,
    Calibration,
    ClipUncertainty,
    EfInterval,
    doubts_of,
    ef_interval,
)
from echoseg.quality.image_quality import NUM_SEGMENTS, FrameQuality, frame_quality
from echoseg.quality.uncertainty import doubts

MOST_OUTSIDE_PERCENT = 5.0
"""Share of cavity and wall outside the sector from which it is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipReliability:
    """How far a clip's EF may be believed.

    Attributes:
        doubts: Means over ED and ES.
        outside_percent: The larger share of the heart outside the sector, of ED's and ES's.
        interval: None where the checkpoint was never calibrated.
    """

    doubts: ClipUncertainty
    outside_percent: float
    interval: EfInterval | None

    @property
    def warnings(self) -> tuple[ClipWarning, ...]:
        """What a reader must know first."""
        found = []
        if self.interval is not None and self.interval.distrust:
            message = f"do not trust this EF: {self.interval.distrust}"
            found.append(ClipWarning(code="do_not_trust", message=message))
        if self.outside_percent > MOST_OUTSIDE_PERCENT:
            message = (
                f"{self.outside_percent:.0f} % of the left ventricle lies outside the ultrasound "
                "sector: its border there is a guess"
            )
            found.append(ClipWarning(code="lv_outside_sector", message=message))
        if self.doubts.segments_unseen >= NUM_SEGMENTS / 3:
            message = (
                f"{self.doubts.segments_unseen:.0f} of {NUM_SEGMENTS} wall segments cannot be told "
                "from the cavity"
            )
            found.append(ClipWarning(code="wall_drop_out", message=message))
        return tuple(found)


def assess_reliability(  # noqa: PLR0913  # a picture, its mask, the network and what it was shown
    network: Any,
    stills: Tensor,
    frames: np.ndarray,
    masks: np.ndarray,
    *,
    ef_percent: float,
    sector: np.ndarray | None = None,
    calibration: Calibration | None = None,
) -> ClipReliability:
    """Return the trust in a clip's EF.

    Args:
        network: A Segmenter.
        stills: ED and ES as the network sees them, `2 1 S S` in [0, 1].
        frames: The same on the clip's own grid, `2 H W` uint8.
        masks: Their label maps, `2 H W`.
        ef_percent: What was measured.
        sector: `H W` bool, where there is ultrasound.
        calibration: Of the network's weights.
    """
    seen = [frame_quality(f, m, sector) for f, m in zip(frames, masks, strict=True)]
    parts = [
        {
            "entropy": doubt.entropy,
            "disagreement_percent": doubt.disagreement_percent,
            "segments_unseen": float(quality.segments_unseen if quality else NUM_SEGMENTS),
            "contrast_lacking": _lacking(quality),
        }
        for doubt, quality in zip(doubts(network, stills), seen, strict=True)
    ]
    found = doubts_of(parts)
    return ClipReliability(
        doubts=found,
        outside_percent=max((quality.outside_percent for quality in seen if quality), default=0.0),
        interval=calibration and ef_interval(ef_percent, found, calibration),
    )


def _lacking(quality: FrameQuality | None) -> float:
    contrast = quality.contrast if quality else 0.0
    return min(max(CONTRAST_ENOUGH - contrast, 0.0), CONTRAST_ENOUGH)
