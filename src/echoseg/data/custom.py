"""One's own clips: a folder of files, or a CSV that names them; with masks beside them or without.

Folder: every file that `formats` knows, in it or below; `NAME_masks.nii.gz` beside `NAME.avi` (or
any other suffix) holds label maps, one for each frame. A folder of PNG frames is one clip.

CSV: column `clip`, a path beside the table; and what is known of `patient`, `view`, `split`,
`quality`, `masks`, `labelled_frames` (as `0 17`; else all), `row_mm`, `column_mm`, `fps`,
`ed_frame`, `es_frame`, `ef_percent`. Frames count from 0; an empty field is unknown. `clips.csv` in
a folder stands for the folder.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from echoseg.clip import Annotation, Clip, View
from echoseg.data.images import read_labels
from echoseg.data.records import SPLIT_WORDS, Dataset, Issue, IssueKind, Record, build_dataset
from echoseg.data.table import Row, read_table
from echoseg.errors import DatasetError, FormatError
from echoseg.io import find_format, load_clip

EXPECTED = "clips (AVI, MP4, DICOM, NIfTI, ...), or a CSV with a column 'clip'"
TABLE = "clips.csv"
_MASKS = "_masks.nii.gz"
_TEXTS = frozenset({".csv", ".txt", ".json", ".md", ".pdf", ".cfg", ".raw", ".zraw", ".html"})
"""Files that lie beside clips and are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is said of a clip beside its file."""

    masks: Path | None = None
    labelled_frames: tuple[int, ...] | None = None
    """None: every frame."""
    ed_frame: int | None = None
    es_frame: int | None = None
    ef_percent: float | None = None
    edv_ml: float | None = None
    esv_ml: float | None = None
    quality: str = ""


def detect(root: Path) -> bool:
    """Tell a table of clips, or a folder with at least one file of a format that is read."""
    if root.is_file():
        return root.suffix.lower() == ".csv"
    return (root / TABLE).is_file() or any(map(_is_clip, clip_files(root)))


def collect(root: Path) -> Dataset:
    """Return the clips that a folder holds or a table names.

    Raises:
        DatasetError: If the table lacks its column, or nothing can be used.
    """
    table = root if root.is_file() else root / TABLE
    if table.is_file():
        records, issues = _from_table(table)
    else:
        records, issues = _from_folder(root)
    return build_dataset("custom", root, records, issues)


def clip_files(root: Path) -> Iterable[Path]:
    """Yield what may be a clip: files, and folders of nothing but PNG frames.

    Raises:
        DatasetError: If a folder cannot be read.
    """
    with readable(root):
        for path in sorted(root.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if hidden or path.name.endswith(_MASKS) or path.suffix.lower() in _TEXTS:
                continue
            if path.is_dir():
                names = [child.suffix.lower() for child in path.iterdir()]
                if names and set(names) == {".png"}:
                    yield path
            elif path.suffix.lower() != ".png":
                yield path


@contextmanager
def readable(place: Path) -> Iterator[None]:
    """Refuse a folder that cannot be read, rather than pass over what lies in it.

    Raises:
        DatasetError: If so.
    """
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"{error.filename or place} cannot be read ({error.strerror or error}); make it "
            "readable, or move it away"
        ) from error


def _is_clip(path: Path) -> bool:
    try:
        return bool(find_format(path))
    except (FormatError, OSError):
        return False


def _from_folder(root: Path) -> tuple[list[Record], list[Issue]]:
    records, issues = [], []
    for path in clip_files(root):
        try:
            find_format(path)
        except FormatError as error:
            issues.append(Issue(place=str(path), kind=IssueKind.BROKEN, reason=str(error)))
            continue
        masks = path.with_name(_stem(path) + _MASKS)
        name = path.relative_to(root).as_posix()
        found = Known(masks=masks if masks.is_file() else None)
        records.append(record(name, name, path, found, view=View.UNKNOWN))
    return records, issues


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else Path(re.sub(r"\.gz$", "", path.name)).stem


def _from_table(table: Path) -> tuple[list[Record], list[Issue]]:
    rows, wrong = read_table(table, ("clip",))
    issues = [
        Issue(place=line.split(":")[0], kind=IssueKind.INCONSISTENT, reason=line) for line in wrong
    ]
    records = []
    for row in rows:
        try:
            records.append(_from_row(table.parent, row))
        except DatasetError as error:
            missing = "is missing" in str(error)
            kind = IssueKind.MISSING if missing else IssueKind.INCONSISTENT
            issues.append(Issue(place=row.place, kind=kind, reason=str(error)))
    return records, issues


def _from_row(home: Path, row: Row) -> Record:
    """Return the record of one row; refuse one that says what cannot be."""
    if not row.text("clip"):
        raise DatasetError(f"{row.place}: clip must be a path, it is empty")
    view, split = row.text("view") or View.UNKNOWN, row.text("split").lower()
    if view not in set(View):
        raise DatasetError(f"{row.place}: view must be one of {', '.join(View)}, got {view!r}")
    paths = {name: home / row.text(name) for name in ("clip", "masks") if row.text(name)}
    for name, path in paths.items():
        if not path.exists():
            raise DatasetError(f"{row.place}: {name} {path} is missing")
    spacing = row.number_or_none("row_mm"), row.number_or_none("column_mm")
    if (spacing[0] is None) != (spacing[1] is None):
        raise DatasetError(f"{row.place}: row_mm and column_mm must both be given, or neither")
    known = Known(
        masks=paths.get("masks"),
        labelled_frames=_frames(row),
        ed_frame=row.whole_or_none("ed_frame"),
        es_frame=row.whole_or_none("es_frame"),
        ef_percent=row.number_or_none("ef_percent"),
        quality=row.text("quality"),
    )
    options = {
        "spacing_mm": None if None in spacing else spacing,
        "fps": row.number_or_none("fps"),
    }
    name = row.text("clip")
    return record(
        name,
        row.text("patient") or name,
        paths["clip"],
        known,
        view=View(view),
        split=SPLIT_WORDS.get(split, split),
        **options,
    )


def _frames(row: Row) -> tuple[int, ...] | None:
    """Return the frames that a row says are labelled, None when it says nothing."""
    words = row.text("labelled_frames").split()
    if not all(word.isdecimal() for word in words):
        raise DatasetError(
            f"{row.place}: labelled_frames must be whole numbers with blanks between, got "
            f"{row.text('labelled_frames')!r}"
        )
    return tuple(map(int, words)) or None


def record(
    name: str,
    patient: str,
    path: Path,
    known: Known,
    *,
    view: View,
    split: str = "",
    **options: Any,
) -> Record:
    """Return the record of one clip; `options` go to `load_clip`."""
    view_said = None if view is View.UNKNOWN else view
    return Record(
        name=name,
        patient=patient,
        view=view,
        split=split,
        quality=known.quality,
        files=(path, *([known.masks] if known.masks else [])),
        labelled=known.masks is not None,
        labels=None,
        read=partial(read_clip, path, known, view=view_said, **options),
    )


def read_clip(path: Path, known: Known, **options: Any) -> tuple[Clip, Annotation | None]:
    """Read a clip and the masks beside it.

    Raises:
        EchosegError: If a file is broken, or the masks do not fit the clip.
    """
    clip = load_clip(path, **options)
    if known.masks is None:
        return clip, None
    masks = read_labels(known.masks, clip.frames.shape)
    return clip, Annotation(
        masks=masks,
        labelled_frames=known.labelled_frames or tuple(range(len(masks))),
        ed_frame=known.ed_frame,
        es_frame=known.es_frame,
        ef_percent=known.ef_percent,
        edv_ml=known.edv_ml,
        esv_ml=known.esv_ml,
        quality=known.quality,
    )
