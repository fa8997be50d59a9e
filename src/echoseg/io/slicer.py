"""Segmentations (`.seg.nrrd`) and sequences (`.seq.nrrd`) of 3D Slicer.

Fields as in https://slicer.readthedocs.io ("Segmentations: file format", "Sequences").
"""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Label
from echoseg.errors import ConfigError, FormatError
from echoseg.files import atomic_write
from echoseg.io.label_names import NAMES, Region, label_of, paint

_COLORS = {
    Label.LV_CAVITY: "0.85 0.2 0.2",
    Label.LV_MYOCARDIUM: "0.2 0.7 0.3",
    Label.LA_CAVITY: "0.25 0.45 0.9",
}


def has_segments(header: dict[str, Any]) -> bool:
    """Whether an NRRD header is of a segmentation."""
    return "Segment0_LabelValue" in header or "Segment0_ID" in header


def merge_segments(path: Path, header: dict[str, Any], data: np.ndarray) -> np.ndarray:
    """One label map `T H W` of segments in one layer or several, the cavity over all.

    Segments count by their names, those of other names by their values.

    Raises:
        FormatError: If a segment is not one of our labels.
    """
    layers = data if data.ndim == 4 else data[None]
    masks = np.zeros(layers.shape[1:], np.uint8)
    regions = list[Region]()
    for index in itertools.count():
        value = header.get(f"Segment{index}_LabelValue")
        if value is None:
            break
        name = str(header.get(f"Segment{index}_Name", "")).strip()
        label = label_of(name) or int(value)
        layer = int(header.get(f"Segment{index}_Layer", 0))
        if label not in set(Label) or layer >= len(layers):
            raise FormatError(
                f"{path}: segments must be the LV cavity, the LV myocardium or the left atrium, "
                f"got segment {index + 1} of value {label}; name it so, or delete it"
            )
        regions.append((Label(label), partial(np.equal, layers[layer], int(value))))
    paint(masks, regions)
    return masks


def write_sequence(
    path: str | Path,
    frames: np.ndarray,
    spacing_mm: tuple[float, float] | None,
    times_s: np.ndarray | None,
    *,
    labels: bool = False,
) -> None:
    """Write frames or label maps `T H W` uint8 as a sequence of Slicer, `.seq.nrrd`.

    Unknown spacing is 1, unknown times are numbers of frames, as Slicer has it.

    Raises:
        ConfigError: If pynrrd is missing.
        OutputError: If the file cannot be written.
    """
    kind = "LabelMap" if labels else "Scalar"
    index = np.arange(len(frames)) if times_s is None else times_s
    _write(path, frames[:, None], spacing_mm, {
        "kinds": ["domain", "domain", "domain", "list"],
        "labels": ["", "", "", "frame" if times_s is None else "time"],
        "units": ["", "", "", "" if times_s is None else "s"],
        "DataNodeClassName": f"vtkMRML{kind}VolumeNode",
        "axis 3 index type": "numeric",
        "axis 3 index values": " ".join(f"{value:.9g}" for value in index),
    })  # fmt: skip


def write_segmentation(
    path: str | Path, masks: np.ndarray, spacing_mm: tuple[float, float] | None
) -> None:
    """Write label maps `T H W` uint8 as a segmentation of Slicer, `.seg.nrrd`, with time as depth.

    Raises:
        ConfigError: If pynrrd is missing.
        OutputError: If the file cannot be written.
    """
    fields: dict[str, Any] = {
        "kinds": ["domain"] * 3,
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    extent = " ".join(f"0 {side - 1}" for side in masks.shape[::-1])
    for index, (label, name) in enumerate(NAMES.items()):
        values = {
            "ID": name.replace(" ", "_"),
            "Name": name,
            "Color": _COLORS[label],
            "Extent": extent,
        }
        values |= {"LabelValue": str(int(label)), "Layer": "0"}
        fields |= {f"Segment{index}_{key}": value for key, value in values.items()}
    _write(path, masks, spacing_mm, fields)


def _write(
    path: str | Path,
    data: np.ndarray,
    spacing_mm: tuple[float, float] | None,
    fields: dict[str, Any],
) -> None:
    try:
        import nrrd
    except ImportError:
        raise ConfigError("writing NRRD needs pynrrd; pip install 'echoseg[exchange]'") from None
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    directions = np.full((data.ndim, 3), np.nan)
    directions[:3] = np.diag([column_mm, row_mm, 1.0])
    space = {"space": "left-posterior-superior", "space directions": directions}
    header = {"encoding": "gzip", "space origin": np.zeros(3)} | space | fields
    with atomic_write(path) as unfinished:
        nrrd.write(str(unfinished), np.ascontiguousarray(data), header, index_order="C")
