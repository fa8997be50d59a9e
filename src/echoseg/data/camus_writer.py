"""CAMUS's layout: write patients, so that phantom clips can replace them, and read one view.

Under `database_nifti/patientNNNN/` and for each view V of 2CH and 4CH: `patientNNNN_V_ED`, `_ES`,
`_half_sequence`, each with its `_gt`, all `.nii.gz` in (x, y) or (x, y, t), and `Info_V.cfg`, whose
frames count from 1. A half sequence runs from one phase to the other, in time order.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from echoseg.clip import Annotation, Clip, View
from echoseg.data.images import read_labels, read_picture
from echoseg.errors import DatasetError, OutputError
from echoseg.files import atomic_dir, write_text

VIEW_NAMES = {View.A2C: "2CH", View.A4C: "4CH"}
SPLITS = ("training", "validation", "testing")
_UNKNOWN = "NA"


def write_patient(root: Path, patient: str, views: Mapping[View, tuple[Clip, Annotation]]) -> None:
    """Write a patient's folder atomically.

    Sex and age are written as unknown. The layout has no volumes.

    Args:
        root: Folder that holds `database_nifti`; made if missing.
        patient: `patientNNNN`.
        views: A2C, A4C or both; each needs spacing, times, both phases, and a mask on every
            frame from one phase to the other.

    Raises:
        ValueError: If the views or the name do not fit the layout.
        OutputError: If the patient exists already or cannot be written.
    """
    if not re.fullmatch(r"patient\d{4}", patient):
        raise ValueError(f"patient must be 'patient' and four digits, got {patient!r}")
    if not views or not views.keys() <= VIEW_NAMES.keys():
        raise ValueError(f"views must be A2C, A4C or both, got {', '.join(views) or 'none'}")
    for view, (clip, annotation) in views.items():
        _check_view(f"{patient} {view}", clip, annotation)
    folder = root / "database_nifti" / patient

    def check_new() -> None:
        if folder.exists():
            raise OutputError(f"{folder} exists; remove it first")

    with atomic_dir(folder, check_new) as partial:
        for view, (clip, annotation) in views.items():
            _write_view(partial, f"{patient}_{VIEW_NAMES[view]}", clip, annotation)
            write_text(partial / f"Info_{VIEW_NAMES[view]}.cfg", _info(clip, annotation))


def write_splits(root: Path, patients_of: Mapping[str, Sequence[str]]) -> None:
    """Write the three split lists; a split without an entry gets an empty list.

    Raises:
        ValueError: If a split is unknown or a patient is listed twice.
        OutputError: If a list cannot be written.
    """
    if not patients_of.keys() <= set(SPLITS):
        raise ValueError(f"splits must be {', '.join(SPLITS)}, got {', '.join(patients_of)}")
    names = [name for listed in patients_of.values() for name in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"a patient must be in one split, {twice[0]} is in more")
    folder = root / "database_split"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
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


def _check_view(name: str, clip: Clip, annotation: Annotation) -> None:
    """Check that the layout can hold a view."""
    try:
        annotation.check_fits(clip)
        _phases(annotation)
        rate_hz = clip.even_frame_rate_hz()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if clip.spacing_mm is None or rate_hz is None:
        raise ValueError(f"{name}: the clip must have spacing_mm and times_s")
    half = range(clip.num_frames)[_half(annotation)]
    unlabeled = sorted(set(half) - set(annotation.labelled_frames))
    if unlabeled:
        raise ValueError(
            f"{name}: every frame from {half[0]} to {half[-1]}, the half sequence, must be "
            f"labeled, frame {unlabeled[0]} is not"
        )


def _write_view(folder: Path, stem: str, clip: Clip, annotation: Annotation) -> None:
    ed_frame, es_frame = _phases(annotation)
    parts = (("ED", ed_frame), ("ES", es_frame), ("half_sequence", _half(annotation)))
    for part, frames in parts:
        _write_image(folder / f"{stem}_{part}.nii.gz", clip.frames[frames], clip)
        _write_image(folder / f"{stem}_{part}_gt.nii.gz", annotation.masks[frames], clip)


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


def read_view(root: Path, patient: str, view: View) -> tuple[Clip, Annotation]:
    """Read a patient's half sequence with all masks and its cfg.

    Raises:
        DatasetError: If a file is missing or not as in CAMUS.
    """
    folder = root / "database_nifti" / patient
    name = VIEW_NAMES.get(view)
    if name is None:
        raise DatasetError(f"view must be A2C or A4C in CAMUS, got {view}")
    path = folder / f"{patient}_{name}_half_sequence.nii.gz"
    truth, cfg = folder / f"{patient}_{name}_half_sequence_gt.nii.gz", folder / f"Info_{name}.cfg"
    for file in (path, truth, cfg):
        if not file.is_file():
            raise DatasetError(f"{file} is missing; a CAMUS patient has it for each view")
    info = read_info(cfg)
    with cfg_errors(cfg):
        frames, spacing_mm = read_picture(path)
        masks = read_labels(truth, frames.shape)
        clip = Clip(
            frames=frames,
            times_s=np.arange(len(frames)) / float(info["FrameRate"]),
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
    except (ValueError, ZeroDivisionError) as error:
        raise DatasetError(f"{cfg}: {error}") from error


def number(info: Mapping[str, str], key: str) -> float | None:
    """A number of a cfg; None when it is unknown."""
    value = info.get(key, _UNKNOWN)
    return None if value == _UNKNOWN else float(value)


def read_info(path: Path) -> dict[str, str]:
    """Read a cfg, key to value, with any line ends.

    Raises:
        DatasetError: If it is not text.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as lines 'key: value' ({error})") from error
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def read_quality(cfg: Path) -> str:
    """Read `ImageQuality` of a cfg; empty when it is unknown, or the file cannot be read."""
    try:
        return read_info(cfg).get("ImageQuality", "").replace(_UNKNOWN, "")
    except DatasetError:  # raised when the view is loaded
        return ""
