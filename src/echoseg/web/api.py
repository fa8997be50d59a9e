"""What the page and its server say to each other, in JSON; frames count from 0.

Points are (x, y) in pixels of the clip, x rightwards, y downwards, pixel centers at whole numbers.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from echoseg.inference.ef_statement import EfStatement
from echoseg.measure.measurement import BeatMeasurement

MAX_POINTS = 64
"""Most control points of a contour."""
Place = Annotated[float, Field(ge=-20_000, le=20_000)]
"""In pixels; a point may lie outside the picture, but not as far as numbers go."""
Point = tuple[Place, Place]
Structure = Literal["lv_cavity", "lv_epi", "la"]
"""Closed curves that are drawn: LV endocardium, LV epicardium, left atrium."""
PointKind = Literal["septal", "lateral", "apex", ""]
"""Hinges of the annulus, the apex, or any other point."""
Frame = Annotated[int, Field(ge=0)]


class Message(BaseModel):
    """Base of all messages: immutable, with no fields but its own, and with finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Contour(Message):
    """A closed smooth curve through control points (periodic cubic spline, chord-length knots).

    Attributes:
        points: Control points, 4 to `MAX_POINTS` of them.
        kinds: What each point is: `septal` or `lateral` hinge of the annulus, `apex`, or ``.
        is_reader: A reader drew it, the network otherwise.
    """

    points: tuple[Point, ...]
    kinds: tuple[PointKind, ...] = ()
    is_reader: bool = False


class FrameContours(Message):
    """The curves of one frame; a structure that is not there has no key."""

    frame: Frame
    contours: dict[Structure, Contour]


class DiskLines(Message):
    """Long axis, annulus and disks of one frame, each a line between two points."""

    frame: Frame
    axis: tuple[Point, Point]
    annulus: tuple[Point, Point]
    disks: tuple[tuple[Point, Point], ...]


class Curve(Message):
    """The volume curve: in ml, or without a pixel spacing as a fraction of the largest."""

    times_s: tuple[float, ...]
    volumes: tuple[float | None, ...]
    smoothed: tuple[float | None, ...]
    unit: Literal["ml", "fraction"]
    r_wave_times_s: tuple[float, ...] = ()


class Beat(BeatMeasurement):
    """A beat; `is_excluded` by the reader, `is_moved` where a reader set ED or ES."""

    is_excluded: bool = False
    is_moved: bool = False


class Reading(Message):
    """A clip as one reader sees it now.

    Attributes:
        clip: Its id.
        slot: 1 for the first read, 2 for the blinded second one.
        reader: Account of the reader; empty for the network's own.
        signed_by: Account that accepted or rejected it; empty while no one has.
        revision: Number of the edit that is shown; 0 for the network's result. Every edit names it.
        is_past: Another revision than the current one is shown, which takes no edits.
        can_undo: Whether an edit can be undone.
        can_redo: Whether one can be done again.
        is_corrected: Whether a reader changed anything that the numbers rest on.
        ef: What may be stated of the EF.
        network_ef: What the network's own result states.
        edv_ml: End-diastolic volume.
        esv_ml: End-systolic volume.
        heart_rate_bpm: Heart rate.
        ed_frame: ED of the beat that is shown: the reader's, else the nearest the mean EF.
        es_frame: Its ES.
        beats: All beats.
        curve: The volume curve.
        disks: Axis and disks at ED and ES.
        contours: Curves of all frames.
        view: View in use.
        spacing_mm: Pixel spacing (row, column) in use; None where it is unknown.
        frame_rate_hz: Frame rate in use; None where it is unknown.
        warnings: Sentences to be read before the numbers, for a clinician.
        decision: `accepted`, `rejected`, or empty.
        decision_reason: The reader's words.
        milliseconds: Time that the server needed.
    """

    clip: str
    slot: Literal[1, 2]
    reader: str
    signed_by: str = ""
    revision: int
    is_past: bool = False
    can_undo: bool
    can_redo: bool
    is_corrected: bool
    ef: EfStatement
    network_ef: EfStatement
    edv_ml: float | None
    esv_ml: float | None
    heart_rate_bpm: float | None
    ed_frame: Frame | None
    es_frame: Frame | None
    beats: tuple[Beat, ...]
    curve: Curve
    disks: tuple[DiskLines, ...]
    contours: tuple[FrameContours, ...]
    view: str
    spacing_mm: tuple[float, float] | None
    frame_rate_hz: float | None
    warnings: tuple[str, ...]
    decision: Literal["accepted", "rejected", ""] = ""
    decision_reason: str = ""
    milliseconds: float = 0.0


