"""CAMUS, NIfTI release: apical clips of 500 patients with masks of ED, ES and half sequences.

Layout: `database_nifti/patientNNNN/` and for each view V of 2CH and 4CH `patientNNNN_V_ED`, `_ES`
and `_half_sequence`, each with its `_gt`, all `.nii.gz` with axes (x, y) or (x, y, t), and
`Info_V.cfg`; `database_split/subgroup_{training,validation,testing}.txt`.

A view is its half sequence, with a mask on every frame, where that has its mask and cfg; else the
two stills. Some half sequences run from ES to ED.

Reference:
    Leclerc et al., IEEE Transactions on Medical Imaging 38(9):2198-2210, 2019.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from echoseg.clip import Annotation, Clip, Phase, View
from echoseg.data.camus_writer import (
    SPLITS,
    VIEW_NAMES,
    cfg_errors,
    number,
    read_info,
    read_quality,
    read_view,
)
from echoseg.data.images import read_labels, read_picture
from echoseg.data.records import SPLIT_WORDS, Dataset, Issue, IssueKind, Record, build_dataset
from echoseg.errors import DatasetError

EXPECTED = "database_nifti/patientNNNN/patientNNNN_4CH_ED.nii.gz, database_split/"
_STILLS = ("ED", "ED_gt", "ES", "ES_gt")
_HALF = ("half_sequence", "half_sequence_gt")


@dataclass(frozen=True, kw_only=True, eq=False)
class CamusStill:
    """One annotated A4C frame: image and mask `H W` uint8, spacing (row, column) in mm."""

    patient: str
    phase: Phase
    picture: np.ndarray
    mask: np.ndarray
    spacing_mm: tuple[float, float]


def detect(root: Path) -> bool:
    """Detect the NIfTI release by its folder of patients."""
    return (root / "database_nifti").is_dir()


def collect(root: Path) -> Dataset:
    """List every view of every patient under `root`.

    Raises:
        DatasetError: If nothing can be used.
    """
    folder = root / "database_nifti"
    present = sorted(path.name for path in folder.iterdir() if path.is_dir())
    split_of, issues, notes = _splits(root, present)
    parts_of = {patient: _parts(folder / patient) for patient in present}
    held = Counter(part for parts in parts_of.values() for part in parts)
    notes += _absent(held, len(present))
    records = []
    for patient, parts in parts_of.items():
        for view in VIEW_NAMES:
            if record := _record(root, patient, view, parts, split_of.get(patient, "")):
                records.append(record)
            issues += _missing(folder / patient, view, parts, held)
    return build_dataset("camus", root, records, issues, notes)


def _splits(root: Path, present: list[str]) -> tuple[dict[str, str], list[Issue], list[str]]:
    """Read the present patients' splits, with issues of the lists and notes on absent patients."""
    split_of, issues, notes = {}, [], []
    for name in SPLITS:
        path = root / "database_split" / f"subgroup_{name}.txt"
        if not path.is_file():
            notes.append(f"{path} is missing, so the split {SPLIT_WORDS[name]} is empty")
            continue
        listed = read_list(path)
        listed_here = [patient for patient in listed if patient in set(present)]
        away = len(set(listed)) - len(set(listed_here))
        if away:
            notes.append(f"{away} of the {len(set(listed))} patients of {path.name} are absent")
        for patient in listed_here:
            if split_of.setdefault(patient, SPLIT_WORDS[name]) != SPLIT_WORDS[name]:
                reason = "the patient is listed in two splits; excluded from both"
                issues.append(Issue(place=patient, kind=IssueKind.INCONSISTENT, reason=reason))
                split_of[patient] = ""
            elif listed.count(patient) > 1:
                reason = f"the patient is listed twice in {path.name}; used once"
                issues.append(Issue(place=patient, kind=IssueKind.INCONSISTENT, reason=reason))
    return split_of, list(dict.fromkeys(issues)), notes


