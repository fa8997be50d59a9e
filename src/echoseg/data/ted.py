"""TED: apical four-chamber clips of 98 CAMUS patients over a whole beat, every frame with masks.

Layout: `database/patientNNN/` (or the patients' folders alone) with `patientNNN_4CH_sequence.mhd`,
`patientNNN_4CH_sequence_gt.mhd`, each with its `.raw`, and `patientNNN_4CH_info.cfg`.

It has no splits, and its patients are CAMUS's under other numbers: a model trained on CAMUS was
trained on most of them.

Reference:
    Painchaud et al., IEEE Transactions on Medical Imaging 41(10):2867-2878, 2022.
"""

from functools import partial
from pathlib import Path

import numpy as np

from echoseg.clip import Annotation, Clip, View
from echoseg.data.camus_writer import cfg_errors, number, read_info, read_quality
from echoseg.data.images import read_labels, read_picture
from echoseg.data.records import Dataset, Issue, IssueKind, Record, build_dataset

EXPECTED = "database/patientNNN/patientNNN_4CH_sequence.mhd"


def detect(root: Path) -> bool:
    """Detect TED by a sequence with its mask."""
    return any(_folder(root).glob("patient*/patient*_4CH_sequence_gt.mhd"))


def collect(root: Path) -> Dataset:
    """List every clip under `root`.

    Raises:
        DatasetError: If nothing can be used.
    """
    records, issues = [], []
    for folder in sorted(path for path in _folder(root).glob("patient*") if path.is_dir()):
        stem = folder / f"{folder.name}_4CH"
        files = [Path(f"{stem}_{part}") for part in ("sequence.mhd", "sequence_gt.mhd", "info.cfg")]
        missing = [path for path in files if not path.is_file()]
        reason = "the file is missing; a patient of TED has it"
        issues += [
            Issue(place=str(path), kind=IssueKind.MISSING, reason=reason) for path in missing
        ]
        if missing:
            continue
        record = Record(
            name=f"{folder.name}_4CH",
            patient=folder.name,
            view=View.A4C,
            quality=read_quality(files[2]),
            files=tuple(files),
            read=partial(read_clip, *files),
        )
        records.append(record)
    note = "its patients are CAMUS's: do not evaluate models on it that were trained on CAMUS"
    return build_dataset("ted", root, records, issues, [note])


def _folder(root: Path) -> Path:
    return root / "database" if (root / "database").is_dir() else root


def read_clip(path: Path, truth: Path, cfg: Path) -> tuple[Clip, Annotation]:
    """Read a clip with the mask of every frame.

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
            view=View.A4C,
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
