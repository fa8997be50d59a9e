"""What all readers share: the user's options, plausible spacing and rate, damaged frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echoseg.clip import ClipWarning, View
from echoseg.errors import ConfigError, DamagedError, NotAClipError

if TYPE_CHECKING:
    from echoseg.io.colour import ColourSink

ASSUMED_FRAME_RATE_HZ = 30.0
FRAME_SIDE_PX = (16, 8192)
"""Allowed side of a live frame."""
SPACING_MM = (0.001, 10.0)
"""Plausible pixel spacing of a heart image, mm."""
MAX_DECODED_GIB = (0.0001, 4096.0)
FRAME_RATE_HZ = (1.0, 10_000.0)
"""Plausible frame rates of a clip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenOptions:
    """What the user knows of a clip; each field overrides the file's."""

    spacing_mm: tuple[float, float] | None = None
    fps: float | None = None
    view: View | None = None
    allow_damaged: bool = False
    max_decoded_gib: float = 2.0
    """Limit of frames x pixels, and of what a compressed file unpacks to, in GiB."""
    allow_outside: bool = False
    """Follow a file's reference to another file outside of its folder."""
    masked_clip: Path | None = None
    """The clip that masks are of; a folder of pictures tells the order of those of a SEG."""
    colour: "ColourSink | None" = None
    """Takes the pictures while they are read; of a clip that is read once."""

    def __post_init__(self) -> None:
        """Refuse values that would make a number wrong."""
        if self.spacing_mm is not None and not _are_within(SPACING_MM, self.spacing_mm, 2):
            raise ConfigError(
                "--spacing-mm (spacing_mm) must be two lengths of {:g} to {:g} mm per pixel, "
                "got {}; leave it out if you do not know it".format(*SPACING_MM, self.spacing_mm)
            )
        if self.spacing_mm is not None:  # any pair of numbers, such as an array
            row_mm, column_mm = map(float, self.spacing_mm)
            object.__setattr__(self, "spacing_mm", (row_mm, column_mm))
        if not _are_within(MAX_DECODED_GIB, (self.max_decoded_gib,), 1):
            raise ConfigError(
                "--max-decoded (max_decoded_gib) must be {:g} to {:g} GiB, got {}".format(
                    *MAX_DECODED_GIB, self.max_decoded_gib
                )
            )
        if self.fps is not None and not _are_within(FRAME_RATE_HZ, (self.fps,), 1):
            raise ConfigError(
                "--fps (fps) must be {:g} to {:g} frames per second, got {}; leave it out if you "
                "do not know it".format(*FRAME_RATE_HZ, self.fps)
            )


def _are_within(bounds: tuple[float, float], values: object, number: int) -> bool:
    """Whether `values`, of any type, are `number` numbers within bounds."""
    if not isinstance(values, Sequence | np.ndarray) or len(values) != number:
        return False
    return all(isinstance(value, Real) and _is_within(bounds, float(value)) for value in values)


def _is_within(bounds: tuple[float, float], *values: float) -> bool:
    return all(bounds[0] <= value <= bounds[1] for value in values)  # NaN is not


def is_frame_rate(rate_hz: float) -> bool:
    """Whether a frame rate is plausible."""
    return _is_within(FRAME_RATE_HZ, rate_hz)


def file_scale(
    row_mm: float, column_mm: float
) -> tuple[tuple[float, float] | None, tuple[ClipWarning, ...]]:
    """Check a file's (row, column) pixel spacing in mm; None and a warning if implausible."""
    if _is_within(SPACING_MM, row_mm, column_mm):
        return (row_mm, column_mm), ()
    message = (
        "Ignoring the file's implausible pixel spacing of {:g} x {:g} mm; plausible is {:g} to "
        "{:g}. Give --spacing-mm (spacing_mm) if you know it."
    ).format(row_mm, column_mm, *SPACING_MM)
    return None, (ClipWarning(code="invalid_scale", message=message),)


def check_time_axis(path: Path, steps: list[float]) -> None:
    """Raise `NotAClipError` if (column, row, third) steps are of a volume, or too slow for time."""
    is_volume = bool(np.allclose(steps, steps[0], rtol=1e-3)) or 0.2 <= steps[2] < 1
    if len(steps) == 3 and is_volume and steps[2] not in (0.0, 1.0):
        raise NotAClipError(
            f"{path}: the third axis steps by {steps[2]:g}, as of a 3-D volume, not of (x, y, t); "
            "export a 2-D clip of one plane, or give --fps (fps) if the axis is time"
        )


def numbered_row(
    path: Path, files: Sequence[Any], numbers: Sequence[int], options: OpenOptions
) -> list[Any]:
    """Frames in files of their own by their numbers, None where a number is missing.

    A number is missing where most steps are one unit, of whatever size, and all are whole units:
    numbers that are times of their frames are not such.

    Args:
        path: For messages.
        files: One per frame.
        numbers: Their increasing numbers; none where they have none.
        options: Whether damaged frames are allowed.

    Raises:
        DamagedError: If a number is missing and damaged frames are not allowed.
    """
    steps = np.diff(np.asarray(numbers, int))
    unit = int(steps.min()) if len(steps) else 0
    is_even = unit > 0 and not (steps % unit).any() and (steps == unit).mean() > 0.5
    if not is_even or (steps == unit).all() or steps.sum() > 2 * unit * len(files):
        return list(files)
    places = (np.asarray(numbers) - numbers[0]) // unit
    missing = sorted(set(range(int(places[-1]) + 1)) - set(places.tolist()))
    if not options.allow_damaged:
        raise DamagedError(
            f"{path}: the numbers of its frames leave out {len(missing)} of {int(places[-1]) + 1}, "
            f"such as {numbers[0] + unit * missing[0]}",
            "copy the missing files, or pass --allow-damaged (allow_damaged) to use the others at "
            "their times",
            tuple(missing),
        )
    row: list[Any] = [None] * (int(places[-1]) + 1)
    for place, file in zip(places, files, strict=True):
        row[place] = file
    return row


def damage(
    path: Path, damaged: list[int], total: int, options: OpenOptions
) -> tuple[ClipWarning, ...]:
    """Warn of damaged frames where the user allows them.

    Raises:
        DamagedError: If there are damaged frames and they are not allowed.
    """
    if not damaged:
        return ()
    text = describe_damage(damaged, total)
    if not options.allow_damaged:
        raise DamagedError(
            f"{path}: {text}",
            "pass --allow-damaged (allow_damaged) to use the readable frames",
            tuple(damaged),
        )
    return (ClipWarning(code="damaged_frames", message=f"{text}; the others are used"),)


def describe_damage(damaged: Sequence[int], total: int) -> str:
    """Say which frames cannot be read."""
    listed = ", ".join(str(index) for index in damaged[:8]) + (", ..." if len(damaged) > 8 else "")
    return f"{len(damaged)} of {total} frames cannot be read (frame {listed})"
