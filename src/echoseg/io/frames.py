"""What every reader shares: grey levels, colour, times, and the refusals they have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np

from echoseg.clip import ClipWarning, View
from echoseg.errors import ArgumentError, ConfigError, DamagedError, FormatError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue (ITU-R BT.601)."""
ASSUMED_FRAME_RATE_HZ = 30.0
FRAME_SIDE_PX = (16, 8192)
"""Smallest and largest side of a frame that is taken live."""
SPACING_MM = (0.001, 10.0)
"""Finest and coarsest scale, millimetres a pixel, that a picture of a heart can have."""
FRAME_RATE_HZ = (1.0, 10_000.0)
"""Slowest and fastest rate a clip can be filmed at."""
_WHITE, _LEAST_WHITE = 255, 32
"""White, and the darkest that a clip's brightest pixel is believed to be."""
_COLOUR_SPREAD = 60
_COLOUR_SHARE = 0.004


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenOptions:
    """What the user says of a clip; each replaces what the file says."""

    spacing_mm: tuple[float, float] | None = None
    fps: float | None = None
    view: View | None = None
    allow_damaged: bool = False

    def __post_init__(self) -> None:
        """Refuse values that would make a number wrong."""
        if self.spacing_mm is not None and not _are_within(SPACING_MM, self.spacing_mm, 2):
            raise ConfigError(
                "spacing_mm (--spacing-mm) must be two lengths of {:g} to {:g} mm per pixel, "
                "got {}; leave it out if you do not know it".format(*SPACING_MM, self.spacing_mm)
            )
        if self.fps is not None and not _are_within(FRAME_RATE_HZ, (self.fps,), 1):
            raise ConfigError(
                "fps (--fps) must be {:g} to {:g} frames per second, got {}; leave it out if you "
                "do not know it".format(*FRAME_RATE_HZ, self.fps)
            )


def _are_within(bounds: tuple[float, float], values: object, number: int) -> bool:
    """Tell whether these are so many numbers within bounds, whatever a caller gave."""
    if not isinstance(values, Sequence | np.ndarray) or len(values) != number:
        return False
    return all(isinstance(value, Real) and _is_within(bounds, float(value)) for value in values)


def _is_within(bounds: tuple[float, float], *values: float) -> bool:
    return all(bounds[0] <= value <= bounds[1] for value in values)  # NaN is not


def is_frame_rate(rate_hz: float) -> bool:
    """Tell whether a clip can have been filmed at this rate."""
    return _is_within(FRAME_RATE_HZ, rate_hz)


def file_scale(
    row_mm: float, column_mm: float
) -> tuple[tuple[float, float] | None, tuple[ClipWarning, ...]]:
    """Return the scale a file gives, (row, column) mm a pixel, or a warning that it cannot be."""
    if _is_within(SPACING_MM, row_mm, column_mm):
        return (row_mm, column_mm), ()
    message = (
        "the file's scale of {:g} x {:g} mm a pixel is none, a picture of a heart has {:g} to "
        "{:g}: it is not used. Pass --spacing-mm ROW COL if you know the true one"
    ).format(row_mm, column_mm, *SPACING_MM)
    return None, (ClipWarning(code="invalid_scale", message=message),)


def to_grey(frame: np.ndarray) -> np.ndarray:
    """Return the luma of an RGB frame `H W 3` uint8; a grey frame is returned as it is."""
    if frame.ndim == 2:
        return frame
    return np.rint(frame[..., :3].astype(np.float32) @ LUMA).astype(np.uint8)


