"""What a cohort's folder holds, and which of its clips are done."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from echoseg.clip import View
from echoseg.errors import ConfigError, OutputError
from echoseg.files import ANOTHER_FOLDER, read_json, write_document
from echoseg.io import source_sha256
from echoseg.parallel import Limits, parallel_map
from echoseg.report.cohort.shard import Shard
from echoseg.report.schema import Report
from echoseg.report.writer import MARK, free_names

MANIFEST, FAILURES, BEGUN, AUDIT = "manifest.json", "failures", ".begun", "audit.jsonl"
RESULTS_TABLE, FAILURES_TABLE, OTHERS_TABLE = "results.csv", "failures.csv", "not_clips.csv"
_OWN = (MANIFEST, FAILURES, AUDIT, RESULTS_TABLE, FAILURES_TABLE, OTHERS_TABLE)


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
    max_decoded_gib: float = 2.0
    allow_outside: bool = False
    smoothing: bool = True
    force_view: bool = False
    pdf: bool = False
    pages: bool = True
    private: bool = False
    """Names in the manifest are hashes, and pictures are black outside the sector."""
    sort_views: bool = False
    """Clips whose pictures alone show another view are not segmented, as for a study."""


class Engine(BaseModel):
    """The cluster on which a cohort is analyzed in place of local processes.

    Attributes:
        scheduler: Address of a Dask scheduler, or path of its scheduler file; empty: that of
            `DASK_SCHEDULER_ADDRESS`.
        timeout_s: How long to wait for the scheduler, and for its first worker.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheduler: str = ""
    timeout_s: float = Field(default=60.0, gt=0)


class RunOptions(BaseModel):
    """How a cohort is run; its results do not depend on it.

    Attributes:
        jobs: Worker processes; each loads the model once.
        resume: Continue the cohort in the folder, with new clips added.
        retry_failed: Try all failed clips again.
        shard: Of several runs in one folder this one's part; implies `resume`. The tables are
            written by `merge` when all are done.
        engine: The cluster that analyzes the clips; None: `jobs` local processes.
        limits: Time and memory of one clip. None: one job works in this process, unguarded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    jobs: int = 1
    resume: bool = False
    retry_failed: bool = False
    shard: Shard | None = None
    engine: Engine | None = None
    limits: Limits | None = Limits()


DEFAULT_OPTIONS = RunOptions()


FolderName = Annotated[str, Field(max_length=255, pattern=r"^[^/\\.\x00][^/\\\x00]*$")]
"""Name of a folder in the cohort's: a manifest that another wrote leads nowhere else."""


class Entry(BaseModel):
    """One clip: its name, as given or relative to the folder given, file and result folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str
    source: Path = Field(default=Path(), exclude=True)
    """Where it is now; not written, since it may hold a patient's name."""
    name: FolderName
    view: View | None = None
    """That of this clip, if the settings state none for all."""
    version: str = ""
    """Of an object, whose content is not hashed again: what changes with it."""
    is_changed: bool = Field(default=False, exclude=True)
    """Whether the version is another now."""


class _OwnDocument(BaseModel):
    """A file that states its own hash, so that another's in its place is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, str] = Field(default_factory=dict)
    """Its name -> its SHA-256, as `files.write_document` has it."""

    def write(self, path: Path) -> None:
        """Write it; another's file in its place is moved aside.

        Raises:
            OutputError: If its folder is a link, or the disk fails.
        """

        def text(own: dict[str, str]) -> str:
            return self.model_copy(update={"files": own}).model_dump_json(indent=1) + "\n"

        write_document(path, text)


class Failure(_OwnDocument):
    """A file without result; all of `failures/NAME.json`."""

    clip: str
    reason: str
    sha256: str = ""
    """Of the clip's file; empty where it could not be read."""
    is_clip: bool = True
    """False where the file turned out to be something else, so that no clip failed."""
    is_other_view: bool = False
    """True where its pictures show another view, so that it was not segmented."""
    kind: Literal["", "timeout", "memory", "crash", "outside"] = ""
    """How its worker process was lost; `outside` is not the clip's fault, and tried again."""
    limit: float | None = None
    """What was exceeded, in seconds or GB."""
    retry: bool = False
    """Tried again by the next run, as `echoseg cohort retry` asked."""

    def is_final(self, options: RunOptions) -> bool:
        """Whether a resumed cohort keeps it as long as the file is the same."""
        if options.retry_failed or self.retry:
            return False
        now = options.limits or Limits.none()
        limit = {"timeout": now.timeout_s, "memory": now.memory_gb}.get(self.kind, 0.0)
        return self.kind != "outside" and limit <= (self.limit or 0.0)


class Begun(_OwnDocument):
    """All of `.begun/NAME.json`, which is there while a clip is in work, and after a kill."""

    tries: int = 1
    sha256: str = ""


