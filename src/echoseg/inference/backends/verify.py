"""Is an exported file the same network? Logits, masks and ejection fraction side by side.

In full precision every logit must agree to 1e-3; in reduced precision 99.9 % of the pixels of all
masks, and the EF between the largest and the smallest disk volume to 0.2 points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoseg.errors import ModelError
from echoseg.inference.backends.base import InferenceSession, each_frame
from echoseg.io import load_clip
from echoseg.measure.volumes import ejection_fraction
from echoseg.preprocess.frame_transform import FrameTransform

MOST_LOGIT_DIFFERENCE = 1e-3
LEAST_EQUAL_SHARE = 0.999
MOST_EF_DIFFERENCE_POINTS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How alike two runtimes of one network are over a clip.

    Attributes:
        logit_difference: Largest difference of a logit.
        equal_share: Share of mask pixels that are the same.
        ef_difference_points: Difference of the EF; None where a clip shows no ventricle.
    """

    logit_difference: float
    equal_share: float
    ef_difference_points: float | None


def compare(
    one: InferenceSession, other: InferenceSession, frames: Sequence[np.ndarray]
) -> Agreement:
    """Run both over frames `1 1 S S` and compare what they find."""
    most, equal, masks = 0.0, [], ([], [])
    for a, b in zip(each_frame(one, frames), each_frame(other, frames), strict=True):
        most = max(most, float(np.abs(a - b).max()))
        pair = a[0].argmax(0), b[0].argmax(0)
        equal.append(float((pair[0] == pair[1]).mean()))
        for kept, mask in zip(masks, pair, strict=True):
            kept.append(mask.astype(np.uint8))
    ef, other_ef = map(ejection_fraction, masks)
    difference = None if ef is None or other_ef is None else abs(ef - other_ef)
    return Agreement(
        logit_difference=most,
        equal_share=float(np.mean(equal)),
        ef_difference_points=difference,
    )


def check(found: Agreement, *, reduced_precision: bool) -> None:
    """Refuse a runtime that is not the same network.

    Raises:
        ModelError: Telling which bound was passed, and by how much.
    """
    if not reduced_precision and not found.logit_difference <= MOST_LOGIT_DIFFERENCE:
        raise ModelError(
            f"logits must agree to {MOST_LOGIT_DIFFERENCE:g}, they differ by "
            f"{found.logit_difference:.2g}; use another runtime"
        )
    if not found.equal_share >= LEAST_EQUAL_SHARE:
        raise ModelError(
            f"masks must be {LEAST_EQUAL_SHARE:.1%} equal, they are {found.equal_share:.3%}; use "
            "another runtime or full precision"
        )
    difference = found.ef_difference_points
    if difference is not None and difference > MOST_EF_DIFFERENCE_POINTS:
        raise ModelError(
            f"EF must agree to {MOST_EF_DIFFERENCE_POINTS} points, it differs by "
            f"{difference:.2f}; use another runtime or full precision"
        )


def demo_frames(size_px: int) -> list[np.ndarray]:
    """Return the frames of the clip that pydicom carries, `1 1 S S` each in [0, 1]."""
    from pydicom import examples

    clip = load_clip(Path(str(examples.get_path("ybr_color"))))
    lens = FrameTransform(clip.size, size_px)
    return [lens.show(frame) for frame in clip.frames]
