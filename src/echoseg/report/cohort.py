"""Many clips on one machine: each whole or not at all, gone on with after any stop.

    OUT/manifest.json       which clips, and how they are analysed; written first
    OUT/NAME/...            one result folder a clip, renamed into its place when it is whole
    OUT/failures/NAME.json  why a clip has none, and the hash of what was read
    OUT/results.csv         a row a clip, OUT/failures.csv a row a failure; written last

Tables are made from what lies in the folders, in the manifest's order, and hold no time: a run that
was killed and resumed ends in the same bytes as one that was not. A result is of one content of its
clip, known by its hash: another content is refused, a failure's is tried anew.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from echoseg.clip import View
from echoseg.data.custom import clip_files, readable
from echoseg.errors import ConfigError, EchosegError, OutputError
from echoseg.files import ANOTHER_FOLDER, ResumableFolder, read_json, write_json, write_text
from echoseg.inference.analyzer import choose_device
from echoseg.inference.backends.select import AUTO, check_name, select_backend
from echoseg.io import load_clip, source_sha256
from echoseg.parallel import one_thread, parallel_map
from echoseg.report.schema import Report, registry_row
from echoseg.report.writer import FILES, MARK, free_names

MANIFEST, FAILURES = "manifest.json", "failures"
RESULTS_TABLE, FAILURES_TABLE = "results.csv", "failures.csv"
_OWN = (MANIFEST, FAILURES, RESULTS_TABLE, FAILURES_TABLE)

Progress = Callable[[int, int], None]


class Settings(BaseModel):
    """How every clip is analysed; another way is another cohort."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    model_sha256: str
    device: str = "auto"
    runtime: str = "torch"
    """`auto` becomes the one that is fastest when the cohort is begun."""
    view: View | None = None
    spacing_mm: tuple[float, float] | None = None
    fps: float | None = Field(default=None, validation_alias=AliasChoices("fps", "frame_rate_hz"))
    """`frame_rate_hz` in manifests of 0.1."""
    allow_damaged: bool = False
    smoothing: bool = True
    pdf: bool = False
    pages: bool = True


class Entry(BaseModel):
    """One clip: its file, as given or below the folder given, and its result folder's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str
    source: Path
    name: str


class Failure(BaseModel):
    """All of `failures/NAME.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str
    reason: str
    sha256: str = ""
    """Of the file that failed; empty where it could not be read."""


class Cohort(BaseModel):
    """All of `manifest.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: Settings
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a cohort."""

    clips: int
    failed: int
    without_ef: int


def find_clips(sources: Sequence[Path], out: Path | None = None) -> dict[str, Path]:
    """Return name and file of every clip: files as given, those below a folder by their path in it.

    A folder of nothing but PNG frames is a clip itself. What lies in `out`, or is a file of a
    result folder, was made by echoseg and is none.

    Raises:
        ConfigError: If a source is not there, or none holds anything.
        DatasetError: If a folder cannot be read: its clips would be missing without a word.
    """
    found: dict[str, Path] = {}
    for source in sources:
        if is_clip(source):
            found[source.name if source.name not in found else str(source)] = source
            continue
        own = _part_of(source, out)
        for path in clip_files(source):
            inside = path.relative_to(source)
            result = path.name in FILES and (path.parent / MARK).exists()
            if not result and (own is None or not inside.is_relative_to(own)):
                name = inside.as_posix()
                found[name if name not in found else str(path)] = path
    if not found:
        raise ConfigError(f"{sources[0]} holds no clip; give a folder of clips, or clips")
    return found


def _part_of(source: Path, out: Path | None) -> Path | None:
    """Return where in a folder `out` lies; None where it does not lie below it."""
    if out is None or source.resolve() not in out.resolve().parents:
        return None
    return out.resolve().relative_to(source.resolve())


def is_clip(source: Path) -> bool:
    """Tell a clip, a file or a folder of PNG frames, from a folder of clips.

    Raises:
        ConfigError: If it is not there.
        DatasetError: If it cannot be read.
    """
    with readable(source):
        if not source.exists():
            raise ConfigError(f"{source} is not there; give clips, or folders of them")
        if not source.is_dir():
            return True
        held = [path for path in source.iterdir() if not path.name.startswith(".")]
        names = {path.suffix.lower() for path in held}
        return ".png" in names and not any(path.is_dir() for path in held)


def run_cohort(
    clips: dict[str, Path],
    settings: Settings,
    out: Path,
    *,
    jobs: int = 1,
    resume: bool = False,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Analyse every clip that is not done, then write the tables.

    A network or runtime that does not load ends the run before the first clip.

    Args:
        clips: What `find_clips` gives.
        settings: How.
        out: Folder, made.
        jobs: Processes; each loads the network once.
        resume: Go on with what `out` holds; clips that are new are added.
        progress: Told (clips done, clips in all).

    Raises:
        ConfigError: If `out` holds a cohort and `resume` is not asked for, or another cohort, or
            a clip is no longer what was analysed.
        ModelError: If the network cannot be loaded.
        OutputError: If `out` holds something else, another process works in it, or it cannot be
            written.
    """
    check_name(settings.runtime)
    folder = ResumableFolder(out, MANIFEST, Cohort, "a cohort")
    with folder.locked():
        held = folder.read() if resume else None
        settings = _with_backend(settings, held)
        cohort = _plan(clips, settings, held, out)
        folder.check(cohort, resume=resume, varying=["entries"])
        left = [entry for entry in cohort.entries if not is_done(out, entry)]
        if left:  # a model that does not load is no fault of a clip
            _analyzer(settings.model, settings.device, settings.runtime)
        folder.begin(cohort, resume=resume, varying=["entries"])
        (out / FAILURES).mkdir(exist_ok=True)
        done = len(cohort.entries) - len(left)
        progress(done, len(cohort.entries))
        work = partial(_analyze, settings, out)
        for index, _ in enumerate(parallel_map(work, left, jobs), done + 1):
            progress(index, len(cohort.entries))
        return write_tables(cohort, out)


