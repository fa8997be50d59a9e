"""Records of reliability, as in a report: uncertainty features and EF interval."""

from dataclasses import dataclass
from typing import Annotated

from echoseg.clip import ClipWarning
from echoseg.measure.measurement import TENTH, THOUSANDTH, FrozenModel, Tenth
from echoseg.quality.image_quality import NUM_SEGMENTS

MAX_OUTSIDE_PERCENT = 5.0
"""Fraction of cavity and wall outside the sector from which a warning is given."""
UNRELIABLE_EF = "This EF is not reliable. "
"""How the warning with the reasons begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipUncertainty:
    """Uncertainty features of a clip; larger is worse.

    Entropy, gamma and segments are means over ED and ES.

    Attributes:
        entropy: Mean over the pixels predicted as cavity or wall, as a fraction (0 to 1) of the
            maximum entropy; 1 where there are none.
        pose_points: Standard deviation of the EF when the pictures are turned and zoomed.
        gamma_percent: 100 minus the Dice of the cavities before and after another gamma.
        segments_unseen: As in `FrameQuality`.
        flicker_percent: 100 minus the 10th percentile over time of the Dice between the cavities
            of neighboring frames; None for stills.
        area_jitter_percent: Frame-to-frame jitter of the cavity's area; None for stills.
        beats_error_points: Standard error of the mean EF over the beats; None for fewer than two.
    """

    entropy: Annotated[float, THOUSANDTH]
    pose_points: Annotated[float, TENTH]
    gamma_percent: Annotated[float, TENTH]
    segments_unseen: Annotated[float, TENTH]
    flicker_percent: Tenth = None
    area_jitter_percent: Tenth = None
    beats_error_points: Tenth = None


def label_priority(uncertainty: ClipUncertainty) -> float:
    """How much is expected from correcting a clip's masks; clips are corrected largest first.

    The entropy: over 300 clips of CAMUS training patients that a network had not learned from, its
    rank correlation with the error of the masks, 1 - Dice, was .69; that of the change of masks by
    turning and zooming .62, by gamma .46, and no sum of them was better. It orders corrections; for
    training, clips at random are better (docs/results/label-order.md).
    """
    return uncertainty.entropy


class EfInterval(FrozenModel):
    """Calibrated interval of an EF, in percent.

    Attributes:
        low_percent: Its lower end.
        high_percent: Its upper end.
        level_percent: Fraction of clips like the calibration's whose true EF it covers.
        expected_error_points: Expected error of the EF.
        source: Calibration data, in words.
        widened_because: Why the clip is not like those of the calibration, one sentence per
            reason; the interval was widened for it. Empty where it is like them.
    """

    low_percent: Annotated[float, TENTH]
    high_percent: Annotated[float, TENTH]
    level_percent: Annotated[float, TENTH]
    expected_error_points: Annotated[float, TENTH]
    source: str
    widened_because: tuple[str, ...] = ()


class ClipReliability(FrozenModel):
    """How far a clip's EF can be relied on.

    Attributes:
        interval: Calibrated interval of the EF; null where the weights have no calibration.
        uncertainty: Features it rests on.
        lv_outside_sector_percent: Cavity and wall outside the ultrasound sector, the larger of
            ED and ES.
        unreliable_because: Why not to rely on the EF, one sentence per reason; empty where
            nothing speaks against it.
    """

    interval: EfInterval | None
    uncertainty: ClipUncertainty
    lv_outside_sector_percent: Annotated[float, TENTH]
    unreliable_because: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[ClipWarning, ...]:
        """What a reader must know first."""
        warnings = []
        if self.unreliable_because:
            message = UNRELIABLE_EF + " ".join(self.unreliable_because)
            warnings.append(ClipWarning(code="do_not_trust", message=message))
        if self.interval is not None and self.interval.widened_because:
            message = f"The EF interval was widened. {' '.join(self.interval.widened_because)}"
            warnings.append(ClipWarning(code="interval_widened", message=message))
        if self.lv_outside_sector_percent > MAX_OUTSIDE_PERCENT:
            message = (
                f"{self.lv_outside_sector_percent:.0f} % of the left ventricle lies outside the "
                "ultrasound sector. Its border there is a guess."
            )
            warnings.append(ClipWarning(code="lv_outside_sector", message=message))
        if self.uncertainty.segments_unseen >= NUM_SEGMENTS / 3:
            message = (
                f"{self.uncertainty.segments_unseen:.0f} of {NUM_SEGMENTS} wall segments cannot "
                "be distinguished from the cavity."
            )
            warnings.append(ClipWarning(code="wall_drop_out", message=message))
        return tuple(warnings)
