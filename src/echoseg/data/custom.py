"""Custom clips: a folder of files, or a CSV that lists them, with or without masks.

Folder: every file of a format in `io.FORMATS`, also in subfolders. `NAME_masks.nii.gz` next to
`NAME.avi` (or another suffix) holds label maps, one per frame. A folder of frames is one clip.
DICOM clips of one Patient ID are of one patient, who is known by a hash of it; so are HDF5 files
of zea of one subject, and stores of EchoXFlow of one exam. Folders `train`, `val` and `test` of
zea's files are splits.

CSV: column `clip`, a path relative to the table; optional columns `patient`, `view`, `split`,
`quality`, `masks`, `labelled_frames` (as `0 17`; default all), `row_mm`, `column_mm`, `fps`,
`ed_frame`, `es_frame`, `ef_percent`. Frames count from 0; an empty field is unknown. A `clips.csv`
in a folder is used instead of the folder's files.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from echoseg.clip import Annotation, Clip, View
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.folder_walk import walk
from echoseg.data.images import read_labels
from echoseg.data.records import SPLIT_WORDS, Issue, IssueKind, Record
from echoseg.data.table import Row, read_table
from echoseg.errors import DatasetError, FormatError, Unfit, reason_of
from echoseg.io import find_format, is_frame_folder, load_clip
from echoseg.io.clip_header import MASKS_SUFFIX, is_clip_name, read_clip_header
from echoseg.io.images import SUFFIXES
from echoseg.untrusted import inside

EXPECTED = "clips (AVI, MP4, DICOM, NIfTI, ...), or a CSV with a column 'clip'"
TABLE = "clips.csv"
_HDF5 = (".hdf5", ".h5")


def detect(root: Path) -> bool:
    """Detect a table of clips, or a folder with at least one readable clip."""
    if root.is_file():
        return root.suffix.lower() == ".csv"
    return (root / TABLE).is_file() or any(map(_is_clip, clip_files(root)))


def collect(root: Path, *, allow_outside: bool = False) -> Dataset:
    """List the clips of a folder or a table.

    Args:
        root: The folder or the table.
        allow_outside: Whether the table may name files outside of its folder.

    Raises:
        DatasetError: If the table lacks its column, or no clip can be used.
    """
    table = root if root.is_file() else root / TABLE
    if table.is_file():
        return build_dataset("custom", root, *_from_table(table, allow_outside))
    return build_dataset("custom", root, *_from_folder(root))


Each = Callable[[Callable[[Path], bool], list[Path]], Iterable[bool]]


def clip_files(root: Path) -> Iterator[Path]:
    """Yield possible clips: files, and folders of frames only; links to folders are followed.

    Raises:
        DatasetError: If a folder cannot be read.
    """
    for path in candidate_files(root):
        if path.is_dir() or path.suffix.lower() not in SUFFIXES or _is_clip(path):
            yield path


def candidate_files(
    root: Path,
    leave_out: Path | None = None,
    repeated: list[Path] | None = None,
    each: Each = map,
) -> list[Path]:
    """List files that may be clips by their names, and folders of frames only.

    Args:
        root: A folder.
        leave_out: A folder that is not entered.
        repeated: Links to folders that are read already are added to it; they are not followed.
        each: Calls a function for each path, in order; files are opened in these calls only.

    Raises:
        DatasetError: If a folder cannot be read.
    """
    with readable(root):
        paths, links = walk(root, leave_out)
        if repeated is not None:
            repeated += links
        inner = [path for path in paths if path.is_dir()]
        folders = {
            path for path, one in zip(inner, each(is_frame_folder, inner), strict=True) if one
        }
        return [path for path in paths if _may_be_clip(path, folders)]


def _may_be_clip(path: Path, folders: set[Path]) -> bool:
    if not is_clip_name(path):
        return False
    return path in folders or not (path.is_dir() or folders.intersection(path.parents))


@contextmanager
def readable(place: Path) -> Iterator[None]:
    """Report a folder that cannot be read, so that its clips are not skipped silently.

    Raises:
        DatasetError: If `place`, or a folder in it, cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"{error.filename or place} cannot be read ({error.strerror or error}); make it "
            "readable, or move it elsewhere"
        ) from error


def _is_clip(path: Path) -> bool:
    try:
        return bool(find_format(path))
    except (FormatError, OSError):
        return False


