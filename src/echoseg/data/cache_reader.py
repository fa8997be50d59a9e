"""A cache of `echoseg data prepare` as a data set, for training.

Frames and masks are on the cache's square grid. Evaluate on the data set itself, since accuracy is
measured on the frames' own grid.
"""

from functools import partial
from pathlib import Path

import numpy as np

from echoseg.clip import Annotation, Clip, Label, View
from echoseg.data.cache import MARK, CachedClips, Entry
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.records import Record
from echoseg.errors import DatasetError
from echoseg.untrusted import reading


def detect(root: Path) -> bool:
    """Detect a cache by its settings file."""
    return (root / MARK).is_file()


def collect(root: Path) -> Dataset:
    """List every clip of a cache.

    Raises:
        DatasetError: If it is incomplete or damaged.
    """
    clips = CachedClips(root)
    records = [
        Record(
            name=entry.name,
            patient=entry.patient,
            view=View(entry.view),
            files=(root / entry.file,),
            read=partial(_read, clips, index),
            split=entry.split,
            quality=entry.quality,
            stills=entry.stills,
            labelled=bool(entry.labelled_frames),
            labels=None if entry.labels is None else tuple(map(Label, entry.labels)),
        )
        for index, entry in enumerate(clips.entries)
    ]
    notes = [f"a cache of {clips.dataset} at {clips.size_px} px, not the frames' own grid"]
    return build_dataset("cache", root, records, notes=notes)


def _read(clips: CachedClips, index: int) -> tuple[Clip, Annotation | None]:
    """Read a clip of the cache.

    Raises:
        DatasetError: If its files are broken.
    """
    entry = clips.entries[index]
    path = clips.folder / entry.file
    frames, labelled = clips[index]
    rule, way_out = "must have a valid entry in the cache", "run `echoseg data prepare` again"
    with reading(path, DatasetError, rule, way_out):
        return _clip_of(entry, frames, labelled, str(path))


def _clip_of(
    entry: Entry, frames: np.ndarray, labelled: np.ndarray, source: str
) -> tuple[Clip, Annotation | None]:
    rate_hz = entry.frame_rate_hz
    times_s = None
    if rate_hz is not None and not entry.stills:
        times_s = np.arange(entry.num_frames) / rate_hz
    clip = Clip(
        frames=frames,
        times_s=times_s,
        spacing_mm=entry.spacing_mm,
        sector_box=entry.box,
        view=View(entry.view),
        source=source,
    )
    if not entry.labelled_frames:
        return clip, None
    masks = np.zeros_like(frames)
    masks[list(entry.labelled_frames)] = labelled
    return clip, Annotation(
        masks=masks,
        labelled_frames=entry.labelled_frames,
        ed_frame=entry.ed_frame,
        es_frame=entry.es_frame,
        ef_percent=entry.ef_percent,
        quality=entry.quality,
    )
