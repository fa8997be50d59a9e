"""EchoNet-Pediatric: apical four-chamber and parasternal short-axis clips of children, traced.

Layout: folders `A4C/` and `PSAX/`, each with `FileList.csv` (FileName, EF, Split, ...),
`VolumeTracings.csv` (one row per contour point: FileName, X, Y, Frame) and `Videos/*.avi`; often
inside `pediatric_echo_avi/`. Pixel spacing is unknown. `Split` is one of ten folds, 0 to 9, for
cross-validation.

Known defects of the release: a phase that was not traced has the frame `No Systolic` or
`No Diastolic`; coordinates may be empty. It names no patients: each clip counts as one.

Reference:
    Reddy et al., Journal of the American Society of Echocardiography 36(5):482-489, 2023.
"""

from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from echoseg.clip import Annotation, Clip, Label, View
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.records import Issue, IssueKind, Record
from echoseg.data.table import Row, read_table
from echoseg.errors import DatasetError
from echoseg.io import load_clip

LIST_COLUMNS = ("FileName", "EF", "Split")
TRACING_COLUMNS = ("FileName", "X", "Y", "Frame")
_VIEWS = {"A4C": View.A4C, "PSAX": View.PSAX}
_MIN_POINTS = 3
_NO_PHASE = "no "
"""Start of the frame of a phase that was not traced, in lower case."""

Tracing = dict[int, np.ndarray]
"""Frame -> contour, `P 2` (x, y) in pixels."""


def detect(root: Path) -> bool:
    """Detect the release by the lists of its two views."""
    return any((_home(root) / name / "FileList.csv").is_file() for name in _VIEWS)


def collect(root: Path) -> Dataset:
    """List every listed clip that has its video, traced or not.

    Raises:
        DatasetError: If a table is missing or not as documented, or nothing can be used.
    """
    records, issues, notes = [], [], []
    for name, view in _VIEWS.items():
        folder = _home(root) / name
        if not folder.is_dir():
            notes.append(f"{folder} is missing: no clips of the view {view}")
            continue
        view_records, view_issues = _collect_view(folder, view)
        records += view_records
        issues += view_issues
    return build_dataset("echonet_pediatric", root, records, issues, notes)


def _home(root: Path) -> Path:
    """The folder that holds the views: the root, or where the archive unpacks to."""
    for home in (root / "pediatric_echo_avi" / "pediatric_echo_avi", root / "pediatric_echo_avi"):
        if any((home / name).is_dir() for name in _VIEWS):
            return home
    return root


def _collect_view(folder: Path, view: View) -> tuple[list[Record], list[Issue]]:
    listed, issues = read_table(folder / "FileList.csv", LIST_COLUMNS)
    tracings, faults = _tracings(folder / "VolumeTracings.csv")
    issues += faults
    records = []
    videos = {path.stem: path for path in (folder / "Videos").glob("*.avi")}
    for row in listed:
        name = row.text("FileName").removesuffix(".avi")
        if name not in videos:
            reason = f"{name} is listed, its video Videos/{name}.avi is missing"
            issues.append(Issue(place=row.place, kind=IssueKind.MISSING, reason=reason))
            continue
        try:
            records.append(_record(row, name, videos[name], view, tracings.get(name, {})))
        except DatasetError as error:
            reason = str(error).removeprefix(f"{row.place}: ")
            issues.append(Issue(place=row.place, kind=IssueKind.INCONSISTENT, reason=reason))
    names = {row.text("FileName").removesuffix(".avi") for row in listed}
    for name in sorted((videos.keys() | tracings.keys()) - names):
        part = "video" if name in videos else "tracing"
        reason = f"{name} has a {part}, but no row in FileList.csv"
        issues.append(Issue(place=f"{folder / name}", kind=IssueKind.INCONSISTENT, reason=reason))
    return records, issues


def _tracings(path: Path) -> tuple[dict[str, Tracing], list[Issue]]:
    """Read the traced frames of each clip, and issues of the table."""
    rows, issues = read_table(path, TRACING_COLUMNS)
    points: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(dict)
    skipped: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        name = row.text("FileName").removesuffix(".avi")
        points[name]  # a clip without usable points counts as traced
        if row.text("Frame").lower().startswith(_NO_PHASE):
            skipped[name, f"its frame is given as {row.text('Frame')!r}"] += 1
            continue
        if not (row.text("X") and row.text("Y") and row.text("Frame")):
            skipped[name, "X, Y or Frame is empty"] += 1
            continue
        try:
            frame, point = row.whole("Frame"), (row.number("X"), row.number("Y"))
        except DatasetError as error:
            issues.append(Issue(place=name, kind=IssueKind.INCONSISTENT, reason=str(error)))
            continue
        points[name].setdefault(frame, []).append(point)
    for (name, why), number in skipped.items():
        reason = f"{number} traced points are not used: {why}"
        issues.append(Issue(place=name, kind=IssueKind.KNOWN, reason=reason))
    tracings = {
        name: {frame: np.array(contour) for frame, contour in frames.items()}
        for name, frames in points.items()
    }
    return tracings, issues


def _record(row: Row, name: str, video: Path, view: View, tracing: Tracing) -> Record:
    """The record of a clip; frames with fewer than three points are not used."""
    fold = row.whole("Split")
    if fold > 9:
        raise DatasetError(f"{row.place}: Split must be a fold, 0 to 9, got {fold}")
    usable = {frame: points for frame, points in tracing.items() if len(points) >= _MIN_POINTS}
    ef_percent = row.number_or_none("EF")
    return Record(
        name=f"{view}_{name}",
        patient=f"{view}_{name}",
        view=view,
        split=f"fold{fold}",
        files=(video,),
        labelled=bool(usable),
        labels=(Label.LV_CAVITY,),
        read=partial(read_clip, video, view, usable, ef_percent),
    )


def contour_mask(contour: np.ndarray, height: int, width: int) -> np.ndarray:
    """Rasterise a contour, `height width` bool, corners rounded to whole pixels."""
    from skimage.draw import polygon

    mask = np.zeros((height, width), bool)
    mask[polygon(np.rint(contour[:, 1]), np.rint(contour[:, 0]), mask.shape)] = True
    return mask


def read_clip(
    video: Path, view: View, tracing: Tracing, ef_percent: float | None
) -> tuple[Clip, Annotation | None]:
    """Read a clip and rasterise its masks; the larger of two cavities is ED.

    Raises:
        FormatError: If the video cannot be read.
        DatasetError: If a traced frame is past its end.
    """
    clip = load_clip(video, view=view)
    if not tracing:
        return clip, None
    if max(tracing) >= clip.num_frames:
        raise DatasetError(
            f"{video}: its frame {max(tracing)} is traced, it has {clip.num_frames} frames"
        )
    masks = np.zeros_like(clip.frames)
    for frame, contour in tracing.items():
        masks[frame][contour_mask(contour, *clip.size)] = Label.LV_CAVITY
    phases: tuple[int | None, int | None] = (None, None)
    if len(tracing) == 2:
        ed_frame, es_frame = sorted(tracing, key=lambda frame: -int(masks[frame].sum()))
        phases = (ed_frame, es_frame)
    return clip, Annotation(
        masks=masks,
        labelled_frames=tuple(sorted(tracing)),
        ed_frame=phases[0],
        es_frame=phases[1],
        ef_percent=ef_percent,
    )
