"""Conformal interval of an EF, conditional on the view and on how uncertain the clip is.

The expected error s of a clip is b + sum_k w_k log(1 + feature_k). The interval is EF + s times two
quantiles of (truth - EF) / s over calibration clips of the clip's view. On clips like those of the
calibration it covers the true EF as often as it says, whatever the network (Papadopoulos et al.,
ECML 2002; Lei et al., J Am Stat Assoc 113:1094-1111, 2018; per view: Vovk, ACML 2012). On others it
is widened, and says why.
"""

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from echoseg.clip import View
from echoseg.errors import ModelError, Unfit
from echoseg.quality.reliability import ClipUncertainty, EfInterval
from echoseg.untrusted import Line, read_json, reading

MIN_ERROR_POINTS = 0.5
OUTSIDE_FACTOR = 1.5
"""Factor on the interval of a clip unlike those of the calibration, for each reason."""
SUFFIX = ".trust.json"
BIPLANE = "biplane"
"""The key of intervals of a biplane EF, beside those of single views."""
POOLED = "all"
"""The key of all single views together."""
FEATURES = "entropy pose_points gamma_percent area_jitter_percent beats_error_points".split()
"""Of `ClipUncertainty`, those the expected error rests on."""


Percent = Annotated[float, Field(ge=0, le=100)]
_Limit = Annotated[float, Field(gt=0, le=1000)]
_Size = Annotated[float, Field(ge=0, le=1e6)]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Quantiles(_Stored):
    """Quantiles of (truth - EF) / s, on either side of 0, and the number of patients."""

    low: float = Field(ge=-1000, le=0)
    high: float = Field(ge=0, le=1000)
    num_patients: int = Field(ge=1)


class Limits(_Stored):
    """Values above which an EF is not reliable.

    The defaults hold for clips of any machine: on 17 good A4C clips of five sources flicker was at
    most 10.2 % and jitter, at 14 frames per second, 9.2 %; on other views they were mostly over
    13 % and 10 %.

    Attributes:
        expected_error_points: Of the expected error; None without a calibration.
        flicker_percent: As in `ClipUncertainty`.
        area_jitter_percent: As in `ClipUncertainty`.
        beats_sd_points: Of the standard deviation of EF over the beats.
        outside_percent: Of cavity and wall outside the sector.
        ef_percent: Of the EF itself.
        interval_points: Of the interval's width: that of the range which holds as large a part of
            the patients' true EFs as the interval's level. A wider interval says less than none.
            By default that of the 50 validation patients of CAMUS, both views (25 to 71 %).
    """

    expected_error_points: _Limit | None = None
    flicker_percent: Percent = 11.5
    area_jitter_percent: _Limit = 10.0
    beats_sd_points: Percent = 12.0
    outside_percent: Percent = 15.0
    ef_percent: Percent = 85.0
    interval_points: Percent = 47.0


class Calibration(_Stored):
    """Calibration of one checkpoint, stored as `NAME.trust.json` next to its weights.

    Attributes:
        model_sha256: Hash of the weights it belongs to.
        level: Nominal coverage of the interval.
        source: Calibration data, in words.
        num_patients: Number of its patients.
        base_points: Expected error of a clip whose features are all 0, in EF points.
        weights: EF points per unit of log(1 + feature).
        typical: Value of each feature where it is not known: its median.
        largest: The largest value of each feature; 0 where the clips do not differ in it.
        quantiles: By view, `BIPLANE` and `POOLED`.
        part_of_beat_factor: Factor on the interval of an EF that rests on part of a beat.
        limits: Above which an EF is not reliable.
    """

    model_sha256: str
    level: float = Field(ge=0.5, lt=1)
    source: Line
    num_patients: int = Field(ge=1)
    base_points: float = Field(ge=-100, le=100)
    weights: dict[str, _Size]
    typical: dict[str, _Size]
    largest: dict[str, _Size]
    quantiles: dict[str, Quantiles]
    part_of_beat_factor: float = Field(default=OUTSIDE_FACTOR, ge=1, le=100)
    limits: Limits = Field(default_factory=Limits)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in ("weights", "typical", "largest"):
            if getattr(self, name).keys() != set(FEATURES):
                raise ValueError(f"{name} must have the keys {', '.join(FEATURES)}")
        if not self.quantiles.keys() <= {*View, BIPLANE, POOLED}:
            raise ValueError(f"quantiles must be of views, {BIPLANE} or {POOLED}")
        return self

    def expected_error_points(self, uncertainty: ClipUncertainty) -> float:
        """The expected error s of a clip's EF, in points."""
        return max(MIN_ERROR_POINTS, self.base_points + sum(self.parts(uncertainty).values()))

    def parts(self, uncertainty: ClipUncertainty) -> dict[str, float]:
        """The contribution of each feature to the expected error."""
        values = {name: getattr(uncertainty, name) for name in FEATURES}
        return {
            name: self.weights[name] * math.log1p(self.typical[name] if value is None else value)
            for name, value in values.items()
        }


