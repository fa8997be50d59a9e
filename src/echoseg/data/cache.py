"""A data set decoded once, at one size, and mapped into memory: training never waits for a codec.

A cache is a folder: `clips/*.npy`, one a clip, uint8 `T + L S S` (the frames, then the masks of its
L labelled frames), and `cache.json`, written last. While it is being made `journal.jsonl` tells
what is done, so that a run cut off goes on where it was. Pictures are letterboxed whole, averaged
when shrunk; masks take the nearest pixel.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Annotation, Clip
from echoseg.data.hashing import sha256_of, source_files
from echoseg.data.records import Dataset, Issue, IssueKind, Record
from echoseg.errors import ConfigError, DatasetError, EchosegError, OutputError
from echoseg.files import atomic_write, check_writable, write_text
from echoseg.parallel import parallel_map

FORMAT = 2
SIZES_PX = (16, 2048)
MARK, _JOURNAL, _CLIPS = "cache.json", "journal.jsonl", "clips"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One clip of a cache: what is known of it, and the hashes by which it is trusted.

    `spacing_mm` is that of the square's pixels; frames are counted as in the clip.
    """

    name: str
    patient: str
    view: str
    split: str
    quality: str
    stills: bool
    labels: tuple[int, ...] | None
    num_frames: int
    labelled_frames: tuple[int, ...]
    ed_frame: int | None
    es_frame: int | None
    ef_percent: float | None
    spacing_mm: tuple[float, float] | None
    frame_rate_hz: float | None
    box: tuple[int, int, int, int]
    """(top, left, bottom, right) of the square that the picture covers."""
    file: str
    sha256: str
    source_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What a run of `prepare` did."""

    written: int
    reused: int
    problems: tuple[Issue, ...]


class CachedClips:
    """The clips of a cache, a map-style data set; nothing is decoded and nothing copied.

    Example:
        >>> clips = CachedClips(Path("cache"))
        >>> frames, masks = clips[3]  # `T S S` and `L S S` uint8, mapped from the disk
        >>> clips.entries[3].labelled_frames

    Raises:
        DatasetError: If the folder holds no finished cache.
    """

    def __init__(self, folder: Path) -> None:
        head, entries = _read_state(folder)
        if not (folder / MARK).is_file() or head is None:
            raise DatasetError(
                f"{folder} holds no finished cache; run `echoseg data prepare DIR -o {folder}`"
            )
        self.folder, self.size_px, self.dataset = folder, head["size_px"], head["dataset"]
        self.entries = tuple(entries.values())

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the frames `T S S` of a clip, and the masks `L S S` of its labelled frames."""
        entry = self.entries[index]
        stored = np.load(self.folder / entry.file, mmap_mode="r")
        return stored[: entry.num_frames], stored[entry.num_frames :]

    def verify(self) -> list[Issue]:
        """Read every file and tell which are not what was written."""
        bad = [e for e in self.entries if sha256_of([self.folder / e.file]) != e.sha256]
        reason = "the file is missing or not what was written; run `echoseg data prepare` again"
        return [Issue(place=entry.file, kind=IssueKind.BROKEN, reason=reason) for entry in bad]


