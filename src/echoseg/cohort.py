"""Many clips on one machine: each whole or not at all, gone on with after any stop.

    OUT/manifest.json       which clips, and how they are analysed; written first
    OUT/NAME/...            one result folder a clip, renamed into its place when it is whole
    OUT/failures/NAME.json  why a clip has none
    OUT/results.csv         a row a clip, OUT/failures.csv a row a failure; written last

Tables are made from what lies in the folders, in the manifest's order, and hold no time: a run that
was killed and resumed ends in the same bytes as one that was not.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from echoseg.analysis import choose_device
from echoseg.anatomy import View
from echoseg.datasets.own_clips import clip_files
from echoseg.datasets.workers import in_order
from echoseg.errors import ConfigError, EchosegError, OutputError
from echoseg.evaluation.segment import one_thread
from echoseg.formats.whole import alone_in, check_writable, write_text
from echoseg.report import Report, registry_row
from echoseg.results import MARK, free_names
from echoseg.runtime.choose import AUTO, check_name, choose

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
    frame_rate_hz: float | None = None
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


def find_clips(sources: Sequence[Path]) -> dict[str, Path]:
    """Return name and file of every clip: files as given, those below a folder by their path in it.

    A folder of nothing but PNG frames is a clip itself.

    Raises:
        ConfigError: If a source is not there, or none holds anything.
    """
    found: dict[str, Path] = {}
    for source in sources:
        if not source.exists():
            raise ConfigError(f"{source} is not there; give clips, or folders of them")
        if is_clip(source):
            found[source.name if source.name not in found else str(source)] = source
            continue
        for path in clip_files(source):
            inside = path.relative_to(source).as_posix()
            found[inside if inside not in found else str(path)] = path
    if not found:
        raise ConfigError(f"{sources[0]} holds no clip; give a folder of clips, or clips")
    return found


def is_clip(source: Path) -> bool:
    """Tell a clip, a file or a folder of PNG frames, from a folder of clips."""
    if not source.is_dir():
        return True
    names = [path.suffix.lower() for path in source.iterdir() if not path.name.startswith(".")]
    return bool(names) and ".png" in names and not any(p.is_dir() for p in source.iterdir())


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

    Args:
        clips: What `find_clips` gives.
        settings: How.
        out: Folder, made.
        jobs: Processes; each loads the network once.
        resume: Go on with what `out` holds; clips that are new are added.
        progress: Told (clips done, clips in all).

    Raises:
        ConfigError: If `out` holds a cohort and `resume` is not asked for, or another cohort.
        OutputError: If it holds something else, another process works in it, or it cannot be
            written.
    """
    check_name(settings.runtime)
    check_writable(out, "choose another -o")
    with alone_in(out):
        settings = _settled(settings, out, resume)
        cohort = _begin(clips, settings, out, resume)
        for cut in out.glob(".*partial*"):  # of a process that was killed
            cut.unlink() if cut.is_file() else shutil.rmtree(cut, ignore_errors=True)
        left = [entry for entry in cohort.entries if not is_done(out, entry)]
        done = len(cohort.entries) - len(left)
        progress(done, len(cohort.entries))
        work = partial(_analyze, settings, out)
        for index, _ in enumerate(in_order(work, left, jobs), done + 1):
            progress(index, len(cohort.entries))
        return write_tables(cohort, out)


def _settled(settings: Settings, out: Path, resume: bool) -> Settings:
    """Return the settings, an `auto` runtime as it was when resumed, else by measuring."""
    if settings.runtime != AUTO:
        return settings
    if resume and (out / MANIFEST).exists():
        runtime = _manifest(out / MANIFEST).settings.runtime
    elif choose_device(settings.device) != "cpu":
        runtime = "torch"
    else:
        runtime = choose(settings.model, num_threads=1).runtime
    return settings.model_copy(update={"runtime": runtime})


