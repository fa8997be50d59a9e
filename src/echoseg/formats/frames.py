"""What every reader shares: grey levels, colour, times, and the refusals they have in common."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoseg.anatomy import View
from echoseg.clip import ClipWarning
from echoseg.errors import DamagedError, FormatError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue (ITU-R BT.601)."""
ASSUMED_FRAME_RATE_HZ = 30.0
_COLOUR_SPREAD = 60
_COLOUR_SHARE = 0.004


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenOptions:
    """What the user says of a clip; each replaces what the file says."""

    spacing_mm: tuple[float, float] | None = None
    frame_rate_hz: float | None = None
    view: View | None = None
    allow_damaged: bool = False

    def __post_init__(self) -> None:
        """Refuse values that would make a number wrong."""
        if self.spacing_mm is not None and not all(
            np.isfinite(s) and 0 < s < 100 for s in self.spacing_mm
        ):
            raise FormatError(
                f"spacing_mm must be two lengths over 0 and under 100 mm a pixel, "
                f"got {self.spacing_mm[0]:g} {self.spacing_mm[1]:g}"
            )
        if self.frame_rate_hz is not None and not 0 < self.frame_rate_hz <= 10_000:
            raise FormatError(
                f"fps must be over 0 and at most 10000 frames a second, got {self.frame_rate_hz:g}"
            )


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


def rescale_grey(frames: np.ndarray, *, invert: bool = False) -> np.ndarray:
    """Map any grey type to uint8, one mapping for the whole clip: 0.5 to 99.9 % of values."""
    if frames.dtype != np.uint8:
        low, high = np.percentile(frames[:: max(1, len(frames) // 10)], [0.5, 99.9])
        scaled = (frames.astype(np.float32) - low) / max(float(high - low), 1e-6)
        frames = np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)
    return 255 - frames if invert else frames


def stack(path: Path, frames: list[np.ndarray]) -> np.ndarray:
    """Return grey frames `T H W`; refuse a size that changes midway and clips of one frame.

    Raises:
        FormatError: In these two cases.
    """
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
    listed = ", ".join(str(index) for index in damaged[:8]) + (", ..." if len(damaged) > 8 else "")
    text = f"{path}: {len(damaged)} of {total} frames cannot be read (frame {listed})"
    if not options.allow_damaged:
        raise DamagedError(
            f"{text}; pass --allow-damaged to analyse the readable part", tuple(damaged)
        )
    return (ClipWarning(code="damaged_frames", message=f"{text}; the rest was analysed"),)