def read_list(path: Path) -> list[str]:
    """Read the names of a split list, with any line ends, with or without a BOM.

    Raises:
        DatasetError: If it is not text.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as a list of patients ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def _parts(folder: Path) -> set[str]:
    """The parts of a patient that exist, such as `4CH_ED_gt` and `4CH_cfg`."""
    prefix, suffix = f"{folder.name}_", ".nii.gz"
    parts = set()
    for path in folder.iterdir():
        if path.name.startswith(prefix) and path.name.endswith(suffix):
            parts.add(path.name[len(prefix) : -len(suffix)])
        elif path.name.startswith("Info_") and path.suffix == ".cfg":
            parts.add(f"{path.stem.removeprefix('Info_')}_cfg")
    return parts


def _absent(held: Counter[str], num_patients: int) -> list[str]:
    """One note per kind of file that no patient of this copy has."""
    notes = []
    for view in VIEW_NAMES.values():
        kinds = [f"{view}_{part}" for part in (*_STILLS, *_HALF, "cfg")]
        away = [kind for kind in kinds if not held[kind]]
        named = f"{view} view" if len(away) == len(kinds) else ", ".join(away)
        if away:
            notes.append(f"none of the {num_patients} patients has files of: {named}")
    return notes


def _missing(folder: Path, view: View, parts: set[str], held: Counter[str]) -> list[Issue]:
    """Issues of the files that a patient lacks and others of this copy have."""
    name = VIEW_NAMES[view]
    issues = []
    for part in (*_STILLS, *_HALF, "cfg"):
        if held[f"{name}_{part}"] and f"{name}_{part}" not in parts:
            file = f"Info_{name}.cfg" if part == "cfg" else f"{folder.name}_{name}_{part}.nii.gz"
            reason = "the file is missing; a CAMUS patient has it"
            issues.append(Issue(place=str(folder / file), kind=IssueKind.MISSING, reason=reason))
    return issues


def _record(root: Path, patient: str, view: View, parts: set[str], split: str) -> Record | None:
    """The record of a view: its half sequence, else its stills, else None."""
    folder, name = root / "database_nifti" / patient, VIEW_NAMES[view]
    cfg = folder / f"Info_{name}.cfg"
    if {f"{name}_{part}" for part in (*_HALF, "cfg")} <= parts:
        chosen, stills, read = _HALF, False, partial(read_view, root, patient, view)
    elif {f"{name}_{part}" for part in _STILLS} <= parts:
        chosen, stills, read = _STILLS, True, partial(read_stills, root, patient, view)
    else:
        return None
    files = [folder / f"{patient}_{name}_{part}.nii.gz" for part in chosen]
    return Record(
        name=f"{patient}_{name}",
        patient=patient,
        view=view,
        split=split,
        quality=read_quality(cfg),
        stills=stills,
        files=(*files, *([cfg] if cfg.is_file() else [])),
        read=read,
    )


def read_stills(root: Path, patient: str, view: View) -> tuple[Clip, Annotation]:
    """Read a patient's ED and ES frames as a clip of two frames without times.

    Raises:
        DatasetError: If a file is missing or broken, or the four do not fit each other.
    """
    folder, name = root / "database_nifti" / patient, VIEW_NAMES[view]
    read = [_read_still(folder / f"{patient}_{name}_{phase}") for phase in Phase]
    (ed, ed_mask, spacing_mm), (es, es_mask, es_spacing_mm) = read
    if ed.shape != es.shape or not np.allclose(spacing_mm, es_spacing_mm, rtol=1e-3):
        raise DatasetError(
            f"{folder}: {name} ED and ES must have one size and spacing, they have "
            f"{ed.shape} at {spacing_mm} mm and {es.shape} at {es_spacing_mm} mm"
        )
    cfg = folder / f"Info_{name}.cfg"
    info = read_info(cfg) if cfg.is_file() else {}
    with cfg_errors(cfg):
        annotation = Annotation(
            masks=np.stack([ed_mask, es_mask]),
            ed_frame=0,
            es_frame=1,
            ef_percent=number(info, "EF"),
            quality=read_quality(cfg),
        )
    frames = np.stack([ed, es])
    return Clip(frames=frames, spacing_mm=spacing_mm, view=view, source=str(folder)), annotation


def patients(root: Path, split: str) -> list[str]:
    """The patients of `training` or `validation` that exist under `root`.

    Raises:
        DatasetError: If the split list is missing, or none of its patients exists.
    """
    path = root / "database_split" / f"subgroup_{split}.txt"
    if not path.is_file():
        raise DatasetError(
            f"{root} is not a copy of CAMUS, {path} is missing; give the folder above it"
        )
    present = [name for name in read_list(path) if (root / "database_nifti" / name).is_dir()]
    if not present:
        raise DatasetError(f"no patient of {path} is under {root / 'database_nifti'}")
    return present


def stills(root: Path, split: str) -> Iterator[CamusStill]:
    """Yield the ED and the ES frame of each patient's A4C view, in the split list's order.

    Raises:
        DatasetError: If a file is missing, broken or not a single frame, or a mask does not fit.
    """
    for patient in patients(root, split):
        for phase in Phase:
            stem = root / "database_nifti" / patient / f"{patient}_4CH_{phase}"
            picture, mask, spacing_mm = _read_still(stem)
            yield CamusStill(
                patient=patient, phase=phase, picture=picture, mask=mask, spacing_mm=spacing_mm
            )


def _read_still(stem: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Read a frame and its mask, each `H W` uint8, and the spacing."""
    path, truth = Path(f"{stem}.nii.gz"), Path(f"{stem}_gt.nii.gz")
    frames, spacing_mm = read_picture(path)
    masks = read_labels(truth, frames.shape)
    if len(frames) != 1:
        raise DatasetError(f"{path} must hold one frame, rows and columns, it has {frames.shape}")
    return frames[0], masks[0], spacing_mm
