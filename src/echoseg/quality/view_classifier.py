"""What a clip shows, as far as a small network can tell, against what somebody says of it.

No real two-chamber view has been seen in training: that a real A2C is told from an A4C is
unproven, and a clip that passes is not thereby known to be an A4C.
"""

from dataclasses import dataclass

import numpy as np
import torch

from echoseg.clip import ClipWarning, View
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames
from echoseg.preprocess.sector import Sector
from echoseg.quality.view_net import CLASSES, SIZE_PX, ViewCard, ViewNet

NUM_FRAMES = 5
"""Of a clip, spread over it."""
NAMES = {
    "A4C": "an apical four-chamber view",
    "A2C": "an apical two-chamber view",
    "ALAX": "an apical long axis",
    "other": "no apical view, or one turned or cut",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewPrediction:
    """Means over frames.

    Attributes:
        shares: Of each of `CLASSES`, together 1.
        flipped_share: How sure it is that the picture is mirrored left to right, 0 to 1.
        least_share: Share of a view under which the clip is not taken for it.
        is_flipped: Whether `flipped_share` is high enough to be said.
    """

    shares: dict[str, float]
    flipped_share: float
    least_share: float
    is_flipped: bool

    @property
    def likeliest(self) -> str:
        """The likeliest of `CLASSES`."""
        return max(self.shares, key=self.shares.__getitem__)

    def warnings(self, said: View, learnt: tuple[View, ...]) -> tuple[ClipWarning, ...]:
        """Return what contradicts the view that is said, or that the networks know.

        Args:
            said: By the file or the user.
            learnt: Views whose masks may be trusted; one of them is expected of a clip of which
                nobody says the view.
        """
        expected = said if str(said) in CLASSES else learnt[0]
        share = self.shares[str(expected)]
        found = []
        # the threshold is that of the views that are learnt; for another the likeliest will do
        is_strict = expected in learnt or str(expected) != self.likeliest
        if share < self.least_share and is_strict:
            who = "is said to show" if said is expected else "should show"
            message = (
                f"do not trust this EF: the clip {who} {NAMES[str(expected)]}, but looks like "
                f"{NAMES[self.likeliest]} ({100 * share:.0f} % to "
                f"{100 * self.shares[self.likeliest]:.0f} %). Look at the overlay"
            )
            found.append(ClipWarning(code="view_doubtful", message=message))
        elif self.is_flipped:
            message = (
                "the picture looks mirrored left to right: the networks have learnt the left "
                "ventricle on the right; mirror the clip, or look at the overlay"
            )
            found.append(ClipWarning(code="left_right_flipped", message=message))
        return tuple(found)


def predict_view(
    frames: np.ndarray, sector: Sector, network: ViewNet, card: ViewCard
) -> ViewPrediction:
    """Return which view frames `T H W` uint8 show inside the sector; text beside it is not seen."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, NUM_FRAMES).round().astype(int))
    shown = np.where(sector.mask, frames[chosen], 0).astype(np.float32) / 255
    squares = letterbox_frames(torch.from_numpy(shown), letterbox_for(sector.box, SIZE_PX))
    with torch.inference_mode():
        logits = network(squares[:, None])
    shares = logits[:, : len(CLASSES)].softmax(1).mean(0).tolist()
    flipped = float(logits[:, -1].sigmoid().mean())
    return ViewPrediction(
        shares=dict(zip(CLASSES, shares, strict=True)),
        flipped_share=flipped,
        least_share=card.least_share,
        is_flipped=flipped >= card.flipped_share,
    )
