"""What napari opens and saves through echoseg: its reader, its writer and its sample."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from echoseg.errors import ArgumentError, EchosegError, NotAClipError
from echoseg.files import read_json
from echoseg.inference.analysis import CORRECTED
from echoseg.io import find_format, load_clip, load_masks
from echoseg.io.nifti import write_masks as write_nifti
from echoseg.report.schema import Report
from echoseg.report.writer import MARK
from napari_echoseg.layers import (
    Known,
    LayerData,
    clip_layer,
    labels_layer,
    layer_known,
    layer_masks,
)

_FOLDERS = ("dicom_series", "zarr")


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """The reader of a file, of a result folder of one clip, or of a folder of DICOM files.

    None for several paths, which napari stacks, and for any other folder.
    """
    if not isinstance(path, str):
        return None
    place = Path(path)
    if not place.is_dir():
        return read
    if (place / MARK).is_file():
        return read_result
    try:
        return read if find_format(place) in _FOLDERS else None
    except EchosegError:
        return None


def read(path: str) -> list[LayerData]:
    """Read a clip as an image layer, or label maps as a labels layer.

    Raises:
        FormatError: If it is neither, with the reason.
    """
    name = Path(path).name
    try:
        return [clip_layer(load_clip(path), name)]
    except NotAClipError as error:
        try:
            clip, masks = load_masks(path)
        except EchosegError:
            raise error from None
    known = Known(masks=masks, spacing_mm=clip.spacing_mm, frame_rate_hz=clip.frame_rate_hz)
    return [labels_layer(known, name)]


def read_result(path: str) -> list[LayerData]:
    """Read the masks of a result folder that `echoseg analyze` or `measure` wrote.

    Raises:
        EchosegError: If it is not the result of one clip, or its masks cannot be read.
    """
    folder = Path(path)
    report = read_json(folder / MARK, Report, "give the result folder of one clip")
    if report is None:
        raise ArgumentError(f"{path} must be a result folder, it holds no {MARK}")
    rate_hz = report.input.frame_rate_hz
    masks = load_masks(folder / "masks.nii.gz", fps=rate_hz or 30.0)[1]
    known = Known(
        masks=masks,
        clip_sha256=report.input.sha256,
        is_corrected=any(note.code == CORRECTED for note in report.notes),
        spacing_mm=report.input.spacing_mm,
        frame_rate_hz=rate_hz,
    )
    return [labels_layer(known, folder.resolve().name)]


def write_masks(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write the masks of a labels or shapes layer as NIfTI, for `echoseg measure --clip`.

    Raises:
        EchosegError: If they are not label maps, or cannot be written.
    """
    masks, known = layer_masks(data, attributes), layer_known(attributes)
    rate_hz = known.frame_rate_hz if known else None
    spacing_mm = known.spacing_mm if known else None
    write_nifti(path, masks, spacing_mm, 1 / rate_hz if rate_hz else None)
    return [path]


def sample() -> list[LayerData]:
    """The simulated clip that comes with echoseg."""
    import echoseg.weights

    path = Path(echoseg.weights.__file__).with_name("simulated_a4c.dcm")
    return [clip_layer(load_clip(path), "simulated_a4c")]
