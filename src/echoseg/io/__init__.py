"""BYTES. One file format a module, reader and writer side by side; `FORMATS` is the whole list.

The format is found from the content, never from the name.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echoseg.clip import Clip, ClipWarning, View
from echoseg.errors import ArgumentError, EchosegError, FormatError
from echoseg.io import dicom, image_folder, metaimage, nifti, video
from echoseg.io.frames import ASSUMED_FRAME_RATE_HZ, OpenOptions, is_frame_rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One file format: how its content is told, and how it is read."""

    sniff: Callable[[bytes, Path], bool]
    read: Callable[[Path, OpenOptions], Clip]


FORMATS: dict[str, Format] = {
    "dicom": Format(sniff=dicom.sniff, read=dicom.read),
    "video": Format(sniff=video.sniff, read=video.read),
    "nifti": Format(sniff=nifti.sniff, read=nifti.read),
    "metaimage": Format(sniff=metaimage.sniff, read=metaimage.read),
    "image_folder": Format(sniff=lambda head, path: path.is_dir(), read=image_folder.read),
}


def open_clip(
    path: str | Path,
    *,
    spacing_mm: tuple[float, float] | None = None,
    frame_rate_hz: float | None = None,
    view: View | None = None,
    allow_damaged: bool = False,
) -> Clip:
    """Read a clip: ultrasound DICOM, AVI, MP4, MOV, GIF, NIfTI, MetaImage or a folder of PNGs.

    Args:
        path: File or folder.
        spacing_mm: (row, column) millimetres a pixel; replaces what the file says.
        frame_rate_hz: Frames a second; replaces what the file says. Where neither says it, 30
            is assumed and a warning says so.
        view: The view; replaces what the file says.
        allow_damaged: Use the readable frames of a damaged file.

    Raises:
        ConfigError: If a scale or rate given is none.
        FormatError: If the file cannot be read as a clip, with the reason.
        DamagedError: If a part of it cannot be read and `allow_damaged` is false.
    """
    path = Path(path)
    options = OpenOptions(
        spacing_mm=spacing_mm, frame_rate_hz=frame_rate_hz, view=view, allow_damaged=allow_damaged
    )
    with refusals(path):
        name = find_format(path)
        clip = FORMATS[name].read(path, options)
        digest = _sha256(path, name)
    clip = replace(clip, source=str(path), source_sha256=digest, format_name=name)
    return _told(clip, options)


def open_masks(
    path: str | Path,
    *,
    spacing_mm: tuple[float, float] | None = None,
    frame_rate_hz: float | None = None,
    view: View | None = None,
) -> tuple[Clip, np.ndarray]:
    """Read masks that another tool wrote as NIfTI (x, y, t), values of `anatomy.Label`.

    Args:
        path: File, `.nii` or `.nii.gz`.
        spacing_mm: As in `open_clip`, as are the others.
        frame_rate_hz: Frames a second.
        view: The view.

    Returns:
        A picture of the masks as their clip, and the masks, `T H W` uint8.

    Raises:
        ConfigError: If a scale or rate given is none.
        FormatError: If the file cannot be read as masks, with the reason.
    """
    path = Path(path)
    options = OpenOptions(spacing_mm=spacing_mm, frame_rate_hz=frame_rate_hz, view=view)
    with refusals(path):
        name = find_format(path)
        if name != "nifti":
            raise FormatError(f"{path}: masks must be NIfTI (x, y, t), the content is {name}")
        clip, masks = nifti.read_masks(path)
        digest = _sha256(path, name)
    clip = replace(clip, source=str(path), source_sha256=digest, format_name="nifti masks")
    return _told(clip, options), masks


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn whatever reading raises into a `FormatError` with the reason."""
    try:
        yield
    except ArgumentError as error:  # what the file says makes no clip
        raise FormatError(f"{path}: {error}") from error
    except EchosegError:
        raise
    except PermissionError as error:
        raise FormatError(f"{path}: reading it is not permitted") from error
    except Exception as error:  # the decoders of six formats raise kinds of their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path}: the content is broken ({reason})") from error


def find_format(path: Path) -> str:
    """Return the key of `FORMATS` that a file's content belongs to.

    Raises:
        FormatError: If the path is missing, empty, or of no known format.
    """
    if not path.exists():
        raise FormatError(f"{path}: there is no such file or folder")
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(2048)
        if not head:
            raise FormatError(f"{path}: the file is empty")
    for name, known in FORMATS.items():
        if known.sniff(head, path):
            return name
    raise FormatError(
        f"{path}: the content is none of the formats read ({', '.join(FORMATS)}), whatever the "
        "name says"
    )


def _sha256(path: Path, name: str) -> str:
    """Return the hash of the source's bytes; of a folder, of its frames' names and bytes."""
    files = [path]
    if name == "image_folder":
        files = image_folder.frame_files(path)
    elif name == "metaimage" and (data := metaimage.data_file(path)):
        files = [path, data]
    digest = hashlib.sha256()
    for file in files:
        if len(files) > 1:
            digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def source_sha256(path: Path) -> str:
    """Return the `source_sha256` of the clip at PATH without reading it as one.

    Of what is no clip the hash of its bytes; empty where it cannot be read.
    """
    try:
        try:
            name = find_format(path)
        except FormatError:
            name = ""
        return _sha256(path, name)
    except (OSError, ValueError, EchosegError):
        return ""


def _told(clip: Clip, options: OpenOptions) -> Clip:
    """Return the clip with what the user says of it, and what is missing or odd said aloud."""
    warnings = list(clip.warnings)
    times_s, spacing_mm = clip.times_s, options.spacing_mm or clip.spacing_mm
    if options.frame_rate_hz is not None:
        times_s = np.arange(clip.num_frames) / options.frame_rate_hz
    elif clip.frame_rate_hz is None or not is_frame_rate(clip.frame_rate_hz):
        told = "does not say its frame rate"
        if clip.frame_rate_hz is not None:
            told = f"says {clip.frame_rate_hz:g} frames/s, at which no heart is filmed"
        times_s = np.arange(clip.num_frames) / ASSUMED_FRAME_RATE_HZ
        message = (
            f"the file {told}; {ASSUMED_FRAME_RATE_HZ:g} frames/s were "
            "assumed, and times and heart rate rest on it. Pass --fps N if you know it"
        )
        warnings.append(ClipWarning(code="assumed_frame_rate", message=message))
    if options.spacing_mm is not None:
        of_the_file = ("stale_scale", "invalid_scale")
        warnings = [warning for warning in warnings if warning.code not in of_the_file]
    same = int((clip.frames[1:] == clip.frames[:-1]).all((1, 2)).sum())
    if same:
        equal = "1 frame equals the one" if same == 1 else f"{same} frames equal the one"
        message = f"{equal} before: the clip was filmed more slowly than it plays"
        warnings.append(ClipWarning(code="duplicate_frames", message=message))
    return replace(
        clip,
        times_s=times_s,
        spacing_mm=spacing_mm,
        view=options.view or clip.view,
        warnings=tuple(warnings),
    )


__all__ = ["FORMATS", "Format", "find_format", "open_clip", "open_masks", "source_sha256"]
