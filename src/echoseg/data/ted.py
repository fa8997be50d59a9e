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

from echoseg.clip import View
from echoseg.data.camus_writer import read_quality, read_sequence
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.records import Record, missing_files


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
        if missing := missing_files(files, "a patient of TED has it"):
            issues += missing
            continue
        record = Record(
            name=f"{folder.name}_4CH",
            patient=folder.name,
            view=View.A4C,
            quality=read_quality(files[2]),
            files=tuple(files),
            read=partial(read_sequence, *files, View.A4C),
        )
        records.append(record)
    note = "its patients are CAMUS's: do not evaluate models on it that were trained on CAMUS"
    return build_dataset("ted", root, records, issues, [note])


def _folder(root: Path) -> Path:
    return root / "database" if (root / "database").is_dir() else root
