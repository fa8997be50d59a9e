"""BYTES. One file format per module, reader and writer together; `formats` lists them all."""

import errno
import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from echoseg.clip import Clip, ClipWarning, View
from echoseg.errors import ArgumentError, ConfigError, EchosegError, FormatError, reason_of
from echoseg.frame_store import each
from echoseg.io import nifti
from echoseg.io.arbitration import settle
from echoseg.io.colour import ColourSink
from echoseg.io.formats import (
    FORMATS,
    Format,
    content_sha256,
    find_format,
    is_frame_folder,
    only_file,
    source_sha256,
)
from echoseg.io.frames import ASSUMED_FRAME_RATE_HZ, OpenOptions
from echoseg.io.masks import read_masks
from echoseg.io.numpy_file import array_clip
from echoseg.io.quiet import quiet
from echoseg.private import hidden, hide_path

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def load_clip(  # noqa: PLR0913  # what is known of the clip, and what may be read
    source: "str | Path | bytes | ArrayLike",
    *,
    spacing_mm: tuple[float, float] | None = None,
    fps: float | None = None,
    view: View | str | None = None,
    allow_damaged: bool = False,
    max_decoded_gib: float = 2.0,
    allow_outside: bool = False,
    alias: str | None = None,
) -> Clip:
    """Read a clip: ultrasound DICOM, AVI, MP4, MOV, GIF, NIfTI, ...

    Examples:
        >>> echoseg.load_clip("clip.dcm")
        Clip(45 frames, 1024 x 768, A4C, 20 fps, 0.31 x 0.31 mm, 'clip.dcm')
        >>> echoseg.load_clip(frames, spacing_mm=(0.3, 0.3), fps=50)  # (T, H, W) array

    Args:
        source: Path of a file or folder; the content of a file as bytes; or grey levels, an array
            (T, H, W) or (T, H, W, 3) of any numeric type; of (T, H, W, 4) alpha is ignored.
        spacing_mm: (row, column) pixel spacing in mm, any pair of numbers; overrides the file's.
        fps: Frames per second; overrides the file's. Where neither gives it, 30 is assumed with a
            warning.
        view: The view; overrides the file's.
        allow_damaged: Use the readable frames of a damaged file.
        max_decoded_gib: Limit of decoded bytes (frames x pixels), in GiB.
        allow_outside: Follow a MetaImage's or HDF5 file's reference to a file outside its folder.
        alias: Stands for the path, in the clip, its warnings and every message
            (`private.Pseudonyms`).

    Raises:
        ConfigError: If spacing, frame rate or view is out of range.
        FormatError: If the source cannot be read as a clip, with the reason.
        DamagedError: If a part of it cannot be read and `allow_damaged` is false.
        TooLargeError: If it would exceed `max_decoded_gib`.
        TypeError: If the source has another type.
    """
    options = OpenOptions(
        spacing_mm=spacing_mm,
        fps=fps,
        view=None if view is None else find_view(view),
        allow_damaged=allow_damaged,
        max_decoded_gib=max_decoded_gib,
        allow_outside=allow_outside,
        colour=(colour := ColourSink()),
    )
    if isinstance(source, str | os.PathLike):
        with hidden((source, alias)):
            clip = _read_path(Path(source), options)
        clip = clip if alias is None else _renamed(clip, alias)
    elif isinstance(source, bytes | bytearray | memoryview):
        clip = _read_bytes(bytes(source), options)
    elif hasattr(source, "__array__"):
        clip = _read_array(source, options)
    else:
        raise TypeError(
            f"load_clip takes a path, bytes or an array (T, H, W), got {type(source).__name__}"
        )
    clip = _with_options(clip, options)
    return replace(clip, colour=colour.finish(clip.frames))


def _renamed(clip: Clip, alias: str) -> Clip:
    """The clip with its path replaced, in its warnings too, without study and day."""
    notes = [replace(w, message=hide_path(w.message, clip.source, alias)) for w in clip.warnings]
    return replace(clip, source=alias, study="", acquired_on="", warnings=tuple(notes))


def find_view(view: View | str) -> View:
    """The view of a name.

    Raises:
        ConfigError: If there is no such view.
    """
    try:
        return next(v for v in View if v.lower() == str(view).lower())
    except StopIteration:
        raise ConfigError(f"view must be one of {', '.join(View)}, got {view!r}") from None


def _read_path(path: Path, options: OpenOptions) -> Clip:
    with refusals(path):
        path = only_file(path)
        name = find_format(path)
        clip = FORMATS[name].read(path, options)
        digest = content_sha256(path, name)
    return replace(clip, source=str(path), source_sha256=digest, format_name=name)


