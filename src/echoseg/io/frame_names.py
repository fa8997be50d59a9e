"""Which pictures of a folder are the frames of one clip: masks beside them are not."""

import re
from pathlib import Path

import numpy as np

from echoseg.errors import FormatError
from echoseg.io.grey import to_grey
from echoseg.io.images import pixels
from echoseg.io.label_maps import are_label_maps

_SAMPLES = 3
_KINDS = {".jpeg": ".jpg", ".tiff": ".tif"}
_MASK_WORDS = re.compile(r"(?i)[_ .-]*(?:masks?|gt|seg|segmentation|labels?|annotation)[_ -]*")
"""What names of masks have that those of their frames have not."""


def are_masks(files: list[Path]) -> bool:
    """Whether pictures are label maps, by some of them; a broken one is not."""
    from PIL import Image

    for index in np.linspace(0, len(files) - 1, _SAMPLES).round().astype(int):
        try:
            with Image.open(files[index]) as image:
                picture = pixels(image)
        except (OSError, SyntaxError, ValueError):
            return False
        grey = to_grey(picture) if picture.dtype == np.uint8 else picture
        if not are_label_maps(grey[None]):
            return False
    return True


def split_masks(folder: Path, files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Frames and masks among the pictures of a folder, by their names and levels.

    Pictures of one kind of name are frames, whatever they show.

    Raises:
        FormatError: If there are frames of several kinds.
    """
    kinds: dict[str, list[Path]] = {}
    for file in files:
        name = re.sub(r"\d+", "#", file.stem) + _KINDS.get(file.suffix.lower(), file.suffix.lower())
        kinds.setdefault(name, []).append(file)
    series = [kind for kind in kinds.values() if len(kind) > 1]
    if len(series) < 2:
        return files, []
    plain = {name for name, kind in kinds.items() if len(kind) > 1}
    masks = [
        kinds[name]
        for name in plain
        if are_masks(kinds[name]) or _MASK_WORDS.sub("", name) in plain - {name}
    ]
    frames = [kind for kind in series if kind not in masks]
    if len(frames) > 1:
        raise FormatError(
            f"{folder}: the folder holds pictures of {len(frames)} kinds, such as "
            f"{frames[0][0].name} and {frames[1][0].name}; give each clip a folder of its own"
        )
    left_out = {file for kind in masks for file in kind} if frames else set[Path]()
    return [one for one in files if one not in left_out], [one for one in files if one in left_out]
