"""Does a backend give what torch gives? Logits, masks and EF compared on the simulated clip.

In full precision every logit must agree to 1e-3. In reduced precision 99.9 % of the mask pixels
must be equal, and the EF between largest and smallest disk volume must agree to 0.2 points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from echoseg.errors import ModelError
from echoseg.inference.backends.base import InferenceSession, each_frame
from echoseg.io import load_clip
from echoseg.measure.volumes import ejection_fraction
from echoseg.preprocess.frame_transform import FrameTransform

MAX_LOGIT_DIFFERENCE = 1e-3
MIN_EQUAL_SHARE = 0.999
MAX_EF_DIFFERENCE_POINTS = 0.2
NUM_FRAMES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement of two backends of one network on a clip.

    Attributes:
        logit_difference: Largest absolute difference of a logit.
        equal_share: Fraction of mask pixels that are equal.
        ef_difference_points: Difference of the EF; None where a clip shows no ventricle.
    """

    logit_difference: float
    equal_share: float
    ef_difference_points: float | None


def compare(
    one: InferenceSession, other: InferenceSession, frames: Sequence[np.ndarray]
) -> Agreement:
    """Run both over frames `1 1 S S` and compare their outputs."""
    max_difference, equal, masks = 0.0, [], ([], [])
    for a, b in zip(each_frame(one, frames), each_frame(other, frames), strict=True):
        max_difference = max(max_difference, float(np.abs(a - b).max()))
        pair = a[0].argmax(0), b[0].argmax(0)
        equal.append(float((pair[0] == pair[1]).mean()))
        for series, mask in zip(masks, pair, strict=True):
            series.append(mask.astype(np.uint8))
    ef, other_ef = map(ejection_fraction, masks)
    difference = None if ef is None or other_ef is None else abs(ef - other_ef)
    return Agreement(
        logit_difference=max_difference,
        equal_share=float(np.mean(equal)),
        ef_difference_points=difference,
    )


def check(agreement: Agreement, *, reduced_precision: bool) -> None:
    """Check that a backend computes the same network.

    Raises:
        ModelError: If not; its text names the tolerance and the difference.
    """
    if not reduced_precision and not agreement.logit_difference <= MAX_LOGIT_DIFFERENCE:
        raise ModelError(
            f"logits must agree to {MAX_LOGIT_DIFFERENCE:g}, they differ by "
            f"{agreement.logit_difference:.2g}; use another backend"
        )
    if not agreement.equal_share >= MIN_EQUAL_SHARE:
        raise ModelError(
            f"masks must be {MIN_EQUAL_SHARE:.1%} equal, they are {agreement.equal_share:.3%}; use "
            "another backend or full precision"
        )
    difference = agreement.ef_difference_points
    if difference is not None and difference > MAX_EF_DIFFERENCE_POINTS:
        raise ModelError(
            f"EF must agree to {MAX_EF_DIFFERENCE_POINTS} points, it differs by "
            f"{difference:.2f}; use another backend or full precision"
        )


def demo_frames(size_px: int) -> list[np.ndarray]:
    """Frames of a whole beat of the simulated clip, `1 1 S S` each in [0, 1]."""
    clip = load_clip(Path(str(files("echoseg") / "weights" / "simulated_a4c.dcm")))
    transform = FrameTransform(clip.size, size_px)
    return [transform.apply(frame) for frame in clip.frames[:NUM_FRAMES]]
