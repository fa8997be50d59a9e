"""Grey frames of a clip from decoded ones, one by one: no reader holds what it decoded.

A reader gives `collect` a function that starts decoding anew: it is called once where pixels are
bytes, and again where the grey levels of the whole clip have to be known first.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from echoseg.clip import ClipWarning
from echoseg.errors import ArgumentError, FormatError, NotAClipError, reason_of
from echoseg.frame_store import FrameStore
from echoseg.io.budget import Budget
from echoseg.io.colour import channel_spread
from echoseg.io.frames import OpenOptions, damage
from echoseg.io.label_maps import MASKS_ONLY, are_label_maps

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue (ITU-R BT.601)."""
_WHITE, _MIN_WHITE = 255, 32
"""White, and the lowest plausible value of a clip's brightest pixel."""
_COLOUR_SPREAD = 60
_COLOUR_FRACTION = 0.004
_COLOUR_FRAMES = 12
_LUMA_ROWS = 64
_MAX_SAMPLES = 2**22
"""Pixels from which percentiles are taken."""

Decoded = np.ndarray | Exception
"""A frame `H W` of any number type or RGB `H W 3`; in place of a damaged one its exception."""


class GreyFrames(NamedTuple):
    """Frames `T H W` uint8 that could be decoded, indices of the others, and number of both."""

    frames: np.ndarray
    damaged: tuple[int, ...]
    total: int
    warnings: tuple[ClipWarning, ...]


def collect(
    path: Path,
    decode: Callable[[], Iterable[Decoded]],
    options: OpenOptions,
    *,
    expected: int = 0,
    bits: int | None = None,
) -> GreyFrames:
    """Decode a clip to grey frame by frame.

    Args:
        path: For messages.
        decode: Starts decoding from the first frame.
        options: Whether damaged frames are allowed.
        expected: Number of frames, if it is known beforehand, by which colour is sampled.
        bits: Of unsigned pixels, see `GreyLevels`.

    Raises:
        FormatError: If no frame can be decoded, or types or sizes differ; a `NotAClipError` if the
            file holds one frame only, or label maps.
        DamagedError: If there are damaged frames and they are not allowed.
        ArgumentError: If no pixel is a number.
        TooLargeError: If there are more frames or pixels than the options allow.
    """
    levels, colour = GreyLevels(bits), ColourCheck(expected)
    first: np.ndarray | None = None
    damaged, total, reason, budget = [], 0, None, Budget(path, options)
    with FrameStore() as store:

        def add(frame: np.ndarray) -> None:
            colour.add(frame)
            store.add(to_grey(frame))
            if options.colour is not None:
                options.colour.add(frame)

        for index, frame in enumerate(decode()):
            total = index + 1
            if isinstance(frame, Exception):
                damaged.append(index)
                budget.add(0, 0)
                reason = reason or frame
                continue
            budget.add(*frame.shape[:2])
            first = frame if first is None else first
            _check_alike(path, first, frame, index - len(damaged))
            if frame.dtype == np.uint8:
                add(frame)
            else:
                levels.add(frame)
        _check_number(path, total - len(damaged), reason)
        notes = damage(path, damaged, total, options)
        if not store.num_frames:
            for frame in levels.to_bytes(lambda: _intact(decode())):
                add(frame)
        frames = store.frames()
    if are_label_maps(frames):
        raise NotAClipError(f"{path}: {MASKS_ONLY}")
    return GreyFrames(frames, tuple(damaged), total, notes + levels.warnings + colour.warnings())


def _check_number(path: Path, num_frames: int, reason: Exception | None) -> None:
    if not num_frames:
        because = f" ({reason_of(reason)})" if reason else ""
        raise FormatError(f"{path}: no frame can be decoded{because}") from reason
    if num_frames < 2:
        kind = FormatError if reason else NotAClipError
        raise kind(f"{path}: a clip needs at least 2 frames, this has {num_frames}")


