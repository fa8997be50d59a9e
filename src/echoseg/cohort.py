"""COHORT. Many clips on one machine: several processes, cut at any moment and resumed, two tables.

    OUT/manifest.json        what is done, how, to which clips, in the order of the tables
    OUT/clips/NAME/          what `echoseg analyze` writes of a clip, pictures only when asked for
    OUT/failures/NAME.json   why a clip has no such folder
    OUT/results.csv          at the end: a row a clip that has an EF
    OUT/failures.csv         at the end: a row a clip that has none, with the stage and the reason

Each clip is in one of the tables, once. Each of its results is renamed into place whole, and the
tables are read off those alone, with one thread a process: so they are the same to the byte
whatever the number of processes and however often the run was cut.
"""

import contextlib
import csv
import functools
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from echoseg.analysis import Analyzer, choose_device
from echoseg.anatomy import View
from echoseg.card import find_checkpoint, read_card
from echoseg.datasets.own_clips import clip_files
from echoseg.datasets.workers import check_jobs, in_order
from echoseg.errors import ConfigError, EchosegError, FormatError, OutputError
from echoseg.formats import open_clip
from echoseg.formats.frames import OpenOptions
from echoseg.formats.whole import check_writable, write_text
from echoseg.results import MARK, result_folder_names, write_results
from echoseg.runtime.choose import AUTO, check_name, choose

MANIFEST, CLIPS, FAILURES = "manifest.json", "clips", "failures"
RESULTS_TABLE, FAILURES_TABLE = "results.csv", "failures.csv"
_FAILURE_COLUMNS = ("clip", "folder", "stage", "reason")


class How(BaseModel):
    """How every clip of a cohort is analysed, in the words of `open_clip` and `Analyzer`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: View | None = None
    spacing_mm: tuple[float, float] | None = None
    frame_rate_hz: float | None = None
    allow_damaged: bool = False
    smoothing: bool = True
    pictures: bool = False
    """Also write overlay video, curve and page: they take longer than all the rest."""
    model: str
    device: str = "auto"
    runtime: str = "torch"
    """`auto` becomes the one chosen when the cohort is begun."""

    def open_options(self) -> dict[str, Any]:
        """Return what `open_clip` is to be told."""
        return self.model_dump(include={"view", "spacing_mm", "frame_rate_hz", "allow_damaged"})


class Entry(BaseModel):
    """One clip: its path inside the cohort's folder, the name of its results, its size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str
    folder: str
    num_bytes: int


