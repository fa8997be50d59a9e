"""Corrected clips as training data: a folder that `echoseg train` reads (`data.custom`).

    clips.csv           one row per clip
    ID.nii.gz           its frames, (x, y, t)
    ID_masks.nii.gz     label maps of all frames; those listed in `labelled_frames` were checked

Checked frames are those whose masks a reader changed, and ED and ES of the accepted reading. Clips
of one study are of one patient, whose name is a keyed hash.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from echoseg.clip import View
from echoseg.errors import OutputError
from echoseg.files import csv_text, write_text
from echoseg.files.work import work_folder
from echoseg.inference.analysis import Analysis
from echoseg.io.nifti import write_masks
from echoseg.web.reading.access import FIRST
from echoseg.web.records import ClipRow, ReadRow

COLUMNS = (
    "clip",
    "patient",
    "view",
    "masks",
    "labelled_frames",
    "row_mm",
    "column_mm",
    "fps",
    "ed_frame",
    "es_frame",
    "ef_percent",
)


def corrected_reads(session: Session) -> list[ReadRow]:
    """First reads whose clip was corrected and not rejected, signed or not."""
    chosen = select(ReadRow).where(ReadRow.slot == FIRST, ReadRow.decision != "rejected")
    rows = session.scalars(chosen.order_by(ReadRow.id))
    return [row for row in rows if row.summary and json.loads(row.summary)["is_corrected"]]


def write_training_data(
    folder: Path, items: Iterable[tuple[ClipRow, Analysis, tuple[int, ...]]]
) -> int:
    """Write a new folder of training data, whole or not at all; return the number of clips.

    Args:
        folder: The folder; must not exist.
        items: Row, reading and changed frames of each clip.

    Raises:
        OutputError: If the folder exists or cannot be written.
    """
    if folder.exists():
        raise OutputError(f"{folder} exists already; give a new folder for the training data")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with work_folder(folder.parent) as work:
            partial = work / "new"
            rows = [_write(partial, *item) for item in items]
            write_text(partial / "clips.csv", csv_text(COLUMNS, rows))
            partial.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror or error})") from error
    return len(rows)


def _write(
    folder: Path, row: ClipRow, analysis: Analysis, changed: tuple[int, ...]
) -> tuple[object, ...]:
    """Write the files of a clip; its row of the table."""
    clip, measurement = analysis.clip, analysis.measurement
    ends = [one for one in (measurement.ed_frame, measurement.es_frame) if one is not None]
    rate_hz = clip.frame_rate_hz
    interval_s = 1 / rate_hz if rate_hz else None
    write_masks(folder / f"{row.id}.nii.gz", clip.frames, clip.spacing_mm, interval_s)
    masks = f"{row.id}_masks.nii.gz"
    write_masks(folder / masks, analysis.masks, clip.spacing_mm, interval_s)
    spacing_mm = measurement.spacing_mm or ("", "")
    return (
        f"{row.id}.nii.gz",
        row.study or row.id,
        "" if clip.view is View.UNKNOWN else str(clip.view),
        masks,
        " ".join(map(str, sorted({*ends, *changed}))),
        *spacing_mm,
        rate_hz or "",
        measurement.ed_frame,
        measurement.es_frame,
        analysis.ef_percent,
    )
