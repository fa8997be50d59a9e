"""Whether masks can be a heart at all, and a scale one of a person: refusals and scale warnings."""

import numpy as np

from echoseg.clip import ClipWarning, Label
from echoseg.measure.phases import frame_interval_s, smooth

LEAST_FRAMES_SHARE = 0.5
"""Share of frames that must show a cavity for an EF to be given."""
MOST_JUMP = 0.2
"""Median change of volume from frame to frame, as a share of the largest, that no heart makes."""
LEAST_RING_SHARE = 0.5
"""Share of the cavity's border that must touch myocardium or atrium, in the median frame."""
SHORTEST_LV_MM, LONGEST_LV_MM = 40, 150
"""Long axes outside these are no adult's left ventricle: the scale is wrong."""
SHORTEST_S = 0.4
"""A clip shorter than this is over before a heart gets from ED to ES."""


def refusal_of(
    masks: np.ndarray,
    volumes: np.ndarray,
    times_s: np.ndarray | None,
    *,
    cavity_only: bool = False,
) -> str:
    """Return why no EF can be given, or nothing; masks of the `cavity_only` need no wall."""
    found = int(np.isfinite(volumes).sum())
    if found < max(2, LEAST_FRAMES_SHARE * len(masks)):
        return (
            f"a left ventricle was found on {found} of {len(masks)} frames; EF needs it on at "
            "least half of them: is this an apical four-chamber view?"
        )
    ring = np.median([ring_share(mask) for mask in masks])
    if ring < LEAST_RING_SHARE and not cavity_only:
        return (
            f"what was taken for the left ventricle has heart wall or atrium on {100 * ring:.0f} % "
            f"of its border, at least {100 * LEAST_RING_SHARE:.0f} % is needed: is this a heart?"
        )
    if times_s is not None:
        # the last frame lasts as long as the others
        length_s = float(times_s[-1] - times_s[0]) * len(masks) / (len(masks) - 1)
        if length_s < SHORTEST_S - 1e-6:
            return (
                f"the clip lasts {length_s:.2f} s and EF needs at least {SHORTEST_S:g} s, or it "
                "cannot hold both the end of diastole and that of systole: give a longer clip, or "
                "the right --fps if its times are wrong"
            )
    steps = np.abs(np.diff(smooth(fill_gaps(volumes), frame_interval_s(times_s)))) / np.nanmax(
        volumes
    )
    if len(steps) and np.median(steps) > MOST_JUMP:
        return (
            f"the cavity's volume jumps by {100 * np.median(steps):.0f} % of its largest from "
            "frame to frame, which no heart does: is this a heart?"
        )
    return ""


def ring_share(mask: np.ndarray) -> float:
    """Return the share of the cavity's outer border pixels that are myocardium or atrium."""
    rows, columns = np.nonzero(mask == Label.LV_CAVITY)
    if not rows.size:
        return 0.0
    crop = np.pad(mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], 1)
    if rows.min() > 0:
        crop[0, 1:-1] = mask[rows.min() - 1, columns.min() : columns.max() + 1]
    if rows.max() + 1 < mask.shape[0]:
        crop[-1, 1:-1] = mask[rows.max() + 1, columns.min() : columns.max() + 1]
    if columns.min() > 0:
        crop[1:-1, 0] = mask[rows.min() : rows.max() + 1, columns.min() - 1]
    if columns.max() + 1 < mask.shape[1]:
        crop[1:-1, -1] = mask[rows.min() : rows.max() + 1, columns.max() + 1]
    cavity = crop == Label.LV_CAVITY
    outer = np.zeros_like(cavity)
    for axis in (0, 1):
        for shift in (-1, 1):
            outer |= np.roll(cavity, shift, axis)
    border = crop[outer & ~cavity]
    return float((border != Label.BACKGROUND).mean()) if border.size else 0.0


def fill_gaps(volumes: np.ndarray) -> np.ndarray:
    """Return the curve with missing frames interpolated between their neighbours."""
    known = np.isfinite(volumes)
    return np.interp(np.arange(len(volumes)), np.nonzero(known)[0], volumes[known])


def scale_warnings(
    lengths: np.ndarray, spacing_mm: tuple[float, float] | None
) -> list[ClipWarning]:
    """Return why there are no millilitres, or nothing."""
    if spacing_mm is None:
        message = (
            "volumes in ml are refused since the clip has no scale; EF needs none. "
            "Pass --spacing-mm ROW COL if you know it"
        )
        return [ClipWarning(code="no_scale_no_millilitres", message=message)]
    longest = np.nanmax(lengths) if np.isfinite(lengths).any() else np.nan
    if np.isfinite(longest) and not SHORTEST_LV_MM <= longest <= LONGEST_LV_MM:
        message = (
            f"the left ventricle would be {longest:.0f} mm long, outside {SHORTEST_LV_MM} to "
            f"{LONGEST_LV_MM} mm: the clip's scale cannot be right and volumes in ml are refused. "
            "Pass --spacing-mm ROW COL if you know it"
        )
        return [ClipWarning(code="implausible_size", message=message)]
    return []
