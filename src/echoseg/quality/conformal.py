"""An interval for EF that holds as often as it says, and a gate: normalised split conformal.

The error to be expected of a clip, s, is a sum of its doubts with weights that are never negative,
fitted on some patients. On others, the signed errors divided by s give two quantiles; the interval
of a new clip is EF + s times these. It covers the truth with at least the level's probability, on
average over clips that are like those it was calibrated on, whatever the network (Papadopoulos et
al., ECML 2002; Lei et al., J Am Stat Assoc 113:1094-1111, 2018). A clip of which a larger error is
expected than of nine in ten patients it was calibrated on is not to be trusted.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from echoseg.errors import ArgumentError, ModelError

LEAST_ERROR_POINTS = 0.5
SUFFIX = ".trust.json"
CONTRAST_ENOUGH = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipUncertainty:
    """What makes a clip's EF doubtful, means over its ED and ES; larger is worse.

    Attributes:
        entropy: As in `probe.Doubt`.
        disagreement_percent: Likewise.
        segments_unseen: As in `quality.FrameQuality`.
        contrast_lacking: By how much the contrast falls short of `CONTRAST_ENOUGH`.
    """

    entropy: float
    disagreement_percent: float
    segments_unseen: float
    contrast_lacking: float


DOUBTS = tuple(field.name for field in fields(ClipUncertainty))
WORDS = {
    "entropy": "the network is unsure of the borders",
    "disagreement_percent": "its contour changes with the gain",
    "segments_unseen": "wall segments cannot be seen",
    "contrast_lacking": "wall and cavity are nearly as bright",
}


class Calibration(BaseModel):
    """What `calibrate` learnt of one checkpoint, kept as `NAME.trust.json` beside its weights.

    Attributes:
        model_sha256: Of the weights it speaks of.
        level: Share of clips whose interval holds the truth.
        source: On what it was calibrated, in words.
        num_patients: How many patients the quantiles rest on.
        base_points: Error to be expected of a clip without doubts.
        weights: Points that a unit of each doubt adds.
        low: Quantile of (truth - EF) / s below which (1 - level) / 2 of the errors lie.
        high: The same above.
        gate_points: Expected error from which a clip is not to be trusted.
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

    def expected_error_points(self, doubts: ClipUncertainty) -> float:
        """Return the error s to be expected of a clip's EF, in points."""
        return max(LEAST_ERROR_POINTS, self.base_points + sum(self.parts(doubts).values()))

    def parts(self, doubts: ClipUncertainty) -> dict[str, float]:
        """Return what each doubt adds to it."""
        return {name: self.weights[name] * getattr(doubts, name) for name in DOUBTS}


@dataclass(frozen=True, kw_only=True, slots=True)
class EfInterval:
    """Where the true EF lies, percent, and whether to believe it at all.

    `distrust` says why not; it is empty where there is no reason.
    """

    low_percent: float
    high_percent: float
    level_percent: float
    expected_error_points: float
    source: str
    distrust: str


def ef_interval(ef_percent: float, doubts: ClipUncertainty, calibration: Calibration) -> EfInterval:
    """Return the interval of an EF, inside 0 to 100, and the gate's word."""
    error = calibration.expected_error_points(doubts)
    distrust = ""
    if error > calibration.gate_points:
        parts = calibration.parts(doubts)
        worst = max(parts, key=parts.__getitem__)
        distrust = (
            f"an EF like this one is wrong by {error:.0f} points on average, mostly because "
            f"{WORDS[worst]}"
        )
    low, high = (ef_percent + error * end for end in (calibration.low, calibration.high))
    return EfInterval(
        low_percent=min(max(low, 0.0), 100.0),
        high_percent=min(max(high, 0.0), 100.0),
        level_percent=100 * calibration.level,
        expected_error_points=error,
        source=calibration.source,
        distrust=distrust,
    )


def calibrate(  # what it is of, what it rests on, what is asked
    fitted: Sequence[tuple[ClipUncertainty, float]],
    held_out: Sequence[tuple[ClipUncertainty, float]],
    *,
    model_sha256: str,
    source: str,
    level: float = 0.9,
    gate_share: float = 0.1,
) -> Calibration:
    """Return the calibration of a checkpoint.

    Args:
        fitted: Doubts and signed error (truth - EF, points) of the patients that s is fitted on.
        held_out: The same of others, for the quantiles.
        model_sha256: Of the weights.
        source: In words.
        level: Share of clips to be covered.
        gate_share: The most doubtful share of the patients held out is what the gate keeps back.

    Raises:
        ArgumentError: If there are too few patients for the level.
    """
    from scipy.optimize import nnls

    check_level(level)
    min_clips = math.ceil(2 / (1 - level) - 1e-9) - 1
    if len(held_out) < min_clips or len(fitted) < len(DOUBTS) + 1:
        raise ArgumentError(
            f"a level of {level:g} needs at least {min_clips} clips for the quantiles and "
            f"{len(DOUBTS) + 1} of other patients to fit on, got {len(held_out)} and "
            f"{len(fitted)}; give more clips or a lower level"
        )
    rows = np.array([[1.0, *(getattr(doubts, name) for name in DOUBTS)] for doubts, _ in fitted])
    scale = rows.max(0).clip(min=1e-9)
    found, _ = nnls(rows / scale, np.abs([error for _, error in fitted]))
    base, *weights = (found / scale).tolist()
    made = Calibration(
        model_sha256=model_sha256,
        level=level,
        source=source,
        num_patients=len(held_out),
        base_points=base,
        weights=dict(zip(DOUBTS, weights, strict=True)),
        low=0.0,
        high=0.0,
        gate_points=0.0,
    )
    expected = [made.expected_error_points(doubts) for doubts, _ in held_out]
    errors = [error for _, error in held_out]
    scores = sorted(error / one for error, one in zip(errors, expected, strict=True))
    # of n + 1 places (1 - level) are left out, as evenly on either side as whole ranks allow
    outside = math.floor((1 - level) * (len(scores) + 1) + 1e-9)
    rank_low, rank_high = outside // 2, outside - outside // 2
    gate = float(np.quantile(expected, 1 - gate_share))
    return made.model_copy(
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
    """Return where the calibration of a weights file lies: beside it."""
    return weights.with_suffix(SUFFIX)


def load_calibration(weights: Path, sha256: str) -> Calibration | None:
    """Return the calibration of a weights file; None where there is none, or it is of others.

    Raises:
        ModelError: If the file is there and cannot be read.
    """
    path = calibration_path(weights)
    try:
        found = Calibration(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise ModelError(
            f"{path} must be a calibration written by `echoseg calibrate` ({str(error)[:120]}); "
            "remove it or calibrate again"
        ) from error
    return found if found.model_sha256 == sha256 else None


def doubts_of(parts: Sequence[Mapping[str, float]]) -> ClipUncertainty:
    """Return the mean of frames' doubts, given by name."""
    return ClipUncertainty(
        **{name: float(np.mean([part[name] for part in parts])) for name in DOUBTS}
    )
