"""Results for annotation tools, whose edited masks `measure` reads again."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from echoseg.clip import Annotation, Clip, check_times
from echoseg.data.echonet_writer import write_dataset
from echoseg.errors import ArgumentError, ConfigError
from echoseg.files import WRITTEN, OwnedFolder, Replace, read_csv, read_json, write_mark, write_text
from echoseg.io import coco, cvat, load_clip, load_masks, slicer
from echoseg.io.label_names import NAMES
from echoseg.io.nifti import write_masks
from echoseg.report.schema import Report
from echoseg.report.writer import MARK

_COLORS = {1: (217, 51, 51), 2: (51, 179, 77), 3: (64, 115, 230)}


class _Result(NamedTuple):
    """What is converted."""

    name: str
    report: Report
    masks: np.ndarray
    clip: Clip | None
    times_s: np.ndarray | None
    """Of the frames, s: those of the clip, else of the table of frames, else by the rate."""

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        return self.report.input.spacing_mm


def convert(
    folder: str | Path,
    to: str,
    output: str | Path,
    *,
    clip: str | Path | None = None,
    force: Replace = False,
) -> Path:
    """Write the masks of a result folder for another tool.

    Args:
        folder: A folder that `echoseg analyze` or `measure` wrote for one clip.
        to: One of `FORMATS`.
        output: Folder to create.
        clip: The clip that was analyzed, to be written with the masks.
        force: Replace a folder that is as echoseg wrote it; "keep": move it aside.

    Returns:
        The absolute path of the folder.

    Raises:
        ConfigError: If the format is not known, needs the clip, or its library is missing.
        ArgumentError: If the folder holds no result of one clip, or that of another clip.
        FormatError: If masks or clip cannot be read.
        OutputError: As `OwnedFolder.check`, or if writing fails.
    """
    if to not in FORMATS:
        raise ConfigError(f"--to (to) must be one of {', '.join(FORMATS)}, got {to!r}")
    if to == "echonet" and clip is None:
        raise ConfigError("echonet holds videos; give the clip that was analyzed by --clip (clip)")
    target = OwnedFolder(Path(output), WRITTEN, force)
    target.check()
    result = _read(Path(folder), clip)
    with target.write() as partial:
        FORMATS[to](partial, result)
        write_mark(partial, WRITTEN, lambda files: json.dumps({"files": files}, indent=1) + "\n")
    return target.path


def _read(folder: Path, source: str | Path | None) -> _Result:
    report = read_json(folder / MARK, Report, "give the result folder of one clip")
    if report is None:
        raise ArgumentError(
            f"{folder} must be a result folder, it holds no {MARK}; make one by echoseg analyze"
        )
    known, rate_hz = report.input, report.input.frame_rate_hz
    masks = load_masks(folder / "masks.nii.gz", fps=rate_hz or 30.0)[1]
    name = folder.resolve().name
    if source is None:
        return _Result(name, report, masks, None, _times_s(folder, len(masks), rate_hz, None))
    clip = load_clip(source, fps=rate_hz, allow_damaged=bool(known.damaged_frames))
    if clip.source_sha256 != known.sha256:
        raise ArgumentError(
            f"{source} is not the clip of {folder}: its SHA-256 begins with "
            f"{clip.source_sha256[:12]}, that of the analyzed clip with {known.sha256[:12]}; give "
            "the file that was analyzed"
        )
    if clip.frames.shape != masks.shape:
        raise ArgumentError(
            f"{folder} must hold one mask per frame, it has {masks.shape}, the clip has "
            f"{clip.frames.shape}; leave --clip (clip) out"
        )
    return _Result(name, report, masks, clip, _times_s(folder, len(masks), rate_hz, clip.times_s))


def _times_s(
    folder: Path, num_frames: int, rate_hz: float | None, of_clip_s: np.ndarray | None
) -> np.ndarray | None:
    """The times that were measured with; those of the clip, read at one rate, are even."""
    try:
        with (folder / "frames.csv").open(encoding="utf-8", newline="") as file:
            times_s = np.array([float(row["time_s"] or "nan") for row in read_csv(file)])
        check_times(times_s, num_frames)
    except (OSError, ValueError, KeyError):  # without the table, or without times in it
        even_s = np.arange(num_frames) / rate_hz if rate_hz else None
        return even_s if of_clip_s is None else of_clip_s
    return times_s


def _slicer(folder: Path, result: _Result) -> None:
    masks, spacing_mm, times_s = result.masks, result.spacing_mm, result.times_s
    slicer.write_segmentation(folder / "masks.seg.nrrd", masks, spacing_mm)
    slicer.write_sequence(folder / "masks.seq.nrrd", masks, spacing_mm, times_s, labels=True)
    if result.clip is not None:
        slicer.write_sequence(folder / "clip.seq.nrrd", result.clip.frames, spacing_mm, times_s)


def _itk_snap(folder: Path, result: _Result) -> None:
    """Label maps, and the description of labels that ITK-SNAP loads."""
    interval_s = (
        1 / result.report.input.frame_rate_hz if result.report.input.frame_rate_hz else None
    )
    write_masks(folder / "masks.nii.gz", result.masks, result.spacing_mm, interval_s)
    if result.clip is not None:
        write_masks(folder / "clip.nii.gz", result.clip.frames, result.spacing_mm, interval_s)
    rows = ['    0     0    0    0        0  0  0    "Clear Label"']
    for label, name in NAMES.items():
        red, green, blue = _COLORS[int(label)]
        rows.append(f'{int(label):5d}{red:6d}{green:5d}{blue:5d}        1  1  1    "{name}"')
    head = "# ITK-SnAP Label Description File: IDX R G B A VIS MSH LABEL\n"
    write_text(folder / "labels.txt", head + "\n".join(rows) + "\n")


def _coco(folder: Path, result: _Result) -> None:
    coco.write(folder / "annotations.json", result.masks, result.name)
    _pictures(folder, result)


def _cvat(folder: Path, result: _Result) -> None:
    cvat.write(folder / "annotations.xml", result.masks, result.name)
    _pictures(folder, result)


def _pictures(folder: Path, result: _Result) -> None:
    if result.clip is None:
        return
    from PIL import Image

    (folder / "images").mkdir()
    for index, frame in enumerate(result.clip.frames):
        Image.fromarray(frame).save(folder / "images" / coco.frame_name(result.name, index))


def _echonet(folder: Path, result: _Result) -> None:
    """The layout of EchoNet-Dynamic: video, tracings of ED and ES, and list of the one clip."""
    measured = result.report.results
    if result.clip is None or measured.ed_frame is None or measured.es_frame is None:
        raise ArgumentError(
            "echonet holds tracings of ED and ES; this result has no beat with both"
        )
    annotation = Annotation(
        masks=result.masks,
        ed_frame=measured.ed_frame,
        es_frame=measured.es_frame,
        ef_percent=measured.ef_percent,
        edv_ml=measured.edv_ml,
        esv_ml=measured.esv_ml,
    )
    write_dataset(folder, [(result.name, result.clip, annotation, "test")])


FORMATS: Mapping[str, Callable[[Path, _Result], None]] = {
    "slicer": _slicer,
    "itk-snap": _itk_snap,
    "coco": _coco,
    "cvat": _cvat,
    "echonet": _echonet,
}
"""Names of formats, and what writes them into a folder."""
