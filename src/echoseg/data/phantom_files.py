"""Clips of the phantom on disk, in its layouts `avi`, `nifti` and `dicom`, with all their truth.

`phantom.json` tells of each clip: seed, view, tier, scale, frame rate, ED, ES and ejection
fraction; the clip lies beside it with `NAME_masks.nii.gz`. The layouts `camus` and `echonet` are
read as what they stand for. A heart, not a clip, is a patient: the seed.
"""

import json
from pathlib import Path
from typing import Any

from echoseg.clip import View
from echoseg.data.custom import Known, record
from echoseg.data.records import Dataset, Issue, IssueKind, Record, build_dataset
from echoseg.errors import DatasetError

EXPECTED = "phantom.json and its clips, as `echoseg phantom make` writes them"
_MARK = "phantom.json"
_SUFFIXES = {"avi": "avi", "nifti": "nii.gz", "dicom": "dcm"}


def detect(root: Path) -> bool:
    """Tell a folder that `echoseg phantom make` wrote in one of the three layouts."""
    if not (root / _MARK).is_file():
        return False
    return not (root / "database_nifti").is_dir() and not (root / "FileList.csv").is_file()


def collect(root: Path) -> Dataset:
    """Return every clip that `phantom.json` tells of.

    Raises:
        DatasetError: If `phantom.json` is broken, or no clip of it is there.
    """
    try:
        told = json.loads((root / _MARK).read_text("utf-8"))
        suffix = _SUFFIXES[told["layout"]]
        clips: dict[str, dict[str, Any]] = told["clips"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{root / _MARK} must tell of the layout and the clips, it does not ({error}); make "
            "the folder again"
        ) from error
    records, issues = [], []
    for name, about in clips.items():
        path, masks = root / f"{name}.{suffix}", root / f"{name}_masks.nii.gz"
        missing = [file for file in (path, masks) if not file.is_file()]
        for file in missing:
            reason = "phantom.json tells of it and the file is missing"
            issues.append(Issue(place=str(file), kind=IssueKind.MISSING, reason=reason))
        if missing:
            continue
        try:
            records.append(_record(name, path, masks, about))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"phantom.json does not tell of it as it should ({error!r})"
            issues.append(Issue(place=name, kind=IssueKind.INCONSISTENT, reason=reason))
    return build_dataset("phantom", root, records, issues)


def _record(name: str, path: Path, masks: Path, about: dict[str, Any]) -> Record:
    ed_frame, es_frame = int(about["ed_frame"]), int(about["es_frame"])
    row_mm, column_mm = (float(step) for step in about["spacing_mm"])
    known = Known(
        masks=masks,
        ed_frame=ed_frame,
        es_frame=None if es_frame == ed_frame else es_frame,
        ef_percent=about["true_ef_percent"],
        quality=str(about["tier"]),
    )
    return record(
        name,
        f"heart{int(about['seed'])}",
        path,
        known,
        view=View(about["view"]),
        spacing_mm=(row_mm, column_mm),
    )