def _check_alike(path: Path, first: np.ndarray, frame: np.ndarray, index: int) -> None:
    if frame.dtype != first.dtype:
        kinds = ", ".join(sorted({str(first.dtype), str(frame.dtype)}))
        raise FormatError(f"{path}: all frames of a clip must have one type, these are {kinds}")
    if frame.shape[:2] != first.shape[:2]:
        raise FormatError(
            f"{path}: frame {index} has {frame.shape[0]} x {frame.shape[1]} pixels, frame 0 has "
            f"{first.shape[0]} x {first.shape[1]}; all frames of a clip must have one size"
        )


def _intact(frames: Iterable[Decoded]) -> Iterator[np.ndarray]:
    return (frame for frame in frames if not isinstance(frame, Exception))


def to_grey(frame: np.ndarray) -> np.ndarray:
    """Luma of an RGB frame `H W 3` uint8; a grey frame is returned unchanged."""
    if frame.ndim == 2:
        return frame
    grey = np.empty(frame.shape[:2], np.uint8)
    for top in range(0, len(grey), _LUMA_ROWS):  # so that floats take little memory
        rows = slice(top, top + _LUMA_ROWS)
        grey[rows] = np.rint(frame[rows, :, :3].astype(np.float32) @ LUMA)
    return grey


