"""A folder of pictures, one per frame, in the natural order of their names."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from echoseg.clip import Clip, ClipWarning
from echoseg.errors import FormatError, NotAClipError
from echoseg.io.frame_names import MASKS_ONLY, are_label_maps, split_masks
from echoseg.io.frames import OpenOptions
from echoseg.io.grey import Decoded, collect
from echoseg.io.images import SUFFIXES, is_picture, pixels


def frame_files(path: Path) -> list[Path]:
    """Pictures of a folder without masks; 2.png comes before 10.png.

    Raises:
        FormatError: If they are of several clips.
    """
    return _frames_and_notes(path)[0]


def _frames_and_notes(path: Path) -> tuple[list[Path], tuple[ClipWarning, ...]]:
    files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES or _is_picture(file)]
    pictures.sort(key=lambda f: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", f.name)])
    return split_masks(path, pictures)


def no_clip_reason(path: Path) -> str:
    """Why the pictures of a folder are not a clip, such as a program's icons; empty if they may be.

    Raises:
        FormatError: If they are of several clips.
    """
    from PIL import Image

    files, sizes = frame_files(path), set[tuple[int, int]]()
    for file in files:
        with suppress(OSError, SyntaxError, ValueError), Image.open(file) as image:
            sizes.add(image.size)
    if len(sizes) > 1:
        return "its pictures differ in size, so they are not frames of a clip"
    return MASKS_ONLY if files and are_label_maps(files) else ""


def _is_picture(file: Path) -> bool:
    with file.open("rb") as content:
        return is_picture(content.read(16))


def read(path: Path, options: OpenOptions) -> Clip:
    """Read the frames; a folder gives neither spacing nor times."""
    from PIL import Image

    files, notes = _frames_and_notes(path)
    if not files:
        raise FormatError(f"{path}: the folder holds no frames (PNG, JPEG, TIFF, BMP, WebP)")
    if are_label_maps(files):
        raise NotAClipError(f"{path}: {MASKS_ONLY}")

    def decode() -> Iterator[Decoded]:
        for file in files:
            try:
                with Image.open(file) as image:
                    yield pixels(image)
            except (OSError, SyntaxError, ValueError) as error:
                yield error

    grey = collect(path, decode, options, expected=len(files), bits=16)
    return Clip(frames=grey.frames, damaged_frames=grey.damaged, warnings=grey.warnings + notes)
