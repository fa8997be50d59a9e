"""Everything of a reading, or of both views of a heart: folder, tables, report, objects for PACS.

A worker process reads the source again under the limits of untrusted files, and writes what
`echoseg analyze` and `echoseg dicom` write, with the masks and numbers of the reading. Without
`--show-names` pictures are black outside the sector, and the ZIP holds no DICOM, which states the
patient; DICOM and FHIR are there when they are asked for.
"""

import secrets
import shutil
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zipfile import ZIP_STORED, ZipFile

from echoseg.clip import View
from echoseg.errors import EchosegError, OutputError
from echoseg.files import csv_text
from echoseg.inference.analysis import Analysis
from echoseg.inference.ef_statement import state_ef
from echoseg.parallel import Limits, Loss, WorkerPool
from echoseg.report.biplane import BiplaneAnalysis
from echoseg.report.hearts import PLANES
from echoseg.report.schema import Report, build_report, registry_row
from echoseg.report.study import plane_of, rank
from echoseg.report.writer import DICOM, PDF, free_names
from echoseg.web.accounts import Reader
from echoseg.web.analysis import ClipFailure, ClipTask, load_source, plain_reason, read_result
from echoseg.web.api import WorklistQuery
from echoseg.web.reading_messages import Biplane
from echoseg.web.records import ClipRow, ClipState
from echoseg.web.refusal import Refusal

if TYPE_CHECKING:
    from echoseg.web.app import Page

ExportFormat = Literal["zip", "csv", "html", "pdf", "masks", "dicom", "fhir"]
HeartFormat = Literal["zip", "csv", "html", "pdf", "dicom", "fhir"]
EXPORTS = "exports"
_FILES = {"csv": "registry.csv", "html": "report.html", "pdf": PDF, "masks": "masks.nii.gz"}
_SUFFIXES = {"zip": ".zip", "dicom": "-dicom.zip", "masks": ".nii.gz", "fhir": ".fhir.json"}


@dataclass(frozen=True, kw_only=True)
class ExportTask:
    """What a worker process is to write.

    Attributes:
        clips: Where the frames come from: of one clip, or of an A4C and an A2C.
        analyses: The readings, with masks; their frames are not used.
        format: What is asked for.
        folder: Empty folder for it.
    """

    clips: tuple[ClipTask, ...]
    analyses: tuple[Analysis, ...]
    format: ExportFormat
    folder: Path


def write_export(task: ExportTask) -> Path | ClipFailure:
    """Write an export; return the one file, or why there is none."""
    from echoseg.dicom.write import write_dicom
    from echoseg.report.writer import write_biplane, write_results

    result, is_all = task.folder / "result", task.format in ("zip", "dicom")
    pages, pdf = is_all or task.format == "html", is_all or task.format == "pdf"
    try:
        analyses = [*map(_with_frames, task.clips, task.analyses)]
        if len(analyses) > 1:
            both = BiplaneAnalysis(a4c=analyses[0], a2c=analyses[1])
            write_biplane(both, result, pdf=pdf)
        else:
            write_results(analyses[0], result, pages=pages, pdf=pdf)
        if task.format in _FILES:
            return result / _FILES[task.format]
        is_asked = task.format != "zip"
        if is_asked or not any(clip.is_private for clip in task.clips):
            try:
                write_dicom(result, *(clip.source for clip in task.clips))
            except OutputError:
                raise
            except EchosegError:  # the source is not DICOM
                if is_asked:
                    raise
        if task.format == "fhir":
            return result / DICOM / "fhir.json"
        return _zip(result / DICOM if task.format == "dicom" else result, task.folder)
    except EchosegError as error:
        for one in task.clips:
            error = EchosegError(plain_reason(error, one.source, one.alias))
        return ClipFailure(reason=str(error))


def _with_frames(task: ClipTask, analysis: Analysis) -> Analysis:
    from echoseg.preprocess.sector import blank_outside

    source = load_source(task)
    clip = replace(analysis.clip, frames=source.frames, colour=source.colour)
    return replace(analysis, clip=blank_outside(clip) if task.is_private else clip)


def _zip(folder: Path, place: Path) -> Path:
    """All files of a folder in one that is not compressed, since most of them are already."""
    path = place / "export.zip"
    with ZipFile(path, "w", ZIP_STORED) as archive:
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            archive.write(file, file.relative_to(folder))
    return path