def _read_bytes(content: bytes, options: OpenOptions) -> Clip:
    """Read a file's content through a temporary file, since the decoders need a seekable one."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "bytes"
        path.write_bytes(content)
        try:
            clip = _read_path(path, options)
        except EchosegError as error:
            error.args = (str(error).replace(str(path), "bytes"), *error.args[1:])
            raise
        return replace(clip, source="")


def _read_array(values: Any, options: OpenOptions) -> Clip:
    source = Path("array")
    with refusals(source):
        frames = np.asarray(values)
    with refusals(source):
        return array_clip(source, frames, options)


def load_masks(  # noqa: PLR0913  # as `load_clip`
    path: str | Path,
    *,
    spacing_mm: tuple[float, float] | None = None,
    fps: float | None = None,
    view: View | None = None,
    max_decoded_gib: float = 2.0,
    allow_outside: bool = False,
    alias: str | None = None,
    masked_clip: str | Path | None = None,
) -> tuple[Clip, np.ndarray]:
    """Read masks that another tool wrote, values of `Label` (`label_maps.to_labels`).

    Args:
        path: NIfTI or MetaImage (x, y, t), NumPy (T, H, W), or pictures in a file or a folder.
        spacing_mm: As in `load_clip`, as are the others.
        fps: Frames per second.
        view: The view.
        max_decoded_gib: As in `load_clip`.
        allow_outside: As in `load_clip`.
        alias: As in `load_clip`.
        masked_clip: The clip that they are of; a SEG of a folder of DICOM pictures needs it.

    Returns:
        An image of the masks as their clip, and the masks, `T H W` uint8.

    Raises:
        ConfigError: If spacing or frame rate is out of range.
        FormatError: If the file cannot be read as masks, with the reason.
    """
    path = Path(path)
    options = OpenOptions(
        spacing_mm=spacing_mm, fps=fps, view=view, max_decoded_gib=max_decoded_gib,
        allow_outside=allow_outside, masked_clip=Path(masked_clip) if masked_clip else None,
    )  # fmt: skip
    with hidden((path, alias)), refusals(path):
        clip, masks, name = read_masks(path, options)
        digest = content_sha256(path, name)
    source, kind = str(path) if alias is None else alias, f"{name or 'picture'} masks"
    clip = replace(clip, source=source, source_sha256=digest, format_name=kind)
    return _with_options(clip, options), masks


def load_ed_es(
    ed: str | Path,
    es: str | Path,
    *,
    spacing_mm: tuple[float, float] | None = None,
    view: View | None = None,
    allow_outside: bool = False,
    alias: str | None = None,
) -> tuple[Clip, np.ndarray]:
    """Read the masks of ED and ES from two files of one still each.

    Args:
        ed: File of ED, as in `load_masks`.
        es: File of ES.
        spacing_mm: As in `load_clip`.
        view: The view.
        allow_outside: As in `load_clip`.
        alias: As in `load_clip`, for both files.

    Returns:
        An image of the masks as their clip of two frames without times, and the masks, `2 H W`
        uint8. Its hash is that of ED's file and ES's.

    Raises:
        ConfigError: If the spacing is out of range.
        FormatError: If a file cannot be read as one still, or the two differ in size or, where no
            spacing is given, in that of their headers.
    """
    (one, first), (other, second) = (
        load_masks(
            path,
            spacing_mm=spacing_mm,
            fps=ASSUMED_FRAME_RATE_HZ,
            view=view,
            allow_outside=allow_outside,
            alias=alias,
        )
        for path in (ed, es)
    )
    ed_name, es_name = (ed, es) if alias is None else (f"ED of {alias}", f"ES of {alias}")
    for path, masks in ((ed_name, first), (es_name, second)):
        if len(masks) != 1:
            raise FormatError(
                f"{path}: of two files each must hold one still (x, y), this holds {len(masks)} "
                "frames; give a clip alone"
            )
    compared: list[tuple[str, Any, Any]] = [
        ("size (rows, columns)", one.size, other.size),
        ("pixel spacing (row, column) in mm", one.spacing_mm, other.spacing_mm),
    ]
    is_nifti = {one.format_name, other.format_name} == {"nifti masks"}
    if spacing_mm is None and is_nifti:  # headers without units too
        ours, theirs = (nifti.header_spacing(Path(path)) for path in (ed, es))
        compared.append(("pixel spacing (row, column) in the header", ours, theirs))
    for what, ours, theirs in compared:
        if (ours is None) != (theirs is None) or not np.allclose(ours or 0, theirs or 0, rtol=1e-4):
            raise FormatError(
                f"{es_name}: the {what} is {theirs}, but {ours} in {ed_name}; give ED and ES of "
                "one clip"
            )
    clip = replace(
        one,
        frames=np.concatenate([one.frames, other.frames]),
        times_s=None,
        source_sha256=hashlib.sha256(
            f"{one.source_sha256} {other.source_sha256}".encode()
        ).hexdigest(),
    )
    return clip, np.concatenate([first, second])


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn any exception of a reader into a `FormatError` with the reason; its library is quiet."""
    try:
        with quiet():
            yield
    except ArgumentError as error:  # the file's values do not make a clip
        raise FormatError(f"{path}: {error}") from error
    except EchosegError:
        raise
    except PermissionError as error:
        raise FormatError(f"{path}: reading it is not permitted") from error
    except Exception as error:  # decoders raise exceptions of their own
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            raise FormatError(f"{path}: no file has a name as long") from error
        raise FormatError(f"{path}: the content is broken ({reason_of(error)})") from error


def _with_options(clip: Clip, options: OpenOptions) -> Clip:
    """Override what the file says by what the user says, and warn of what is missing or odd."""
    clip = settle(clip, options)
    notes = list(clip.warnings)
    pairs = itertools.pairwise(each(clip.frames))
    same = sum(np.array_equal(before, after) for before, after in pairs)
    if same:
        equal = "1 frame equals the one" if same == 1 else f"{same} frames equal the one"
        message = f"{equal} before: the clip was acquired at a lower rate than it plays"
        notes.append(ClipWarning(code="duplicate_frames", message=message))
    return replace(clip, view=options.view or clip.view, warnings=tuple(notes))


__all__ = [
    "FORMATS",
    "Format",
    "find_format",
    "is_frame_folder",
    "load_clip",
    "load_ed_es",
    "load_masks",
    "source_sha256",
]
