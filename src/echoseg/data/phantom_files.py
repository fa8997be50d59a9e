"""Phantom clips on disk, in the layouts `avi`, `nifti` and `dicom`, with ground truth.

`phantom.json` lists each clip's seed, view, tier, spacing, frame rate, ED, ES and EF; the clip lies
next to it with `NAME_masks.nii.gz`. The layouts `camus` and `echonet` are read by the readers of
these data sets. A patient is a heart (seed), not a clip.
"""

import json
from pathlib import Path
from typing import Any

from echoseg.clip import View
from echoseg.data.custom import clip_record
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.records import Issue, IssueKind, Record, missing_files
from echoseg.errors import DatasetError

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
    try:
        document = json.loads((root / _MARK).read_text("utf-8"))
        suffix = _SUFFIXES[document["layout"]]
        clips: dict[str, dict[str, Any]] = document["clips"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{root / _MARK} must list the layout and the clips ({error}); make the folder again"
        ) from error
    records, issues = [], []
    for name, values in clips.items():
        path, masks = root / f"{name}.{suffix}", root / f"{name}_masks.nii.gz"
        if missing := missing_files((path, masks), "phantom.json lists it"):
            issues += missing
            continue
        try:
            records.append(_record(name, path, masks, values))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"its entry in phantom.json is invalid ({error!r})"
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