def ef_interval(
    ef_percent: float,
    uncertainty: ClipUncertainty,
    calibration: Calibration,
    *,
    view: str,
    is_part_of_beat: bool = False,
) -> EfInterval:
    """Compute the interval of an EF, within 0 to 100.

    Args:
        ef_percent: The measured EF.
        uncertainty: Features of the clip; of two planes, their means.
        calibration: Calibration of the network's weights.
        view: A view, stated or predicted; or `BIPLANE`.
        is_part_of_beat: Whether the EF rests on part of a beat.
    """
    error = calibration.expected_error_points(uncertainty)
    low, high, factor, reasons = *_quantiles(calibration, view), 1.0, []
    if view not in calibration.quantiles:
        factor *= OUTSIDE_FACTOR
        reasons.append(
            "The view is not recognized."
            if view == View.UNKNOWN
            else f"Clips of this view ({view}) are not part of its calibration."
        )
    if is_part_of_beat:
        factor *= calibration.part_of_beat_factor
        reasons.append("The EF rests on part of a beat.")
    largest = calibration.largest.items()
    if any((getattr(uncertainty, name) or 0) > limit > 0 for name, limit in largest):
        factor *= OUTSIDE_FACTOR
        reasons.append("The clip is less certain than any of the calibration.")
    low, high = (ef_percent + factor * error * end for end in (low, high))
    return EfInterval(
        low_percent=min(max(low, 0.0), 100.0),
        high_percent=min(max(high, 0.0), 100.0),
        level_percent=100 * calibration.level,
        expected_error_points=error,
        source=calibration.source,
        widened_because=tuple(reasons),
    )


def _quantiles(calibration: Calibration, view: str) -> tuple[float, float]:
    """Those of the view; of one without any, the widest of all."""
    all_views = calibration.quantiles
    chosen = [all_views[view]] if view in all_views else list(all_views.values())
    return min(one.low for one in chosen), max(one.high for one in chosen)


def mean_uncertainty(planes: Sequence[ClipUncertainty]) -> ClipUncertainty:
    """The features of a biplane EF: means over its planes, of those in which they are known."""
    values = {}
    for field in fields(ClipUncertainty):
        known = [value for one in planes if (value := getattr(one, field.name)) is not None]
        values[field.name] = sum(known) / len(known) if known else None
    return ClipUncertainty(**values)  # type: ignore[arg-type]  # only optional ones are None


def calibration_path(weights: Path) -> Path:
    """The path of a weights file's calibration, next to it."""
    return weights.with_suffix(SUFFIX)


def load_calibration(weights: Path, sha256: str) -> Calibration | None:
    """Load the calibration of a weights file; None if there is none, or it is of other weights.

    Raises:
        ModelError: If the file exists and cannot be read.
    """
    path = calibration_path(weights)
    if not path.exists():
        return None
    way_out = "remove it or calibrate again"
    with reading(path, ModelError, "must be a calibration written by `echoseg calibrate`", way_out):
        content = read_json(path)
        if not isinstance(content, dict):
            raise Unfit("it is not an object")
        if content.get("model_sha256", sha256) != sha256:
            return None
        calibration = Calibration(**content)
        if not calibration.quantiles:
            raise Unfit("it has no quantiles")
        return calibration