def _with_backend(settings: Settings, held: Cohort | None) -> Settings:
    """Replace the backend `auto`: by that of the resumed cohort, else by the fastest."""
    if settings.runtime != AUTO:
        return settings
    if held is not None:
        runtime = held.settings.runtime
    elif choose_device(settings.device) != "cpu":
        runtime = "torch"
    else:
        runtime = select_backend(settings.model, num_threads=1).runtime
    return settings.model_copy(update={"runtime": runtime})


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
    taken = (*_OWN, *(entry.name for entry in entries.values()))
    names = {clip: entry.name for clip, entry in entries.items()}
    names |= zip(new, free_names([_stem(clip) for clip in new], taken), strict=True)
    return Cohort(
        settings=settings,
        entries=tuple(
            Entry(clip=clip, source=clips[clip].absolute(), name=names[clip])
            for clip in sorted(names)
        ),
    )


def _stem(clip: str) -> str:
    """Return a clip's name without its suffix, its folders joined in."""
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
    way_out = "remove {} and continue with --resume"
    return read_json(result / MARK, Report, way_out.format(result)) or read_json(
        failure, Failure, way_out.format(failure)
    )


def _failure(out: Path, entry: Entry) -> Path:
    return out / FAILURES / f"{entry.name}.json"


@lru_cache(maxsize=1)
def _analyzer(model: str, device: str, runtime: str) -> Any:
    """Return the network, loaded once a process."""
    from echoseg.inference.analyzer import Analyzer

    return Analyzer(model, device, runtime)


def _analyze(settings: Settings, out: Path, entry: Entry) -> None:
    """Write a clip's result, or why there is none; with one thread, as another number may differ.

    Raises:
        OutputError: If the disk fails: that is no fault of the clip.
        EchosegError: If the network cannot be loaded: neither is that.
    """
    from echoseg.report.writer import write_results

    analyzer = _analyzer(settings.model, settings.device, settings.runtime)
    sha256 = source_sha256(entry.source)  # first: a file still being copied is tried anew
    try:
        clip = load_clip(
            entry.source,
            view=settings.view,
            spacing_mm=settings.spacing_mm,
            fps=settings.fps,
            allow_damaged=settings.allow_damaged,
        )
        with one_thread():
            found = analyzer.analyze(clip, smoothing=settings.smoothing)
        _failure(out, entry).unlink(missing_ok=True)  # of a file that was another
        write_results(found, out / entry.name, pdf=settings.pdf, pages=settings.pages)
    except OutputError:
        raise
    except EchosegError as error:
        _tell_failure(out, entry, str(error), sha256)
    except Exception as error:  # one clip must not end the night: it is told, and stays a fault
        reason = f"unexpected, please report it: {type(error).__name__}: {error}"
        _tell_failure(out, entry, " ".join(reason.split()), sha256)


def _tell_failure(out: Path, entry: Entry, reason: str, sha256: str) -> None:
    failure = Failure(clip=entry.clip, reason=reason, sha256=sha256)
    write_json(_failure(out, entry), failure)


def write_tables(cohort: Cohort, out: Path) -> Outcome:
    """Write both tables from what lies in the folder.

    Raises:
        OutputError: If they cannot be written, or a result cannot be read.
    """
    rows, failures, without_ef = [], [], 0
    for entry in cohort.entries:
        found = _outcome(out, entry)
        if found is None:
            raise OutputError(f"{out / entry.name} was removed; go on by --resume")
        if isinstance(found, Failure):
            failures.append({"clip": found.clip, "reason": found.reason})
            continue
        without_ef += found.results.ef_percent is None
        rows.append({"clip": entry.clip, "folder": entry.name, **registry_row(found)})
    write_text(out / RESULTS_TABLE, _table(rows, ["clip", "folder"]))
    write_text(out / FAILURES_TABLE, _table(failures, ["clip", "reason"]))
    return Outcome(clips=len(cohort.entries), failed=len(failures), without_ef=without_ef)


def _table(rows: Iterable[dict[str, Any]], columns: list[str]) -> str:
    rows = list(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
