"""Why an EF is not reliable: each reason a sentence that a reader can check in the picture."""

from echoseg.quality.conformal import Calibration, Limits
from echoseg.quality.reliability import ClipUncertainty, EfInterval

_CAUSES = {
    "entropy": "the network is unsure of the borders",
    "pose_points": "the contour changes when the picture is turned or zoomed",
    "gamma_percent": "the contour changes with the picture's contrast",
    "area_jitter_percent": "the cavity's area trembles",
    "beats_error_points": "the beats disagree",
}


def unreliable_because(
    ef_percent: float,
    uncertainty: ClipUncertainty,
    calibration: Calibration | None,
    *,
    interval: EfInterval | None = None,
    beats_sd_points: float | None = None,
    outside_percent: float = 0.0,
) -> tuple[str, ...]:
    """Reasons not to rely on an EF, one sentence each; none when all values keep to `Limits`.

    Args:
        ef_percent: The measured EF.
        uncertainty: Features of the clip.
        calibration: Calibration of the weights; without it the limits that hold for any machine.
        interval: The interval of the EF.
        beats_sd_points: Standard deviation of EF over the beats.
        outside_percent: Cavity and wall outside the ultrasound sector.
    """
    limits = Limits() if calibration is None else calibration.limits
    flicker, jitter = uncertainty.flicker_percent, uncertainty.area_jitter_percent
    reasons = []
    if ef_percent > limits.ef_percent:
        reasons.append(
            f"An EF of {ef_percent:.0f} % is implausibly high; the masks are probably wrong."
        )
    if flicker is not None and flicker > limits.flicker_percent:
        reasons.append(
            f"The cavity's contour jumps between frames (Dice of neighboring frames "
            f"{1 - flicker / 100:.2f}, at least {1 - limits.flicker_percent / 100:.2f} in good "
            "clips)."
        )
    if jitter is not None and jitter > limits.area_jitter_percent:
        reasons.append(
            f"The cavity's area trembles by {jitter:.1f} % from frame to frame, in good clips by "
            f"at most {limits.area_jitter_percent:.1f} %."
        )
    if beats_sd_points is not None and beats_sd_points > limits.beats_sd_points:
        reasons.append(f"The beats disagree: the EF varies by {beats_sd_points:.0f} points (SD).")
    if outside_percent > limits.outside_percent:
        reasons.append(
            f"{outside_percent:.0f} % of the left ventricle lies outside the ultrasound sector."
        )
    limit = limits.expected_error_points
    if calibration is not None and limit is not None:
        error = calibration.expected_error_points(uncertainty)
        if error > limit:
            parts = calibration.parts(uncertainty)
            cause = _CAUSES[max(parts, key=parts.__getitem__)]
            reasons.append(f"Its expected error is {error:.0f} points, mainly because {cause}.")
    reasons += interval_too_wide(interval, limits)
    return tuple(reasons)


def interval_too_wide(interval: EfInterval | None, limits: Limits) -> tuple[str, ...]:
    """The reason that an interval is wider than the range of patients' EFs; none where it is not.

    Who knows nothing of a clip but that it is of such patients knows their range already.
    """
    if interval is None:
        return ()
    low, high, limit = interval.low_percent, interval.high_percent, limits.interval_points
    if high - low <= limit:
        return ()
    return (
        f"Its {interval.level_percent:.0f} % interval, {low:.0f} to {high:.0f} %, is wider than "
        f"the range of EF among patients ({limit:.0f} points).",
    )
