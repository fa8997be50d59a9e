"""A folder of PNG frames, in the natural order of their names."""

import re
from pathlib import Path

import numpy as np

from echoseg.clip import Clip
from echoseg.errors import FormatError
from echoseg.io.frames import OpenOptions, colour_warnings, damage, rescale_grey, stack


def frame_files(path: Path) -> list[Path]:
    """PNG files of a folder; 2.png comes before 10.png."""
    files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    pngs = [
        file
        for file in files
        if file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" or file.suffix.lower() == ".png"
    ]
    return sorted(
        pngs, key=lambda f: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", f.name)]
    )


def read(path: Path, options: OpenOptions) -> Clip:
    """Read the frames; a folder gives neither spacing nor times."""
    from PIL import Image

    files = frame_files(path)
    if not files:
        raise FormatError(f"{path}: the folder holds no PNG frames")
    frames, damaged = [], []
    for index, file in enumerate(files):
        try:
            with Image.open(file) as image:
                if image.mode.startswith("I"):  # 16 bits, under names that vary with Pillow's age
                    frames.append(np.asarray(image).astype(np.uint16))
                else:
                    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
                    frames.append(np.asarray(image.convert(mode)))
        except (OSError, SyntaxError, ValueError):
            damaged.append(index)
    warnings = damage(path, damaged, len(files), options)
    if any(frame.dtype != np.uint8 for frame in frames):
        grey, grey_warnings = rescale_grey(stack(path, frames), bits=16)
        frames, warnings = list(grey), warnings + grey_warnings
    return Clip(
        frames=stack(path, frames),
        damaged_frames=tuple(damaged),
        warnings=warnings + colour_warnings(frames),
    )