class Exporter:
    """Writes exports, one at a time, in a process that stays.

    Args:
        page: The page.
    """

    def __init__(self, page: "Page") -> None:
        self._page, self._lock = page, threading.Lock()
        self._pool: WorkerPool | None = None
        self._folder = page.settings.folder.absolute() / EXPORTS
        shutil.rmtree(self._folder, ignore_errors=True)  # of a server that was killed

    def write(
        self, reads: Sequence[tuple[ClipRow, int]], reader: Reader, kind: ExportFormat
    ) -> tuple[Path, str]:
        """Write an export.

        Args:
            reads: The clip and which read of it; of two views that of A4C, then that of A2C.
            reader: Who asks.
            kind: What is asked for.

        Returns:
            The file, which is the caller's to `discard`, and the name that it is given.

        Raises:
            Refusal: If the clip is not analyzed, the reader may not see the read, or the export
                cannot be written, with the reason.
        """
        readings, queue = self._page.readings, self._page.queue
        task = ExportTask(
            analyses=tuple(readings.analysis(row.id, slot, reader) for row, slot in reads),
            clips=tuple(queue.task(row) for row, _ in reads),
            format=kind,
            folder=self._folder / secrets.token_hex(8),
        )
        task.folder.mkdir(mode=0o700, parents=True)
        try:
            path = self._run(task)
        except BaseException:
            shutil.rmtree(task.folder, ignore_errors=True)
            raise
        for row, slot in reads:
            self._page.note("export", reader.name, clip_sha256=row.sha256, format=kind, slot=slot)
        name = free_names([reads[0][0].name])[0] + "-biplane" * (len(reads) > 1)
        return path, name + _SUFFIXES.get(kind, path.suffix)

    def _run(self, task: ExportTask) -> Path:
        with self._lock:
            self._pool = self._pool or WorkerPool(
                write_export, 1, limits=Limits(), on_loss=lambda _, loss: loss
            )
            outcome = self._pool.submit(task).result()
        if isinstance(outcome, Path):
            return outcome
        reason = outcome.reason if isinstance(outcome, ClipFailure | Loss) else ""
        raise Refusal(422, f"This cannot be exported: {reason}.")

    def discard(self, path: Path) -> None:
        """Remove an export that was sent."""
        place = path.relative_to(self._folder).parts[0]
        shutil.rmtree(self._folder / place, ignore_errors=True)

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.close(is_finished=False)


def registry(page: "Page", query: WorklistQuery, reader: Reader) -> Iterator[str]:
    """The rows of a registry's table, CSV, of the analyzed clips of a filter, line by line.

    The numbers are those of the first read. While a second one is blinded, or is still to come
    where each clip is read twice, they are the network's; where the reader may not see the first
    read all the same, the clip is left out.
    """
    is_first = True
    for row in page.worklist.select(query, reader.name):
        if row.state != ClipState.READY:
            continue
        try:
            report = _report_of(page, row, reader)
        except EchosegError:
            continue
        fields = reading_row(row, report)
        if is_first:
            yield csv_text(list(fields))
            is_first = False
        yield csv_text(list(fields.values()))


def reading_row(row: ClipRow, report: Report) -> dict[str, Any]:
    """A registry's row of a read: which clip, what was decided, and the numbers."""
    reading = report.reading
    return {
        "clip": row.name,
        "study": row.study,
        "decision": reading.decision if reading else "",
        "is_corrected": reading is not None and reading.is_corrected,
        **registry_row(report),
    }


def _report_of(page: "Page", row: ClipRow, reader: Reader) -> Report:
    """The report of the first read; of a clip that no one read it is on disk."""
    report = None
    if not (row.is_corrected or row.decision):
        report = read_result(page.worklist.folder / row.id)
    return report or build_report(page.readings.analysis(row.id, 1, reader, is_whole=False))


def planes_of(page: "Page", study: str) -> dict[View, ClipRow]:
    """The clip of each plane whose result is the most reliable one.

    Raises:
        Refusal: With 404, if there is no such study.
    """
    rows = page.worklist.study(study)
    if not rows:
        raise Refusal(404, "There is no such study in the worklist.")
    best: dict[View, tuple[ClipRow, Report]] = {}
    for row in rows:
        report = read_result(page.worklist.folder / row.id)
        if row.state != ClipState.READY or report is None:
            continue
        view = View(row.view) if row.view in PLANES else plane_of(report, PLANES)[0]
        if view in PLANES and (view not in best or rank(report) < rank(best[view][1])):
            best[view] = row, report
    return {view: best[view][0] for view in PLANES if view in best}


def lacking(planes: Collection[View]) -> str:
    """Which plane a study lacks, as a sentence; empty where it has both."""
    missing = " and no ".join(str(view) for view in PLANES if view not in planes)
    return missing and f"The study has no {missing}."


def biplane_of(page: "Page", study: str, reader: Reader) -> Biplane:
    """The A4C and A2C of a study together.

    Raises:
        Refusal: With 404, if there is no such study.
    """
    planes = planes_of(page, study)
    clips = tuple(row.id for row in planes.values())
    if why := lacking(planes):
        return Biplane(clips=clips, ef=state_ef(None, reason=why))
    a4c, a2c = (
        page.readings.analysis(clip, page.readings.slot(clip, reader), reader, is_whole=False)
        for clip in clips
    )
    both = BiplaneAnalysis(a4c=a4c, a2c=a2c)
    is_stated = both.ef.kind in ("plain", "part_of_beat")
    return Biplane(
        clips=clips,
        ef=both.ef,
        edv_ml=both.biplane.edv_ml if is_stated else None,
        esv_ml=both.biplane.esv_ml if is_stated else None,
        warnings=tuple(one.message for one in both.biplane.warnings),
    )
