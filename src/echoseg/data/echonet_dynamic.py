"""EchoNet-Dynamic: 10,030 apical four-chamber clips with two traced frames each.

Layout: `FileList.csv` (one row per clip: volumes, EF, size, frame rate, split),
`VolumeTracings.csv` (one row per chord, see `echonet_tracing`), `Videos/*.avi` (MJPEG, 112 x 112).
Frames count from 0. Without pixel spacing, EF can be computed but volumes in ml cannot.

Known defects of the release: six listed clips have no tracing and one tracing has no clip. The two
traced frames come in either order, so the one with the larger area is ED; ED may come after ES.

Reference:
    Ouyang et al., Nature 580:252-256, 2020.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from echoseg.clip import NOT_AS_LISTED, Annotation, Clip, ClipWarning, Label, View
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.echonet_pediatric import detect as detect_pediatric
from echoseg.data.echonet_tracing import mask_from_tracing, tracing_area_px
from echoseg.data.records import SPLIT_WORDS, Issue, IssueKind, Record
from echoseg.data.table import Row, read_table
from echoseg.errors import DatasetError
from echoseg.io import load_clip

LIST_COLUMNS = (
    "FileName",
    "EF",
    "ESV",
    "EDV",
    "FrameHeight",
    "FrameWidth",
    "FPS",
    "NumberOfFrames",
    "Split",
)
TRACING_COLUMNS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
SPLITS = ("TRAIN", "VAL", "TEST")
UNTRACED = frozenset(
    {
        "0X234005774F4CB5CD",
        "0X2DC68261CBCC04AE",
        "0X35291BE9AB90FB89",
        "0X5515B0BD077BE68A",
        "0X6C435C1B417FDE8A",
        "0X5DD5283AC43CCDD1",
    }
)
"""Clips of the release without tracing; the last is in TEST, the others in TRAIN."""
WITHOUT_VIDEO = frozenset({"0X4F8859C8AB4DA9CB"})
"""The tracing of the release without clip."""
_MIN_ROWS = 3  # the long axis and two chords; fewer enclose nothing

Tracing = dict[int, np.ndarray]
"""Frame -> rows `N 4` of its tracing, in pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedClip:
    """One clip with its values in the two tables; None where EF or a volume is unknown."""

    name: str
    video: Path
    split: str
    size: tuple[int, int]
    """(rows, columns)."""
    frame_rate_hz: float
    num_frames: int
    """As in the list; the file may have another number."""
    ef_percent: float | None
    edv_ml: float | None
    esv_ml: float | None
    ed_frame: int
    """The traced frame with the larger area."""
    es_frame: int
    tracing: Tracing


def detect(root: Path) -> bool:
    """Detect the release by its list, unless it is EchoNet-Pediatric's."""
    return (root / "FileList.csv").is_file() and not detect_pediatric(root)


def collect(root: Path) -> Dataset:
    """List every clip that has a row, a video and a tracing; all others become issues.

    Raises:
        DatasetError: If a table is missing or lacks a column, or no clip can be used.
    """
    way_out = "EchoNet-Dynamic has it next to its folder Videos"
    rows, row_issues = read_table(root / "FileList.csv", LIST_COLUMNS, way_out)
    reasons = {issue.place: issue.reason for issue in row_issues}
    tracings, faults = _tracings(root / "VolumeTracings.csv", way_out, reasons)
    videos = {path.stem: path for path in sorted((root / "Videos").glob("*.avi"))}
    clips: dict[str, TracedClip] = {}
    listed: set[str] = set()
    for row in rows:
        name = row.text("FileName").removesuffix(".avi")
        clips.pop(name, None)
        try:
            if name in listed:
                raise DatasetError(f"{row.place}: {name} is listed twice; neither row is used")
            if name in faults:
                raise DatasetError(faults[name])
            clips[name] = _traced_clip(name, row, videos.get(name), tracings.get(name, {}))
        except DatasetError as error:
            reasons[name] = str(error)
        listed.add(name)
    for name in sorted((tracings.keys() | videos.keys()) - listed):
        parts = [
            part for part, names in (("tracing", tracings), ("video", videos)) if name in names
        ]
        reasons[name] = f"it has a {' and a '.join(parts)}, but no row in FileList.csv"
    return build_dataset(
        "echonet_dynamic",
        root,
        map(_record, clips.values()),
        [
            Issue(place=name, kind=_kind(name, reason), reason=reason)
            for name, reason in reasons.items()
        ],
    )


def _record(clip: TracedClip) -> Record:
    return Record(
        name=clip.name,
        patient=clip.name,
        view=View.A4C,
        split=SPLIT_WORDS[clip.split.lower()],
        files=(clip.video,),
        read=partial(read_clip, clip),
        labels=(Label.LV_CAVITY,),
    )


def _kind(name: str, reason: str) -> IssueKind:
    if name in UNTRACED | WITHOUT_VIDEO:
        return IssueKind.KNOWN
    return IssueKind.MISSING if "is missing" in reason else IssueKind.INCONSISTENT