def colour_warnings(frames: list[np.ndarray]) -> tuple[ClipWarning, ...]:
    """Return a warning if a patch of strong colour, as of colour Doppler, is in the pictures.

    Strong: channels differ by over 60 levels. A thin coloured ECG line or a logo stays under the
    share of pixels asked for, after single-pixel lines are taken away.
    """
    from scipy.ndimage import binary_opening

    for frame in frames[:: max(1, len(frames) // 12)]:
        if frame.ndim == 3:
            spread = frame[..., :3].max(-1).astype(int) - frame[..., :3].min(-1)
            if binary_opening(spread > _COLOUR_SPREAD, np.ones((3, 3))).mean() > _COLOUR_SHARE:
                message = (
                    "the picture holds patches of colour, as of colour Doppler: grey levels under "
                    "them are not tissue, and masks there are not to be trusted"
                )
                return (ClipWarning(code="colour_doppler", message=message),)
    return ()


def rescale_grey(
    frames: np.ndarray, *, bits: int | None = None
) -> tuple[np.ndarray, tuple[ClipWarning, ...]]:
    """Bring any grey type to uint8, one mapping for the whole clip.

    Whole numbers from 0 to 255 stay what they are, and unsigned ones of `bits` bits lose the
    lowest: so the same picture gives the same grey levels from any file. Where neither is known
    (or the picture would be all but black, as in a file that uses fewer bits than it says) the
    0.5 to 99.9 % of values are spread over 0 to 255, and a warning says so.

    Raises:
        ArgumentError: If no pixel is a number.
    """
    if frames.dtype == np.uint8:
        return frames, ()
    finite = np.isfinite(frames)
    if not finite.any():
        raise ArgumentError("frames must hold grey levels, every pixel is NaN or infinite")
    warnings: tuple[ClipWarning, ...] = ()
    if not finite.all():
        share = 100 * (1 - finite.mean())
        message = (
            f"{share:.2g} % of the pixels are NaN or infinite, which is no grey level: they were "
            "taken for the darkest. Clean the file if the heart is under them"
        )
        warnings = (ClipWarning(code="pixels_not_numbers", message=message),)
        frames = np.where(finite, frames, frames[finite].min())
    least, most = frames.min(), frames.max()
    if least >= 0 and most <= _WHITE and (np.mod(frames, 1) == 0).all():
        return frames.astype(np.uint8), warnings
    extra_bits = (bits or 0) - 8
    if extra_bits > 0 and frames.dtype.kind == "u":
        if _LEAST_WHITE <= int(most) >> extra_bits <= _WHITE:
            return (frames >> extra_bits).astype(np.uint8), warnings
    low, high = np.percentile(frames[:: max(1, len(frames) // 10)], [0.5, 99.9])
    scaled = (frames.astype(np.float32) - low) / max(float(high - low), 1e-6)
    message = (
        f"grey levels {low:.4g} to {high:.4g} were spread over 8 bits by their percentiles, since "
        "the file does not tell which is white: brightness, and with it the masks, rest on that"
    )
    warnings += (ClipWarning(code="rescaled_grey", message=message),)
    return np.rint(scaled.clip(0, 1) * _WHITE).astype(np.uint8), warnings


def stack(path: Path, frames: list[np.ndarray]) -> np.ndarray:
    """Return grey frames `T H W`; refuse a size that changes midway and clips of one frame.

    Raises:
        FormatError: In these two cases.
    """
    if len({frame.dtype for frame in frames}) > 1:
        kinds = ", ".join(sorted({str(frame.dtype) for frame in frames}))
        raise FormatError(f"{path}: all frames of a clip must be of one kind, these are {kinds}")
    sizes = [frame.shape[:2] for frame in frames]
    for index, size in enumerate(sizes):
        if size != sizes[0]:
            raise FormatError(
                f"{path}: frame {index} has {size[0]} x {size[1]} pixels, frame 0 has "
                f"{sizes[0][0]} x {sizes[0][1]}; all frames of a clip must have one size"
            )
    if len(frames) < 2:
        raise FormatError(f"{path}: a clip needs at least 2 frames, this has {len(frames)}")
    return np.stack([to_grey(frame) for frame in frames])


def damage(
    path: Path, damaged: list[int], total: int, options: OpenOptions
) -> tuple[ClipWarning, ...]:
    """Refuse a damaged file, or return the warning under which its readable part is used.

    Raises:
        DamagedError: Unless the user allowed damaged files.
    """
    if not damaged:
        return ()
    text = damage_told(damaged, total)
    if not options.allow_damaged:
        raise DamagedError(
            f"{path}: {text}; pass --allow-damaged to analyse the readable part", tuple(damaged)
        )
    return (ClipWarning(code="damaged_frames", message=f"{text}; the rest was analysed"),)


def damage_told(damaged: Sequence[int], total: int) -> str:
    """Return in words which frames of how many cannot be read."""
    listed = ", ".join(str(index) for index in damaged[:8]) + (", ..." if len(damaged) > 8 else "")
    return f"{len(damaged)} of {total} frames cannot be read (frame {listed})"
