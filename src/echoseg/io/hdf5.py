"""HDF5 in the layout of zea, in which EchoXFlow, EchoNet and CAMUS are passed on too.

The layout is documented at https://zea.readthedocs.io (Data, "zea data format reference"). Of
`data/` are read: `image_sc`, a scan-converted image, or `image`, with the place of each pixel in
metres. A map is an array, as in files before 0.0.12, or a group of `values` (or `pixels`) with
`coordinates` (H, W, 3) as (x, y, z), and `timestamps` in s. Beamspace, one column per beam, is
converted to a sector by its coordinates. An `extent` is not read: releases differ in its order.
"""

import itertools
import math
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip, Ecg, SourceDecision
from echoseg.errors import FormatError, TooLargeError
from echoseg.io.arbitration import decide
from echoseg.io.beams import MAX_PLACES, Grid
from echoseg.io.budget import Budget
from echoseg.io.frames import OpenOptions, file_scale
from echoseg.io.grey import collect
from echoseg.io.header_scale import stamp_statement
from echoseg.untrusted import OUTSIDE

_MAGIC = b"\x89HDF\r\n\x1a\n"
_NAMES = ("image_sc", "image")
_MAX_CHUNK_BYTES = 2**28
_BLACK_DB = -60.0
_MAX_SAMPLES = 10**7
_ROOTS = ("data", "tracks/track_0/data")


def sniff(head: bytes, path: Path) -> bool:
    """Detect HDF5."""
    return head[:8] == _MAGIC


def read(path: Path, options: OpenOptions) -> Clip:
    """Read the image of a file.

    Raises:
        FormatError: If h5py is missing, or no image is where the layout has it, or its pixels may
            be beams whose places the file does not give.
    """
    with open_file(path, allow_outside=options.allow_outside) as file:
        image = _find_image(path, file)
        values = image["values"]
        shape = values.shape[:3] if values.shape[3:] in ((), (1,)) else ()
        if len(shape) != 3:
            raise FormatError(f"{path}: a clip must be (T, H, W), {values.name} is {values.shape}")
        Budget(path, options).check(*shape)
        _check_storage(path, values, allow_outside=options.allow_outside)
        grid = _grid(path, image, shape[1:])
        values = image["values"] = _hold_chunks(values)

        is_in_db = _is_in_decibels(values)

        def decode() -> Iterator[np.ndarray]:
            for index in range(shape[0]):
                frame = values[index].reshape(shape[1:])
                if is_in_db:
                    frame = np.rint(255 * (1 - frame / _BLACK_DB)).clip(0, 255).astype(np.uint8)
                yield grid.draw(frame) if grid else frame

        grey = collect(path, decode, options, expected=shape[0])
        spacing_mm, notes = file_scale(*grid.spacing_mm) if grid else (None, ())
        times_s, sources = _times(image.get("timestamps"), shape[0])
        return Clip(
            frames=grey.frames,
            spacing_mm=spacing_mm,
            times_s=times_s,
            warnings=grey.warnings + notes,
            sources=sources,
            ecg=None if times_s is None else _ecg(file, image),
        )


def _is_in_decibels(values: Any) -> bool:
    """Whether numbers are -60 to 0, as zea stores CAMUS and EchoNet: 0 to 255, mapped linearly."""
    if values.dtype.kind != "f":
        return False
    ranges = ((float(frame.min()), float(frame.max())) for frame in values)
    lowest, highest = map(np.array, zip(*ranges, strict=True))
    return bool(abs(lowest.min() - _BLACK_DB) < 0.01 and _BLACK_DB / 2 < highest.max() <= 0)


def _hold_chunks(values: Any) -> Any:
    """The array, of which one chunk along time is held, so that none is decompressed twice.

    The default cache is smaller than a chunk of many frames, which each frame would then decompress
    anew. `values` is closed: the first to open an array sets its cache (H5Pset_chunk_cache).
    """
    import h5py

    if values.chunks is None or values.chunks[0] == 1:
        return values
    across = math.prod(map(math.ceil, np.divide(values.shape, values.chunks)[1:]))
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    num_bytes = across * math.prod(values.chunks) * values.dtype.itemsize  # chunks may reach on
    num_bytes = min(num_bytes, max(values.nbytes, _MAX_CHUNK_BYTES))
    access.set_chunk_cache(10 * across + 1, num_bytes, 1.0)
    file, name = values.file.id, values.name.encode()
    values.id.close()
    return h5py.Dataset(h5py.h5d.open(file, name, access))


def open_file(path: Path, *, allow_outside: bool = False) -> Any:
    """The file as h5py opens it.

    Raises:
        FormatError: If h5py is missing, or a link in the file leads to another file.
    """
    try:
        import h5py
    except ImportError as error:
        raise FormatError(
            f"{path}: HDF5 needs h5py, which is not installed; pip install 'echoseg[hdf5]'"
        ) from error
    try:
        file = h5py.File(path)
    except OSError as error:
        raise FormatError(
            f"{path}: the HDF5 file is truncated or broken; get a whole copy"
        ) from error
    names = file.visititems_links(
        lambda _, link: True if isinstance(link, h5py.ExternalLink) else None
    )
    if names and not allow_outside:
        file.close()
        raise FormatError(f"{path}: it names another file; {OUTSIDE}")
    return file


