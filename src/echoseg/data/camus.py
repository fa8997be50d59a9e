"""CAMUS, NIfTI release: apical clips of 500 patients with masks of ED, ES and half sequences.

Layout: `database_nifti/patientNNNN/` and for each view V of 2CH and 4CH `patientNNNN_V_ED`, `_ES`
and `_half_sequence`, each with its `_gt`, all `.nii.gz` with axes (x, y) or (x, y, t), and
`Info_V.cfg`; `database_split/subgroup_{training,validation,testing}.txt`.

A view is the half sequence, with a mask on every frame, where it is there with its mask and cfg;
else the two stills. Some half sequences run from ES to ED.

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
from echoseg.data.camus_writer import SPLITS, VIEW_NAMES, read_info, read_view, told_quality
from echoseg.data.images import read_labels, read_picture
from echoseg.data.records import SPLIT_WORDS, Dataset, Issue, IssueKind, Record, build_dataset
from echoseg.errors import DatasetError

EXPECTED = "database_nifti/patientNNNN/patientNNNN_4CH_ED.nii.gz, database_split/"
_STILLS = ("ED", "ED_gt", "ES", "ES_gt")
_HALF = ("half_sequence", "half_sequence_gt")


@dataclass(frozen=True, kw_only=True, eq=False)
class CamusStill:
    """One annotated A4C frame: picture and mask `H W` uint8, spacing (row, column) in mm."""

    patient: str
    phase: Phase
    picture: np.ndarray
    mask: np.ndarray
    spacing_mm: tuple[float, float]


def detect(root: Path) -> bool:
    """Tell the NIfTI release by its folder of patients."""
    return (root / "database_nifti").is_dir()


def collect(root: Path) -> Dataset:
    """Return every view of every patient that is under `root`.

    Raises:
        DatasetError: If nothing can be used.
    """
    folder = root / "database_nifti"
    present = sorted(path.name for path in folder.iterdir() if path.is_dir())
    split_of, issues, notes = _splits(root, present)
    whole = {patient: _parts(folder / patient) for patient in present}
    held = Counter(part for parts in whole.values() for part in parts)
    notes += _absent(held, len(present))
    records = []
    for patient, parts in whole.items():
        for view in VIEW_NAMES:
            found = _record(root, patient, view, parts, split_of.get(patient, ""))
            if found is not None:
                records.append(found)
            issues += _missing(folder / patient, view, parts, held)
    return build_dataset("camus", root, records, issues, notes)


def _splits(root: Path, present: list[str]) -> tuple[dict[str, str], list[Issue], list[str]]:
    """Return each present patient's split, what is odd in the lists, and who is not here."""
    split_of, issues, notes = {}, [], []
    for name in SPLITS:
        path = root / "database_split" / f"subgroup_{name}.txt"
        if not path.is_file():
            notes.append(f"{path} is not there, so nobody is in the split {SPLIT_WORDS[name]}")
            continue
        listed = read_list(path)
        here = [patient for patient in listed if patient in set(present)]
        away = len(set(listed)) - len(set(here))
        if away:
            notes.append(f"{away} of the {len(set(listed))} patients of {path.name} are not here")
        for patient in here:
            if split_of.setdefault(patient, SPLIT_WORDS[name]) != SPLIT_WORDS[name]:
                reason = "the patient stands in two split lists; belongs to neither here"
                issues.append(Issue(place=patient, kind=IssueKind.INCONSISTENT, reason=reason))
                split_of[patient] = ""
            elif listed.count(patient) > 1:
                reason = f"the patient stands twice in {path.name}; taken once"
                issues.append(Issue(place=patient, kind=IssueKind.INCONSISTENT, reason=reason))
    return split_of, list(dict.fromkeys(issues)), notes