def prepare(
    collection: Dataset,
    folder: Path,
    size_px: int,
    *,
    jobs: int = 1,
    progress: Progress = lambda done, total: None,
) -> Prepared:
    """Write a cache, or go on with one; clips that are there, and whole, are kept.

    Args:
        collection: What is read.
        folder: Made when missing; must hold a cache of the same data set and size, or nothing.
        size_px: Side of the square.
        jobs: Processes that decode.
        progress: Told (clips done, clips in all).

    Raises:
        ConfigError: If the size is out of range.
        OutputError: If the folder holds something else, or cannot be written.
    """
    if not SIZES_PX[0] <= size_px <= SIZES_PX[1]:
        raise ConfigError(f"size must be {SIZES_PX[0]} to {SIZES_PX[1]} px, got {size_px}")
    if collection.dataset == "cache":
        raise ConfigError(
            f"{collection.root} is a cache already; give the folder of the data set itself"
        )
    head = {"format": FORMAT, "dataset": collection.dataset, "size_px": size_px}
    known = _check_folder(folder, head)
    _check_covered(folder, known, collection)
    work = [_Work(r, folder, size_px, known.get(r.name)) for r in collection.records]
    done: dict[str, Entry] = {}
    problems, reused = list(collection.problems), 0
    for index, (found, kept) in enumerate(_journalled(folder, head, known, work, jobs)):
        if isinstance(found, Entry):
            done[found.name] = found
            reused += kept
        else:
            problems.append(found)
        progress(index + 1, len(work))
    if not done:
        raise DatasetError(
            f"{collection.root}: none of its {len(work)} clips can be read, the first "
            f"{problems[-1].place}: {problems[-1].reason}"
        )
    document = head | {
        "entries": [asdict(entry) for entry in done.values()],
        "problems": [asdict(problem) for problem in problems],
    }
    write_text(folder / MARK, json.dumps(document, indent=1) + "\n")
    (folder / _JOURNAL).unlink(missing_ok=True)
    kept_files = {entry.file for entry in done.values()}
    for path in (folder / _CLIPS).glob("*.npy"):
        if f"{_CLIPS}/{path.name}" not in kept_files:
            path.unlink()
    return Prepared(written=len(done) - reused, reused=reused, problems=tuple(problems))


@dataclass(frozen=True, slots=True)
class _Work:
    """One clip to be written, or kept if `known` still holds."""

    record: Record
    folder: Path
    size_px: int
    known: Entry | None


def _journalled(
    folder: Path, head: dict[str, Any], known: dict[str, Entry], work: list[_Work], jobs: int
) -> Iterator[tuple[Entry | Issue, bool]]:
    """Yield what becomes of each clip, told to the journal before."""
    try:
        (folder / _CLIPS).mkdir(parents=True, exist_ok=True)
        with (folder / _JOURNAL).open("w", encoding="utf-8", newline="\n") as journal:
            for line in (head, *map(asdict, known.values())):
                journal.write(json.dumps(line) + "\n")
            journal.flush()
            for found, kept in parallel_map(_do, work, jobs):
                if isinstance(found, Entry) and not kept:
                    journal.write(json.dumps(asdict(found)) + "\n")
                    journal.flush()
                yield found, kept
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror or error})") from error


def _check_folder(folder: Path, head: dict[str, Any]) -> dict[str, Entry]:
    """Return the clips that a cache already holds; refuse a folder that is none or another."""
    check_writable(folder, "choose another -o")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    found, entries = _read_state(folder)
    if found is None:
        raise OutputError(f"{folder} exists and is no cache of echoseg; choose another -o")
    if found != head:
        told = "{dataset} at {size_px} px (format {format})"
        raise OutputError(
            f"{folder} is a cache of {told.format(**found)}, asked for is {told.format(**head)}; "
            "choose another -o"
        )
    return entries


def _check_covered(folder: Path, known: dict[str, Entry], collection: Dataset) -> None:
    """Refuse to go on with a cache of other clips: they would be thrown away."""
    others = sorted(known.keys() - {record.name for record in collection.records})
    if others:
        raise OutputError(
            f"{folder} holds {len(others)} clips that are not asked for, such as {others[0]}: it "
            "is a cache of another split or folder; choose another -o"
        )


