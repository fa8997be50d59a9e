"""Masks that another tool wrote, one file per clip or per still, as the predictions of a data set.

Files are matched by the name of the clip, whatever the folder below:

- `NAME.nii.gz` (or another format of label maps) with as many frames as the clip;
- `NAME_ED.nii.gz` and `NAME_ES.nii.gz`, stills, as nnU-Net writes them for CAMUS;
- `NAME/masks.nii.gz`, the result folders of `echoseg analyze`.

The name of a file, such as `site/heart.avi`, may also stand as `site_heart`, as `analyze` names it.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Annotation, Clip
from echoseg.data import Record
from echoseg.errors import DatasetError, EchosegError, ModelError
from echoseg.evaluation.predictors import ABOUT, Predicted
from echoseg.io.frames import OpenOptions
from echoseg.io.masks import read_masks

SUFFIXES = (
    ".nii.gz", ".nii", ".mha", ".mhd", ".seg.nrrd", ".seq.nrrd", ".nrrd", ".npy", ".npz", ".png",
    ".tiff", ".tif", ".dcm",
)  # fmt: skip
_MASKS, _ENDINGS = "masks", ("", "_gt", "_pred", "_seg", "_mask")
_SUFFIX = re.compile(r"(\.nii)?\.[a-z]\w{1,4}$", re.IGNORECASE)
_MAX_FILES = 1_000_000


@dataclass(frozen=True, slots=True)
class PredictionFolder:
    """A folder of masks of any tool.

    Raises:
        DatasetError: If it is not a folder, holds no masks, or two files have one name.
    """

    folder: Path
    labels: None = None
    _files: dict[str, Path] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """List the files once."""
        if not self.folder.is_dir():
            raise DatasetError(f"{self.folder} must be a folder of masks, there is none")
        for name, path in _masks_in(self.folder):
            if name in self._files:
                raise DatasetError(
                    f"{self.folder} must hold one file of masks per clip, got "
                    f"{self._files[name].name} and {path.name} for {name}; keep one of them"
                )
            self._files[name] = path
        if not self._files:
            raise DatasetError(
                f"{self.folder} must hold masks ({', '.join(SUFFIXES)}), it has none; see "
                "docs/guides/evaluate.md for the names"
            )

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def protocol(self) -> dict[str, str]:
        """How the masks came here."""
        return {
            "input": "the masks of another tool, on the picture's own grid",
            "post_processing": "none; for volumes the largest cavity and atrium, holes filled",
        }

    def about(self) -> dict[str, Any]:
        """Name of the folder, and a hash of the names and bytes of its masks."""
        digest = hashlib.sha256()
        for name, path in sorted(self._files.items()):
            with path.open("rb") as file:
                digest.update(
                    f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
                )
        values = (self.name, digest.hexdigest(), "masks of another tool", None, "")
        return dict(zip(ABOUT, values, strict=True))

    def predict(self, record: Record, clip: Clip, annotation: Annotation) -> Predicted:
        """Read the masks of a clip.

        Raises:
            ModelError: If there are none or two, or grid or number is another than the clip's.
        """
        whole = self._path(record.name)
        if whole is not None:
            masks = _read(whole)
            if len(masks) != clip.num_frames:
                raise ModelError(
                    f"{whole}: masks must have {clip.num_frames} frames as the clip, got "
                    f"{len(masks)}; give one per frame, or {record.name}_ED and {record.name}_ES"
                )
            return Predicted(_on_grid(whole, masks, clip))
        return self._pair(record, clip, annotation)

    def _pair(self, record: Record, clip: Clip, annotation: Annotation) -> Predicted:
        """The masks of ED and ES, the other frames empty."""
        masks = np.zeros(clip.frames.shape[:3], np.uint8)
        phases = (("ED", annotation.ed_frame), ("ES", annotation.es_frame))
        scored = [(name, frame) for name, frame in phases if frame in annotation.labelled_frames]
        if not scored:
            raise ModelError(
                f"{record.name}: {self.folder} must hold its masks as {record.name}.nii.gz, or of "
                "another format, as neither its ED nor its ES has a mask; there is no such file"
            )
        for phase, frame in scored:
            path = self._path(record.name, f"_{phase}")
            if path is None:
                raise ModelError(
                    f"{record.name}: {self.folder} must hold its masks as {record.name}.nii.gz or "
                    f"{record.name}_{phase}.nii.gz, or of another format; it has neither"
                )
            still = _read(path)
            if len(still) != 1:
                raise ModelError(f"{path}: masks of a still must be one frame, got {len(still)}")
            masks[frame] = _on_grid(path, still, clip)[0]
        return Predicted(masks, all_frames=False)

    def _path(self, clip: str, phase: str = "") -> Path | None:
        names = [clip + phase, _SUFFIX.sub("", clip).replace("/", "_") + phase]
        keys = dict.fromkeys(name + ending for name in names for ending in _ENDINGS)
        paths = [self._files[key] for key in keys if key in self._files]
        if len(paths) > 1:  # a picture and its masks, or two tools' masks
            raise ModelError(
                f"{self.folder} must hold one file of masks for {clip}{phase}, got "
                f"{paths[0].name} and {paths[1].name}; keep the masks alone"
            )
        return paths[0] if paths else None


def _masks_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names of clips and files of masks, in a fixed order; links to folders are not followed."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        for file in sorted(names):
            suffix = next((s for s in SUFFIXES if file.lower().endswith(s)), None)
            count += 1
            if count > _MAX_FILES:
                raise DatasetError(f"{folder} must hold at most {_MAX_FILES} files, it has more")
            if suffix is None or file.startswith("."):
                continue
            stem, path = file[: -len(suffix)], Path(root) / file
            is_result = stem == _MASKS and path.parent != folder
            yield (path.parent.name if is_result else stem), path


def _read(path: Path) -> np.ndarray:
    try:
        return read_masks(path, OpenOptions()).masks
    except EchosegError as error:
        raise ModelError(str(error)) from error


def _on_grid(path: Path, masks: np.ndarray, clip: Clip) -> np.ndarray:
    rows, columns = clip.frames.shape[1:3]
    if masks.shape[1:] == (rows, columns):
        return masks
    is_swapped = masks.shape[1:] == (columns, rows)
    way_out = "swap rows and columns" if is_swapped else "resample them to the original picture"
    raise ModelError(
        f"{path}: masks must have the clip's grid of {rows} x {columns} pixels, got "
        f"{masks.shape[1]} x {masks.shape[2]}; {way_out}"
    )