class Manifest(BaseModel):
    """What a cohort's folder holds, written before the first clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    software_version: str
    model_sha256: str
    how: How
    clips: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortResult:
    """How a cohort ended: clips in all, with an EF, without one; clips done by this very run."""

    num_clips: int
    num_with_ef: int
    num_failed: int
    num_done_now: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """One clip for a worker."""

    source: Path
    out: Path
    entry: Entry
    how: How


Progress = Callable[[int, int], None]
"""Called with (clips done, clips in all)."""


def is_cohort(path: Path) -> bool:
    """Tell a folder of clips from a clip: a folder that holds PNG frames is a clip."""
    return path.is_dir() and not any(child.suffix.lower() == ".png" for child in path.iterdir())


def analyze_cohort(
    root: Path,
    out: Path,
    how: How,
    *,
    jobs: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
) -> CohortResult:
    """Analyse every clip in a folder and below, and write the two tables.

    Args:
        root: Folder of clips; `NAME_masks.nii.gz`, tables and texts beside them are passed over.
        out: Where to.
        how: The same for every clip.
        jobs: Processes, one thread each, no more than processors.
        resume: Go on with what OUT holds of the same cohort.
        progress: Called after each clip.

    Raises:
        ConfigError: If there is no clip, an option is wrong, or OUT holds another cohort.
        ModelError: If the checkpoint cannot be loaded.
        OutputError: If OUT exists without `resume`, another run writes into it, or the disk fails.
        DatasetError: If a process was ended from outside.
    """
    OpenOptions(**how.open_options())
    how = _settled(how, out, resume)
    manifest = _manifest(root, out, how)
    workers = check_jobs(jobs)
    _begin(out, manifest, resume=resume)
    with _alone(out):
        _sweep(out)
        missing = [entry for entry in manifest.clips if not _is_done(out, entry)]
        tasks = [
            _Task(source=root / entry.clip, out=out, entry=entry, how=how) for entry in missing
        ]
        before = len(manifest.clips) - len(missing)
        for number, _ in enumerate(in_order(_analyze, tasks, workers), before + 1):
            if progress is not None:
                progress(number, len(manifest.clips))
        with_ef, failed = _tables(out, manifest)
    return CohortResult(
        num_clips=len(manifest.clips),
        num_with_ef=with_ef,
        num_failed=failed,
        num_done_now=len(missing),
    )


def _settled(how: How, out: Path, resume: bool) -> How:
    """Return how, its `auto` runtime settled: as it was when resumed, else by measuring."""
    check_name(how.runtime)
    if how.runtime != AUTO:
        return how
    if resume and (out / MANIFEST).exists():
        return how.model_copy(update={"runtime": _read_manifest(out / MANIFEST).how.runtime})
    if choose_device(how.device) != "cpu":
        return how.model_copy(update={"runtime": "torch"})
    return how.model_copy(update={"runtime": choose(how.model, num_threads=1).runtime})


def _manifest(root: Path, out: Path, how: How) -> Manifest:
    """Return what is to be done; clips in the order of their paths."""
    inside = out.resolve()
    sources = [path for path in clip_files(root) if inside not in path.resolve().parents]
    if not sources:
        raise ConfigError(f"{root} must hold clips (AVI, MP4, DICOM, NIfTI, ...), it holds none")
    entries = [
        Entry(clip=path.relative_to(root).as_posix(), folder=name, num_bytes=_size(path))
        for path, name in zip(sources, result_folder_names(sources), strict=True)
    ]
    return Manifest(
        software_version=version("echoseg"),
        model_sha256=_model_sha256(how),
        how=how,
        clips=tuple(entries),
    )


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files)


def _model_sha256(how: How) -> str:
    return read_card(find_checkpoint(how.model)).sha256


def _begin(out: Path, manifest: Manifest, *, resume: bool) -> None:
    """Write the manifest, or refuse what is there."""
    place = out / MANIFEST
    if place.exists():
        if not resume:
            raise OutputError(f"{out} holds a cohort; pass --resume to go on, or another -o")
        _check_same(place, manifest)
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists and holds no {MANIFEST}; choose another -o")
    check_writable(out, "choose another -o")
    out.mkdir(parents=True, exist_ok=True)
    write_text(place, manifest.model_dump_json(indent=1) + "\n")


def _check_same(place: Path, manifest: Manifest) -> None:
    """Refuse to go on with another cohort than the one begun.

    Raises:
        ConfigError: Naming the first thing that differs.
    """
    begun = _read_manifest(place)
    way_out = "give it as it was, or choose another -o"
    for name in ("software_version", "model_sha256"):
        was, now = getattr(begun, name), getattr(manifest, name)
        if was != now:
            raise ConfigError(
                f"{name} must be {was} as when {place} was begun, is {now}; {way_out}"
            )
    for name in How.model_fields:
        was, now = getattr(begun.how, name), getattr(manifest.how, name)
        if was != now:
            raise ConfigError(
                f"{name} must be {was} as when {place} was begun, is {now}; {way_out}"
            )
    if begun.clips != manifest.clips:
        changed = sorted({entry.clip for entry in set(begun.clips) ^ set(manifest.clips)})
        raise ConfigError(
            f"the clips must be those of {place}, {changed[0]} came, went or changed its size; "
            "put it back, or choose another -o"
        )


def _read_manifest(place: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(place.read_text("utf-8"))
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{place} is no manifest of echoseg's; choose another -o") from error


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep a second run out of the folder; a run that was killed keeps nobody out.

    Raises:
        OutputError: If another run writes into it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: nothing is kept out
        yield
        return
    with (out / MANIFEST).open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"another run writes into {out}; wait for it, or choose another -o"
            ) from error
        yield


def _sweep(out: Path) -> None:
    """Make the two folders, and take away what killed runs left half-written."""
    for name in (CLIPS, FAILURES):
        (out / name).mkdir(exist_ok=True)
        for left in (out / name).glob(".*partial-*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    for left in out.glob(".partial-*"):
        left.unlink()


def _is_done(out: Path, entry: Entry) -> bool:
    done = out / CLIPS / entry.folder / MARK, _failure_path(out, entry)
    return any(path.exists() for path in done)


def _failure_path(out: Path, entry: Entry) -> Path:
    return out / FAILURES / f"{entry.folder}.json"


@functools.lru_cache(maxsize=1)
def _analyzer(model: str, device: str, runtime: str) -> Analyzer:
    """Return this process's one network."""
    import torch

    torch.set_num_threads(1)  # sums then have one order, and processes share the processors
    return Analyzer(model, device, runtime)


def _analyze(task: _Task) -> None:
    """Write one clip's results, or why there are none; done in a worker."""
    analyzer = _analyzer(task.how.model, task.how.device, task.how.runtime)
    stage = "read"
    try:
        clip = open_clip(task.source, **task.how.open_options())
        stage = "analyze"
        analysis = analyzer.analyze(clip, smoothing=task.how.smoothing)
        stage = "write"
        folder = task.out / CLIPS / task.entry.folder
        write_results(analysis, folder, pictures=task.how.pictures)
    except (OutputError, MemoryError):  # of the machine, not of the clip: the run cannot go on
        raise
    except EchosegError as error:
        _write_failure(task, stage, str(error))
    except Exception as error:  # one clip must not end a night's work
        _write_failure(task, stage, f"unexpected {type(error).__name__}: {error}")


def _write_failure(task: _Task, stage: str, reason: str) -> None:
    reason = reason.replace(str(task.source), task.entry.clip)  # wherever the cohort lies
    failure = {"clip": task.entry.clip, "folder": "", "stage": stage, "reason": reason}
    write_text(_failure_path(task.out, task.entry), json.dumps(failure, ensure_ascii=False) + "\n")


def _tables(out: Path, manifest: Manifest) -> tuple[int, int]:
    """Write both tables off what each clip left; return their numbers of rows."""
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    columns: tuple[str, ...] = ("clip", "folder")
    for entry in manifest.clips:
        row = _registry_row(out, entry)
        if row is None:
            failures.append(json.loads(_failure_path(out, entry).read_text("utf-8")))
            continue
        row = {"clip": entry.clip, "folder": f"{CLIPS}/{entry.folder}"} | row
        columns = tuple(row)
        if row["ef_percent"]:
            rows.append(row)
        else:
            failures.append({**row, "stage": "measure", "reason": row["refusal"]})
    write_text(out / RESULTS_TABLE, _table_text(columns, rows))
    write_text(out / FAILURES_TABLE, _table_text(_FAILURE_COLUMNS, failures))
    return len(rows), len(failures)


def _registry_row(out: Path, entry: Entry) -> dict[str, str] | None:
    path = out / CLIPS / entry.folder / "registry.csv"
    if not path.exists():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return next(csv.DictReader(file))
    except (StopIteration, UnicodeDecodeError) as error:
        raise FormatError(f"{path} must hold one row; remove {path.parent} and resume") from error


def _table_text(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