def _read_state(folder: Path) -> tuple[dict[str, Any] | None, dict[str, Entry]]:
    """Return head and clips of a cache, of the journal too; a last line cut off does not count."""
    lines: list[dict[str, Any]] = []
    try:
        if (folder / MARK).is_file():
            document = json.loads((folder / MARK).read_text("utf-8"))
            lines = [document, *document["entries"]]
        if (folder / _JOURNAL).is_file():
            for line in (folder / _JOURNAL).read_text("utf-8").splitlines():
                if line.endswith("}"):
                    lines.append(json.loads(line))
        if not lines:
            return None, {}
        head = {name: lines[0][name] for name in ("format", "dataset", "size_px")}
        found = (_entry(line) for line in lines if "sha256" in line)
        return head, {entry.name: entry for entry in found}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{folder} is a cache whose lists are broken ({error!r}); remove the folder and "
            "prepare it again"
        ) from error


def _entry(line: dict[str, Any]) -> Entry:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in line.items()}
    return Entry(**values)


def _do(work: _Work) -> tuple[Entry | Issue, bool]:
    """Return a clip's entry, and whether what was there is kept; or why there is none."""
    record, known = work.record, work.known
    try:
        source = sha256_of(source_files(record))
        if known is not None and known.source_sha256 == source:
            if sha256_of([work.folder / known.file]) == known.sha256:
                return known, True
        return _write(work, *record.load(), source), False
    except OutputError:
        raise
    except EchosegError as error:
        return Issue(place=record.name, kind=IssueKind.BROKEN, reason=str(error)), False


def _write(work: _Work, clip: Clip, known: Annotation | None, source: str) -> Entry:
    """Lay a clip onto the square and write it."""
    from echoseg.preprocess.letterbox import letterbox_for

    letterbox = letterbox_for((0, 0, *clip.size), work.size_px)
    rows, columns = letterbox.inner_size
    labelled = known.labelled_frames if known else ()
    stored = on_square(clip, known, work.size_px)
    record = work.record
    file = f"{_CLIPS}/{hashlib.sha256(record.name.encode()).hexdigest()[:20]}.npy"
    with atomic_write(work.folder / file) as partial:
        np.save(partial, stored)
    spacing_mm = None
    if clip.spacing_mm is not None:
        row_mm, column_mm = clip.spacing_mm
        spacing_mm = (row_mm * clip.size[0] / rows, column_mm * clip.size[1] / columns)
    return Entry(
        name=record.name,
        patient=record.patient,
        view=str(record.view),
        split=record.split,
        quality=record.quality,
        stills=record.stills,
        labels=None if record.labels is None else tuple(map(int, record.labels)),
        num_frames=clip.num_frames,
        labelled_frames=labelled,
        ed_frame=known.ed_frame if known else None,
        es_frame=known.es_frame if known else None,
        ef_percent=known.ef_percent if known else None,
        spacing_mm=spacing_mm,
        frame_rate_hz=clip.frame_rate_hz,
        box=(letterbox.top, letterbox.left, letterbox.top + rows, letterbox.left + columns),
        file=file,
        sha256=sha256_of([work.folder / file]),
        source_sha256=source,
    )


def on_square(clip: Clip, known: Annotation | None, size_px: int) -> np.ndarray:
    """Return the frames and, behind them, the labelled masks, `T + L S S` uint8."""
    import torch
    from torch.nn import functional

    from echoseg.preprocess.letterbox import letterbox_for
    from echoseg.preprocess.letterbox_torch import letterbox_frames

    letterbox = letterbox_for((0, 0, *clip.size), size_px)
    frames = letterbox_frames(torch.from_numpy(clip.frames).float(), letterbox)
    frames = frames.round().clamp(0, 255).to(torch.uint8).numpy()
    if known is None:
        return frames
    rows, columns = letterbox.inner_size
    masks = np.zeros((len(known.labelled_frames), size_px, size_px), np.uint8)
    inner = functional.interpolate(
        torch.from_numpy(known.masks[list(known.labelled_frames)])[:, None],
        size=(rows, columns),
        mode="nearest-exact",
    )[:, 0]
    down, across = letterbox.top + rows, letterbox.left + columns
    masks[:, letterbox.top : down, letterbox.left : across] = inner.numpy()
    return np.concatenate([frames, masks])