def _begin(clips: dict[str, Path], settings: Settings, out: Path, resume: bool) -> Cohort:
    """Return the cohort, its manifest written."""
    path = out / MANIFEST
    held: tuple[Entry, ...] = ()
    if path.exists():
        if not resume:
            raise ConfigError(f"{out} holds a cohort already; go on by --resume, or another -o")
        held = _read(path, settings)
        if gone := [entry.clip for entry in held if entry.clip not in clips]:
            raise ConfigError(
                f"{out} was begun with {len(gone)} clips that are not there now, such as "
                f"{gone[0]}; bring them back, or choose another -o"
            )
    elif any(not item.name.startswith(".") for item in out.iterdir()):
        raise OutputError(f"{out} holds other things and no {MANIFEST}; choose another -o")
    held = tuple(e.model_copy(update={"source": clips[e.clip].absolute()}) for e in held)
    known = {entry.clip for entry in held}
    new = {clip: source.absolute() for clip, source in clips.items() if clip not in known}
    stems = [_stem(clip) for clip in new]
    names = free_names(stems, (*_OWN, *(entry.name for entry in held)))
    entries = {entry.clip: entry for entry in held}
    for (clip, source), name in zip(new.items(), names, strict=True):
        entries[clip] = Entry(clip=clip, source=source, name=name)
    cohort = Cohort(settings=settings, entries=tuple(entries[clip] for clip in sorted(entries)))
    (out / FAILURES).mkdir(exist_ok=True)
    write_text(path, cohort.model_dump_json(indent=1) + "\n")
    return cohort


def _stem(clip: str) -> str:
    """Return a clip's name without its suffix, its folders joined in."""
    path = Path(clip.removesuffix(".gz"))
    return "_".join((*path.parts[:-1], path.stem))


def _read(path: Path, settings: Settings) -> tuple[Entry, ...]:
    held = _manifest(path)
    for name in Settings.model_fields:
        old, new = getattr(held.settings, name), getattr(settings, name)
        if old != new:
            raise ConfigError(
                f"{path.parent} was begun with {name} {old!s}, got {new!s}; choose another -o, or "
                "the old value"
            )
    return held.entries


def _manifest(path: Path) -> Cohort:
    try:
        return Cohort.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is no manifest of a cohort; choose another -o") from error


def is_done(out: Path, entry: Entry) -> bool:
    """Return whether a clip has its result, or a reason why it has none."""
    return (out / entry.name / MARK).exists() or _failure(out, entry).exists()


def _failure(out: Path, entry: Entry) -> Path:
    return out / FAILURES / f"{entry.name}.json"


@lru_cache(maxsize=1)
def _analyzer(model: str, device: str, runtime: str) -> Any:
    """Return the network, loaded once a process."""
    from echoseg.analysis import Analyzer

    return Analyzer(model, device, runtime)


def _analyze(settings: Settings, out: Path, entry: Entry) -> None:
    """Write a clip's result, or why there is none; with one thread, as another number may differ.

    Raises:
        OutputError: If the disk fails: that is no fault of the clip.
    """
    from echoseg.formats import open_clip
    from echoseg.results import write_results

    try:
        clip = open_clip(
            entry.source,
            view=settings.view,
            spacing_mm=settings.spacing_mm,
            frame_rate_hz=settings.frame_rate_hz,
            allow_damaged=settings.allow_damaged,
        )
        analyzer = _analyzer(settings.model, settings.device, settings.runtime)
        with one_thread():
            found = analyzer.analyze(clip, smoothing=settings.smoothing)
        write_results(found, out / entry.name, pdf=settings.pdf, pages=settings.pages)
    except OutputError:
        raise
    except EchosegError as error:
        _tell_failure(out, entry, str(error))
    except Exception as error:  # one clip must not end the night: it is told, and stays a fault
        reason = f"unexpected, please report it: {type(error).__name__}: {error}"
        _tell_failure(out, entry, " ".join(reason.split()))


def _tell_failure(out: Path, entry: Entry, reason: str) -> None:
    document = {"clip": entry.clip, "reason": reason}
    write_text(_failure(out, entry), json.dumps(document, ensure_ascii=False) + "\n")


def write_tables(cohort: Cohort, out: Path) -> Outcome:
    """Write both tables from what lies in the folder.

    Raises:
        OutputError: If they cannot be written, or a result cannot be read.
    """
    rows, failures, without_ef = [], [], 0
    for entry in cohort.entries:
        failure = _failure(out, entry)
        try:
            if failure.exists():
                failures.append(json.loads(failure.read_text("utf-8")))
                continue
            text = (out / entry.name / MARK).read_text("utf-8")
            report = Report.model_validate_json(text)
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{out / entry.name} holds no result that can be read ({str(error)[:80]}); remove "
                "it and go on by --resume"
            ) from error
        without_ef += report.results.ef_percent is None
        rows.append({"clip": entry.clip, "folder": entry.name, **registry_row(report)})
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