def _check_storage(path: Path, values: Any, *, allow_outside: bool) -> None:
    """Refuse an array that lies in other files, or in pieces that fill memory when one is read."""
    sources = values.virtual_sources() if values.is_virtual else []
    if (values.external or any(one.file_name != "." for one in sources)) and not allow_outside:
        raise FormatError(f"{path}: its pixels are in another file; {OUTSIDE}")
    chunk_bytes = prod(values.chunks or ()) * values.dtype.itemsize
    if chunk_bytes > _MAX_CHUNK_BYTES:
        raise TooLargeError(
            f"{path}: its chunks must be at most {_MAX_CHUNK_BYTES / 2**20:g} MiB, they are "
            f"{chunk_bytes / 2**20:,.0f} MiB; write it with a chunk per frame"
        )


def subject_id(path: Path) -> str:
    """The subject that zea's `metadata/subject/id` names; empty where it names none."""
    with open_file(path) as file:
        subject = file.get("metadata/subject")
        value: Any = "" if subject is None else subject.get("id", subject.attrs.get("id", ""))
        if hasattr(value, "shape"):
            value = value[()] if value.shape == () else ""
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _ecg(file: Any, image: dict[str, Any]) -> Ecg | None:
    """The ECG of `metadata/ecg` from the first frame; None where there is none of use.

    Both clocks count from their `start_time_offset`, s.
    """
    group = file.get("metadata/ecg")
    parts = dict(group.items()) if hasattr(group, "items") else {}
    if not {"samples", "sampling_frequency"} <= set(parts):
        return None
    samples, rate_hz = parts["samples"], _scalar(parts["sampling_frequency"])
    is_sound = samples.dtype.kind in "uif" and 1 < prod(samples.shape) <= _MAX_SAMPLES
    if not is_sound or max(samples.shape) < prod(samples.shape) or not 0 < rate_hz < math.inf:
        return None
    _check_storage(Path(), samples, allow_outside=True)
    values = np.asarray(samples, float).reshape(-1)
    if not np.isfinite(values).all():
        return None
    offsets_s = [_scalar(one.get("start_time_offset")) for one in (parts, image)]
    return Ecg(
        times_s=offsets_s[0] - offsets_s[1] + np.arange(len(values)) / rate_hz, values=values
    )


def _scalar(value: Any) -> float:
    """The number of an array of one; 0 where there is not one."""
    is_one = value is not None and value.dtype.kind in "uif" and prod(value.shape) == 1
    number = float(np.asarray(value).reshape(())) if is_one else 0.0
    return number if math.isfinite(number) else 0.0


def _find_image(path: Path, file: Any) -> dict[str, Any]:
    """The parts of the first image that is there, with its array as `values`."""
    for root, name in itertools.product(_ROOTS, _NAMES):
        image = file.get(f"{root}/{name}")
        if image is None:
            continue
        if not hasattr(image, "keys"):  # an array, as before 0.0.12
            return {"values": image}
        parts = dict(image.items())
        if "pixels" in parts:
            parts["values"] = parts.pop("pixels")
        if "values" in parts:
            return parts
    names = " or ".join(f"data/{name}" for name in _NAMES)
    raise FormatError(
        f"{path}: HDF5 is read in zea's layout, with the frames in {names}, which this has not; "
        "save the frames as .npy and give --spacing-mm and --fps"
    )


def _grid(path: Path, image: dict[str, Any], size: tuple[int, int]) -> Grid | None:
    """Where the pixels lie, in mm; None of a scan-converted image without places."""
    name, (rows, columns) = image["values"].name, size
    if "coordinates" in image:
        stored = image["coordinates"]
        if rows * columns > MAX_PLACES or stored.shape[-3:] != (rows, columns, 3):
            raise FormatError(
                f"{path}: coordinates must be {(rows, columns, 3)}, one place per pixel of {name} "
                f"and at most {MAX_PLACES}, got {stored.shape}"
            )
        _check_storage(path, stored, allow_outside=True)
        places_m = np.asarray(stored[0] if len(stored.shape) > 3 else stored, float)  # first frame
        if places_m.shape != (rows, columns, 3):
            raise FormatError(
                f"{path}: coordinates must be {(rows, columns, 3)}, one place per pixel of {name}, "
                f"got {places_m.shape}"
            )
        return Grid(1000 * places_m[..., [0, 2]])
    if name.rpartition("/image_sc")[1]:
        return None
    raise FormatError(
        f"{path}: {name} has no coordinates, so its columns may be beams; give the file with "
        "coordinates, or a scan-converted image_sc"
    )


def _times(stamps: Any, num_frames: int) -> tuple[np.ndarray | None, tuple[SourceDecision, ...]]:
    """Times from the first frame, s, where they are of use, and what was decided."""
    if stamps is None:
        return None, ()
    num_stamps = prod(stamps.shape)
    is_read = num_stamps == num_frames
    stamps_s = np.asarray(stamps, float).reshape(-1) if is_read else np.broadcast_to(0, num_stamps)
    rate = decide("frame_rate_hz", [stamp_statement(stamps_s, num_frames)])
    return (None if rate.value is None else stamps_s - stamps_s[0]), (rate,)
