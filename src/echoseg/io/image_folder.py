"""A folder of pictures, one per frame, in the natural order of their names."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from echoseg.clip import Clip, ClipWarning
from echoseg.errors import DamagedError, TooLargeError
from echoseg.io.frame_names import are_masks, frame_numbers, natural_key, split_pictures
from echoseg.io.frames import OpenOptions, numbered_row
from echoseg.io.grey import Decoded, collect
from echoseg.io.images import SUFFIXES, is_picture, open_picture, pixels
from echoseg.io.label_maps import MASKS_ONLY


def sniff(head: bytes, path: Path) -> bool:
    """Detect a folder that holds pictures."""
    return path.is_dir() and bool(_pictures(path))


def frame_files(path: Path) -> list[Path]:
    """Pictures of a folder without masks; 2.png comes before 10.png.

    Raises:
        FormatError: If they are of several clips.
    """
    return split_pictures(path, _pictures(path)).frames


def mask_files(path: Path) -> list[Path]:
    """Pictures of a folder that are masks: those beside frames, or else all.

    Raises:
        FormatError: If the frames are of several clips.
    """
    pictures = split_pictures(path, _pictures(path))
    return pictures.masks or pictures.frames


def _pictures(path: Path) -> list[Path]:
    files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES or _is_picture(file)]
    return sorted(pictures, key=lambda file: natural_key(file.name))


def holds_masks(path: Path) -> bool:
    """Whether a folder holds pictures that are label maps, and no folders."""
    files = _pictures(path)
    return bool(files) and are_masks(files) and not any(map(Path.is_dir, path.iterdir()))


def no_clip_reason(path: Path) -> str:
    """Why the pictures of a folder are not a clip, such as a program's icons; empty if they may be.

    Raises:
        FormatError: If they are of several clips.
    """
    files, sizes = frame_files(path), set[tuple[int, int]]()
    for file in files:
        with (
            suppress(OSError, SyntaxError, ValueError, TooLargeError),
            open_picture(file, OpenOptions()) as image,
        ):
            sizes.add(image.size)
    if len(sizes) > 1:
        return "its pictures differ in size, so they are not frames of a clip"
    return MASKS_ONLY if files and are_masks(files) else ""


def _is_picture(file: Path) -> bool:
    with file.open("rb") as content:
        return is_picture(content.read(16))


def read(path: Path, options: OpenOptions) -> Clip:
    """Read the frames; a folder gives neither spacing nor times."""
    files, masks, others = split_pictures(path, _pictures(path))
    row = numbered_row(path, files, frame_numbers(files), options)

    def decode() -> Iterator[Decoded]:
        for file in row:
            if file is None:
                yield DamagedError("its file is missing")
                continue
            try:
                with open_picture(file, options) as image:
                    yield pixels(image)
            except (OSError, SyntaxError, ValueError) as error:
                yield error

    grey = collect(path, decode, options, expected=len(row), bits=16)
    notes = grey.warnings
    if masks:
        message = f"{len(masks)} masks beside the frames were left out, such as {masks[0].name}."
        notes += (ClipWarning(code="masks_left_out", message=message),)
    if others:
        message = (
            f"{len(others)} pictures whose names are not those of the frames were left out, such "
            f"as {others[0].name}."
        )
        notes += (ClipWarning(code="pictures_left_out", message=message),)
    return Clip(frames=grey.frames, damaged_frames=grey.damaged, warnings=notes)
