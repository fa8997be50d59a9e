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
from functools import partial
from pathlib import Path

import numpy as np

from echoseg.clip import Annotation, Clip, View
from echoseg.data.camus_writer import (
    SPLITS,
    VIEW_NAMES,
    cfg_errors,
    number,
    read_info,
    read_lines,
    read_quality,
    read_sequence,
)
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.images import read_labels, read_picture
from echoseg.data.records import SPLIT_WORDS, Issue, IssueKind, Record
from echoseg.errors import DatasetError

_STILLS = ("ED", "ED_gt", "ES", "ES_gt")
_HALF = ("half_sequence", "half_sequence_gt")


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
        listed = [line.strip() for line in read_lines(path, "a list of patients") if line.strip()]
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
    cfg, prefix = folder / f"Info_{name}.cfg", f"{patient}_{name}"
    stills = not {f"{name}_{part}" for part in (*_HALF, "cfg")} <= parts
    if stills and not {f"{name}_{part}" for part in _STILLS} <= parts:
        return None
    files = [folder / f"{prefix}_{part}.nii.gz" for part in (_STILLS if stills else _HALF)]
    read = partial(read_stills if stills else read_sequence, *files, cfg, view)
    return Record(
        name=prefix,
        patient=patient,
        view=view,
        split=split,
        quality=read_quality(cfg),
        stills=stills,
        files=(*files, *([cfg] if cfg.is_file() else [])),
        read=read,
    )


def read_stills(
    ed: Path, ed_truth: Path, es: Path, es_truth: Path, cfg: Path, view: View
) -> tuple[Clip, Annotation]:
    """Read a patient's ED and ES frames as a clip of two frames without times.

    Raises:
        DatasetError: If a file is missing or broken, or the four do not fit each other.
    """
    frames, spacing_mm = read_picture(ed)
    es_frames, es_spacing_mm = read_picture(es)
    masks = [read_labels(ed_truth, frames.shape), read_labels(es_truth, es_frames.shape)]
    is_alike = np.allclose(spacing_mm, es_spacing_mm, rtol=1e-3)
    if len(frames) != 1 or frames.shape != es_frames.shape or not is_alike:
        raise DatasetError(
            f"{ed} and {es.name} must hold one frame each, of one size and spacing; they have "
            f"{frames.shape} at {spacing_mm} mm and {es_frames.shape} at {es_spacing_mm} mm"
        )
    info = read_info(cfg) if cfg.is_file() else {}
    with cfg_errors(cfg):
        annotation = Annotation(
            masks=np.concatenate(masks),
            ed_frame=0,
            es_frame=1,
            ef_percent=number(info, "EF"),
            quality=read_quality(cfg),
        )
    frames = np.concatenate([frames, es_frames])
    return Clip(frames=frames, spacing_mm=spacing_mm, view=view, source=str(ed)), annotation
