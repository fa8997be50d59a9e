"""Which pictures of a folder are the frames of one clip: masks beside them are not."""

import re
from pathlib import Path

import numpy as np

from echoseg.clip import ClipWarning
from echoseg.errors import FormatError

MASKS_ONLY = (
    "its pictures have four grey levels at most, as masks have, so they are not frames of a clip; "
    "give the frames"
)
_LEVELS, _REACH = 4, 4
"""A label map has few grey levels, each with a little noise where it was compressed."""
_COVERED = 0.985
_SAMPLES = 3
_KINDS = {".jpeg": ".jpg", ".tiff": ".tif"}


def are_label_maps(files: list[Path]) -> bool:
    """Whether pictures have two to four grey levels each, by some of them; a broken one has not."""
    from PIL import Image

    for index in np.linspace(0, len(files) - 1, _SAMPLES).round().astype(int):
        try:
            counts = np.bincount(np.asarray(Image.open(files[index]).convert("L")).ravel())
        except (OSError, SyntaxError, ValueError):
            return False
        rest, levels = (1 - _COVERED) * counts.sum(), 0
        while levels <= _LEVELS and counts.sum() > rest:
            peak, levels = int(counts.argmax()), levels + 1
            counts[max(0, peak - _REACH) : peak + _REACH + 1] = 0
        if not 2 <= levels <= _LEVELS:
            return False
    return True


def split_masks(folder: Path, files: list[Path]) -> tuple[list[Path], tuple[ClipWarning, ...]]:
    """Leave out masks beside the frames of a clip, by their names and levels, with a warning.

    Raises:
        FormatError: If there are pictures of several kinds beside masks.
    """
    kinds: dict[str, list[Path]] = {}
    for file in files:
        name = re.sub(r"\d+", "#", file.stem) + _KINDS.get(file.suffix.lower(), file.suffix.lower())
        kinds.setdefault(name, []).append(file)
    series = [kind for kind in kinds.values() if len(kind) > 1]
    if len(series) < 2:
        return files, ()
    masks = [kind for kind in series if are_label_maps(kind)]
    frames = [kind for kind in series if kind not in masks]
    if len(frames) > 1:
        raise FormatError(
            f"{folder}: the folder holds pictures of {len(frames)} kinds, such as "
            f"{frames[0][0].name} and {frames[1][0].name}; give each clip a folder of its own"
        )
    left_out = [file for kind in masks for file in kind] if frames else []
    if not left_out:
        return files, ()
    message = f"{len(left_out)} masks beside the frames were left out, such as {masks[0][0].name}."
    notes = (ClipWarning(code="masks_left_out", message=message),)
    return [file for file in files if file not in set(left_out)], notes
