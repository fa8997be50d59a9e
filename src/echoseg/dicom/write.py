"""The DICOM objects of result folders: of one clip, of two views of a heart, of many."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from echoseg.dicom.fhir import FHIR, build_fhir
from echoseg.dicom.objects import save
from echoseg.dicom.pictures import CINE, PDF_DOCUMENT, build_cine, build_pdf
from echoseg.dicom.result import Measured, read_measured, source_hashes
from echoseg.dicom.seg import SEG, build_seg
from echoseg.dicom.sr import SIMPLIFIED_SR, SR, build_sr
from echoseg.errors import EchosegError
from echoseg.files import WRITTEN, OwnedFolder, Replace, write_mark, write_text
from echoseg.io.formats import source_sha256
from echoseg.report.writer import DICOM, MARK, PLANES


def write_dicom(
    folder: str | Path,
    *sources: str | Path,
    output: str | Path | None = None,
    simplified: bool = False,
    force: Replace = False,
) -> Path:
    """Write the DICOM objects of a result folder, and the same values as FHIR.

    The objects belong to patient and study of the source; their identifiers are hashes of source
    and result, so repeated runs give the same ones.

    Args:
        folder: A folder that `echoseg analyze` or `measure` wrote for a clip, or for two views of
            a heart.
        sources: The DICOM file or folder that was analyzed; of two views both, in any order.
        output: Folder to write; by default `dicom` in the result folder.
        simplified: Write the SR by TID 5300 (Simplified Adult Echo SR), not by TID 5200.
        force: Replace it.

    Returns:
        The absolute path of the folder.

    Raises:
        ArgumentError: If the folder holds no result, or not that of the sources, or if two views
            are not of one study.
        FormatError: If masks or a source cannot be read.
        OutputError: As `OwnedFolder.check`, or if writing fails.
    """
    target = OwnedFolder(Path(folder) / DICOM if output is None else output, WRITTEN, force)
    target.check()
    result = read_measured(folder, sources)
    with target.write() as partial:
        for name, dataset in build_objects(result, simplified=simplified).items():
            save(dataset, partial / name)
        write_text(partial / FHIR, json.dumps(build_fhir(result), indent=1) + "\n")
        write_mark(partial, WRITTEN, lambda files: json.dumps({"files": files}, indent=1) + "\n")
    return target.path


def build_objects(result: Measured, *, simplified: bool = False) -> dict[str, Any]:
    """The objects by the name of their file, each a `pydicom.Dataset`.

    Of two views there is a SEG and a cine of each, and one SR and PDF. PDF and cine are there where
    the result folder has `report.pdf` and `overlay.mp4`.
    """
    objects = {SR.file_name: build_sr(result, simplified=simplified)}
    objects[PDF_DOCUMENT.file_name] = build_pdf(result)
    of_views = PLANES if len(result.planes) > 1 else ("",)
    for view, plane in zip(of_views, result.planes, strict=True):
        prefix = view and f"{view.lower()}_"
        objects[f"{prefix}{SEG.file_name}"] = build_seg(plane)
        objects[f"{prefix}{CINE.file_name}"] = build_cine(plane)
    return {name: dataset for name, dataset in objects.items() if dataset is not None}


class WrittenDicom(NamedTuple):
    """The DICOM objects of one result folder, or why there are none.

    Attributes:
        folder: The result folder.
        files: The objects, `*.dcm` of its folder `dicom`, sorted; none where they were not written.
        reason: Why they were not written; empty where they were.
    """

    folder: Path
    files: tuple[Path, ...]
    reason: str = ""


def write_study_dicom(
    output: str | Path, sources: Sequence[str | Path], *, simplified: bool = False
) -> Iterator[WrittenDicom]:
    """Write the DICOM objects of a whole study or cohort, each result folder's into it.

    Of a study (`echoseg analyze --study`) these are the hearts': per heart a SEG of each clip that
    was used, one SR and, where it was analyzed with a PDF, one Encapsulated PDF and the cines. Of a
    cohort (`echoseg analyze FOLDER`) they are those of every clip. Which source a result is of is
    known by the hash of its content, so names and places of the sources do not matter. A folder
    that has its objects already, the SR by the same template, is not written again; the
    identifiers would be the same.

    Args:
        output: The folder of the study or cohort. A result folder of one clip or heart will do too.
        sources: The DICOM files (or folders of one file per frame) that were analyzed; others among
            them do no harm.
        simplified: As in `write_dicom`.

    Yields:
        The objects of each result folder, sorted by name. One that fails, such as that of a video,
        has no files and a reason, and the others are written.
    """
    output = Path(output)
    by_hash = {source_sha256(source): source for source in reversed(sources)}
    inner = [place.parent for place in sorted(output.glob(f"*/{MARK}"))]
    for folder in [output] if (output / MARK).exists() else inner:
        target, reason = folder / DICOM, ""
        try:
            if not _has_objects(target, simplified=simplified):
                hashes = source_hashes(folder)
                own = [by_hash[one] for one in hashes if one in by_hash]
                write_dicom(folder, *own, simplified=simplified, force=True)
        except EchosegError as error:
            reason = str(error)
        yield WrittenDicom(folder, () if reason else tuple(sorted(target.glob("*.dcm"))), reason)


def _has_objects(folder: Path, *, simplified: bool) -> bool:
    """Whether a folder was written to its end, with the SR by the template that is wanted."""
    from pydicom import dcmread

    if not (folder / WRITTEN).exists():
        return False
    try:
        header = dcmread(folder / SR.file_name, specific_tags=["SOPClassUID"])
    except Exception:  # pydicom raises many types
        return False
    return header.get("SOPClassUID") == (SIMPLIFIED_SR if simplified else SR).class_uid
