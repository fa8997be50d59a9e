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


def is_label_map(grey: np.ndarray) -> bool:
    """Whether a picture `H W` uint8 has two to four grey levels, as a mask has."""
    counts = np.bincount(grey.ravel(), minlength=256)
    levels = 0
    while levels < _LEVELS and counts.sum() > (1 - _COVERED) * grey.size:
        peak = int(counts.argmax())
        counts[max(0, peak - _REACH) : peak + _REACH + 1] = 0
        levels += 1
    return levels > 1 and counts.sum() <= (1 - _COVERED) * grey.size


def are_label_maps(files: list[Path]) -> bool:
    """Whether pictures are label maps, by some of them; a broken one is not."""
    from PIL import Image

    chosen = [files[i] for i in np.linspace(0, len(files) - 1, _SAMPLES).round().astype(int)]
    try:
        return all(is_label_map(np.asarray(Image.open(file).convert("L"))) for file in chosen)
    except (OSError, SyntaxError, ValueError):
        return False


def split_masks(folder: Path, files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Split pictures into the frames of one clip and masks whose names differ from the frames'.

    Raises:
        FormatError: If there are pictures of several kinds beside masks.
    """
    kinds: dict[str, list[Path]] = {}
    for file in files:
        kinds.setdefault(re.sub(r"\d+", "#", file.stem), []).append(file)
    series = [kind for kind in kinds.values() if len(kind) > 1]
    if len(series) < 2:
        return files, []
    masks = [kind for kind in series if are_label_maps(kind)]
    frames = [kind for kind in series if kind not in masks]
    if len(frames) > 1:
        raise FormatError(
            f"{folder}: the folder holds pictures of {len(frames)} kinds, such as "
            f"{frames[0][0].name} and {frames[1][0].name}; give each clip a folder of its own"
        )
    left_out = [file for kind in masks for file in kind] if frames else []
    return [file for file in files if file not in set(left_out)], left_out


def mask_warnings(masks: list[Path]) -> tuple[ClipWarning, ...]:
    """Say that masks beside the frames were left out."""
    if not masks:
        return ()
    message = f"{len(masks)} masks beside the frames were left out, such as {masks[0].name}."
    return (ClipWarning(code="masks_left_out", message=message),)