def _from_folder(root: Path) -> tuple[list[Record], list[Issue], list[str]]:
    records, issues, others = [], [], []
    for path in clip_files(root):
        name = path.relative_to(root).as_posix()
        try:
            header = read_clip_header(path)
            if header.no_clip_reason:
                others.append(f"{name}: {header.no_clip_reason}")
                continue
            find_format(path)
        except FormatError as error:
            reason = str(error).removeprefix(f"{path}: ")
            issues.append(Issue(place=str(path), kind=IssueKind.BROKEN, reason=reason))
            continue
        masks = path.with_name(_stem(path) + MASKS_SUFFIX)
        known = {"masks": masks} if masks.is_file() else {}
        split = SPLIT_WORDS.get(name.partition("/")[0], "") if path.suffix in _HDF5 else ""
        patient = header.patient or name
        records.append(clip_record(name, patient, path, known, view=header.view, split=split))
    note = f"{len(others)} files are not clips, such as {others[0]}" if others else ""
    return records, issues, [note] if note else []


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else Path(re.sub(r"\.gz$", "", path.name)).stem


def _from_table(table: Path, allow_outside: bool) -> tuple[list[Record], list[Issue]]:
    rows, issues = read_table(table, ("clip",))
    records = []
    for row in rows:
        try:
            records.append(_from_row(table.parent, row, allow_outside))
        except DatasetError as error:
            reason = str(error).removeprefix(f"{row.place}: ")
            kind = IssueKind.MISSING if "is missing" in reason else IssueKind.INCONSISTENT
            issues.append(Issue(place=row.place, kind=kind, reason=reason))
    return records, issues


def _from_row(folder: Path, row: Row, allow_outside: bool) -> Record:
    """The record of one row.

    Raises:
        DatasetError: If a value is invalid.
    """
    if not row.text("clip"):
        raise DatasetError(f"{row.place}: clip must be a path, it is empty")
    view, split = row.text("view") or View.UNKNOWN, row.text("split").lower()
    if view not in set(View):
        raise DatasetError(f"{row.place}: view must be one of {', '.join(View)}, got {view!r}")
    paths = {}
    for name in ("clip", "masks"):
        if row.text(name):
            paths[name] = _named_file(folder, row, name, allow_outside)
    spacing = row.number_or_none("row_mm"), row.number_or_none("column_mm")
    if (spacing[0] is None) != (spacing[1] is None):
        raise DatasetError(f"{row.place}: row_mm and column_mm must both be given, or neither")
    known = {
        "masks": paths.get("masks"),
        "labelled_frames": _frames(row),
        "ed_frame": row.whole_or_none("ed_frame"),
        "es_frame": row.whole_or_none("es_frame"),
        "ef_percent": row.number_or_none("ef_percent"),
        "quality": row.text("quality"),
    }
    name = row.text("clip")
    return clip_record(
        name,
        row.text("patient") or name,
        paths["clip"],
        known,
        view=View(view),
        split=SPLIT_WORDS.get(split, split),
        spacing_mm=None if None in spacing else spacing,
        fps=row.number_or_none("fps"),
    )


def _named_file(folder: Path, row: Row, column: str, allow_outside: bool) -> Path:
    """The file that a column names."""
    try:
        path = inside(folder, row.text(column), allow_outside=allow_outside)
        if path.exists():
            return path
    except (Unfit, OSError) as error:
        raise DatasetError(f"{row.place}: {column} is not valid: {reason_of(error)}") from error
    raise DatasetError(f"{row.place}: {column} {path} is missing")


def _frames(row: Row) -> tuple[int, ...] | None:
    """The labeled frames of a row; None when it does not list them."""
    words = row.text("labelled_frames").split()
    if not all(word.isdecimal() for word in words):
        raise DatasetError(
            f"{row.place}: labelled_frames must be whole numbers separated by spaces, got "
            f"{row.text('labelled_frames')!r}"
        )
    return tuple(map(int, words)) or None


def clip_record(
    name: str,
    patient: str,
    path: Path,
    known: dict[str, Any],
    *,
    view: View,
    split: str = "",
    **options: Any,
) -> Record:
    """The record of one clip.

    Args:
        name: As in `Record`, as are patient, view and split.
        patient: The patient.
        path: The clip.
        known: Fields of its `Annotation`, `masks` as a path; without masks there is none.
        view: The view.
        split: The split.
        **options: Passed to `load_clip`.
    """
    masks = known.get("masks")
    return Record(
        name=name,
        patient=patient,
        view=view,
        split=split,
        quality=known.get("quality", ""),
        files=(path, *([masks] if masks else [])),
        labelled=masks is not None,
        labels=None,
        read=partial(
            read_clip, path, known, view=None if view is View.UNKNOWN else view, **options
        ),
    )


def read_clip(path: Path, known: dict[str, Any], **options: Any) -> tuple[Clip, Annotation | None]:
    """Read a clip and its masks.

    Raises:
        EchosegError: If a file is broken, or the masks do not fit the clip.
    """
    clip = load_clip(path, **options)
    if known.get("masks") is None:
        return clip, None
    values: dict[str, Any] = known | {"masks": read_labels(known["masks"], clip.frames.shape)}
    return clip, Annotation(**values)
