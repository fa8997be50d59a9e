"""What all readers share: grey levels, colour, plausibility of spacing and rate, damaged frames."""

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
"""Allowed side of a live frame."""
SPACING_MM = (0.001, 10.0)
"""Plausible pixel spacing of a heart image, mm."""
FRAME_RATE_HZ = (1.0, 10_000.0)
"""Plausible frame rates of a clip."""
_WHITE, _MIN_WHITE = 255, 32
"""White, and the lowest plausible value of a clip's brightest pixel."""
_COLOUR_SPREAD = 60
_COLOUR_FRACTION = 0.004


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenOptions:
    """What the user knows of a clip; each field overrides the file's."""

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
        if self.spacing_mm is not None:  # any pair of numbers, such as an array
            row_mm, column_mm = map(float, self.spacing_mm)
            object.__setattr__(self, "spacing_mm", (row_mm, column_mm))
        if self.fps is not None and not _are_within(FRAME_RATE_HZ, (self.fps,), 1):
            raise ConfigError(
                "fps (--fps) must be {:g} to {:g} frames per second, got {}; leave it out if you "
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
        "{:g}. Give spacing_mm (--spacing-mm) if you know it."
    ).format(row_mm, column_mm, *SPACING_MM)
    return None, (ClipWarning(code="invalid_scale", message=message),)


def to_grey(frame: np.ndarray) -> np.ndarray:
    """Luma of an RGB frame `H W 3` uint8; a grey frame is returned unchanged."""
    if frame.ndim == 2:
        return frame
    return np.rint(frame[..., :3].astype(np.float32) @ LUMA).astype(np.uint8)


def colour_warnings(frames: list[np.ndarray]) -> tuple[ClipWarning, ...]:
    """Warn of patches of strong colour that change over time, as of colour or tissue Doppler.

    Strong means that channels differ by over 60 levels. After an opening, which removes thin
    lines, a coloured ECG trace stays below the threshold on the fraction of pixels; a logo or a
    menu does not change. A tinted clip, where all but dark and white pixels have one hue, is grey.
    """
    from scipy.ndimage import binary_opening

    chosen = [f[..., :3] for f in frames[:: max(1, len(frames) // 12)] if f.ndim == 3]
    if len(chosen) < 2:
        return ()
    spreads = [frame.max(-1).astype(int) - frame.min(-1) for frame in chosen]
    patches = [binary_opening(each > _COLOUR_SPREAD, np.ones((3, 3))) for each in spreads]
    chroma = np.stack([f[..., ::2].astype(np.int16) - f[..., 1:2] for f in chosen])
    changing = (np.ptp(chroma, 0) > _COLOUR_SPREAD).any(-1)
    if (np.any(patches, 0) & changing).mean() <= _COLOUR_FRACTION:
        return ()
    middle = [(luma > 60) & (luma < 200) for luma in map(to_grey, chosen)]
    grey = np.mean(np.concatenate([s[m] < 25 for s, m in zip(spreads, middle, strict=True)]))
    hues = np.concatenate([f.argmax(-1)[p] for f, p in zip(chosen, patches, strict=True)])
    if grey < 0.1 and np.bincount(hues).max() > 0.95 * len(hues):
        return ()
    message = (
        "The clip has patches of colour that change, as of colour or tissue Doppler, which hide "
        "the tissue: masks there are unreliable."
    )
    return (ClipWarning(code="colour_doppler", message=message),)


def rescale_grey(
    frames: np.ndarray, *, bits: int | None = None
) -> tuple[np.ndarray, tuple[ClipWarning, ...]]:
    """Convert any grey type to uint8, by one mapping for the whole clip.

    Integers from 0 to 255 are unchanged, and unsigned integers of `bits` bits lose the lowest bits,
    so the same image gives the same grey levels from any format. Otherwise (or where the result
    would be nearly black, as in a file that uses fewer bits than it declares) the 0.5 to 99.9
    percentiles are mapped to 0 to 255, with a warning.

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
        percent = 100 * (1 - finite.mean())
        message = (
            f"{percent:.2g} % of the pixels are NaN or infinite and count as black. Clean the file "
            "if they cover the heart."
        )
        warnings = (ClipWarning(code="pixels_not_numbers", message=message),)
        frames = np.where(finite, frames, frames[finite].min())
    lowest, highest = frames.min(), frames.max()
    if lowest >= 0 and highest <= _WHITE and (np.mod(frames, 1) == 0).all():
        return frames.astype(np.uint8), warnings
    extra_bits = (bits or 0) - 8
    if extra_bits > 0 and frames.dtype.kind == "u":
        if _MIN_WHITE <= int(highest) >> extra_bits <= _WHITE:
            return (frames >> extra_bits).astype(np.uint8), warnings
    low, high = np.percentile(frames[:: max(1, len(frames) // 10)], [0.5, 99.9])
    scaled = (frames.astype(np.float32) - low) / max(float(high - low), 1e-6)
    message = (
        f"The grey levels {low:.4g} to {high:.4g} (percentiles) were mapped to 8 bits, since the "
        "white level is unknown. Brightness, and thus the masks, depend on it."
    )
    warnings += (ClipWarning(code="rescaled_grey", message=message),)
    return np.rint(scaled.clip(0, 1) * _WHITE).astype(np.uint8), warnings


def stack(path: Path, frames: list[np.ndarray]) -> np.ndarray:
    """Stack grey frames to `T H W`.

    Raises:
        FormatError: If types or sizes differ, or there is one frame only.
    """
    if len({frame.dtype for frame in frames}) > 1:
        kinds = ", ".join(sorted({str(frame.dtype) for frame in frames}))
        raise FormatError(f"{path}: all frames of a clip must have one type, these are {kinds}")
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
    """Warn of damaged frames where the user allows them.

    Raises:
        DamagedError: If there are damaged frames and they are not allowed.
    """
    if not damaged:
        return ()
    text = describe_damage(damaged, total)
    if not options.allow_damaged:
        raise DamagedError(
            f"{path}: {text}; pass allow_damaged (--allow-damaged) to use the readable frames",
            tuple(damaged),
        )
    return (ClipWarning(code="damaged_frames", message=f"{text}; the others are used"),)


def describe_damage(damaged: Sequence[int], total: int) -> str:
    """Say which frames cannot be read."""
    listed = ", ".join(str(index) for index in damaged[:8]) + (", ..." if len(damaged) > 8 else "")
    return f"{len(damaged)} of {total} frames cannot be read (frame {listed})"
