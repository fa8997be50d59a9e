"""Write clips in the layout of EchoNet-Dynamic."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from echoseg.clip import Annotation, Clip, View
from echoseg.data.echonet_dynamic import LIST_COLUMNS, SPLITS, TRACING_COLUMNS
from echoseg.data.echonet_tracing import tracing_from_mask
from echoseg.errors import MeasurementError, OutputError
from echoseg.files import write_text
from echoseg.io.video import write_mjpeg


class Item(NamedTuple):
    """One clip to be written: its name without suffix, and one of `SPLITS`."""

    name: str
    clip: Clip
    annotation: Annotation
    split: str


def write_dataset(
    root: Path, items: Iterable[Item | tuple[str, Clip, Annotation, str]], *, quality: int = 95
) -> None:
    """Write clips in the data set's layout, tracings drawn from the masks of ED and ES.

    Items are consumed one at a time. The list is written last, so an interrupted run leaves no data
    set. An unknown EF or volume is left empty.

    Args:
        root: Folder, made if missing; must not hold a data set already.
        items: Each needs frame times, and a mask with a cavity at ED and ES.
        quality: Of the videos, as in `write_mjpeg`.

    Raises:
        ValueError: If an item does not fit the layout.
        OutputError: If something cannot be written.
    """
    list_path = root / "FileList.csv"
    if list_path.exists():
        raise OutputError(f"{list_path} exists; choose another folder or remove it first")
    try:
        (root / "Videos").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{root / 'Videos'}: cannot be made ({error.strerror})") from error
    listed: list[Sequence[object]] = []
    traced: list[Sequence[object]] = []
    for item in map(Item._make, items):
        rate_hz, chords_of = _checked(item, {str(row[0]) for row in listed})
        write_mjpeg(root / "Videos" / f"{item.name}.avi", item.clip.frames, rate_hz, quality)
        truth = item.annotation
        values = (
            "" if v is None else f"{v:.8g}" for v in (truth.ef_percent, truth.esv_ml, truth.edv_ml)
        )
        about = (*item.clip.size, f"{rate_hz:.8g}", item.clip.num_frames, item.split)
        listed.append((item.name, *values, *about))
        traced += [
            (f"{item.name}.avi", *(f"{value:.8f}" for value in chord), frame)
            for frame, chords in chords_of.items()
            for chord in chords
        ]
    write_text(root / "VolumeTracings.csv", _table(TRACING_COLUMNS, traced))
    write_text(list_path, _table(LIST_COLUMNS, listed))


def _checked(item: Item, names: set[str]) -> tuple[float, dict[int, np.ndarray]]:
    """Frame rate and tracings of an item.

    Raises:
        ValueError: If the layout cannot hold it.
    """
    name, clip, annotation, split = item
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in names:
        raise ValueError(f"name must be letters, digits, '_' or '-', and once only, got {name!r}")
    if split not in SPLITS:
        raise ValueError(f"{name}: split must be {', '.join(SPLITS)}, got {split!r}")
    if clip.view not in (View.A4C, View.UNKNOWN):
        raise ValueError(f"{name}: view must be A4C, the data set's only one, got {clip.view}")
    chords_of = {}
    try:
        rate_hz = clip.even_frame_rate_hz()
        if rate_hz is None:
            raise ValueError("the clip must have times_s")
        annotation.check_fits(clip)
        for phase, frame in (("ed_frame", annotation.ed_frame), ("es_frame", annotation.es_frame)):
            if frame is None or frame not in annotation.labelled_frames:
                raise ValueError(f"{phase} must be known and labeled, got {frame}")
            chords_of[frame] = tracing_from_mask(annotation.masks[frame])
    except (ValueError, MeasurementError) as error:
        raise ValueError(f"{name}: {error}") from error
    return rate_hz, chords_of


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
