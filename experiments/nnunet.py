"""CAMUS in the layout of nnU-Net v2, so that nnU-Net itself can be trained and evaluated.

    DatasetNNN_NAME/
      imagesTr/CLIP_ED_0000.nii.gz   training patients: a still each, its labels in labelsTr
      labelsTr/CLIP_ED.nii.gz
      imagesTs/CLIP_ED_0000.nii.gz   validation patients: images alone, nothing to train on
      dataset.json, splits_final.json

`CLIP` is the name that echoseg gives, `patient0001_4CH`; so nnU-Net's predictions of imagesTs are
named as `echoseg evaluate --predictions` takes them. The one split of splits_final.json (fold 0)
holds some *training* patients out, on which nnU-Net follows its training.

Reference:
    Isensee et al., Nature Methods 18(2):203-211, 2021.
"""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Label
from echoseg.data import Dataset, Record
from echoseg.errors import ConfigError, DatasetError
from echoseg.files import ensure_dir, work_folder, write_text

SUFFIX = ".nii.gz"


@dataclass(frozen=True, kw_only=True, slots=True)
class RawDataset:
    """A data set as nnU-Net takes it: its folder, cases and the patients held out."""

    folder: Path
    num_training: int
    num_held_out: int
    num_validation: int
    held_out: tuple[str, ...]


def write_raw(
    data: Dataset,
    root: Path,
    *,
    name: str = "Dataset501_CAMUS",
    num_held_out: int = 20,
    seed: int = 0,
) -> RawDataset:
    """Write ED and ES of all labeled clips as the folder `name` of nnU-Net's raw data sets.

    Args:
        data: Data set with training and validation patients.
        root: nnU-Net's folder of raw data sets, `nnUNet_raw`.
        name: Name by nnU-Net's rule, DatasetNNN_NAME.
        num_held_out: Training patients on which nnU-Net follows its training.
        seed: Seed of their choice.

    Raises:
        ConfigError: If the folder exists, or no training patients are left.
        EchosegError: If a clip cannot be read, or has no spacing, ED or ES.
    """
    folder = root / name
    if folder.exists():
        raise ConfigError(f"{folder} must not exist yet; remove it or give another name")
    if not re.fullmatch(r"Dataset\d{3}_\w+", name):
        raise ConfigError(f"name must be DatasetNNN_NAME with three digits, got {name!r}")
    training, validation = data.split("train").records, data.split("validation").records
    patients = sorted({record.patient for record in training})
    if not 0 < num_held_out < len(patients):
        raise ConfigError(
            f"num_held_out must be from 1 to {len(patients) - 1} of the {len(patients)} training "
            f"patients, got {num_held_out}"
        )
    held_out = set(random.Random(seed).sample(patients, num_held_out))
    split: dict[str, list[str]] = {"train": [], "val": []}
    with ensure_dir(root), work_folder(root) as entry:
        work = entry / "new" / name
        for part in ("imagesTr", "labelsTr", "imagesTs"):
            (work / part).mkdir(parents=True)
        for record in training:
            for case, image, masks, spacing_mm in _stills(record):
                _save(work / "imagesTr" / f"{case}_0000{SUFFIX}", image, spacing_mm)
                _save(work / "labelsTr" / f"{case}{SUFFIX}", masks, spacing_mm)
                split["val" if record.patient in held_out else "train"].append(case)
        for record in validation:
            for case, image, _, spacing_mm in _stills(record):
                _save(work / "imagesTs" / f"{case}_0000{SUFFIX}", image, spacing_mm)
        write_text(work / "dataset.json", json.dumps(_description(split), indent=1))
        write_text(work / "splits_final.json", json.dumps([split], indent=1))
        work.rename(folder)
    return RawDataset(
        folder=folder,
        num_training=len(split["train"]),
        num_held_out=len(split["val"]),
        num_validation=2 * len(validation),
        held_out=tuple(sorted(held_out)),
    )


def _description(split: dict[str, list[str]]) -> dict[str, Any]:
    """Content of nnU-Net's dataset.json."""
    names = ("background", "lv_cavity", "lv_myocardium", "left_atrium")
    return {
        "channel_names": {"0": "ultrasound"},
        "labels": dict(zip(names, map(int, Label), strict=True)),
        "numTraining": sum(map(len, split.values())),
        "file_ending": SUFFIX,
        "overwrite_image_reader_writer": "SimpleITKIO",
    }


def _stills(record: Record) -> Iterator[tuple[str, np.ndarray, np.ndarray, tuple[float, float]]]:
    """Name, frame, masks `H W` and spacing in mm of ED and ES."""
    clip, annotation = record.load()
    phases = (annotation.ed_frame, annotation.es_frame) if annotation else (None, None)
    if annotation is None or clip.spacing_mm is None or None in phases:
        raise DatasetError(f"{record.name} must have a spacing and masks at ED and ES")
    for phase, frame in zip(("ED", "ES"), phases, strict=True):
        yield f"{record.name}_{phase}", clip.frames[frame], annotation.masks[frame], clip.spacing_mm


def _save(path: Path, pixels: np.ndarray, spacing_mm: tuple[float, float]) -> None:
    """Write `H W` uint8 as a NIfTI image of two dimensions, (x, y)."""
    from nibabel.nifti1 import Nifti1Image

    row_mm, column_mm = spacing_mm
    image = Nifti1Image(
        np.ascontiguousarray(pixels.T, np.uint8), np.diag([-column_mm, -row_mm, 1.0, 1.0])
    )
    image.header.set_xyzt_units("mm")
    image.to_filename(path)
