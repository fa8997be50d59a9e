"""Phantom clips on disk, in the layouts `avi`, `nifti` and `dicom`, with ground truth.

`phantom.json` lists each clip's seed, view, tier, spacing, frame rate, ED, ES and EF; the clip lies
next to it with `NAME_masks.nii.gz`. The layouts `camus` and `echonet` are read by the readers of
these data sets. A patient is a heart (seed), not a clip.
"""

from pathlib import Path
from typing import Any

from echoseg.clip import View
from echoseg.data.custom import clip_record
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.records import Issue, IssueKind, Record, missing_files
from echoseg.errors import DatasetError, Unfit, reason_of
from echoseg.untrusted import inside, read_json, reading

_MARK = "phantom.json"
_SUFFIXES = {"avi": "avi", "nifti": "nii.gz", "dicom": "dcm"}


def detect(root: Path) -> bool:
    """Detect a folder that `echoseg phantom make` wrote in one of the three layouts."""
    if not (root / _MARK).is_file():
        return False
    return not (root / "database_nifti").is_dir() and not (root / "FileList.csv").is_file()


def collect(root: Path) -> Dataset:
    """List every clip in `phantom.json`.

    Raises:
        DatasetError: If `phantom.json` is broken, or none of its clips can be used.
    """
    rule = "must list the layout and the clips"
    with reading(root / _MARK, DatasetError, rule, "make the folder again"):
        document = read_json(root / _MARK)
        suffix = _SUFFIXES[document["layout"]]
        clips: dict[str, dict[str, Any]] = dict(document["clips"])
    records, issues = [], []
    for name, values in clips.items():
        try:
            path, masks = (inside(root, f"{name}{end}") for end in (f".{suffix}", "_masks.nii.gz"))
        except Unfit as error:
            issues.append(Issue(place=name, kind=IssueKind.INCONSISTENT, reason=f"{error}"))
            continue
        if missing := missing_files((path, masks), "phantom.json lists it"):
            issues += missing
            continue
        try:
            records.append(_record(name, path, masks, values))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f"its entry in phantom.json is invalid ({reason_of(error)})"
            issues.append(Issue(place=name, kind=IssueKind.INCONSISTENT, reason=reason))
    return build_dataset("phantom", root, records, issues)


def _record(name: str, path: Path, masks: Path, values: dict[str, Any]) -> Record:
    ed_frame, es_frame = int(values["ed_frame"]), int(values["es_frame"])
    row_mm, column_mm = (float(step) for step in values["spacing_mm"])
    known = {
        "masks": masks,
        "ed_frame": ed_frame,
        "es_frame": None if es_frame == ed_frame else es_frame,
        "ef_percent": values["true_ef_percent"],
        "quality": str(values["tier"]),
    }
    view, patient = View(values["view"]), f"heart{int(values['seed'])}"
    return clip_record(name, patient, path, known, view=view, spacing_mm=(row_mm, column_mm))
