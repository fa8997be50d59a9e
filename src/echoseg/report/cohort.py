"""Analyze many clips on one machine; resumable after any interruption.

    OUT/manifest.json       which clips, and how they are analyzed; written first
    OUT/NAME/...            one result folder per clip, written atomically
    OUT/failures/NAME.json  why a clip has no result, and the hash of its file
    OUT/results.csv         one row per clip, OUT/failures.csv one per failure, OUT/not_clips.csv
                            one per file that is something else; written last

The tables are made from the folders, in the manifest's order, and hold no times: a run that was
killed and resumed ends in the same bytes as one that was not. A result belongs to the hash of its
clip: a clip whose file changed is refused, one that failed is tried again.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from echoseg.clip import View
from echoseg.data.custom import clip_files, readable
from echoseg.errors import ConfigError, EchosegError, NotAClipError, OutputError
from echoseg.files import (
    ANOTHER_FOLDER,
    ResumableFolder,
    csv_text,
    read_json,
    write_json,
    write_text,
)
from echoseg.inference.analyzer import choose_device
from echoseg.inference.backends.select import AUTO, check_backend, select_backend
from echoseg.io import is_frame_folder, load_clip, source_sha256
from echoseg.io.clip_header import read_clip_header
from echoseg.parallel import one_thread, parallel_map
from echoseg.preprocess.sector import blank_outside
from echoseg.private import Pseudonyms
from echoseg.report.schema import Report, registry_row
from echoseg.report.writer import FILES, MARK, free_names

MANIFEST, FAILURES = "manifest.json", "failures"
RESULTS_TABLE, FAILURES_TABLE, OTHERS_TABLE = "results.csv", "failures.csv", "not_clips.csv"
_OWN = (MANIFEST, FAILURES, RESULTS_TABLE, FAILURES_TABLE, OTHERS_TABLE)

Progress = Callable[[int, int], None]


class Settings(BaseModel):
    """How every clip is analyzed; must be the same when a cohort is resumed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    model_sha256: str
    device: str = "auto"
    backend: str = "torch"
    """`auto` becomes the fastest one when the cohort is started."""
    view: View | None = None
    spacing_mm: tuple[float, float] | None = None
    fps: float | None = None
    allow_damaged: bool = False
    smoothing: bool = True
    force_view: bool = False
    pdf: bool = False
    pages: bool = True
    private: bool = False
    """Names in the manifest are hashes, and pictures are black outside the sector."""


class Entry(BaseModel):
    """One clip: its name, as given or relative to the folder given, file and result folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str
    source: Path = Field(default=Path(), exclude=True)
    """Where it is now; not written, since it may hold a patient's name."""
    name: str


class Failure(BaseModel):
    """A file without result; all of `failures/NAME.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str
    reason: str
    sha256: str = ""
    """Of the clip's file; empty where it could not be read."""
    is_clip: bool = True
    """False where the file turned out to be something else, so that no clip failed."""


class Cohort(BaseModel):
    """All of `manifest.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: Settings
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Numbers of clips, failures, other files, and results without EF or with an unreliable one."""

    clips: int
    failed: int
    others: int
    without_ef: int
    unreliable: int


class FoundClips(dict[str, Path]):
    """Clips by name; `others` are the files that are not clips, by name with the reason."""

    def __init__(self) -> None:
        super().__init__()
        self.others: dict[str, str] = {}

    def hidden(self, names: Pseudonyms, folders: Sequence[Path]) -> "FoundClips":
        """The same with hashes as names; `folders` are those that `others` are relative to."""
        hidden = FoundClips()
        hidden |= {names.name(path): path for path in self.values()}
        for name, reason in self.others.items():
            places = [folder / name for folder in folders]
            path = next(filter(os.path.exists, places), places[0])
            hidden.others[names.name(path)] = names.hide(reason)
        return hidden


def find_clips(sources: Sequence[Path], out: Path | None = None) -> FoundClips:
    """Find the clips of files and folders, by name: as given, or the path relative to the folder.

    A folder of frames only is one clip. Files in `out` and in result folders are left out. So
    are files of a folder whose headers say that they are not clips; they are `others`.

    Raises:
        ConfigError: If a source does not exist, or nothing is found.
        DatasetError: If a folder cannot be read, so that clips would be missed.
    """
    clips = FoundClips()
    for source in sources:
        if is_clip(source):
            clips[source.name if source.name not in clips else str(source)] = source
            continue
        own = _part_of(source, out)
        for path in clip_files(source):
            inside = path.relative_to(source)
            result = path.name in FILES and (path.parent / MARK).exists()
            if not result and (own is None or not inside.is_relative_to(own)):
                name = inside.as_posix()
                if reason := read_clip_header(path).no_clip_reason:
                    clips.others[name] = reason
                    continue
                clips[name if name not in clips else str(path)] = path
    if not clips:
        what = "".join(f" ({name}: {why})" for name, why in list(clips.others.items())[:1])
        raise ConfigError(f"{sources[0]} holds no clip{what}; give a folder of clips, or clips")
    return clips