class Cohort(BaseModel):
    """All of `manifest.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: Settings
    entries: tuple[Entry, ...]
    others: dict[str, str] = Field(default_factory=dict)
    """Files that are not clips, by name with the reason."""


def plan(clips: dict[str, Path], settings: Settings, held: Cohort | None, out: Path) -> Cohort:
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
    # what is in the folder and not of this cohort keeps its name
    existing = os.listdir(out) if out.is_dir() else []
    reserved = (*_OWN, *existing, *(entry.name for entry in entries.values()))
    names = {clip: entry.name for clip, entry in entries.items()}
    names |= zip(new, free_names([_stem(clip) for clip in new], reserved), strict=True)
    views, versions = getattr(clips, "views", {}), getattr(clips, "versions", {})
    is_remote = getattr(clips, "remote", None) is not None
    before = {clip: entry.version for clip, entry in entries.items()}
    return Cohort(
        settings=settings,
        others=getattr(clips, "others", {}),
        entries=tuple(
            Entry(
                clip=c,
                source=clips[c] if is_remote else clips[c].absolute(),
                name=names[c],
                view=views.get(c),
                version=versions.get(c, ""),
                is_changed=before.get(c, versions.get(c, "")) != versions.get(c, ""),
            )
            for c in sorted(names)
        ),
    )


def _stem(clip: str) -> str:
    """A clip's name without suffix, folders joined by `_`."""
    path = Path(clip.removesuffix(".gz"))
    return "_".join((*path.parts[:-1], path.stem))


def not_done(
    out: Path, entries: Sequence[Entry], options: RunOptions = DEFAULT_OPTIONS
) -> list[Entry]:
    """The clips without a result, or a failure of their files as they are now.

    A failure is not kept with `options.retry_failed`, if it was not the clip's fault, or if the
    limit that it exceeded is higher now. Files are hashed in worker processes, as they are read.

    Raises:
        ConfigError: If a clip's file is not the one that was analyzed.
        OutputError: If a result or failure is damaged.
    """
    outcomes = {entry: read_outcome(out, entry) for entry in entries}
    known = [entry for entry, outcome in outcomes.items() if _needs_hash(outcome, options)]
    paths = [entry.source for entry in known if not entry.version]
    hashes = iter(
        parallel_map(
            source_sha256, paths, options.jobs, limits=options.limits, on_loss=lambda path, loss: ""
        )
    )
    for entry in known:
        outcome = outcomes[entry]
        sha256 = _sha256_by_version(entry, outcome) if entry.version else next(hashes)
        if isinstance(outcome, Report) and outcome.input.sha256 != sha256:
            raise ConfigError(
                f"{entry.clip} is not the file whose result is in {out / entry.name} (another "
                f"hash, or unreadable); bring that file back, or remove {out / entry.name} to "
                "analyze it again"
            )
        if isinstance(outcome, Failure) and outcome.sha256 != sha256:
            outcomes[entry] = None
    return [entry for entry, outcome in outcomes.items() if not _is_final(outcome, options)]


def _sha256_by_version(entry: Entry, outcome: Report | Failure | None) -> str:
    """The hash of an object as far as its version tells: that of its outcome, or another."""
    if entry.is_changed or outcome is None:
        return "another"
    return outcome.input.sha256 if isinstance(outcome, Report) else outcome.sha256


def _needs_hash(outcome: Report | Failure | None, options: RunOptions) -> bool:
    if isinstance(outcome, Failure):  # of a lost process a worker compares it
        return not outcome.kind and outcome.is_final(options)
    return outcome is not None


def _is_final(outcome: Report | Failure | None, options: RunOptions) -> bool:
    if isinstance(outcome, Failure):
        return outcome.is_final(options) and not (outcome.kind and outcome.sha256)
    return outcome is not None


def read_outcome(out: Path, entry: Entry) -> Report | Failure | None:
    """The clip's result or failure; None where there is neither yet.

    Raises:
        OutputError: If it is damaged.
    """
    result, failure = out / entry.name, failure_path(out, entry)
    way_out = "move {} elsewhere and continue with --resume (resume)"
    return read_json(result / MARK, Report, way_out.format(result)) or read_json(
        failure, Failure, way_out.format(failure)
    )


def failure_path(out: Path, entry: Entry) -> Path:
    """Where the failure of a clip is, or would be."""
    return out / FAILURES / f"{entry.name}.json"


def begun_path(out: Path, entry: Entry) -> Path:
    """Where it is noted that a clip is in work."""
    return out / BEGUN / f"{entry.name}.json"


def read_begun(out: Path, entry: Entry) -> Begun | None:
    """The note of a clip that is in work, or was when its run was killed."""
    with contextlib.suppress(OutputError):
        return read_json(begun_path(out, entry), Begun, "")
    return Begun()
