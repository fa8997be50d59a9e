"""NumPy arrays of grey levels: `.npy`, and `.npz` with one clip among its arrays."""

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from echoseg.clip import Clip
from echoseg.errors import FormatError, reason_of
from echoseg.frame_store import each, map_stream
from echoseg.io.frames import OpenOptions
from echoseg.io.grey import collect

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
_NAMES = ("frames", "video", "clip", "images")


def sniff(head: bytes, path: Path) -> bool:
    """Detect `.npy`, and a ZIP whose first member is one."""
    return head[:6] == _NPY or (head[:4] == _ZIP and b".npy" in head[30:286])


def read(path: Path, options: OpenOptions) -> Clip:
    """Read an array; it has neither spacing nor times.

    Raises:
        FormatError: If no array, or more than one, can be the clip, or pickled objects are inside.
    """
    return array_clip(path, _array(path), options)


def array_clip(path: Path, frames: np.ndarray, options: OpenOptions) -> Clip:
    """A clip of an array (T, H, W), (T, H, W, 1), (T, H, W, 3) or (T, 3, H, W), of any number type.

    Args:
        path: For messages.
        frames: Grey levels or RGB; of four channels the last, alpha, is ignored.
        options: As in `load_clip`.

    Raises:
        FormatError: If it has another shape or type.
    """
    if frames.dtype.kind not in "uif":
        raise FormatError(f"{path}: grey levels must be numbers, got {frames.dtype}")
    if frames.ndim == 4 and frames.shape[1] in (1, 3) and frames.shape[3] > 4:
        frames = frames.transpose(0, 2, 3, 1)  # (T, C, H, W) -> (T, H, W, C)
    if frames.ndim == 4 and frames.shape[3] == 1:
        frames = frames[..., 0]
    if frames.ndim not in (3, 4) or (frames.ndim == 4 and frames.shape[3] not in (3, 4)):
        raise FormatError(
            f"{path}: a clip must be (T, H, W) or (T, H, W, 3), got {frames.shape}; transpose it"
        )
    if 0 in frames.shape:
        raise FormatError(f"{path}: a clip must have frames, this has no frames: {frames.shape}")
    grey = collect(path, lambda: each(frames[..., :3] if frames.ndim == 4 else frames), options)
    return Clip(frames=grey.frames, warnings=grey.warnings)


def _array(path: Path) -> np.ndarray:
    """The array of the clip, read as it is used; of a ZIP it is unpacked into a mapped file."""
    try:
        if not zipfile.is_zipfile(path):
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for member in archive.namelist():
                with archive.open(member) as file:
                    arrays[member.removesuffix(".npy")] = _read_header(file)
            name = _name_of_clip(path, {name: header[0] for name, header in arrays.items()})
            with archive.open(f"{name}.npy") as file:
                shape, is_fortran, dtype = _read_header(file)
                pixels = map_stream(iter(partial(file.read, 2**20), b"")).view(dtype)
            return pixels.reshape(shape[::-1]).T if is_fortran else pixels.reshape(shape)
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise FormatError(f"{path}: not a readable NumPy file ({reason_of(error)})") from error


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and type of an array in a file.

    Raises:
        ValueError: If there is none, or it holds pickled objects.
    """
    version = read_magic(file)
    shape, is_fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("pickled objects may run code and are not read")
    return shape, is_fortran, dtype


def _name_of_clip(path: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    """The array that is the clip.

    Raises:
        FormatError: If none can be, or several can.
    """
    clips = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
    named = [name for name in _NAMES if name in clips] or clips
    if len(named) != 1:
        listed = ", ".join(map(str, shapes.values()))
        raise FormatError(
            f"{path}: one array (T, H, W) must be the clip, named {' or '.join(_NAMES)} where "
            f"there are several; this holds {listed or 'none'}"
        )
    return named[0]
