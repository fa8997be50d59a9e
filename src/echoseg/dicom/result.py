"""A result folder beside its source: what the DICOM objects are made of."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from echoseg.dicom.source import FrameReference, Source, read_source
from echoseg.errors import ArgumentError
from echoseg.files import read_json
from echoseg.inference.analysis import CORRECTED
from echoseg.io import load_masks
from echoseg.report.schema import Report
from echoseg.report.writer import MARK


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """A result folder of one clip, and its source.

    Attributes:
        folder: The folder.
        report: Its `report.json`.
        masks: Label maps on the grid of the source's frames, `T H W` uint8.
        source: The source.
        frames: The reference of each mask's frame; damaged frames of the source have no mask.
        written: When the report was written.
        key: Hash of source, report and masks: the same for every run with the same result.
    """

    folder: Path
    report: Report
    masks: np.ndarray
    source: Source
    frames: tuple[FrameReference, ...]
    written: datetime
    key: str

    @property
    def is_corrected(self) -> bool:
        """Whether a reader corrected the masks."""
        return any(note.code == CORRECTED for note in self.report.notes)

    @property
    def algorithm(self) -> tuple[str, str]:
        """Name and version of what made the masks; the version names the weights by their hash."""
        software, model = self.report.software, self.report.model
        if model is not None:
            name = f"{software.name} {model.name}"
            return name, f"{software.version}, weights SHA-256 {model.sha256[:16]}"
        origin = "corrected by reader" if self.is_corrected else "of another tool"
        return f"{software.name} measurement of masks {origin}", software.version


def read_result(folder: str | Path, source: str | Path) -> Result:
    """Read a result folder and the headers of its source.

    Args:
        folder: A folder that `echoseg analyze` or `measure` wrote for one clip.
        source: The DICOM file or folder that was analyzed.

    Raises:
        ArgumentError: If the folder holds no result of one clip, or that of another source.
        OutputError: If its report cannot be read.
        FormatError: If masks or source cannot be read.
    """
    folder = Path(folder)
    if (folder / "A4C" / MARK).exists():
        raise ArgumentError(f"{folder} holds two clips; give {folder / 'A4C'} or {folder / 'A2C'}")
    report = read_json(folder / MARK, Report, "give the result folder of one clip")
    if report is None:
        raise ArgumentError(
            f"{folder} must be a result folder, it holds no {MARK}; make one by echoseg analyze"
        )
    opened = read_source(source)
    if opened.sha256 != report.input.sha256:
        raise ArgumentError(
            f"{source} is not the source of {folder}: its SHA-256 begins with "
            f"{opened.sha256[:12]}, that of the analyzed clip with {report.input.sha256[:12]}; "
            "give the file that was analyzed"
        )
    masks = load_masks(folder / "masks.nii.gz", fps=30.0)[1]
    content = report.model_copy(
        update={"input": report.input.model_copy(update={"file_name": ""}), "files": {}}
    ).model_dump_json()
    digest = hashlib.sha256(masks.tobytes())
    for part in (content, *sorted(opened.series)):
        digest.update(part.encode())
    return Result(
        folder=folder,
        report=report,
        masks=_on_source_grid(masks, opened),
        source=opened,
        frames=_frames(report, masks, opened),
        written=datetime.fromtimestamp((folder / MARK).stat().st_mtime).replace(microsecond=0),
        key=digest.hexdigest(),
    )


def _frames(report: Report, masks: np.ndarray, source: Source) -> tuple[FrameReference, ...]:
    """The frames that have masks, in their order."""
    damaged = set(report.input.damaged_frames)
    frames = [one for index, one in enumerate(source.frames) if index not in damaged]
    if len(frames) != len(masks):
        raise ArgumentError(
            f"the masks must be of every frame of the source that can be read, {len(frames)} "
            f"frames, the result has {len(masks)}; for DICOM objects give masks of all frames"
        )
    return tuple(frames)


def _on_source_grid(masks: np.ndarray, source: Source) -> np.ndarray:
    """Masks on the stored pixels, which are not square in some files; nearest neighbor."""
    size = int(source.header.Rows), int(source.header.Columns)
    for axis, count in enumerate(size, start=1):
        old = masks.shape[axis]
        if old != count:
            place = ((np.arange(count) + 0.5) * old / count).astype(int)
            masks = masks.take(place, axis)
    return masks
