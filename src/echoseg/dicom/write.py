"""The DICOM objects of a result folder, written together."""

import json
from pathlib import Path
from typing import Any

from echoseg.dicom.fhir import FHIR, build_fhir
from echoseg.dicom.objects import save
from echoseg.dicom.pictures import CINE, PDF_DOCUMENT, build_cine, build_pdf
from echoseg.dicom.result import Result, read_result
from echoseg.dicom.seg import SEG, build_seg
from echoseg.dicom.sr import SR, build_sr
from echoseg.files import WRITTEN, OwnedFolder, Replace, write_mark, write_text
from echoseg.report.writer import DICOM


def write_dicom(
    folder: str | Path,
    source: str | Path,
    *,
    output: str | Path | None = None,
    simplified: bool = False,
    force: Replace = False,
) -> Path:
    """Write the DICOM objects of a result folder, and the same values as FHIR.

    The objects belong to patient and study of the source; their identifiers are hashes of source
    and result, so repeated runs give the same ones.

    Args:
        folder: A folder that `echoseg analyze` or `measure` wrote for one clip.
        source: The DICOM file or folder that was analyzed.
        output: Folder to write; by default `dicom` in the result folder.
        simplified: Write the SR by TID 5300 (Simplified Adult Echo SR), not by TID 5200.
        force: Replace it.

    Returns:
        The absolute path of the folder.

    Raises:
        ArgumentError: If the folder holds no result of one clip, or that of another source.
        FormatError: If masks or source cannot be read.
        OutputError: As `OwnedFolder.check`, or if writing fails.
    """
    target = OwnedFolder(Path(folder) / DICOM if output is None else output, WRITTEN, force)
    target.check()
    result = read_result(folder, source)
    with target.write() as partial:
        for name, dataset in build_objects(result, simplified=simplified).items():
            save(dataset, partial / name)
        write_text(partial / FHIR, json.dumps(build_fhir(result), indent=1) + "\n")
        write_mark(partial, WRITTEN, lambda files: json.dumps({"files": files}, indent=1) + "\n")
    return target.path


def build_objects(result: Result, *, simplified: bool = False) -> dict[str, Any]:
    """The objects by the name of their file, each a `pydicom.Dataset`.

    PDF and cine are there where the result folder has `report.pdf` and `overlay.mp4`.
    """
    objects = {
        SEG.file_name: build_seg(result),
        SR.file_name: build_sr(result, simplified=simplified),
        PDF_DOCUMENT.file_name: build_pdf(result),
        CINE.file_name: build_cine(result),
    }
    return {name: dataset for name, dataset in objects.items() if dataset is not None}
