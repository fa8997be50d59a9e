"""The DICOM objects of a result folder, written together."""

import os
from pathlib import Path
from typing import Any

from echoseg.dicom.objects import save
from echoseg.dicom.pictures import CINE, PDF_DOCUMENT, build_cine, build_pdf
from echoseg.dicom.result import Result, read_result
from echoseg.dicom.seg import SEG, build_seg
from echoseg.dicom.sr import SR, build_sr
from echoseg.files import atomic_dir, check_replaceable
from echoseg.report.writer import DICOM

FILES = frozenset(kind.file_name for kind in (SEG, SR, PDF_DOCUMENT, CINE))
MARK = SR.file_name


def write_dicom(
    folder: str | Path,
    source: str | Path,
    *,
    output: str | Path | None = None,
    simplified: bool = False,
    force: bool = False,
) -> Path:
    """Write the DICOM objects of a result folder.

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
        OutputError: If the folder exists without `force`, or cannot be written.
    """
    target = Path(folder) / DICOM if output is None else Path(output)

    def check() -> None:
        check_replaceable(target, force, MARK, FILES.__contains__)

    check()
    result = read_result(folder, source)
    with atomic_dir(target, check) as partial:
        for name, dataset in build_objects(result, simplified=simplified).items():
            save(dataset, partial / name)
    return Path(os.path.abspath(target))


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
