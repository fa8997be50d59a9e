"""NumPy arrays of grey levels: `.npy`, and `.npz` with one clip among its arrays."""

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from echoseg.clip import Clip
from echoseg.errors import EchosegError, FormatError, Unfit, reason_of
from echoseg.frame_store import each, map_stream
from echoseg.io.budget import Budget
from echoseg.io.frames import OpenOptions
from echoseg.io.grey import collect
from echoseg.io.header_scale import is_time_last

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
NAMES = ("frames", "video", "clip", "images", "image")
_MAX_MEMBERS = 1000
_DEFAULTS = OpenOptions()
MASK_NAMES = ("masks", "labels", "mask", "label", "segmentation")


def sniff(head: bytes, path: Path) -> bool:
    """Detect `.npy`, and a ZIP whose first member is one."""
    return head[:6] == _NPY or (head[:4] == _ZIP and b".npy" in head[30:286])


def read(path: Path, options: OpenOptions) -> Clip:
    """Read an array; it has neither spacing nor times.

    Raises:
        FormatError: If no array, or more than one, can be the clip, or pickled objects are inside.
    """
    return array_clip(path, read_array(path, NAMES, (3, 4), options), options)


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
    if frames.ndim == 3:
        check_time_first(path, frames)
    grey = collect(path, lambda: each(frames[..., :3] if frames.ndim == 4 else frames), options)
    return Clip(frames=grey.frames, warnings=grey.warnings)


def check_time_first(path: Path, values: np.ndarray) -> None:
    """Raise `FormatError` where the last of three axes, not the first, is time by its content."""
    if is_time_last(values):
        raise FormatError(
            f"{path}: an array must be (T, H, W), but of this, {values.shape}, the last axis seems "
            "to be time; move time to the front, then rows, then columns"
        )


def read_array(
    path: Path,
    names: tuple[str, ...],
    dimensions: tuple[int, ...],
    options: OpenOptions = _DEFAULTS,
) -> np.ndarray:
    """The array of a `.npy`, read as it is used, or the one of a `.npz`, in a mapped file.

    Args:
        path: The file.
        names: Of an array among several, the preferred first.
        dimensions: Numbers of axes that it may have.
        options: With the limit of what a `.npz` unpacks to.

    Raises:
        FormatError: If it cannot be read, or no array or more than one is suitable.
    """
    try:
        if not _is_archive(path):
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            shapes = {name: header[0] for name, header in _headers(archive).items()}
            name = _choose_array(path, shapes, names, dimensions)
            with archive.open(f"{name}.npy") as file:
                shape, is_fortran, dtype = _read_header(file)
                blocks = Budget(path, options).limited(iter(partial(file.read, 2**20), b""))
                pixels = map_stream(blocks).view(dtype)
            return pixels.reshape(shape[::-1]).T if is_fortran else pixels.reshape(shape)
    except EchosegError:
        raise
    except Exception as error:  # zipfile, zlib, tokenize and numpy raise exceptions of their own
        raise FormatError(f"{path}: not a readable NumPy file ({reason_of(error)})") from error


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _ZIP


def array_headers(path: Path) -> dict[str, tuple[tuple[int, ...], bool, np.dtype]]:
    """Shape, whether it is in Fortran's order, and type of each array by name; of a `.npy` "".

    Raises:
        ValueError: If one is not an array, or holds pickled objects.
    """
    if _is_archive(path):
        with zipfile.ZipFile(path) as archive:
            return _headers(archive)
    with path.open("rb") as file:
        return {"": _read_header(file)}


def _headers(archive: zipfile.ZipFile) -> dict[str, tuple[tuple[int, ...], bool, np.dtype]]:
    arrays = {}
    for member in archive.namelist()[:_MAX_MEMBERS]:
        with archive.open(member) as file:
            arrays[member.removesuffix(".npy")] = _read_header(file)
    return arrays


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and type of an array in a file.

    Raises:
        ValueError: If there is none, or it holds pickled objects.
    """
    version = read_magic(file)
    shape, is_fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise Unfit("pickled objects may run code and are not read")
    return shape, is_fortran, dtype


def _choose_array(
    path: Path,
    shapes: dict[str, tuple[int, ...]],
    names: tuple[str, ...],
    dimensions: tuple[int, ...],
) -> str:
    """The name of the array to use, by name and number of axes.

    Raises:
        FormatError: If none is suitable, or several are.
    """
    suitable = [name for name, shape in shapes.items() if len(shape) in dimensions]
    others = {*NAMES, *MASK_NAMES} if len(suitable) > 1 else set[str]()
    named = [name for name in names if name in suitable] or [
        name for name in suitable if name not in others
    ]
    if len(named) != 1:
        listed = ", ".join(map(str, shapes.values()))
        raise FormatError(
            f"{path}: one array (T, H, W) must be used, named {' or '.join(names)} where there are "
            f"several; this holds {listed or 'none'}"
        )
    return named[0]
