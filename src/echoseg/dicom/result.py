"""A result folder beside its source: what the DICOM objects are made of."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np

from echoseg.dicom.source import FrameReference, Source, read_source
from echoseg.errors import ArgumentError
from echoseg.files import read_json
from echoseg.inference.analysis import CORRECTED
from echoseg.io import load_masks
from echoseg.report.biplane import BiplaneReport
from echoseg.report.schema import Report
from echoseg.report.writer import MARK, PLANES


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
    def planes(self) -> "tuple[Result, ...]":
        """The clips that its numbers are of: itself."""
        return (self,)

    @property
    def parts(self) -> "tuple[Measured, ...]":
        """What has numbers of its own: itself."""
        return (self,)

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


@dataclass(frozen=True, kw_only=True, eq=False)
class HeartResult:
    """A biplane result folder, and the sources of both planes.

    Attributes:
        folder: The folder.
        report: Its `report.json`.
        planes: The results of A4C and A2C.
        written: When the report was written.
        key: Hash of both planes' keys and of the report.
    """

    folder: Path
    report: BiplaneReport
    planes: tuple[Result, ...]
    written: datetime
    key: str

    @property
    def source(self) -> Source:
        """That of the first plane; patient and study of both are the same."""
        return self.planes[0].source

    @property
    def parts(self) -> "tuple[Measured, ...]":
        """What has numbers of its own: both planes together, then each."""
        return (self, *self.planes)

    @property
    def algorithm(self) -> tuple[str, str]:
        """Name and version of what made the masks of both planes."""
        return self.planes[0].algorithm


Measured: TypeAlias = Result | HeartResult
"""What the DICOM objects are made of."""


def read_measured(folder: str | Path, sources: Sequence[str | Path]) -> Measured:
    """Read the result folder of a clip, or of two views of a heart, and the headers of its sources.

    Args:
        folder: A folder that `echoseg analyze` or `measure` wrote.
        sources: The DICOM files or folders that were analyzed, of two views in any order.

    Raises:
        ArgumentError: If the folder holds no result, if a source is missing or left over, or if two
            views are not of one patient and study.
        OutputError: If its report cannot be read.
        FormatError: If masks or sources cannot be read.
    """
    folder, opened = Path(folder), list(map(read_source, sources))
    if not (folder / PLANES[0] / MARK).exists():
        if len(opened) != 1:
            raise ArgumentError(
                f"{folder} needs the one clip that it is of as source, got {len(opened)}; give the "
                "file that was analyzed"
            )
        return read_result(folder, opened[0])
    report = read_json(folder / MARK, BiplaneReport, "give a result folder")
    if report is None or len(opened) != len(PLANES):
        raise ArgumentError(
            f"{folder} is of two clips, A4C and A2C; give both as source (--source, twice), got "
            f"{len(opened)}"
        )
    hashes = {one.sha256: one for one in opened}
    own = [plane.input.sha256 for plane in (report.a4c, report.a2c)]
    if set(hashes) == set(own):  # otherwise the plane says which source it is not of
        opened = [hashes[sha256] for sha256 in own]
    _check_one_study(folder, opened)
    planes = [
        read_result(folder / plane, source) for plane, source in zip(PLANES, opened, strict=True)
    ]
    digest = hashlib.sha256(report.results.model_dump_json().encode())
    for plane in planes:
        digest.update(plane.key.encode())
    return HeartResult(
        folder=folder,
        report=report,
        planes=tuple(planes),
        written=_written(folder),
        key=digest.hexdigest(),
    )


def source_hashes(folder: Path) -> tuple[str, ...]:
    """SHA-256 of the sources of a result folder, as its report states them; of no result none.

    Raises:
        OutputError: If its report cannot be read.
    """
    kind = BiplaneReport if (folder / PLANES[0] / MARK).exists() else Report
    report = read_json(folder / MARK, kind, "give a result folder")
    if isinstance(report, BiplaneReport):
        return report.a4c.input.sha256, report.a2c.input.sha256
    return (report.input.sha256,) if report else ()


def _check_one_study(folder: Path, sources: list[Source]) -> None:
    for name in ("PatientID", "StudyInstanceUID"):
        if len({str(one.header.get(name, "")) for one in sources}) > 1:
            raise ArgumentError(
                f"{folder}: A4C and A2C must be of one study, they differ in {name}, so DICOM "
                "objects of both would belong to neither; write those of each plane's folder"
            )


def _written(folder: Path) -> datetime:
    return datetime.fromtimestamp((folder / MARK).stat().st_mtime).replace(microsecond=0)


def read_result(folder: str | Path, source: "str | Path | Source") -> Result:
    """Read the result folder of one clip and the headers of its source.

    Args:
        folder: A folder that `echoseg analyze` or `measure` wrote for one clip.
        source: The DICOM file or folder that was analyzed, or what was read of it.

    Raises:
        ArgumentError: If the folder holds no result of one clip, or that of another source.
        OutputError: If its report cannot be read.
        FormatError: If masks or source cannot be read.
    """
    folder = Path(folder)
    report = read_json(folder / MARK, Report, "give the result folder of one clip")
    if report is None:
        raise ArgumentError(
            f"{folder} must be a result folder, it holds no {MARK}; make one by echoseg analyze"
        )
    opened = source if isinstance(source, Source) else read_source(source)
    if opened.sha256 != report.input.sha256:
        raise ArgumentError(
            f"{opened.path} is not the source of {folder}: its SHA-256 begins with "
            f"{opened.sha256[:12]}, that of the analyzed clip with {report.input.sha256[:12]}; "
            "give the file that was analyzed"
        )
    masks = load_masks(folder / "masks.nii.gz", fps=30.0)[1]
    content = report.model_copy(
        update={
            "input": report.input.model_copy(update={"file_name": ""}),
            "analyzed_on": "",
            "files": {},
        }
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
        written=_written(folder),
        key=digest.hexdigest(),
    )


def _frames(report: Report, masks: np.ndarray, source: Source) -> tuple[FrameReference, ...]:
    """The frame of each mask: of two masks ED and ES, else of all frames that can be read."""
    damaged = set(report.input.damaged_frames)
    readable = (index for index in range(len(source.frames)) if index not in damaged)
    indices = report.input.frame_indices or tuple(readable)
    frames = [source.frames[index] for index in indices if index < len(source.frames)]
    if len(masks) != len(indices) or len(frames) != len(indices) or None in frames:
        raise ArgumentError(
            f"the masks must be of the frames of the source that can be read, {len(indices)} "
            f"frames, the result has {len(masks)}; for DICOM objects give the clip by --clip"
        )
    return tuple(frame for frame in frames if frame)


def _on_source_grid(masks: np.ndarray, source: Source) -> np.ndarray:
    """Masks on the stored pixels, which are not square in some files; nearest neighbor."""
    size = int(source.header.Rows), int(source.header.Columns)
    for axis, count in enumerate(size, start=1):
        old = masks.shape[axis]
        if old != count:
            place = ((np.arange(count) + 0.5) * old / count).astype(int)
            masks = masks.take(place, axis)
    return masks
