"""A data set decoded once, at one size, so that training maps clips from the disk.

    CACHE/cache.json        of which data set, at which size; which clips, once it is complete
    CACHE/clips/ID.npy      frames and, behind them, the labeled masks of one clip, `T + L S S`
    CACHE/clips/ID.json     what else is known of the clip, and the hash of what it was read from

A clip is done when both files are there and its files and its record (split, values of tables,
settings of an animation) still have the same hash, so `prepare` can be interrupted and run again.
"""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from echoseg.clip import Annotation, Clip
from echoseg.data.animated import PREFIX
from echoseg.data.dataset import Dataset
from echoseg.data.hashing import hash_record
from echoseg.data.records import Issue, IssueKind, Record
from echoseg.errors import ConfigError, DatasetError, EchosegError, OutputError, Unfit
from echoseg.files import ANOTHER_FOLDER, ResumableFolder, atomic_write, read_json, write_json
from echoseg.parallel import parallel_map
from echoseg.untrusted import check_regular, reading

FORMAT = 3
SIZE_RANGE_PX = (16, 2048)
MARK, CLIPS = "cache.json", "clips"
Progress = Callable[[int, int], None]


class CacheSettings(BaseModel):
    """All of `cache.json`."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    dataset: str
    """Its key in `DATASETS`, after `animated:` where it is animated."""
    size_px: int
    clips: tuple[str, ...] | None = None
    """Names in the data set's order; None until all are done."""


