"""CAMUS, older release: 450 training and 50 test patients in MetaImage.

Layout: `training/patientNNNN/` and `testing/patientNNNN/` (numbered from 1 again, so the folder is
part of the patient's name), and for each view V of 2CH and 4CH `patientNNNN_V_ED.mhd`, `_ES`,
`_sequence`, each with its `.raw`; `_ED_gt` and `_ES_gt` in training only; `Info_V.cfg`.

The sequence has masks on its first and last phase only, and its frame rate is unknown.

Reference:
    Leclerc et al., IEEE Transactions on Medical Imaging 38(9):2198-2210, 2019.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from echoseg.clip import Annotation, Clip, View
from echoseg.data.camus_writer import VIEW_NAMES, cfg_errors, number, read_info, read_quality
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.images import read_labels, read_picture
from echoseg.data.records import SPLIT_WORDS, Issue, Record, missing_files
from echoseg.errors import DatasetError

_FOLDERS = ("training", "testing")


def detect(root: Path) -> bool:
    """Detect the older release by a patient's MetaImage."""
    return any(_patients(folder) for folder, _ in _folders(root))


def collect(root: Path) -> Dataset:
    """List every view of every patient under `root`.

    Raises:
        DatasetError: If nothing can be used.
    """
    records, issues, notes = [], [], []
    for folder, split in _folders(root):
        patients = _patients(folder)
        if not patients:
            notes.append(f"{folder} holds no patient")
        for patient in patients:
            for view in VIEW_NAMES:
                record, missing = _record(patient, view, split)
                records += [record] if record else []
                issues += missing
    return build_dataset("camus_mhd", root, records, issues, notes)


def _folders(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each folder of patients with its split: the two of the release, or the root."""
    named = [root / name for name in _FOLDERS if (root / name).is_dir()]
    if named:
        yield from ((folder, SPLIT_WORDS[folder.name]) for folder in named)
    else:
        yield root, SPLIT_WORDS.get(root.name, "")


def _patients(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.glob("patient*/patient*_[24]CH_ED.mhd")})


def _record(patient: Path, view: View, split: str) -> tuple[Record | None, list[Issue]]:
    """The record of a view, None if it cannot be used, and issues of the files that it lacks."""
    stem = patient / f"{patient.name}_{VIEW_NAMES[view]}"
    cfg = patient / f"Info_{VIEW_NAMES[view]}.cfg"
    traced = split != "test"
    needed = [cfg, *(Path(f"{stem}_{part}.mhd") for part in ("ED", "ES", "sequence"))]
    needed += [Path(f"{stem}_{part}_gt.mhd") for part in ("ED", "ES") if traced]
    if issues := missing_files(needed, "a CAMUS patient has it"):
        return None, issues
    name = f"{patient.parent.name}_{patient.name}"
    record = Record(
        name=f"{name}_{VIEW_NAMES[view]}",
        patient=name,
        view=view,
        split=split,
        quality=read_quality(cfg),
        labelled=traced,
        files=(Path(f"{stem}_sequence.mhd"), cfg, *(path for path in needed if "_gt" in path.name)),
        read=partial(read_sequence, stem, cfg, view, traced),
    )
    return record, []


def read_sequence(
    stem: Path, cfg: Path, view: View, traced: bool
) -> tuple[Clip, Annotation | None]:
    """Read a view's sequence with the masks of its two phases.

    Raises:
        DatasetError: If a file is missing, broken, or does not fit the others.
    """
    frames, spacing_mm = read_picture(Path(f"{stem}_sequence.mhd"))
    clip = Clip(frames=frames, spacing_mm=spacing_mm, view=view, source=f"{stem}_sequence.mhd")
    if not traced:
        return clip, None
    info = read_info(cfg)
    masks = np.zeros_like(frames)
    with cfg_errors(cfg):
        phases = {name: int(info[name]) - 1 for name in ("ED", "ES")}
        for name, index in phases.items():
            if not 0 <= index < len(frames):
                raise DatasetError(
                    f"{cfg}: {name} must be a frame of the sequence, 1 to {len(frames)}, "
                    f"got {index + 1}"
                )
            masks[index] = read_labels(Path(f"{stem}_{name}_gt.mhd"), (1, *clip.size))[0]
        annotation = Annotation(
            masks=masks,
            labelled_frames=tuple(sorted(phases.values())),
            ed_frame=phases["ED"],
            es_frame=phases["ES"],
            ef_percent=number(info, "LVef"),
            edv_ml=number(info, "LVedv"),
            esv_ml=number(info, "LVesv"),
            quality=read_quality(cfg),
        )
    return clip, annotation