def _part_of(source: Path, out: Path | None) -> Path | None:
    """Path of `out` relative to a folder; None where it is elsewhere."""
    if out is None or source.resolve() not in out.resolve().parents:
        return None
    return out.resolve().relative_to(source.resolve())


def is_clip(source: Path) -> bool:
    """Whether a path is a clip, a file or a folder of frames, not a folder of clips.

    Raises:
        ConfigError: If it does not exist.
        DatasetError: If it cannot be read.
    """
    with readable(source):
        if not source.exists():
            raise ConfigError(f"{source} does not exist; give clips, or folders of clips")
        return not source.is_dir() or is_frame_folder(source)


def run_cohort(
    clips: dict[str, Path],
    settings: Settings,
    out: Path,
    *,
    jobs: int = 1,
    resume: bool = False,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Analyze every clip that is not done, then write the tables.

    Args:
        clips: From `find_clips`.
        settings: How the clips are analyzed.
        out: The output folder.
        jobs: Worker processes; each loads the model once.
        resume: Continue the cohort in `out`, with new clips added.
        progress: Called with (clips done, all clips).

    Raises:
        ConfigError: If `out` holds a cohort and `resume` is false, or one with other settings, or
            a clip's file has changed.
        ModelError: If the model cannot be loaded; before the first clip.
        OutputError: If `out` holds other files, is in use, or cannot be written.
    """
    check_backend(settings.backend)
    folder = ResumableFolder(out, MANIFEST, Cohort, "a cohort")
    with folder.locked():
        held = folder.read() if resume else None
        settings = _with_backend(settings, held)
        cohort = _plan(clips, settings, held, out)
        folder.check(cohort, resume=resume, varying=["entries"])
        left = [entry for entry in cohort.entries if not is_done(out, entry)]
        if left:  # a model that does not load must not fail the clips
            _analyzer(settings.model, settings.device, settings.backend)
        folder.begin(cohort, resume=resume, varying=["entries"])
        (out / FAILURES).mkdir(exist_ok=True)
        done = len(cohort.entries) - len(left)
        progress(done, len(cohort.entries))
        work = partial(_analyze, settings, out)
        for index, _ in enumerate(parallel_map(work, left, jobs), done + 1):
            progress(index, len(cohort.entries))
        return write_tables(cohort, out, getattr(clips, "others", {}))


def _with_backend(settings: Settings, held: Cohort | None) -> Settings:
    """Replace the backend `auto`: by that of the resumed cohort, else by the fastest."""
    if settings.backend != AUTO:
        return settings
    if held is not None:
        backend = held.settings.backend
    elif choose_device(settings.device) != "cpu":
        backend = "torch"
    else:
        backend = select_backend(settings.model, num_threads=1).backend
    return settings.model_copy(update={"backend": backend})


def _plan(clips: dict[str, Path], settings: Settings, held: Cohort | None, out: Path) -> Cohort:
    """Add the new clips to those of the manifest.

    Raises:
        ConfigError: If a clip of the manifest is missing.
    """
    entries = {entry.clip: entry for entry in held.entries} if held else {}
    if missing := [clip for clip in entries if clip not in clips]:
        raise ConfigError(
            f"{len(missing)} clips of {out} are missing, such as {missing[0]}; bring them back, or "
            f"{ANOTHER_FOLDER}"
        )
    new = [clip for clip in clips if clip not in entries]
    reserved = (*_OWN, *(entry.name for entry in entries.values()))
    names = {clip: entry.name for clip, entry in entries.items()}
    names |= zip(new, free_names([_stem(clip) for clip in new], reserved), strict=True)
    return Cohort(
        settings=settings,
        entries=tuple(
            Entry(clip=clip, source=clips[clip].absolute(), name=names[clip])
            for clip in sorted(names)
        ),
    )


def _stem(clip: str) -> str:
    """A clip's name without suffix, folders joined by `_`."""
    path = Path(clip.removesuffix(".gz"))
    return "_".join((*path.parts[:-1], path.stem))


def is_done(out: Path, entry: Entry) -> bool:
    """Whether a clip has its result, or a failure of its file as it is now.

    Raises:
        ConfigError: If the clip's file is not the one that was analyzed.
        OutputError: If the result or failure is damaged.
    """
    outcome = _outcome(out, entry)
    if isinstance(outcome, Report) and outcome.input.sha256 != source_sha256(entry.source):
        raise ConfigError(
            f"{entry.clip} is not the file whose result is in {out / entry.name} (another hash, or "
            f"unreadable); bring that file back, or remove {out / entry.name} to analyze it again"
        )
    if isinstance(outcome, Failure):
        return outcome.sha256 == source_sha256(entry.source)
    return outcome is not None


def _outcome(out: Path, entry: Entry) -> Report | Failure | None:
    """The clip's result or failure; None where there is neither yet."""
    result, failure = out / entry.name, _failure(out, entry)
    way_out = "remove {} and continue with resume (--resume)"
    return read_json(result / MARK, Report, way_out.format(result)) or read_json(
        failure, Failure, way_out.format(failure)
    )


def _failure(out: Path, entry: Entry) -> Path:
    return out / FAILURES / f"{entry.name}.json"


@lru_cache(maxsize=1)
def _analyzer(model: str, device: str, backend: str) -> Any:
    """The model, loaded once per process."""
    from echoseg.inference.analyzer import Analyzer

    return Analyzer(model, device, backend)


def _analyze(settings: Settings, out: Path, entry: Entry) -> None:
    """Write a clip's result or failure, with one thread for reproducible sums.

    Raises:
        OutputError: If the disk fails, which is not the clip's fault.
        EchosegError: If the model cannot be loaded.
    """
    from echoseg.report.writer import write_results

    analyzer = _analyzer(settings.model, settings.device, settings.backend)
    sha256 = source_sha256(entry.source)  # first: a file that is still being copied is tried again
    is_clip = True
    try:
        clip = load_clip(
            entry.source,
            view=settings.view,
            spacing_mm=settings.spacing_mm,
            fps=settings.fps,
            allow_damaged=settings.allow_damaged,
            alias=entry.clip if settings.private else None,
        )
        with one_thread():
            analysis = analyzer.analyze(
                clip, smoothing=settings.smoothing, force_view=settings.force_view
            )
        if settings.private:
            analysis = replace(analysis, clip=blank_outside(clip))
        _failure(out, entry).unlink(missing_ok=True)  # of an earlier content of the file
        write_results(analysis, out / entry.name, pdf=settings.pdf, pages=settings.pages)
    except OutputError:
        raise
    except EchosegError as error:
        reason, is_clip = str(error), not isinstance(error, NotAClipError)
    except Exception as error:  # one clip must not end the cohort
        reason = f"unexpected, please report it: {type(error).__name__}"
    else:
        return
    failure = Failure(clip=entry.clip, reason=reason, sha256=sha256, is_clip=is_clip)
    write_json(_failure(out, entry), failure)


def write_tables(
    cohort: Cohort, out: Path, others: Mapping[str, str] = MappingProxyType({})
) -> Outcome:
    """Write the tables from the results and failures in the folder, and of what is not a clip.

    Raises:
        OutputError: If they cannot be written, or a result cannot be read.
    """
    rows, failures, without_ef, unreliable = [], [], 0, 0
    passed_over = list(others.items())
    for entry in cohort.entries:
        outcome = _outcome(out, entry)
        if outcome is None:
            raise OutputError(f"{out / entry.name} was removed; continue with resume (--resume)")
        if isinstance(outcome, Failure):
            (failures if outcome.is_clip else passed_over).append((outcome.clip, outcome.reason))
            continue
        is_withheld = outcome.ef_unreliable_percent is not None
        unreliable += is_withheld
        without_ef += outcome.results.ef_percent is None and not is_withheld
        rows.append({"clip": entry.clip, "folder": entry.name, **registry_row(outcome)})
    write_text(
        out / RESULTS_TABLE,
        csv_text(rows[0] if rows else ["clip", "folder"], map(dict.values, rows)),
    )
    write_text(out / FAILURES_TABLE, csv_text(("clip", "reason"), failures))
    write_text(out / OTHERS_TABLE, csv_text(("file", "reason"), sorted(passed_over)))
    return Outcome(
        clips=len(rows) + len(failures),
        failed=len(failures),
        others=len(passed_over),
        without_ef=without_ef,
        unreliable=unreliable,
    )
