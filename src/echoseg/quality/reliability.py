"""Records of reliability, as in a report: uncertainty features, EF interval, predicted view."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from echoseg.clip import ClipWarning, View
from echoseg.measure.measurement import HUNDREDTH, TENTH, THOUSANDTH, FrozenModel, Tenth
from echoseg.quality.image_quality import NUM_SEGMENTS

MAX_OUTSIDE_PERCENT = 5.0
"""Fraction of cavity and wall outside the sector from which a warning is given."""
VIEW_CLASSES = ("A4C", "A2C", "ALAX", "other")
"""In the order of the view network's logits; the logit of a mirrored picture follows."""
_VIEW_NAMES = {
    "A4C": "an apical four-chamber view",
    "A2C": "an apical two-chamber view",
    "ALAX": "an apical long axis",
    "other": "another view, or one that is rotated or cut off",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipUncertainty:
    """Uncertainty features of a clip, means over its ED and ES; larger is worse.

    Attributes:
        entropy: Mean over the pixels predicted as cavity or wall, as a fraction (0 to 1) of the
            maximum entropy; 1 where there are none.
        disagreement_percent: 100 minus the Dice of the cavities before and after another gain,
            mean over two gains.
        segments_unseen: As in `FrameQuality`.
        contrast_lacking: How far the contrast is below `CONTRAST_ENOUGH`.
    """

    entropy: Annotated[float, THOUSANDTH]
    disagreement_percent: Annotated[float, TENTH]
    segments_unseen: Annotated[float, TENTH]
    contrast_lacking: Annotated[float, HUNDREDTH]


class EfInterval(FrozenModel):
    """Calibrated interval of an EF, in percent, and whether the EF is reliable at all.

    `unreliable_because` is a reason when the expected error is above the rejection threshold, and
    empty otherwise.
    """

    low_percent: Annotated[float, TENTH]
    high_percent: Annotated[float, TENTH]
    level_percent: Annotated[float, TENTH]
    expected_error_points: Annotated[float, TENTH]
    source: str
    unreliable_because: str


class ClipReliability(FrozenModel):
    """How far a clip's EF can be relied on.

    Attributes:
        interval: Calibrated interval of the EF; null where the weights have no calibration.
        uncertainty: Features it rests on, means over ED and ES.
        lv_outside_sector_percent: Cavity and wall outside the ultrasound sector, the larger of
            ED and ES.
        lv_area_jitter_percent: Frame-to-frame jitter of the cavity's area; null when unknown.
    """

    interval: EfInterval | None
    uncertainty: ClipUncertainty
    lv_outside_sector_percent: Annotated[float, TENTH]
    lv_area_jitter_percent: Tenth = None

    @property
    def warnings(self) -> tuple[ClipWarning, ...]:
        """What a reader must know first."""
        warnings = []
        if self.interval is not None and self.interval.unreliable_because:
            message = f"This EF is not reliable: {self.interval.unreliable_because}."
            warnings.append(ClipWarning(code="do_not_trust", message=message))
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


class ViewPrediction(FrozenModel):
    """The predicted view, means over frames.

    Attributes:
        view: The most probable of `VIEW_CLASSES`.
        probability_percent: Of each of `VIEW_CLASSES`, together 100.
        mirrored_percent: Probability that left and right are exchanged.
        is_mirrored: Whether that is high enough for a warning.
        min_percent: Probability of a view below which the clip is not accepted as that view.
    """

    view: str
    probability_percent: dict[str, Annotated[float, TENTH]]
    mirrored_percent: Annotated[float, TENTH]
    is_mirrored: bool
    min_percent: float = Field(default=0.0, exclude=True)

    def warnings(self, stated: View, supported: tuple[View, ...]) -> tuple[ClipWarning, ...]:
        """Warnings where the prediction contradicts the view that the file or the user states.

        Where none is stated, the first of the views that the model supports is expected.
        """
        expected = str(stated) if str(stated) in VIEW_CLASSES else str(supported[0])
        percent = self.probability_percent[expected]
        # the threshold is that of supported views; another must only be the most probable
        is_strict = expected in supported or expected != self.view
        if percent < self.min_percent and is_strict:
            name, other = _VIEW_NAMES[expected], _VIEW_NAMES[self.view]
            reason = f"The view check is only {percent:.0f} % sure that the clip shows {name}"
            if expected != self.view:
                reason = (
                    f"The clip should show {name} but looks like {other} ({percent:.0f} % against "
                    f"{self.probability_percent[self.view]:.0f} %)"
                )
            message = f"{reason}, so this EF is not reliable. Check the overlay."
            return (ClipWarning(code="view_doubtful", message=message),)
        if self.is_mirrored:
            message = (
                "The picture looks mirrored left to right; the model expects the left ventricle "
                "on the right. Mirror the clip, or check the overlay."
            )
            return (ClipWarning(code="left_right_flipped", message=message),)
        return ()