class GreyLevels:
    """Converts frames of any number type to uint8, by one mapping for the whole clip.

    Integers from 0 to 255 are unchanged, and unsigned integers of `bits` bits lose the lowest bits,
    so the same image gives the same grey levels from any format. Otherwise (or where the result
    would be nearly black, as in a file that uses fewer bits than it declares) the 0.5 to 99.9
    percentiles of frames spread over the clip are mapped to 0 to 255, with a warning.
    """

    def __init__(self, bits: int | None = None) -> None:
        self._extra_bits = max(0, (bits or 0) - 8)
        self._low, self._high = np.inf, -np.inf
        self._are_whole = True
        self._num_frames = self._num_pixels = self._num_finite = 0
        self.warnings: tuple[ClipWarning, ...] = ()

    def add(self, frame: np.ndarray) -> None:
        """Take note of a frame's levels."""
        finite = frame[np.isfinite(frame)] if frame.dtype.kind == "f" else frame
        self._num_frames += 1
        self._num_pixels += frame.size
        self._num_finite += finite.size
        if finite.size:
            self._low = min(self._low, finite.min().item())
            self._high = max(self._high, finite.max().item())
        if finite.dtype.kind == "f":
            self._are_whole = self._are_whole and bool((np.mod(finite, 1) == 0).all())

    def to_bytes(self, decode: Callable[[], Iterable[np.ndarray]]) -> Iterator[np.ndarray]:
        """Yield the frames that were added, which `decode` gives once more, as uint8.

        Raises:
            ArgumentError: If no pixel is a number.
        """
        if not self._num_finite:
            raise ArgumentError("frames must hold grey levels, every pixel is NaN or infinite")
        if self._num_finite < self._num_pixels:
            percent = 100 * (1 - self._num_finite / self._num_pixels)
            message = (
                f"{percent:.2g} % of the pixels are NaN or infinite and count as black. Clean the "
                "file if they cover the heart."
            )
            self.warnings += (ClipWarning(code="pixels_not_numbers", message=message),)
        if self._low >= 0 and self._high <= _WHITE and self._are_whole:
            return (self._finite(frame).astype(np.uint8) for frame in decode())
        if self._fit_bits(next(iter(decode())).dtype):
            return ((frame >> self._extra_bits).astype(np.uint8) for frame in decode())
        return self._spread(decode)

    def _fit_bits(self, kind: np.dtype) -> bool:
        if kind.kind != "u" or not self._extra_bits:
            return False
        return _MIN_WHITE <= int(self._high) >> self._extra_bits <= _WHITE

    def _finite(self, frame: np.ndarray) -> np.ndarray:
        if self._num_finite == self._num_pixels:
            return frame
        return np.where(np.isfinite(frame), frame, np.asarray(self._low, frame.dtype))

    def _spread(self, decode: Callable[[], Iterable[np.ndarray]]) -> Iterator[np.ndarray]:
        step = max(1, self._num_frames // 10)
        of_frame = self._num_pixels // self._num_frames
        stride = max(1, of_frame * -(-self._num_frames // step) // _MAX_SAMPLES)
        chosen = (self._finite(f) for i, f in enumerate(decode()) if i % step == 0)
        samples = np.concatenate([frame.ravel()[::stride].copy() for frame in chosen])
        low, high = np.percentile(samples, [0.5, 99.9])
        message = (
            f"The grey levels {low:.4g} to {high:.4g} (percentiles) were mapped to 8 bits, since "
            "the white level is unknown. Brightness, and thus the masks, depend on it."
        )
        self.warnings += (ClipWarning(code="rescaled_grey", message=message),)
        for frame in decode():
            scaled = (self._finite(frame).astype(np.float32) - low) / max(float(high - low), 1e-6)
            yield np.rint(scaled.clip(0, 1) * _WHITE).astype(np.uint8)


class ColourCheck:
    """Looks for patches of strong colour that change over time, as of colour or tissue Doppler.

    Strong means that channels differ by over 60 levels. After an opening, which removes thin
    lines, a coloured ECG trace stays below the threshold on the fraction of pixels; a logo or a
    menu does not change. A tinted clip, where all but dark and white pixels have one hue, is grey.

    Args:
        expected: Number of frames, of which at least twelve are looked at, evenly spread. 0 where
            it is unknown: the distance doubles after every twelve.
    """

    def __init__(self, expected: int = 0) -> None:
        self._step, self._doubles = max(1, expected // _COLOUR_FRAMES), not expected
        self._index = self._next = self._num_looked_at = 0
        self._patches: np.ndarray = np.empty(0, bool)
        self._lowest = self._highest = np.empty(0, np.int16)
        self._num_grey = self._num_middle = 0
        self._hues = np.zeros(3, int)

    def add(self, frame: np.ndarray) -> None:
        """Look at a frame `H W 3` uint8, or pass it over; a grey one has no colour."""
        if frame.ndim == 3 and self._index == self._next:
            self._look_at(frame[..., :3])
            self._num_looked_at += 1
            if self._doubles and self._num_looked_at % _COLOUR_FRAMES == 0:
                self._step *= 2
            self._next += self._step
        self._index += 1

    def _look_at(self, frame: np.ndarray) -> None:
        from scipy.ndimage import binary_opening

        spread = channel_spread(frame)
        patches = spread > _COLOUR_SPREAD
        if patches.any():
            patches = np.asarray(binary_opening(patches, np.ones((3, 3))), bool)
        chroma = frame[..., ::2].astype(np.int16) - frame[..., 1:2]
        if not self._num_looked_at:
            self._patches, self._lowest, self._highest = patches, chroma, chroma.copy()
        self._patches = self._patches | patches
        np.minimum(self._lowest, chroma, out=self._lowest)
        np.maximum(self._highest, chroma, out=self._highest)
        luma = to_grey(frame)
        middle = (luma > 60) & (luma < 200)
        self._num_middle += int(middle.sum())
        self._num_grey += int((spread[middle] < 25).sum())
        if patches.any():
            self._hues += np.bincount(frame[patches].argmax(-1), minlength=3)

    def warnings(self) -> tuple[ClipWarning, ...]:
        """The warning, where there are such patches."""
        if self._num_looked_at < 2:
            return ()
        changing = (self._highest - self._lowest > _COLOUR_SPREAD).any(-1)
        if (self._patches & changing).mean() <= _COLOUR_FRACTION:
            return ()
        is_tinted = self._num_grey < 0.1 * self._num_middle
        if is_tinted and self._hues.max() > 0.95 * self._hues.sum():
            return ()
        message = (
            "The clip has patches of colour that change, as of colour or tissue Doppler, which "
            "hide the tissue: masks there are unreliable."
        )
        return (ClipWarning(code="colour_doppler", message=message),)
