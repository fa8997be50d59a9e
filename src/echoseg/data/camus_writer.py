"""CAMUS's layout: write patients, so that phantom clips can replace them; read a sequence.

Under `database_nifti/patientNNNN/` and for each view V of 2CH and 4CH: `patientNNNN_V_ED`, `_ES`,
`_half_sequence`, each with its `_gt`, all `.nii.gz` in (x, y) or (x, y, t), and `Info_V.cfg`, whose
frames count from 1. A half sequence runs from one phase to the other, in time order.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from echoseg.clip import Annotation, Clip, View
from echoseg.data.images import read_labels, read_picture
from echoseg.errors import DatasetError
from echoseg.files import write_text

VIEW_NAMES = {View.A2C: "2CH", View.A4C: "4CH"}
SPLITS = ("training", "validation", "testing")
_UNKNOWN = "NA"


def write_patient(
    root: str | Path, patient: str, views: Mapping[View, tuple[Clip, Annotation]]
) -> None:
    """Write a patient's folder under `root / "database_nifti"`.

    Sex and age are written as unknown. The layout has no volumes. A view needs spacing, times, and
    a mask on every frame from one phase to the other.

    Raises:
        ValueError: If a phase of a view is unknown.
    """
    folder = Path(root) / "database_nifti" / patient
    folder.mkdir(parents=True)
    for view, (clip, annotation) in views.items():
        name = VIEW_NAMES[view]
        parts = zip(("ED", "ES"), _phases(annotation), strict=True)
        for part, frames in (*parts, ("half_sequence", _half(annotation))):
            stem = f"{patient}_{name}_{part}"
            _write_image(folder / f"{stem}.nii.gz", clip.frames[frames], clip)
            _write_image(folder / f"{stem}_gt.nii.gz", annotation.masks[frames], clip)
        write_text(folder / f"Info_{name}.cfg", _info(clip, annotation))


def write_splits(root: str | Path, patients_of: Mapping[str, Sequence[str]]) -> None:
    """Write the three split lists; a split without an entry gets an empty list."""
    folder = Path(root) / "database_split"
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines = "".join(f"{name}\n" for name in patients_of.get(split, ()))
        write_text(folder / f"subgroup_{split}.txt", lines)


def _phases(annotation: Annotation) -> tuple[int, int]:
    """Indices of ED and ES."""
    if annotation.ed_frame is None or annotation.es_frame is None:
        raise ValueError("ed_frame and es_frame must be known")
    return annotation.ed_frame, annotation.es_frame


def _half(annotation: Annotation) -> slice:
    """Frames from one phase to the other."""
    first, last = sorted(_phases(annotation))
    return slice(first, last + 1)


def _write_image(path: Path, pixels: np.ndarray, clip: Clip) -> None:
    """Write `H W` or `T H W` as in the release: x to the patient's left, y to the back."""
    from nibabel.nifti1 import Nifti1Image

    row_mm, column_mm = clip.spacing_mm or (1.0, 1.0)
    image = Nifti1Image(np.ascontiguousarray(pixels.T), np.diag([-column_mm, -row_mm, 1.0, 1.0]))
    image.header.set_xyzt_units("mm", "unknown")  # the frame rate is in Info_V.cfg
    image.to_filename(path)


def _info(clip: Clip, annotation: Annotation) -> str:
    """Content of `Info_V.cfg`."""
    half, (ed_frame, es_frame) = _half(annotation), _phases(annotation)
    fields = {
        "ED": ed_frame - half.start + 1,
        "ES": es_frame - half.start + 1,
        "NbFrame": half.stop - half.start,
        "Sex": _UNKNOWN,
        "Age": _UNKNOWN,
        "ImageQuality": annotation.quality or _UNKNOWN,
        "EF": _UNKNOWN if annotation.ef_percent is None else f"{annotation.ef_percent:.6g}",
        "FrameRate": f"{clip.frame_rate_hz:.8g}",
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items())


def read_sequence(path: Path, truth: Path, cfg: Path, view: View) -> tuple[Clip, Annotation]:
    """Read a sequence with a mask on every frame, and its cfg.

    Raises:
        DatasetError: If a file is missing, broken, or does not fit the others.
    """
    frames, spacing_mm = read_picture(path)
    masks, info = read_labels(truth, frames.shape), read_info(cfg)
    with cfg_errors(cfg):
        rate_hz = number(info, "FrameRate")
        clip = Clip(
            frames=frames,
            times_s=np.arange(len(frames)) / rate_hz if rate_hz else None,
            spacing_mm=spacing_mm,
            view=view,
            source=str(path),
        )
        annotation = Annotation(
            masks=masks,
            ed_frame=int(info["ED"]) - 1,
            es_frame=int(info["ES"]) - 1,
            ef_percent=number(info, "EF"),
            quality=read_quality(cfg),
        )
    return clip, annotation


@contextmanager
def cfg_errors(cfg: Path) -> Iterator[None]:
    """Turn missing keys and invalid values into a `DatasetError` that names the cfg."""
    try:
        yield
    except KeyError as error:
        raise DatasetError(f"{cfg} must have a line '{error.args[0]}: ...'") from error
    except ValueError as error:
        raise DatasetError(f"{cfg}: {error}") from error


def number(info: Mapping[str, str], key: str) -> float | None:
    """A number of a cfg; None when it is unknown."""
    value = info.get(key, _UNKNOWN)
    return None if value == _UNKNOWN else float(value)


def read_info(path: Path) -> dict[str, str]:
    """Read a cfg, key to value.

    Raises:
        DatasetError: If it is not text.
    """
    pairs = (line.partition(":") for line in read_lines(path, "lines 'key: value'"))
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def read_lines(path: Path, kind: str) -> list[str]:
    """Read lines of text, with any line ends, with or without a BOM.

    Raises:
        DatasetError: If it is not text; the message names the kind expected.
    """
    try:
        return path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as {kind} ({error})") from error


def read_quality(cfg: Path) -> str:
    """Read `ImageQuality` of a cfg; empty when it is unknown, or the file cannot be read."""
    try:
        return read_info(cfg).get("ImageQuality", "").replace(_UNKNOWN, "")
    except DatasetError:  # raised when the view is loaded
        return ""
