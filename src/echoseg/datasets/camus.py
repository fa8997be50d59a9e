"""CAMUS, NIfTI release: apical clips of 500 patients with masks of ED and ES.

Layout: `database_nifti/patientNNNN/patientNNNN_4CH_{ED,ES}[_gt].nii.gz` with axes (x, y), and
`database_split/subgroup_{training,validation,testing}.txt`.

Reference:
    Leclerc et al., IEEE Transactions on Medical Imaging 38(9):2198-2210, 2019.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoseg.anatomy import Phase
from echoseg.errors import DatasetError


@dataclass(frozen=True, kw_only=True, eq=False)
class CamusStill:
    """One annotated A4C frame: picture and mask `H W` uint8, spacing (row, column) in mm."""

    patient: str
    phase: Phase
    picture: np.ndarray
    mask: np.ndarray
    spacing_mm: tuple[float, float]


def patients(root: Path, split: str) -> list[str]:
    """Return the patients of `training` or `validation` that are present under `root`.

    Raises:
        DatasetError: If the split list is not where CAMUS has it, or no patient of it is present.
    """
    path = root / "database_split" / f"subgroup_{split}.txt"
    if not path.is_file():
        raise DatasetError(f"{root} is no CAMUS copy: {path} is missing; give the folder above it")
    names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    present = [name for name in names if (root / "database_nifti" / name).is_dir()]
    if not present:
        raise DatasetError(f"no patient of {path} is under {root / 'database_nifti'}")
    return present


def stills(root: Path, split: str) -> Iterator[CamusStill]:
    """Yield the ED and the ES frame of each patient's A4C view, in the split list's order.

    Raises:
        DatasetError: If a file is missing, broken or no single frame, or a mask does not fit.
    """
    for patient in patients(root, split):
        for phase in (Phase.ED, Phase.ES):
            stem = root / "database_nifti" / patient / f"{patient}_4CH_{phase}"
            picture, spacing_mm = _read_frame(Path(f"{stem}.nii.gz"))
            mask, _ = _read_frame(Path(f"{stem}_gt.nii.gz"))
            if mask.shape != picture.shape:
                raise DatasetError(
                    f"{stem}_gt.nii.gz must have its picture's size, {picture.shape}, it has "
                    f"{mask.shape}; fetch both files again"
                )
            yield CamusStill(
                patient=patient, phase=phase, picture=picture, mask=mask, spacing_mm=spacing_mm
            )


def _read_frame(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """Return a frame `H W` uint8 and its spacing."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.nifti1 import Nifti1Image
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    broken = (OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, WrapStructError)
    if not path.is_file():
        raise DatasetError(f"{path} is missing; a CAMUS patient has it, fetch it again")
    try:
        image = Nifti1Image.from_filename(path)
        pixels = np.ascontiguousarray(np.asarray(image.dataobj, np.uint8).T)
    except broken as error:
        raise DatasetError(f"{path} is cut or broken ({error}); fetch it again") from error
    if pixels.ndim != 2:
        raise DatasetError(f"{path} must hold one frame, rows and columns, it has {pixels.shape}")
    _, column_mm, row_mm, *_ = (float(step) for step in image.header["pixdim"])
    return pixels, (row_mm, column_mm)
