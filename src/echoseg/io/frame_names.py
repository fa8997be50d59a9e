"""Which pictures of a folder are the frames of one clip: masks beside them are not."""

import itertools
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from echoseg.errors import FormatError
from echoseg.io.grey import to_grey
from echoseg.io.images import pixels
from echoseg.io.label_maps import are_label_maps

_SAMPLES = 3
_MIN_FRAMES = 8
"""Frames of one kind of name from which a single picture of another name is not one of them."""
_KINDS = {".jpeg": ".jpg", ".tiff": ".tif"}
_MASK_WORDS = re.compile(r"(?i)[_ .-]*(?:masks?|gt|seg|segmentation|labels?|annotation)[_ -]*")
"""What names of masks have that those of their frames have not."""


def natural_key(name: str) -> tuple[str | int, ...]:
    """What names are sorted by for their natural order, in which 2 comes before 10."""
    parts = re.split(r"(\d{1,4000})", name)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts))


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


class Pictures(NamedTuple):
    """Pictures of a folder by what they are: frames, masks of them, and single others."""

    frames: list[Path]
    masks: list[Path]
    others: list[Path]


def split_pictures(folder: Path, files: list[Path]) -> Pictures:
    """Frames, masks and single other pictures of a folder, by their names and levels.

    Pictures of one kind of name are frames, whatever they show.

    Raises:
        FormatError: If there are frames of several kinds.
    """
    kinds: dict[str, list[Path]] = {}
    for file in files:
        name = re.sub(r"\d+", "#", file.stem) + _KINDS.get(file.suffix.lower(), file.suffix.lower())
        kinds.setdefault(name, []).append(file)
    plain = {name for name, kind in kinds.items() if len(kind) > 1}
    if not plain:
        return Pictures(files, [], [])
    masks = [
        kinds[name]
        for name in plain
        if len(plain) > 1
        and (are_masks(kinds[name]) or _MASK_WORDS.sub("", name) in plain - {name})
    ]
    frames = [kinds[name] for name in plain if kinds[name] not in masks]
    if len(frames) > 1:
        first, second = sorted(kind[0].name for kind in frames)[:2]
        raise FormatError(
            f"{folder}: the folder holds pictures of {len(frames)} kinds, such as {first} and "
            f"{second}; give each clip a folder of its own"
        )
    left_out = {file for kind in masks for file in kind} if frames else set[Path]()
    singles = {file for kind in kinds.values() if len(kind) == 1 for file in kind}
    others = singles if frames and len(frames[0]) >= _MIN_FRAMES else set[Path]()
    return Pictures(
        [one for one in files if one not in left_out | others],
        [one for one in files if one in left_out],
        [one for one in files if one in others],
    )


def frame_numbers(files: list[Path]) -> list[int]:
    """The number in each name that counts the frames; none where no number or several change."""
    groups = [[int(one) for one in re.findall(r"\d{1,9}", file.stem)] for file in files]
    if not groups or len({len(one) for one in groups}) > 1:
        return []
    changing = [row for row in zip(*groups, strict=True) if len(set(row)) > 1]
    if len(changing) != 1 or any(b <= a for a, b in itertools.pairwise(changing[0])):
        return []
    return list(changing[0])
