"""EchoNet-Dynamic: 10,030 apical four-chamber clips with two traced frames each.

Layout: `FileList.csv` (a row a clip: volumes, EF, size, frame rate, split), `VolumeTracings.csv`
(a row a chord, see `echonet_tracing`), `Videos/*.avi` (MJPEG, 112 x 112). Frames count from 0. No
scale is given: EF can be had from the pictures, millilitres cannot.

Quirks of the release: six listed clips have no tracing and one tracing has no clip; the two traced
frames come in either order, so the one with the larger area is ED; ED may come after ES.

Reference:
    Ouyang et al., Nature 580:252-256, 2020.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echoseg.clip import NOT_AS_LISTED, Annotation, Clip, ClipWarning, Label, View
from echoseg.data.echonet_pediatric import detect as recognise_pediatric
from echoseg.data.echonet_tracing import mask_from_tracing, tracing_area_px
from echoseg.data.records import SPLIT_WORDS, Dataset, Issue, IssueKind, build_dataset
from echoseg.data.records import Record as CollectedRecord
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
EXPECTED = "FileList.csv, VolumeTracings.csv (FileName, X1, Y1, X2, Y2, Frame), Videos/"
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
"""The clips of the release that have no tracing; the last is in TEST, the others in TRAIN."""
UNFILMED = frozenset({"0X4F8859C8AB4DA9CB"})
"""The tracing of the release that has no clip."""
_LEAST_ROWS = 3  # the long axis and two chords: less encloses nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedFrame:
    """One traced frame: its index and the rows `N 4` of its tracing, in pixels."""

    frame_index: int
    chords: np.ndarray

    def mask(self, height: int, width: int) -> np.ndarray:
        """Return the cavity, `H W` bool."""
        x1, y1, x2, y2 = self.chords.T
        return mask_from_tracing(x1, y1, x2, y2, height, width)


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One clip with what the two tables say of it; its frames are read by `load`."""

    name: str
    video: Path
    split: str
    size: tuple[int, int]
    """(rows, columns)."""
    frame_rate_hz: float
    num_frames: int
    ef_percent: float | None
    edv_ml: float | None
    esv_ml: float | None
    ed: TracedFrame
    es: TracedFrame

    def load(self) -> tuple[Clip, Annotation]:
        """Read the frames and draw the two masks; all but the LV cavity is background in them.

        Raises:
            FormatError: If the video cannot be read.
            DatasetError: If it is not the clip that the tables speak of.
        """
        clip = load_clip(self.video, fps=self.frame_rate_hz, view=View.A4C)
        masks = np.zeros_like(clip.frames)
        if clip.size != self.size:
            raise DatasetError(
                f"{self.video} must have frames of {self.size[0]} x {self.size[1]} pixels, as "
                f"FileList.csv says, they have {clip.size[0]} x {clip.size[1]}"
            )
        if clip.num_frames <= max(self.frame_indices):
            raise DatasetError(
                f"{self.video} must hold frame {max(self.frame_indices)}, which is traced, it has "
                f"{clip.num_frames} frames"
            )
        clip = replace(clip, warnings=(*clip.warnings, *self._oddities(clip)))
        for traced in (self.ed, self.es):
            masks[traced.frame_index][traced.mask(*clip.size)] = Label.LV_CAVITY
        try:
            return clip, Annotation(
                masks=masks,
                labelled_frames=self.frame_indices,
                ed_frame=self.ed.frame_index,
                es_frame=self.es.frame_index,
                ef_percent=self.ef_percent,
                edv_ml=self.edv_ml,
                esv_ml=self.esv_ml,
            )
        except ValueError as error:
            raise DatasetError(f"{self.name} in FileList.csv: {error}") from error

    def _oddities(self, clip: Clip) -> Iterator[ClipWarning]:
        if clip.num_frames != self.num_frames:
            yield ClipWarning(
                code=NOT_AS_LISTED,
                message=f"FileList.csv says {self.num_frames} frames, it has {clip.num_frames}",
            )
        height, width = clip.size
        for traced in (self.ed, self.es):
            x, y = traced.chords[:, 0::2], traced.chords[:, 1::2]
            if min(x.min(), y.min()) < -1 or x.max() > width or y.max() > height:
                yield ClipWarning(
                    code=NOT_AS_LISTED,
                    message=f"the tracing of frame {traced.frame_index} leaves the picture of "
                    f"{height} x {width} pixels",
                )

    @property
    def frame_indices(self) -> tuple[int, ...]:
        """The traced frames, increasing."""
        return tuple(sorted((self.ed.frame_index, self.es.frame_index)))


@dataclass(frozen=True, kw_only=True, eq=False)
class EchoNetDynamic:
    """The data set: what can be used, in the list's order, and what cannot with the reason."""

    records: tuple[Record, ...]
    unmatched: dict[str, str]
    """Name of a clip to why it is not among the records."""

    def of_split(self, split: str) -> tuple[Record, ...]:
        """Return the records of TRAIN, VAL or TEST, as the list has it."""
        if split not in SPLITS:
            raise DatasetError(f"split must be {', '.join(SPLITS)}, got {split}")
        return tuple(record for record in self.records if record.split == split)

    def record(self, name: str) -> Record:
        """Return one record; refuse a name that cannot be used and say why."""
        for record in self.records:
            if record.name == name:
                return record
        raise DatasetError(f"{name}: {self.unmatched.get(name, 'not in FileList.csv')}")