class SetContour(Message):
    """Replace a curve of a frame; no points: the structure is not there."""

    kind: Literal["contour"] = "contour"
    frame: Frame
    structure: Structure
    points: Annotated[tuple[Point, ...], Field(max_length=MAX_POINTS)]


class Brush(Message):
    """Add a stroke to a structure of a frame, or erase it: disks of a radius along a line."""

    kind: Literal["brush"] = "brush"
    frame: Frame
    structure: Structure
    line: Annotated[tuple[Point, ...], Field(min_length=1, max_length=2000)]
    radius_px: Annotated[float, Field(gt=0, le=500)]
    is_erasing: bool = False


class Carry(Message):
    """Carry the correction of a frame to its neighbors by optical flow, as its preview shows it."""

    kind: Literal["carry"] = "carry"
    frame: Frame
    first: Frame
    last: Frame
    by: Literal["flow"] = "flow"


class SetBeat(Message):
    """Move ED or ES of a beat, or take it in or out of the mean."""

    kind: Literal["beat"] = "beat"
    beat: Annotated[int, Field(ge=0)]
    ed_frame: Frame | None = None
    es_frame: Frame | None = None
    is_excluded: bool | None = None


class SetView(Message):
    """State the view."""

    kind: Literal["view"] = "view"
    view: str


class SetSpacing(Message):
    """State the scale: a length in the picture, such as between two ticks, in mm."""

    kind: Literal["spacing"] = "spacing"
    start: Point
    end: Point
    length_mm: Annotated[float, Field(gt=0, le=1000)]


class SetFrameRate(Message):
    """State the frame rate."""

    kind: Literal["frame_rate"] = "frame_rate"
    frame_rate_hz: Annotated[float, Field(gt=0, le=1000)]


class Restore(Message):
    """Make an earlier version the current one, as a new version."""

    kind: Literal["restore"] = "restore"
    version: Annotated[int, Field(ge=0)]


Operation = Annotated[
    SetContour | Brush | Carry | SetBeat | SetView | SetSpacing | SetFrameRate | Restore,
    Field(discriminator="kind"),
]


class EditRequest(Message):
    """An edit of the revision that the page shows; refused with 409 where there is a newer one."""

    revision: int
    operation: Operation
    reason: Annotated[str, Field(max_length=500)] = ""


class RevisionRequest(Message):
    """Undo or redo, from the revision that the page shows."""

    revision: int


class Preview(Message):
    """Curves that are not stored: of a correction to be carried, or of a running analysis."""

    contours: tuple[FrameContours, ...]


class HistoryEntry(Message):
    """An edit or a signature of a reading.

    Attributes:
        revision: Number of the edit; of a signature, that of the edit that was shown.
        parent: Edit before; 0: the network's result.
        account: Who.
        time: When, seconds since 1970, UTC.
        reason: Why, in the reader's words.
        kind: Kind of the operation, or `accepted`, `rejected`, `reopened`.
        frame: Its frame; None where it is of no single one.
        beat: What is stated of a beat, where the kind is `beat`.
    """

    revision: int
    parent: int
    account: str
    time: float
    reason: str
    kind: str
    frame: int | None
    beat: SetBeat | None = None


class DecisionRequest(Message):
    """Sign a reading or reopen a signed one; all but acceptance must have a reason."""

    revision: int
    decision: Literal["accepted", "rejected", "reopened"]
    reason: Annotated[str, Field(max_length=500)] = ""


