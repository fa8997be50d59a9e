"""Confidence interval of an EF and a rejection threshold: normalised split conformal prediction.

The expected error s of a clip is a weighted sum of its uncertainty features, with non-negative
weights fitted on some patients. On other patients, the signed errors divided by s give two
quantiles; the interval of a new clip is EF + s times these. On clips like those of the calibration
it covers the true EF with at least the nominal probability, whatever the network (Papadopoulos et
al., ECML 2002; Lei et al., J Am Stat Assoc 113:1094-1111, 2018). A clip whose expected error is
larger than that of nine in ten calibration patients is reported as not reliable.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from echoseg.errors import ArgumentError, ModelError
from echoseg.quality.reliability import ClipUncertainty, EfInterval

MIN_ERROR_POINTS = 0.5
GATE_SHARE = 0.1
"""Fraction of the held-out patients above the rejection threshold."""
SUFFIX = ".trust.json"
CONTRAST_ENOUGH = 3.0
FEATURES = tuple(field.name for field in fields(ClipUncertainty))
_REASONS = {
    "entropy": "the network is unsure of the borders",
    "disagreement_percent": "the contour changes with the gain",
    "segments_unseen": "wall segments are not visible",
    "contrast_lacking": "wall and cavity have similar brightness",
}


class Calibration(BaseModel):
    """Calibration of one checkpoint, stored as `NAME.trust.json` next to its weights.

    Attributes:
        model_sha256: Hash of the weights it belongs to.
        level: Nominal coverage of the interval.
        source: Calibration data, in words.
        num_patients: Number of patients behind the quantiles.
        base_points: Expected error of a clip whose features are all 0, in EF points.
        weights: EF points per unit of each feature.
        low: Quantile of (truth - EF) / s below which (1 - level) / 2 of the errors lie.
        high: The same above.
        gate_points: Rejection threshold: expected error above which a clip is not reliable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model_sha256: str
    level: float
    source: str
    num_patients: int
    base_points: float
    weights: dict[str, float]
    low: float
    high: float
    gate_points: float

    def expected_error_points(self, uncertainty: ClipUncertainty) -> float:
        """The expected error s of a clip's EF, in points."""
        return max(MIN_ERROR_POINTS, self.base_points + sum(self.parts(uncertainty).values()))

    def parts(self, uncertainty: ClipUncertainty) -> dict[str, float]:
        """The contribution of each feature to the expected error."""
        return {name: self.weights[name] * getattr(uncertainty, name) for name in FEATURES}


def ef_interval(
    ef_percent: float, uncertainty: ClipUncertainty, calibration: Calibration
) -> EfInterval:
    """Compute the interval of an EF, within 0 to 100, and apply the rejection threshold."""
    error = calibration.expected_error_points(uncertainty)
    reason = ""
    if error > calibration.gate_points:
        parts = calibration.parts(uncertainty)
        worst = max(parts, key=parts.__getitem__)
        reason = f"its expected error is {error:.0f} points, mainly because {_REASONS[worst]}"
    low, high = (ef_percent + error * end for end in (calibration.low, calibration.high))
    return EfInterval(
        low_percent=min(max(low, 0.0), 100.0),
        high_percent=min(max(high, 0.0), 100.0),
        level_percent=100 * calibration.level,
        expected_error_points=error,
        source=calibration.source,
        unreliable_because=reason,
    )


def calibrate(
    fitted: Sequence[tuple[ClipUncertainty, float]],
    held_out: Sequence[tuple[ClipUncertainty, float]],
    *,
    model_sha256: str,
    source: str,
    level: float = 0.9,
) -> Calibration:
    """Calibrate a checkpoint.

    Args:
        fitted: Features and signed error (truth - EF, points) of the patients to fit s on.
        held_out: The same of other patients, for the quantiles.
        model_sha256: Hash of the weights.
        source: Calibration data, in words.
        level: Nominal coverage.

    Raises:
        ArgumentError: If there are too few patients for the level.
    """
    from scipy.optimize import nnls

    check_level(level)
    min_clips = math.ceil(2 / (1 - level) - 1e-9) - 1
    if len(held_out) < min_clips or len(fitted) < len(FEATURES) + 1:
        raise ArgumentError(
            f"a level of {level:g} needs at least {min_clips} clips for the quantiles and "
            f"{len(FEATURES) + 1} of other patients to fit on, got {len(held_out)} and "
            f"{len(fitted)}; give more clips or a lower level"
        )
    rows = np.array(
        [[1.0, *(getattr(features, name) for name in FEATURES)] for features, _ in fitted]
    )
    scale = rows.max(0).clip(min=1e-9)
    weights, _ = nnls(rows / scale, np.abs([error for _, error in fitted]))
    base, *weights = (weights / scale).tolist()
    fit = Calibration(
        model_sha256=model_sha256,
        level=level,
        source=source,
        num_patients=len(held_out),
        base_points=base,
        weights=dict(zip(FEATURES, weights, strict=True)),
        low=0.0,
        high=0.0,
        gate_points=0.0,
    )
    expected = [fit.expected_error_points(features) for features, _ in held_out]
    errors = [error for _, error in held_out]
    scores = sorted(error / one for error, one in zip(errors, expected, strict=True))
    # of n + 1 ranks (1 - level) are left out, split between both sides as evenly as possible
    outside = math.floor((1 - level) * (len(scores) + 1) + 1e-9)
    rank_low, rank_high = outside // 2, outside - outside // 2
    gate = float(np.quantile(expected, 1 - GATE_SHARE))
    return fit.model_copy(
        update={"low": scores[rank_low - 1], "high": scores[-rank_high], "gate_points": gate}
    )


def check_level(level: float) -> None:
    """Check the fraction of clips to cover.

    Raises:
        ArgumentError: If it is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ArgumentError(f"level must be over 0 and under 1, such as 0.9, got {level:g}")


def calibration_path(weights: Path) -> Path:
    """The path of a weights file's calibration, next to it."""
    return weights.with_suffix(SUFFIX)


def load_calibration(weights: Path, sha256: str) -> Calibration | None:
    """Load the calibration of a weights file; None if there is none, or it is of other weights.

    Raises:
        ModelError: If the file exists and cannot be read.
    """
    path = calibration_path(weights)
    try:
        calibration = Calibration(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise ModelError(
            f"{path} must be a calibration written by `echoseg calibrate` ({str(error)[:120]}); "
            "remove it or calibrate again"
        ) from error
    return calibration if calibration.model_sha256 == sha256 else None
