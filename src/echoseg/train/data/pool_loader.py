"""Any data set that `datasets` reads, as clips to learn from.

Of each clip as many frames are taken as the whole data set is worth: two where only ED and ES are
known, more where longer stretches are. Clips without any mask are kept, unlabelled.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from echoseg.clip import Annotation, Clip, Label, View
from echoseg.data import load_dataset
from echoseg.data.records import Dataset, IssueKind, Record
from echoseg.errors import DatasetError, EchosegError
from echoseg.losses import IGNORE_LABEL
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames, letterbox_masks
from echoseg.train.data.pool import NUM_LABELS, Pool, phases_of, whole_lengths

NUM_FRAMES = 6
"""Of a clip of which more than two frames are known."""
ES_PHASE = 0.4
VIEWS = (View.A4C, View.UNKNOWN)
"""Views that are learnt from; a clip of which nobody says the view is taken at its word."""


def collection_pool(
    root: Path, size_px: int, split: str, num_frames: int | None = None
) -> tuple[Pool, int]:
    """Return the A4C clips of a split, letterboxed, and how many clips cannot be used.

    Where the data set names no split `train` (or none at all), all that is not kept for validation
    or test is learnt from.

    Args:
        root: Folder or table that `load_dataset` knows.
        size_px: Side of the square frames.
        split: `train` or `validation`.
        num_frames: Of each clip; by what is known of them by default.

    Raises:
        DatasetError: If no clip of the split can be used.
    """
    loaded = []
    collection = load_dataset(root)
    records = _of_split(collection, split)
    for record in records:
        try:
            loaded.append((record, *record.load()))
        except EchosegError:
            continue
    if not loaded:
        raise DatasetError(
            f"{root}: no A4C clip of {split} can be read; echoseg data check says why"
        )
    if num_frames is None:
        most = max(len(known.labelled_frames) if known else 0 for _, _, known in loaded)
        num_frames = 2 if 0 < most <= 2 else NUM_FRAMES
    parts = [_square(clip, known, size_px, num_frames) for _, clip, known in loaded]
    frames, masks, phases = (torch.stack(each) for each in zip(*parts, strict=True))
    pool = Pool(
        frames=frames,
        masks=masks,
        truth=masks,
        phases=phases,
        patients=tuple(record.patient for record, _, _ in loaded),
        known_labels=torch.stack([_known_labels(record, known) for record, _, known in loaded]),
        weights=torch.ones(len(frames)),
        lengths=whole_lengths(frames),
    )
    broken = [issue for issue in collection.issues if issue.kind is not IssueKind.KNOWN]
    return pool, len(records) - len(loaded) + len(broken)


def has_validation(root: Path) -> bool:
    """Tell whether the data set keeps clips for validation."""
    return any(record.split == "validation" for record in load_dataset(root).records)


def _of_split(collection: Dataset, split: str) -> Sequence[Record]:
    kept = {"validation", "test"}
    if split == "train" and not any(record.split == "train" for record in collection.records):
        records = [record for record in collection.records if record.split not in kept]
    else:
        records = list(collection.split(split).records)
    return [record for record in records if record.view in VIEWS]


def _square(
    clip: Clip, known: Annotation | None, size_px: int, num_frames: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return frames `T S S`, masks and phases of so many frames of a clip."""
    index = _chosen(len(clip.frames), known, num_frames)
    letterbox = letterbox_for((0, 0, *clip.size), size_px)
    frames = letterbox_frames(torch.from_numpy(clip.frames[index]).float(), letterbox)
    frames = frames.round().to(torch.uint8)
    unknown = torch.full_like(frames, IGNORE_LABEL)
    if known is None:
        return frames, unknown, torch.full((num_frames,), torch.nan)
    masks = letterbox_masks(torch.from_numpy(known.masks[index]), letterbox)
    is_known = torch.from_numpy(np.isin(index, known.labelled_frames))
    masks = torch.where(is_known[:, None, None], masks, unknown)
    if known.ed_frame is not None and known.es_frame is not None:
        return frames, masks, torch.linspace(0, ES_PHASE, num_frames)
    if is_known.all():
        return frames, masks, phases_of(masks[None])[0]
    return frames, masks, torch.full((num_frames,), torch.nan)


def _chosen(length: int, known: Annotation | None, num_frames: int) -> np.ndarray:
    """Return which frames of a clip are taken: from ED to ES, else over what is known, else all."""
    if known is None:
        return np.linspace(0, length - 1, num_frames).round().astype(int)
    if known.ed_frame is not None and known.es_frame is not None:
        return np.linspace(known.ed_frame, known.es_frame, num_frames).round().astype(int)
    places = np.linspace(0, len(known.labelled_frames) - 1, num_frames).round().astype(int)
    return np.array(known.labelled_frames)[places]


def _known_labels(record: Record, known: Annotation | None) -> Tensor:
    """Return which labels a clip's masks tell apart, `K` bool."""
    if record.labels is not None:
        told = {*record.labels, Label.BACKGROUND}
    else:
        told = {Label.BACKGROUND}
        if known is not None:
            told |= {Label(v) for v in np.unique(known.masks[list(known.labelled_frames)])}
    return torch.tensor([label in told for label in range(NUM_LABELS)])
