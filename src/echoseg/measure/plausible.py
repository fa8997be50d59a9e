"""Plausibility of masks and pixel spacing: reasons to refuse an EF, and warnings about spacing."""

from collections.abc import Sequence

import numpy as np

from echoseg.clip import ClipWarning
from echoseg.measure.curve import frame_interval_s, smooth
from echoseg.measure.frame import MeasuredFrame

NO_SCALE = "no_scale_no_millilitres"
MIN_FRAME_FRACTION = 0.5
"""Fraction of frames that must show a cavity for an EF."""
MAX_JUMP = 0.2
"""Implausible median change of volume from frame to frame, as a fraction of the largest volume."""
MIN_RING_FRACTION = 0.5
"""Fraction of the cavity's border that must touch myocardium or atrium, in the median frame."""
MIN_LV_LENGTH_MM, MAX_LV_LENGTH_MM = 40, 150
"""Long axes outside this range are not those of an adult: the pixel spacing is wrong."""
MAX_LV_VOLUME_ML = 500
"""Volumes above are larger than those of the largest ventricles: a side of the spacing is wrong."""
MIN_DEPTH_MM, MAX_DEPTH_MM = 40, 300
"""Depths of the sector of an adult transthoracic clip; those of CAMUS are 90 to 220 mm."""
MIN_DURATION_S = 0.4
"""Shorter clips cannot hold both ED and ES."""


def refusal_of(
    frames: Sequence[MeasuredFrame], times_s: np.ndarray | None, *, cavity_only: bool = False
) -> str:
    """Why no EF can be given; empty otherwise. Masks that are `cavity_only` need no wall."""
    volumes = np.array([frame.volume for frame in frames])
    measured = int(np.isfinite(volumes).sum())
    if measured < max(2, MIN_FRAME_FRACTION * len(frames)):
        return (
            f"a left ventricle was found on {measured} of {len(frames)} frames; EF needs at least "
            "half of them. Check that the clip shows an apical view"
        )
    if not cavity_only and (why := wall_refusal(frames)):
        return why
    if times_s is not None:
        # the last frame lasts as long as the others
        duration_s = float(times_s[-1] - times_s[0]) * len(frames) / (len(frames) - 1)
        if duration_s < MIN_DURATION_S - 1e-6:
            return (
                f"the clip lasts {duration_s:.2f} s; EF needs at least {MIN_DURATION_S:g} s to "
                "cover ED and ES. Use a longer clip, or set --fps (fps) if the times are wrong"
            )
    curve = smooth(fill_gaps(volumes), frame_interval_s(times_s), longer=False)
    steps = np.abs(np.diff(curve)) / np.nanmax(volumes)
    if len(steps) and np.median(steps) > MAX_JUMP:
        return (
            f"the LV volume changes by {100 * np.median(steps):.0f} % of its largest value from "
            "frame to frame, which is implausible. Check that the clip shows a heart"
        )
    return ""


def wall_refusal(frames: Sequence[MeasuredFrame]) -> str:
    """Why masks with a wall do not show a heart: too little wall or atrium about the cavity."""
    ring = np.median([frame.ring_fraction for frame in frames])
    if ring >= MIN_RING_FRACTION:
        return ""
    return (
        f"only {100 * ring:.0f} % of the left ventricle's border touches heart wall or atrium; "
        f"at least {100 * MIN_RING_FRACTION:.0f} % is needed. Check that the clip shows a heart, "
        "or set cavity_only=True for masks of the cavity alone"
    )


def fill_gaps(volumes: np.ndarray) -> np.ndarray:
    """The curve with missing frames interpolated between their neighbours."""
    known = np.isfinite(volumes)
    return np.interp(np.arange(len(volumes)), np.nonzero(known)[0], volumes[known])


def depth_warnings(rows: int, spacing_mm: tuple[float, float] | None) -> tuple[ClipWarning, ...]:
    """Why there are no volumes in ml, by the depth of the sector; else empty.

    Args:
        rows: Height of the sector in pixels, which dark tissue makes smaller than its depth.
        spacing_mm: Pixel spacing (row, column) in mm.
    """
    if spacing_mm is None or MIN_DEPTH_MM <= (depth_mm := rows * spacing_mm[0]) <= MAX_DEPTH_MM:
        return ()
    message = (
        f"The ultrasound sector of {rows} rows would be {depth_mm:.0f} mm deep by a pixel spacing "
        f"of {spacing_mm[0]:.3g} mm, outside {MIN_DEPTH_MM} to {MAX_DEPTH_MM} mm of an adult's "
        "heart from the chest, so the pixel spacing is wrong and there are no volumes in ml. Set "
        "--spacing-mm (spacing_mm) if it is known."
    )
    return (ClipWarning(code="implausible_depth", message=message),)


def scale_warnings(frames: Sequence[MeasuredFrame]) -> list[ClipWarning]:
    """Why there are no volumes in ml, by the longest axis and the largest volume; else empty."""
    spacing_mm, shapes = frames[0].spacing_mm, [frame.shape for frame in frames]
    if spacing_mm is None:
        message = (
            "The clip has no pixel spacing, so there are no volumes in ml; EF does not need it. "
            "Set --spacing-mm (spacing_mm) if it is known."
        )
        return [ClipWarning(code=NO_SCALE, message=message)]
    max_length = max((shape.axis.length_mm for shape in shapes if shape is not None), default=None)
    if max_length is not None and not MIN_LV_LENGTH_MM <= max_length <= MAX_LV_LENGTH_MM:
        message = (
            f"The left ventricle would be {max_length:.0f} mm long, outside {MIN_LV_LENGTH_MM} to "
            f"{MAX_LV_LENGTH_MM} mm, so the masks or the pixel spacing are wrong and there are no "
            "volumes in ml. Set --spacing-mm (spacing_mm) if it is known."
        )
        return [ClipWarning(code="implausible_size", message=message)]
    max_volume = max((shape.volume_ml for shape in shapes if shape is not None), default=0.0)
    if max_volume > MAX_LV_VOLUME_ML:
        rows, columns = spacing_mm
        message = (
            f"The left ventricle would hold {max_volume:.0f} ml, over {MAX_LV_VOLUME_ML} ml, so a "
            f"pixel spacing of {rows:g} x {columns:g} mm (row, column) is wrong and there are no "
            "volumes in ml. Set --spacing-mm (spacing_mm) if it is known."
        )
        return [ClipWarning(code="implausible_size", message=message)]
    return []