def _tracings(
    path: Path, way_out: str, reasons: dict[str, str]
) -> tuple[dict[str, Tracing], dict[str, str]]:
    """Read the tracing of each clip, rows in the table's order, and the faults of clips.

    Rows with too few or too many fields, whose clip is uncertain, are added to `reasons`.
    """
    rows, row_issues = read_table(path, TRACING_COLUMNS, way_out)
    reasons.update({issue.place: issue.reason for issue in row_issues})
    chords: dict[str, dict[int, list[list[float]]]] = {}
    faults: dict[str, str] = {}
    for row in rows:
        name = row.text("FileName").removesuffix(".avi")
        frames = chords.setdefault(name, {})
        try:
            ends = [row.number(column) for column in TRACING_COLUMNS[1:5]]
            frames.setdefault(row.whole("Frame"), []).append(ends)
        except DatasetError as error:
            faults.setdefault(name, str(error))
    tracings = {
        name: {index: np.array(ends) for index, ends in frames.items()}
        for name, frames in chords.items()
    }
    return tracings, faults


def _traced_clip(name: str, row: Row, video: Path | None, tracing: Tracing) -> TracedClip:
    """Check one row against video and tracing.

    Raises:
        DatasetError: If the clip cannot be used.
    """
    split, num_frames = row.values["Split"].upper(), row.whole("NumberOfFrames")
    if split not in SPLITS:
        raise DatasetError(
            f"{row.place}: Split must be {', '.join(SPLITS)}, got {row.values['Split']!r}"
        )
    if (rate_hz := row.number("FPS")) <= 0:
        raise DatasetError(f"{row.place}: FPS must be above 0, got {rate_hz:g}")
    if video is None:
        raise DatasetError(f"its video Videos/{name}.avi is missing")
    if len(tracing) != 2:
        raise DatasetError(
            f"it must have two traced frames in VolumeTracings.csv, it has {len(tracing)}"
        )
    if max(tracing) >= num_frames:
        raise DatasetError(f"its frame {max(tracing)} is traced, it has {num_frames} frames")
    if min(map(len, tracing.values())) < _MIN_ROWS:
        raise DatasetError(
            f"a tracing must have {_MIN_ROWS} rows or more, one of its two has fewer"
        )
    es_frame, ed_frame = sorted(tracing, key=lambda frame: tracing_area_px(tracing[frame]))
    return TracedClip(
        name=name,
        video=video,
        split=split,
        size=(row.whole("FrameHeight"), row.whole("FrameWidth")),
        frame_rate_hz=rate_hz,
        num_frames=num_frames,
        ef_percent=row.number_or_none("EF"),
        edv_ml=row.number_or_none("EDV"),
        esv_ml=row.number_or_none("ESV"),
        ed_frame=ed_frame,
        es_frame=es_frame,
        tracing=tracing,
    )


def read_clip(traced: TracedClip) -> tuple[Clip, Annotation]:
    """Read the frames and rasterise the two masks, which hold the LV cavity only.

    Raises:
        FormatError: If the video cannot be read.
        DatasetError: If it does not fit the tables.
    """
    clip = load_clip(traced.video, fps=traced.frame_rate_hz, view=View.A4C)
    if clip.size != traced.size:
        raise DatasetError(
            f"{traced.video} must have frames of {traced.size[0]} x {traced.size[1]} pixels, as "
            f"in FileList.csv, they have {clip.size[0]} x {clip.size[1]}"
        )
    if clip.num_frames <= max(traced.tracing):
        raise DatasetError(
            f"{traced.video} must have the traced frame {max(traced.tracing)}, it has "
            f"{clip.num_frames} frames"
        )
    clip = replace(clip, warnings=(*clip.warnings, *_contradictions(clip, traced)))
    masks = np.zeros_like(clip.frames)
    for frame, chords in traced.tracing.items():
        x1, y1, x2, y2 = chords.T
        masks[frame][mask_from_tracing(x1, y1, x2, y2, *clip.size)] = Label.LV_CAVITY
    try:
        return clip, Annotation(
            masks=masks,
            labelled_frames=tuple(sorted(traced.tracing)),
            ed_frame=traced.ed_frame,
            es_frame=traced.es_frame,
            ef_percent=traced.ef_percent,
            edv_ml=traced.edv_ml,
            esv_ml=traced.esv_ml,
        )
    except ValueError as error:
        raise DatasetError(f"{traced.name} in FileList.csv: {error}") from error


def _contradictions(clip: Clip, traced: TracedClip) -> Iterator[ClipWarning]:
    if clip.num_frames != traced.num_frames:
        message = f"FileList.csv lists {traced.num_frames} frames, the video has {clip.num_frames}"
        yield ClipWarning(code=NOT_AS_LISTED, message=message)
    height, width = clip.size
    for frame in (traced.ed_frame, traced.es_frame):
        x, y = traced.tracing[frame][:, 0::2], traced.tracing[frame][:, 1::2]
        if min(x.min(), y.min()) < -1 or x.max() > width or y.max() > height:
            message = f"the tracing of frame {frame} leaves the image of {height} x {width} pixels"
            yield ClipWarning(code=NOT_AS_LISTED, message=message)
