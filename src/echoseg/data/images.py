"""Images and label maps as research releases store them: NIfTI or MetaImage, checked.

Unlike in `io`, a single frame is allowed, grey levels are never rescaled, and the spacing is
required; a release without spacing is read through `io`.
"""

from pathlib import Path

import numpy as np

from echoseg.clip import Label
from echoseg.errors import DatasetError, EchosegError, reason_of
from echoseg.io import metaimage, nifti
from echoseg.io.frames import SPACING_MM

Spacing = tuple[float, float]


def read_picture(path: Path) -> tuple[np.ndarray, Spacing]:
    """Read grey levels `T H W` uint8, one frame for a still, and the (row, column) spacing in mm.

    Raises:
        DatasetError: If the file is missing or broken, or its grey levels or spacing are invalid.
    """
    pixels, spacing_mm = _read(path)
    if pixels.dtype != np.uint8 and not (pixels.min() >= 0 and pixels.max() <= 255):  # NaN is not
        raise DatasetError(
            f"{path} must hold grey levels 0 to 255, it has {pixels.min():g} to {pixels.max():g}"
        )
    if not all(SPACING_MM[0] <= step <= SPACING_MM[1] for step in spacing_mm):  # NaN is not
        raise DatasetError(
            f"{path}: spacing must be {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm per pixel, it is "
            f"{spacing_mm[0]:g} x {spacing_mm[1]:g}; fetch the file again"
        )
    return np.ascontiguousarray(pixels, np.uint8), spacing_mm


def read_labels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read label maps `T H W` uint8 of the image's shape.

    Raises:
        DatasetError: If the file is missing or broken, has another shape or an unknown label.
    """
    values, _ = _read(path)
    if values.shape != tuple(shape):
        raise DatasetError(
            f"{path} must have its image's size, {_size(shape)}, it has {_size(values.shape)}; "
            "fetch both files again"
        )
    is_known = values.dtype == np.uint8 and values.max() <= max(Label)
    unknown = [] if is_known else sorted(set(np.unique(values).tolist()) - set(Label))
    if unknown:
        named = ", ".join(f"{value:g}" for value in unknown[:5])
        raise DatasetError(f"{path} must hold labels 0 to {max(Label)} only, it holds {named}")
    return np.ascontiguousarray(values, np.uint8)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape[1:] if shape[0] == 1 else shape))


def _read(path: Path) -> tuple[np.ndarray, Spacing]:
    """Read pixels as stored, `T H W`, and the spacing as in the header, uncorrected."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing; fetch it again")
    try:
        read = _read_metaimage if path.suffix == ".mhd" else _read_nifti
        pixels, spacing_mm = read(path)
    except EchosegError:
        raise
    except Exception as error:  # gzip, nibabel and numpy raise exceptions of their own
        reason = reason_of(error)
        raise DatasetError(f"{path} is truncated or broken ({reason}); fetch it again") from error
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.dtype.kind not in "uif":
        raise DatasetError(
            f"{path} must hold grey frames, (x, y) or (x, y, t), it has {pixels.T.shape}"
        )
    return pixels, spacing_mm


def _read_nifti(path: Path) -> tuple[np.ndarray, Spacing]:
    pixels, header = nifti.read_array(path)
    _, column_mm, row_mm, *_ = (float(step) for step in header["pixdim"])
    return pixels, (row_mm, column_mm)


def _read_metaimage(path: Path) -> tuple[np.ndarray, Spacing]:
    pixels, spacing = metaimage.read_array(path)
    if len(spacing) < 2:
        raise DatasetError(f"{path} must have ElementSpacing, it has none; fetch it again")
    return pixels, (spacing[1], spacing[0])
