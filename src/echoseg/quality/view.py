"""The view that a clip shows, by its pictures and by the shape and motion of its masks."""

from typing import Annotated

import numpy as np
from pydantic import Field

from echoseg.clip import ClipWarning, View
from echoseg.measure.measurement import TENTH, FrozenModel
from echoseg.quality.view_shape import FEATURES

VIEW_CLASSES = ("A4C", "A2C", "other apical", "not apical")
"""In the order of the view network's logits; the logit of a mirrored picture follows."""
CANNOT_TELL = "cannot tell"
_WORDS = {
    "A4C": "an apical four-chamber view",
    "A2C": "an apical two-chamber view",
    "other apical": "another apical view, such as a long axis or five-chamber view",
    "not apical": "no upright apical view in B-mode",
}


Probability = Annotated[float, Field(ge=0, le=1)]


class ViewRule(FrozenModel):
    """How scores of pictures and features of masks become a view; fitted by a script.

    Attributes:
        center: Value of each feature that counts as 0.
        spread: Change of each feature that counts as 1.
        weights: Weight of each feature in the log odds of an A4C or A2C against what is not apical;
            the last one is the constant.
        floor: Probability that is shared out among the views whatever a picture or masks say.
        min_probability: Probability from which a view is accepted.
        refuse_below: Probability below which a clip is refused as a view.
        mirrored_from: Score from which a clip is segmented in both orientations.
    """

    center: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    floor: Probability
    min_probability: Probability
    refuse_below: Probability
    mirrored_from: Probability

    def by_shape(self, features: np.ndarray) -> np.ndarray:
        """Probability `(...)` of an A4C or A2C against no apical view, by features `(..., F)`."""
        scaled = np.clip((features - np.array(self.center)) / np.array(self.spread), -3, 3)
        return 1 / (1 + np.exp(-(scaled @ np.array(self.weights[:-1]) + self.weights[-1])))

    def combine(self, by_pictures: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        """Probabilities `(..., 4)` of `VIEW_CLASSES` by scores `(..., 4)` and features `(..., F)`.

        Without features, before anything is segmented, they are those by the pictures.

        The product of both, as if they were independent, each kept from certainty by `floor`. Of
        another apical view the masks may look like either, so they do not count.
        """
        pictures = (1 - self.floor) * by_pictures + self.floor / 4
        shape = np.full(pictures.shape[:-1], 0.5) if features is None else self.by_shape(features)
        good = (1 - self.floor) * shape + self.floor / 2
        product = pictures * np.stack([good, good, np.full_like(good, 0.5), 1 - good], -1)
        return product / product.sum(-1, keepdims=True)


class ViewPrediction(FrozenModel):
    """The predicted view.

    Attributes:
        view: One of `VIEW_CLASSES`, or "cannot tell".
        probability_percent: Of each of `VIEW_CLASSES`, together 100.
        mirrored_percent: Score of left and right being exchanged.
        is_mirrored: Whether the clip was segmented mirrored; its masks are as the clip is.
        refuse_below_percent: Probability of a view below which the clip is refused as that view.
        min_percent: Probability from which a view is accepted.
    """

    view: str
    probability_percent: dict[str, Annotated[float, TENTH]]
    mirrored_percent: Annotated[float, TENTH]
    is_mirrored: bool
    refuse_below_percent: float = Field(default=0.0, exclude=True)
    min_percent: float = Field(default=0.0, exclude=True)

    def percent_of(self, stated: View, supported: tuple[View, ...]) -> float:
        """Probability of the stated view, or of any supported one; 0 outside `VIEW_CLASSES`."""
        views = supported if stated is View.UNKNOWN else (stated,)
        return sum(self.probability_percent.get(str(view), 0.0) for view in views)

    def confirms(self, stated: View, supported: tuple[View, ...]) -> bool:
        """Whether the clip is accepted as the stated view, or as one that is supported."""
        return self.percent_of(stated, supported) >= self.min_percent

    def resolve(self, stated: View, supported: tuple[View, ...]) -> View:
        """The stated view; where none is stated, the predicted one if it is supported."""
        if stated is not View.UNKNOWN or self.view not in supported:
            return stated
        return View(self.view)

    def interval_view(self, stated: View, supported: tuple[View, ...]) -> View:
        """The view whose interval an EF gets: as `resolve`, but unknown where not confirmed.

        So no statement makes an EF look more certain than none does.
        """
        is_stated = stated is not View.UNKNOWN
        if is_stated and not self.confirms(stated, supported):
            return View.UNKNOWN
        return self.resolve(stated, supported)

    def contradicts(self, stated: View, supported: tuple[View, ...]) -> bool:
        """Whether another view is likelier than not."""
        wanted = supported if stated is View.UNKNOWN else (stated,)
        return self.view != CANNOT_TELL and self.view not in wanted


def predict_view(
    rule: ViewRule,
    by_pictures: np.ndarray,
    features: np.ndarray | None,
    *,
    mirrored: float,
    is_mirrored: bool,
) -> ViewPrediction:
    """The view by the scores of pictures `(4,)` and, if any, the features of masks `(F,)`."""
    assert features is None or len(features) == len(FEATURES)
    probabilities = rule.combine(by_pictures, features)
    best = int(probabilities.argmax())
    return ViewPrediction(
        view=VIEW_CLASSES[best] if probabilities[best] >= rule.min_probability else CANNOT_TELL,
        probability_percent=dict(zip(VIEW_CLASSES, (100 * probabilities).tolist(), strict=True)),
        mirrored_percent=100 * mirrored,
        is_mirrored=is_mirrored,
        refuse_below_percent=100 * rule.refuse_below,
        min_percent=100 * rule.min_probability,
    )


def wrong_view_reason(
    stated: View,
    predicted: ViewPrediction | None,
    supported: tuple[View, ...],
    *,
    is_colour: bool = False,
) -> str:
    """Why a clip shows no view that the model supports; empty where it may.

    Args:
        stated: The view that the file or the user states.
        predicted: What pictures and masks say; None where they were not asked.
        supported: Views that the model was trained on, of A4C and A2C. That a stated one is not
            among them is no reason: a model of A4C segments A2C too, if less well.
        is_colour: Whether the pictures have patches of colour.
    """
    names = " and ".join(supported)
    if stated not in (View.UNKNOWN, View.A4C, View.A2C):
        return f"the view is {stated}, but the model was trained on {names} only"
    if is_colour:
        return "the clip has the colors of Doppler, but the model was trained on grey B-mode only"
    if predicted is None:
        return ""
    percent = predicted.percent_of(stated, supported)
    likeliest = max(predicted.probability_percent, key=predicted.probability_percent.__getitem__)
    wanted = supported if stated is View.UNKNOWN else (stated,)
    if percent >= predicted.refuse_below_percent or likeliest in wanted:
        return ""
    return _mismatch(stated, predicted, likeliest, names, verb="shows")


def doubtful_view_reason(
    stated: View, predicted: ViewPrediction, supported: tuple[View, ...]
) -> str:
    """Why a clip that is not refused probably shows another view; empty where it may not."""
    if not predicted.contradicts(stated, supported):
        return ""
    names = " and ".join(supported)
    return _mismatch(stated, predicted, predicted.view, names, verb="probably shows")


def _mismatch(stated: View, predicted: ViewPrediction, view: str, names: str, *, verb: str) -> str:
    shows = f"{verb} {_WORDS[view]} ({predicted.probability_percent[view]:.0f} % sure)"
    if stated is View.UNKNOWN:
        return f"the clip {shows}, but the model was trained on {names} only"
    return f"the clip is stated to be {stated} but {shows}"


def view_notes(
    stated: View, predicted: ViewPrediction, supported: tuple[View, ...]
) -> tuple[ClipWarning, ...]:
    """What is to be known of the view of a clip that is not refused."""
    notes = []
    if predicted.is_mirrored:
        message = (
            "The clip was segmented mirrored, since it shows the left ventricle on the other side. "
            "Masks and pictures are in the clip's own orientation."
        )
        notes.append(ClipWarning(code="left_right_flipped", message=message))
    is_confirmed = predicted.confirms(stated, supported)
    if stated is not View.UNKNOWN and not is_confirmed and predicted.view == CANNOT_TELL:
        percent = predicted.percent_of(stated, supported)
        message = (
            f"The view classifier can neither confirm nor rule out that the clip shows {stated} "
            f"(probability {percent:.0f} %)."
        )
        notes.append(ClipWarning(code="view_not_confirmed", message=message))
    elif stated is View.UNKNOWN and is_confirmed:
        view = max(supported, key=lambda each: predicted.probability_percent[str(each)])
        message = f"The view is not stated; the view classifier takes it for {view}."
        notes.append(ClipWarning(code="view_predicted", message=message))
    return tuple(notes)
