"""Masks that another tool wrote, in any format of label maps; pictures of them for `Clip`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echoseg.clip import Clip, ClipWarning, Label
from echoseg.errors import FormatError
from echoseg.io import (
    coco,
    cvat,
    dicom_seg,
    image_folder,
    images,
    metaimage,
    nifti,
    nrrd,
    numpy_file,
)
from echoseg.io.budget import Budget
from echoseg.io.formats import find_format
from echoseg.io.frame_names import frame_numbers
from echoseg.io.frames import OpenOptions, numbered_row
from echoseg.io.label_maps import merge_channels, to_labels

_GREYS = (0, 40, 110, 70)
"""Grey level of each label in the image of masks that come without a clip."""


class ReadMasks(NamedTuple):
    """An image of masks as their clip, the masks `T H W` uint8, and their format."""

    clip: Clip
    masks: np.ndarray
    format_name: str


def read_masks(path: Path, options: OpenOptions) -> ReadMasks:
    """Read label maps; a still is a clip of one frame.

    Args:
        path: A file, or a folder of pictures, of which those beside masks are left out.
        options: As in `load_clip`.

    Raises:
        FormatError: If the content is of another kind, broken, or has other values.
    """
    name = _annotation_format(path) or ("" if _is_still(path) else find_format(path))
    if name not in _READERS:
        raise FormatError(
            f"{path}: masks must be NIfTI, MetaImage or NRRD (x, y, t), NumPy (T, H, W), DICOM "
            f"SEG, COCO, CVAT, or pictures such as PNG and TIFF, the content is {name}"
        )
    values, known = _READERS[name](path, options)
    masks, notes = to_labels(path, values)
    known["warnings"] = known.get("warnings", ()) + notes
    return ReadMasks(Clip(frames=np.asarray(_GREYS, np.uint8)[masks], **known), masks, name)


def _annotation_format(path: Path) -> str:
    """`coco` or `cvat` of such a file, else empty."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        head = file.read(2048)
    return "coco" if coco.sniff(head, path) else "cvat" if cvat.sniff(head, path) else ""


def _is_still(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(2048)
    return images.is_picture(head) and not images.sniff(head, path)


def _pictures(path: Path, options: OpenOptions) -> tuple[np.ndarray, dict[str, Any]]:
    files = image_folder.mask_files(path) if path.is_dir() else [path]
    row = numbered_row(path, files, frame_numbers(files), replace(options, allow_damaged=True))
    missing = tuple(place for place, file in enumerate(row) if file is None)
    budget, frames = Budget(path, options), list[np.ndarray]()
    for frame in (frame for file in files for frame in images.label_pages(file, options)):
        budget.add(*frame.shape[:2])
        frames.append(frame)
    if not frames:
        raise FormatError(f"{path}: the folder holds no pictures (PNG, JPEG, TIFF, BMP, WebP)")
    if len({frame.shape for frame in frames}) > 1:
        raise FormatError(f"{path}: the pictures of masks differ in size; give those of one clip")
    return np.stack(frames), {"damaged_frames": missing}  # so that the others keep their times


def _numpy(path: Path, options: OpenOptions) -> tuple[np.ndarray, dict[str, Any]]:
    values = numpy_file.read_array(path, numpy_file.MASK_NAMES, (2, 3, 4), options)
    values = values[None] if values.ndim == 2 else values
    values = merge_channels(path, values)[0] if values.ndim == 4 else values
    if values.dtype.kind not in "buif":
        raise FormatError(f"{path}: labels must be numbers, got {values.dtype}")
    numpy_file.check_time_first(path, values)
    return values, {}


def _nifti(path: Path, options: OpenOptions) -> tuple[np.ndarray, dict[str, Any]]:
    data, known = nifti.load(path, options, masks=True)
    return data.scale(data.stored), known


def _metaimage(path: Path, options: OpenOptions) -> tuple[np.ndarray, dict[str, Any]]:
    return metaimage.load(path, options, masks=True)


def _nrrd(path: Path, options: OpenOptions) -> tuple[np.ndarray, dict[str, Any]]:
    return nrrd.load(path, options, masks=True)


def _coco(path: Path, options: OpenOptions) -> tuple[np.ndarray, dict[str, Any]]:
    return coco.load(path, options), {}


def _cvat(path: Path, options: OpenOptions) -> tuple[np.ndarray, dict[str, Any]]:
    return cvat.load(path, options), {}


def _seg(path: Path, options: OpenOptions) -> tuple[np.ndarray, dict[str, Any]]:
    return dicom_seg.load(path, options), {}


_READERS: dict[str, Callable[[Path, OpenOptions], tuple[np.ndarray, dict[str, Any]]]] = {
    "": _pictures,
    "images": _pictures,
    "image_folder": _pictures,
    "numpy": _numpy,
    "nifti": _nifti,
    "metaimage": _metaimage,
    "nrrd": _nrrd,
    "coco": _coco,
    "cvat": _cvat,
    "dicom": _seg,
}


def fill_frames(masks: np.ndarray, clip: Clip) -> np.ndarray:
    """Masks `T H W` of a SEG for the frames of a clip that could be read.

    Empty ones are added at the end, since a SEG may leave empty frames out.
    """
    missing = max(0, clip.num_frames + len(clip.damaged_frames) - len(masks))
    filled = np.concatenate([masks, np.zeros((missing, *masks.shape[1:]), np.uint8)])
    return np.delete(filled, clip.damaged_frames, axis=0)


def labeled_pair(masks: np.ndarray) -> tuple[int, int] | None:
    """The two frames that alone have labels among several, that of the larger cavity first."""
    labeled = [index for index, mask in enumerate(masks) if mask.any()]
    if len(labeled) != 2 or len(masks) == 2:
        return None
    one, other = sorted(labeled, key=lambda i: -int((masks[i] == Label.LV_CAVITY).sum()))
    return one, other


def pair_clip(clip: Clip, pair: tuple[int, int]) -> Clip:
    """The clip of two frames, ED and ES, with their indices and a note; without times."""
    message = (
        f"Only frames {min(pair)} and {max(pair)} of {clip.num_frames} have masks: frame "
        f"{pair[0]}, of the larger cavity, is taken as ED, the other as ES."
    )
    notes = [note for note in clip.warnings if note.code != "duplicate_frames"]
    return replace(
        clip,
        frames=clip.frames[list(pair)],
        times_s=None,
        r_wave_times_s=(),
        damaged_frames=(),
        source_frames=pair,
        warnings=(*notes, ClipWarning(code="two_labeled_frames", message=message)),
    )
