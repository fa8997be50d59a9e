"""A folder of PNG frames, in the natural order of their names."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from echoseg.clip import Clip
from echoseg.errors import FormatError
from echoseg.io.frames import OpenOptions
from echoseg.io.grey import Decoded, collect


def frame_files(path: Path) -> list[Path]:
    """PNG files of a folder; 2.png comes before 10.png."""
    files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    pngs = [file for file in files if file.suffix.lower() == ".png" or _is_png(file)]
    return sorted(
        pngs, key=lambda f: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", f.name)]
    )


def _is_png(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(8) == b"\x89PNG\r\n\x1a\n"


def read(path: Path, options: OpenOptions) -> Clip:
    """Read the frames; a folder gives neither spacing nor times."""
    from PIL import Image

    files = frame_files(path)
    if not files:
        raise FormatError(f"{path}: the folder holds no PNG frames")

    def decode() -> Iterator[Decoded]:
        for file in files:
            try:
                with Image.open(file) as image:
                    if image.mode.startswith("I"):  # 16 bits, of names that vary with Pillow's age
                        yield np.asarray(image).astype(np.uint16)
                    else:
                        mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
                        yield np.asarray(image.convert(mode))
            except (OSError, SyntaxError, ValueError) as error:
                yield error

    grey = collect(path, decode, options, expected=len(files), bits=16)
    return Clip(frames=grey.frames, damaged_frames=grey.damaged, warnings=grey.warnings)