def detect(root: Path) -> bool:
    """Tell the release by its list and its folder of videos."""
    return (root / "FileList.csv").is_file() and not recognise_pediatric(root)


def collect(root: Path) -> Dataset:
    """Return every clip that is listed, filmed and traced, and what is not with its reason.

    Raises:
        DatasetError: If a table is missing or not as documented, or nothing can be used.
    """
    data = read(root)
    issues = [
        Issue(place=name, kind=_kind(name, reason), reason=reason)
        for name, reason in data.unmatched.items()
    ]
    records = [
        CollectedRecord(
            name=record.name,
            patient=record.name,
            view=View.A4C,
            split=SPLIT_WORDS[record.split.lower()],
            files=(record.video,),
            read=record.load,
            labels=(Label.LV_CAVITY,),
        )
        for record in data.records
    ]
    return build_dataset("echonet_dynamic", root, records, issues)


def _kind(name: str, reason: str) -> IssueKind:
    if name in UNTRACED | UNFILMED:
        return IssueKind.KNOWN
    return IssueKind.MISSING if "is missing" in reason else IssueKind.INCONSISTENT


def read(root: Path, *, strict: bool = False) -> EchoNetDynamic:
    """Read the two tables and match them with the videos; no video is opened.

    A row that is not as documented leaves out its clip, with the reason.

    Args:
        root: Folder that holds `FileList.csv`.
        strict: Refuse anything unmatched; the release as published has seven such clips.

    Raises:
        DatasetError: If a table is missing or lacks a column, or no clip can be used.
    """
    way_out = "EchoNet-Dynamic has it beside its folder Videos"
    listed, wrong = read_table(root / "FileList.csv", LIST_COLUMNS, way_out)
    unmatched = {line.split(":")[0]: line for line in wrong}
    tracings, faults = _tracings(root / "VolumeTracings.csv", way_out, unmatched)
    videos = {path.stem: path for path in sorted((root / "Videos").glob("*.avi"))}
    records: dict[str, Record] = {}
    seen: set[str] = set()
    for row in listed:
        name = row.text("FileName").removesuffix(".avi")
        found: Record | str = faults.get(name, "")
        try:
            if name in seen:
                found = f"{row.place}: {name} is listed twice; none of the two is used"
            found = found or _record(name, row, videos.get(name), tracings.get(name, {}))
        except DatasetError as error:
            found = str(error)
        seen.add(name)
        if isinstance(found, Record):
            records[name] = found
        else:
            records.pop(name, None)
            unmatched[name] = found
    for name in sorted((tracings.keys() | videos.keys()) - seen):
        what = " and ".join(
            word for word, there in (("traced", tracings), ("filmed", videos)) if name in there
        )
        unmatched[name] = f"it is {what} but not in FileList.csv"
    if unmatched and (strict or not records):
        name, reason = next(iter(unmatched.items()))
        raise DatasetError(
            f"{root}: {len(unmatched)} clips cannot be used, the first {name}: {reason}"
        )
    if not records:
        raise DatasetError(f"{root / 'FileList.csv'} lists no clip")
    return EchoNetDynamic(records=tuple(records.values()), unmatched=unmatched)


def _tracings(
    path: Path, way_out: str, unmatched: dict[str, str]
) -> tuple[dict[str, dict[int, np.ndarray]], dict[str, str]]:
    """Return for each clip and traced frame its rows `N 4`, in the table's order, and faults.

    Rows with too few or too many fields, whose clip is not certain, go into `unmatched`.
    """
    rows, wrong = read_table(path, TRACING_COLUMNS, way_out)
    unmatched.update({line.split(":")[0]: line for line in wrong})
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
        name: {index: np.array(rows) for index, rows in frames.items()}
        for name, frames in chords.items()
    }
    return tracings, faults


def _record(
    name: str, row: Row, video: Path | None, tracing: dict[int, np.ndarray]
) -> Record | str:
    """Return the record of one listed clip, or why there is none."""
    split, num_frames = row.values["Split"].upper(), row.whole("NumberOfFrames")
    if split not in SPLITS:
        raise DatasetError(
            f"{row.place}: Split must be {', '.join(SPLITS)}, got {row.values['Split']!r}"
        )
    if (rate_hz := row.number("FPS")) <= 0:
        raise DatasetError(f"{row.place}: FPS must be above 0, got {rate_hz:g}")
    if video is None:
        return f"its video Videos/{name}.avi is missing"
    if len(tracing) != 2:
        return f"it must have two traced frames in VolumeTracings.csv, it has {len(tracing)}"
    if max(tracing) >= num_frames:
        return f"its frame {max(tracing)} is traced, it has {num_frames} frames"
    if min(map(len, tracing.values())) < _LEAST_ROWS:
        return f"a tracing must have {_LEAST_ROWS} rows or more, one of its two has fewer"
    traced = [TracedFrame(frame_index=index, chords=rows) for index, rows in tracing.items()]
    es, ed = sorted(traced, key=lambda frame: tracing_area_px(frame.chords))
    return Record(
        name=name,
        video=video,
        split=split,
        size=(row.whole("FrameHeight"), row.whole("FrameWidth")),
        frame_rate_hz=rate_hz,
        num_frames=num_frames,
        ef_percent=row.number_or_none("EF"),
        edv_ml=row.number_or_none("EDV"),
        esv_ml=row.number_or_none("ESV"),
        ed=ed,
        es=es,
    )


__all__ = ["EchoNetDynamic", "Record", "TracedFrame", "mask_from_tracing", "read"]