def read_list(path: Path) -> list[str]:
    """Return the names of a split list, whatever its line ends, with or without a BOM.

    Raises:
        DatasetError: If it is no text.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as a list of patients ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def _parts(folder: Path) -> set[str]:
    """Return which parts of a patient there are, such as `4CH_ED_gt` and `4CH_cfg`."""
    prefix, suffix = f"{folder.name}_", ".nii.gz"
    found = set()
    for path in folder.iterdir():
        if path.name.startswith(prefix) and path.name.endswith(suffix):
            found.add(path.name[len(prefix) : -len(suffix)])
        elif path.name.startswith("Info_") and path.suffix == ".cfg":
            found.add(f"{path.stem.removeprefix('Info_')}_cfg")
    return found


def _absent(held: Counter[str], num_patients: int) -> list[str]:
    """Return one line for each kind of file that no patient of this copy has."""
    notes = []
    for view in VIEW_NAMES.values():
        kinds = [f"{view}_{part}" for part in (*_STILLS, *_HALF, "cfg")]
        away = [kind for kind in kinds if not held[kind]]
        named = f"{view} view" if len(away) == len(kinds) else ", ".join(away)
        if away:
            notes.append(f"none of the {num_patients} patients has files of: {named}")
    return notes


def _missing(folder: Path, view: View, parts: set[str], held: Counter[str]) -> list[Issue]:
    """Return the files that a patient lacks and others of this copy have."""
    name = VIEW_NAMES[view]
    issues = []
    for part in (*_STILLS, *_HALF, "cfg"):
        if held[f"{name}_{part}"] and f"{name}_{part}" not in parts:
            file = f"Info_{name}.cfg" if part == "cfg" else f"{folder.name}_{name}_{part}.nii.gz"
            reason = "the file is missing; a CAMUS patient has it"
            issues.append(Issue(place=str(folder / file), kind=IssueKind.MISSING, reason=reason))
    return issues


def _record(root: Path, patient: str, view: View, parts: set[str], split: str) -> Record | None:
    """Return a view's record: its half sequence, else its stills, else nothing."""
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
        quality=told_quality(cfg),
        stills=stills,
        files=(*files, *([cfg] if cfg.is_file() else [])),
        read=read,
    )


def read_stills(root: Path, patient: str, view: View) -> tuple[Clip, Annotation]:
    """Read a patient's ED and ES frames as a clip of two frames, which has no times.

    Raises:
        DatasetError: If a file is missing or broken, or the four do not fit each other.
    """
    folder, name = root / "database_nifti" / patient, VIEW_NAMES[view]
    read = [_read_still(folder / f"{patient}_{name}_{phase}") for phase in Phase]
    (ed, ed_mask, spacing_mm), (es, es_mask, es_spacing_mm) = read
    if ed.shape != es.shape or not np.allclose(spacing_mm, es_spacing_mm, rtol=1e-3):
        raise DatasetError(
            f"{folder}: {name} ED and ES must have one size and scale, they have "
            f"{ed.shape} at {spacing_mm} mm and {es.shape} at {es_spacing_mm} mm"
        )
    cfg = folder / f"Info_{name}.cfg"
    ef = read_info(cfg).get("EF", "") if cfg.is_file() else ""
    try:
        known = Annotation(
            masks=np.stack([ed_mask, es_mask]),
            ed_frame=0,
            es_frame=1,
            ef_percent=float(ef) if ef not in ("", "NA") else None,
            quality=told_quality(cfg),
        )
    except ValueError as error:
        raise DatasetError(f"{cfg}: {error}") from error
    frames = np.stack([ed, es])
    return Clip(frames=frames, spacing_mm=spacing_mm, view=view, source=str(folder)), known


def patients(root: Path, split: str) -> list[str]:
    """Return the patients of `training` or `validation` that are present under `root`.

    Raises:
        DatasetError: If the split list is not where CAMUS has it, or no patient of it is present.
    """
    path = root / "database_split" / f"subgroup_{split}.txt"
    if not path.is_file():
        raise DatasetError(f"{root} is no CAMUS copy: {path} is missing; give the folder above it")
    present = [name for name in read_list(path) if (root / "database_nifti" / name).is_dir()]
    if not present:
        raise DatasetError(f"no patient of {path} is under {root / 'database_nifti'}")
    return present


def stills(root: Path, split: str) -> Iterator[CamusStill]:
    """Yield the ED and the ES frame of each patient's A4C view, in the split list's order.

    Raises:
        DatasetError: If a file is missing, broken or no single frame, or a mask does not fit.
    """
    for patient in patients(root, split):
        for phase in Phase:
            stem = root / "database_nifti" / patient / f"{patient}_4CH_{phase}"
            picture, mask, spacing_mm = _read_still(stem)
            yield CamusStill(
                patient=patient, phase=phase, picture=picture, mask=mask, spacing_mm=spacing_mm
            )


def _read_still(stem: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Return a frame and its mask, each `H W` uint8, and the scale."""
    path, truth = Path(f"{stem}.nii.gz"), Path(f"{stem}_gt.nii.gz")
    frames, spacing_mm = read_picture(path)
    masks = read_labels(truth, frames.shape)
    if len(frames) != 1:
        raise DatasetError(f"{path} must hold one frame, rows and columns, it has {frames.shape}")
    return frames[0], masks[0], spacing_mm