class Entry(BaseModel):
    """What is known of one clip besides its array; all of `ID.json`.

    `spacing_mm` is that of the square's pixels; frames are counted as in the clip.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    patient: str
    view: str
    split: str
    quality: str
    stills: bool
    labels: tuple[int, ...] | None
    num_frames: int = Field(ge=1)
    labelled_frames: tuple[int, ...]
    ed_frame: int | None
    es_frame: int | None
    ef_percent: float | None
    spacing_mm: tuple[float, float] | None
    frame_rate_hz: float | None
    box: tuple[int, int, int, int]
    """(top, left, bottom, right) of the square that the picture covers."""
    source_sha256: str
    """`hash_record`."""

    @property
    def file(self) -> str:
        """Path of the array in the cache."""
        return f"{clip_file(self.name)}.npy"


def clip_file(name: str) -> str:
    """Path of a clip's files in the cache, without suffix; any name becomes a valid one."""
    return f"{CLIPS}/{hashlib.sha256(name.encode()).hexdigest()[:20]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """The outcome of `prepare`: numbers of clips, and those that cannot be read."""

    written: int
    reused: int
    issues: tuple[Issue, ...]


class CachedClips:
    """The clips of a cache, a map-style data set; nothing is decoded and nothing copied.

    Examples:
        >>> clips = CachedClips(Path("cache"))
        >>> frames, masks = clips[3]  # `T S S` and `L S S` uint8, mapped from the disk
        >>> clips.entries[3].labelled_frames

    Raises:
        DatasetError: If the folder holds no complete cache.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            settings = _folder(folder).read()
            if settings is None or settings.clips is None or settings.format != FORMAT:
                raise DatasetError(
                    f"{folder} holds no complete cache; run `echoseg data prepare DIR -o {folder}`"
                )
            entries = [read_entry(folder, name) for name in settings.clips]
        except OutputError as error:
            raise DatasetError(str(error)) from error
        self.folder, self.size_px, self.dataset = folder, settings.size_px, settings.dataset
        self.entries = tuple(entry for entry in entries if entry is not None)
        if len(self.entries) < len(entries):
            raise DatasetError(f"{folder}: clips are missing; run `echoseg data prepare` again")

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames `T S S` of a clip, and masks `L S S` of its labeled frames."""
        entry = self.entries[index]
        path, rule = self.folder / entry.file, f"must hold {self.size_px} x {self.size_px} uint8"
        with reading(path, DatasetError, rule, "run `echoseg data prepare` again"):
            stored = np.load(check_regular(path), mmap_mode="r", allow_pickle=False)
            length = entry.num_frames + len(entry.labelled_frames)
            if stored.shape != (length, self.size_px, self.size_px) or stored.dtype != np.uint8:
                raise Unfit(f"it holds {stored.shape} {stored.dtype}")
        return stored[: entry.num_frames], stored[entry.num_frames :]


def prepare(
    dataset: Dataset,
    folder: str | Path,
    size_px: int,
    *,
    jobs: int = 1,
    progress: Progress = lambda done, total: None,
) -> Prepared:
    """Write a cache, or continue one; clips that are done are not decoded again.

    Args:
        dataset: The data set.
        folder: The cache; new, empty, or holding a cache of the same data set and size.
        size_px: Side of the square.
        jobs: Worker processes.
        progress: Called with (clips done, all clips).

    Raises:
        ConfigError: If the size is out of range, or the folder holds another cache.
        DatasetError: If no clip can be read.
        OutputError: If the folder holds other files, or cannot be written.
    """
    folder = Path(folder)
    low, high = SIZE_RANGE_PX
    if not low <= size_px <= high:
        raise ConfigError(f"size must be {low} to {high} px, got {size_px}")
    if dataset.name == "cache":
        raise ConfigError(f"{dataset.root} is a cache; give the folder of the data set itself")
    prefix = PREFIX * str(dataset.root).startswith(PREFIX)
    settings = CacheSettings(dataset=prefix + dataset.name, size_px=size_px)
    cache = _folder(folder)
    with cache.locked():
        cache.check(settings, varying=["clips"])
        _check_covered(folder, dataset)
        cache.begin(settings, varying=["clips"])
        (folder / CLIPS).mkdir(exist_ok=True)
        done: list[str] = []
        issues, reused = list(dataset.issues), 0
        work = partial(_prepare_clip, folder, size_px)
        for index, outcome in enumerate(parallel_map(work, dataset.records, jobs), 1):
            if isinstance(outcome, Issue):
                issues.append(outcome)
            else:
                done.append(dataset.records[index - 1].name)
                reused += outcome
            progress(index, len(dataset))
        if not done:
            raise DatasetError(
                f"{dataset.root}: none of its {len(dataset)} clips can be read, the first "
                f"{issues[-1].place}: {issues[-1].reason}"
            )
        _remove_failed(folder, {record.name for record in dataset.records} - set(done))
        write_json(cache.settings_path, settings.model_copy(update={"clips": tuple(done)}))
    return Prepared(written=len(done) - reused, reused=reused, issues=tuple(issues))


def _folder(folder: Path) -> ResumableFolder[CacheSettings]:
    return ResumableFolder(folder, MARK, CacheSettings, "a cache")


def read_entry(folder: Path, name: str) -> Entry | None:
    """The entry of a clip that is done; None for one that is not.

    Raises:
        OutputError: If it is damaged.
    """
    path = folder / clip_file(name)
    if not path.with_suffix(".npy").exists():
        return None
    return read_json(path.with_suffix(".json"), Entry, "remove it and run `echoseg data prepare`")


def _check_covered(folder: Path, dataset: Dataset) -> None:
    """Refuse to continue a cache of other clips: they would be removed."""
    files = {clip_file(record.name) for record in dataset.records}
    held = sorted((folder / CLIPS).glob("*.json"))
    others = [path for path in held if f"{CLIPS}/{path.stem}" not in files]
    if others:
        raise OutputError(
            f"{folder} holds {len(others)} clips that the data set or split does not; "
            f"{ANOTHER_FOLDER}"
        )


def _remove_failed(folder: Path, names: set[str]) -> None:
    """Remove the files of clips that can no longer be read."""
    for path in (folder / clip_file(name) for name in names):
        for suffix in (".npy", ".json"):
            path.with_suffix(suffix).unlink(missing_ok=True)


def _prepare_clip(folder: Path, size_px: int, record: Record) -> bool | Issue:
    """Write one clip, unless it is there and has the same hash: then True."""
    try:
        source_sha256 = hash_record(record)
        with contextlib.suppress(OutputError):  # a damaged entry is written again
            entry = read_entry(folder, record.name)
            if entry is not None and entry.source_sha256 == source_sha256 != "":
                return True
        clip, annotation = record.load()
        path = folder / clip_file(record.name)
        path.with_suffix(".json").unlink(missing_ok=True)  # of another content
        with atomic_write(path.with_suffix(".npy")) as partial_path:
            np.save(partial_path, on_square(clip, annotation, size_px))
        entry = _entry(record, clip, annotation, size_px, source_sha256)
        write_json(path.with_suffix(".json"), entry)
    except OutputError:
        raise
    except EchosegError as error:
        return Issue(place=record.name, kind=IssueKind.BROKEN, reason=str(error))
    return False


def _entry(
    record: Record, clip: Clip, annotation: Annotation | None, size_px: int, source_sha256: str
) -> Entry:
    from echoseg.preprocess.letterbox import letterbox_for

    letterbox = letterbox_for((0, 0, *clip.size), size_px)
    rows, columns = letterbox.inner_size
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
        labelled_frames=annotation.labelled_frames if annotation else (),
        ed_frame=annotation.ed_frame if annotation else None,
        es_frame=annotation.es_frame if annotation else None,
        ef_percent=annotation.ef_percent if annotation else None,
        spacing_mm=spacing_mm,
        frame_rate_hz=clip.frame_rate_hz,
        box=(letterbox.top, letterbox.left, letterbox.top + rows, letterbox.left + columns),
        source_sha256=source_sha256,
    )


def on_square(clip: Clip, annotation: Annotation | None, size_px: int) -> np.ndarray:
    """Letterbox the frames and, behind them, the labeled masks: `T + L S S` uint8."""
    import torch
    from torch.nn import functional

    from echoseg.preprocess.letterbox import letterbox_for
    from echoseg.preprocess.letterbox_torch import letterbox_frames

    letterbox = letterbox_for((0, 0, *clip.size), size_px)
    frames = letterbox_frames(torch.from_numpy(clip.frames).float(), letterbox)
    frames = frames.round().clamp(0, 255).to(torch.uint8).numpy()
    if annotation is None:
        return frames
    masks = np.zeros((len(annotation.labelled_frames), size_px, size_px), np.uint8)
    labelled = torch.from_numpy(annotation.masks[list(annotation.labelled_frames)])[:, None]
    inner = functional.interpolate(labelled, letterbox.inner_size, mode="nearest-exact")[:, 0]
    masks[:, *letterbox.inside] = inner.numpy()
    return np.concatenate([frames, masks])