class WorklistRow(Message):
    """A clip of the worklist; the numbers are those of the newest reading.

    Attributes:
        id: Start of the SHA-256 of its content.
        name: A keyed hash, or with `show_names` the name of the file.
        study: Clips of one study have the same; empty where it is unknown.
        state: How far it has come.
        reason: Why it failed, or why there is no reliable EF.
        added_s: Seconds since 1970, UTC, as is the next.
        analyzed_s: When the analysis ended; 0 before.
        view: The view that was stated, else predicted.
        num_frames: Number of frames; 0 before the clip was opened.
        frames_done: Frames that are segmented.
        ef_kind: As in `EfStatement`.
        ef_percent: The EF; None where there is none, or it is not reliable.
        ef_low_percent: Ends of its interval.
        ef_high_percent: Ends of its interval.
        is_corrected: Whether a reader changed what the numbers rest on.
        decision: `accepted`, `rejected`, or empty.
        label_priority: What correcting it is expected to teach, larger is more; None where unknown.
    """

    id: str
    name: str
    study: str
    state: str
    reason: str
    added_s: float
    analyzed_s: float
    view: str
    num_frames: int
    frames_done: int
    ef_kind: str
    ef_percent: float | None
    ef_low_percent: float | None
    ef_high_percent: float | None
    is_corrected: bool
    decision: str
    label_priority: float | None


class WorklistPage(Message):
    """Some rows of the worklist: `total` of the filter, `counts` by state of all clips."""

    total: int
    first: int
    counts: dict[str, int]
    rows: tuple[WorklistRow, ...]


class WorklistQuery(Message):
    """Which rows, and in which order; unknown values come last.

    `unreliable` are analyzed clips without a reliable EF of a whole beat, `uncorrected` those that
    no reader changed, `undecided` those neither accepted nor rejected.
    """

    first: Annotated[int, Field(ge=0, le=10**9)] = 0
    count: Annotated[int, Field(ge=1, le=500)] = 50
    state: Literal["queued", "running", "ready", "failed", ""] = ""
    filter: Literal["unreliable", "uncorrected", "undecided", ""] = ""
    ef_from: Annotated[float, Field(ge=0, le=100)] | None = None
    ef_to: Annotated[float, Field(ge=0, le=100)] | None = None
    text: Annotated[str, Field(max_length=200)] = ""
    sort: Literal["added", "ef", "name", "priority"] = "added"
    descending: bool = True


class RefusedFile(Message):
    """A file that is not in the worklist, and why."""

    name: str
    reason: str


class AddedClips(Message):
    """Ids of the clips that are in the worklist now, also those that were; and refused files."""

    added: tuple[str, ...]
    refused: tuple[RefusedFile, ...] = ()


class FolderRequest(Message):
    """A file or folder of this machine to be put into the worklist."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]


class ClipDetail(Message):
    """A clip; before it was opened it has no frames.

    Attributes:
        row: Its row.
        slot: The read that this reader opens: 2 where the first is hidden from them.
        rows: Rows of a frame.
        columns: Its columns.
        num_frames: Number of frames.
        times_s: Time of each frame; None where unknown.
        frame_rate_hz: Mean frame rate; None where unknown.
        spacing_mm: Pixel spacing (row, column) as the file states it.
        view: View as the file states it.
        predicted_view: What its pictures show; empty before the analysis.
        r_wave_times_s: Times of R waves.
        offsets: Byte of `cine.bin` at which each frame begins, and the end.
        warnings: Sentences to be read before the numbers.
        model: Name of the network; empty before the analysis.
        study: Rows of the clips of the same study, this one too.
    """

    row: WorklistRow
    slot: Literal[1, 2] = 1
    rows: int = 0
    columns: int = 0
    num_frames: int = 0
    times_s: tuple[float, ...] | None = None
    frame_rate_hz: float | None = None
    spacing_mm: tuple[float, float] | None = None
    view: str = "unknown"
    predicted_view: str = ""
    r_wave_times_s: tuple[float, ...] = ()
    offsets: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    model: str = ""
    study: tuple[WorklistRow, ...] = ()
