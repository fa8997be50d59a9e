"""What a worker does with a clip of a cohort, and what is written where it cannot."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.audit import AuditLog, Event
from echoseg.errors import (
    EchosegError,
    NotAClipError,
    OtherViewError,
    OutputError,
    TooLargeError,
    printable,
)
from echoseg.files import SameFolder, disk_error, remove_document
from echoseg.inference.analysis import Analysis
from echoseg.io import load_clip, source_sha256
from echoseg.parallel import Limits, Loss, torch_threads
from echoseg.preprocess.sector import blank_outside
from echoseg.remote import Remote
from echoseg.report.cohort.folder import (
    AUDIT,
    Begun,
    Entry,
    Failure,
    RunOptions,
    Settings,
    begun_path,
    failure_path,
    read_begun,
    read_outcome,
)
from echoseg.report.cohort.remote import Mirror, fetched
from echoseg.report.schema import Report
from echoseg.report.writer import MARK

_AGAIN = {
    "timeout": "raise --clip-timeout and --resume (resume) to try it again",
    "memory": "raise --clip-memory and --resume (resume) to try it again",
    "crash": "resume with --retry-failed to try it again",
    "outside": "--resume (resume) to try it again",
}
_LACKS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_CHANGED = "its file changed while it was read"


def _reason(entry: Entry, error: EchosegError) -> str:
    """What an error says, without the name of the clip, which stands beside it."""
    text = printable(str(error))
    for name in (str(entry.source), entry.clip):
        text = text.removeprefix(f"{printable(name)}: ")
    return text


def _what_lacks(error: BaseException | None) -> str:
    """What the machine had too little of, which is not the clip's fault; empty if it is."""
    while error is not None:
        if isinstance(error, MemoryError):
            return "memory ran out"
        if isinstance(error, OSError) and error.errno in _LACKS:
            return f"memory, threads or open files ran out ({os.strerror(error.errno)})"
        error = error.__cause__ or error.__context__
    return ""


@lru_cache(maxsize=1)
def load_analyzer(model: str, device: str, backend: str) -> Any:
    """The model, loaded once per process."""
    from echoseg.inference.analyzer import Analyzer

    return Analyzer(model, device, backend)


def analyze_entry(settings: Settings, entry: Entry, masks: np.ndarray | None = None) -> Analysis:
    """Read and analyze a clip, with one thread for reproducible sums.

    Args:
        settings: How.
        entry: The clip.
        masks: Those of an earlier analysis, which are measured again; None: it is segmented.

    Raises:
        OtherViewError: If only certain views are segmented, and it shows another.
        EchosegError: If it cannot be read or analyzed, or the model cannot be loaded.
    """
    analyzer = load_analyzer(settings.model, settings.device, settings.backend)
    clip = load_clip(
        entry.source,
        view=entry.view or settings.view,
        spacing_mm=settings.spacing_mm,
        fps=settings.fps,
        allow_damaged=settings.allow_damaged,
        max_decoded_gib=settings.max_decoded_gib,
        allow_outside=settings.allow_outside,
        alias=entry.clip if settings.private else None,
    )
    with torch_threads(1):
        if settings.sort_views and masks is None and (reason := analyzer.other_view(clip)):
            raise OtherViewError(f"{reason}; it was not segmented")
        analysis = analyzer.analyze(
            clip, masks=masks, smoothing=settings.smoothing, force_view=settings.force_view
        )
    return replace(analysis, clip=blank_outside(clip)) if settings.private else analysis


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is done for each clip: write its result or failure, and log it."""

    settings: Settings
    out: Path
    options: RunOptions
    place: SameFolder | None = None
    """Which folder `out` is; it is not made again where it was removed meanwhile."""
    logs: bool = True
    """False on a cluster: the process that leads the run logs what the others did."""
    inputs: Remote | None = None
    """The folder of the clips, where they are objects; `source` is relative to it."""
    mirror: Mirror | None = None
    """Stores what is written in `out`, where the output folder is remote."""

    @property
    def audit_log(self) -> AuditLog:
        """The log of this run: the cohort's, or the shard's own."""
        shard = self.options.shard
        return AuditLog(shard.audit_log(self.out) if shard else self.out / AUDIT)

    def prepare(self) -> None:
        """Load the model: one that does not load ends the run, not its clips.

        Raises:
            ModelError: If it does not load.
        """
        load_analyzer(self.settings.model, self.settings.device, self.settings.backend)

    def __call__(self, entry: Entry) -> None:
        """Write a clip's result or failure.

        Raises:
            OutputError: If the disk fails, which is not the clip's fault.
        """
        self.prepare()
        with self._in_place(), contextlib.ExitStack() as stack:
            if self.inputs is not None:
                local = fetched(self.inputs, entry, self.settings.max_decoded_gib)
                try:
                    entry = stack.enter_context(local)
                except EchosegError as error:
                    return self._fail(entry, self._not_fetched(entry, error))
            self._do(entry)

    def _not_fetched(self, entry: Entry, error: EchosegError) -> Failure:
        """The failure of an object that cannot be read, is too large, or is not a clip."""
        is_its_own = isinstance(error, NotAClipError | TooLargeError)
        reason = str(error).removeprefix(f"{self.inputs} ")  # the folder may name a patient
        return Failure(
            clip=entry.clip,
            reason=reason if is_its_own else f"it {reason}; {_AGAIN['outside']}",
            is_clip=not isinstance(error, NotAClipError),
            kind="" if is_its_own else "outside",
        )

    def _do(self, entry: Entry) -> None:
        before = read_begun(self.out, entry)
        begun = Begun(tries=before.tries + 1 if before else 1)
        begun.write(begun_path(self.out, entry))
        sha256 = source_sha256(entry.source)  # first: a file still being copied is tried again
        held = self._held(entry)
        if isinstance(held, Failure) and held.sha256 == sha256 and held.is_final(self.options):
            remove_document(begun_path(self.out, entry))
            return
        if self._has_result(entry, sha256):  # of a machine that was lost before it said so
            self._end("analyzed", entry, sha256)
            return
        begun.model_copy(update={"sha256": sha256}).write(begun_path(self.out, entry))
        if failure := self._analyze(entry, sha256):
            self._fail(entry, failure)
        else:
            self._end("analyzed", entry, sha256)

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        """Check before that the folder is there, and again where something in it is missing."""
        self._check_place()
        try:
            yield
        except (OutputError, OSError) as error:
            self._check_place()
            if isinstance(error, OSError):
                raise disk_error(self.out, error) from error
            raise

    def _check_place(self) -> None:
        if self.place is not None:
            self.place.check()

    def _held(self, entry: Entry) -> Report | Failure | None:
        """What there is of a clip; None for what someone put there meanwhile."""
        with contextlib.suppress(OutputError):
            return read_outcome(self.out, entry)
        return None

    def _has_result(self, entry: Entry, sha256: str) -> bool:
        held = self._held(entry)
        return isinstance(held, Report) and held.input.sha256 == sha256

    def _analyze(self, entry: Entry, sha256: str) -> Failure | None:
        """Write a clip's result; else return why not."""
        from echoseg.report.writer import write_results

        settings = self.settings
        failure = partial(Failure, clip=entry.clip, sha256=sha256)
        try:
            analysis = analyze_entry(settings, entry)
            if analysis.clip.source_sha256 != sha256:
                return failure(reason=f"{_CHANGED}; {_AGAIN['outside']}", kind="outside")
            self._check_place()
            remove_document(failure_path(self.out, entry))  # of an earlier content
            folder = self.out / entry.name
            write_results(analysis, folder, pdf=settings.pdf, pages=settings.pages)
        except OutputError as error:
            self._check_place()
            if self._has_result(entry, sha256):  # of a machine that was lost, and lived on
                return None
            if isinstance(error.__cause__, OSError):
                raise
            reason = (
                f"the place of its result is taken; move what is there, then {_AGAIN['outside']}"
            )
            return failure(reason=reason, kind="outside")
        except EchosegError as error:
            if lack := _what_lacks(error):
                return failure(reason=f"{lack}; {_AGAIN['outside']}", kind="outside")
            is_other_view = isinstance(error, OtherViewError)
            return failure(
                reason=_reason(entry, error),
                is_clip=not is_other_view and not isinstance(error, NotAClipError),
                is_other_view=is_other_view,
            )
        except Exception as error:  # one clip must not end the cohort
            if lack := _what_lacks(error):
                return failure(reason=f"{lack}; {_AGAIN['outside']}", kind="outside")
            return failure(reason=f"unexpected, please report it: {type(error).__name__}")
        return None

    def lose(self, entry: Entry, loss: Loss) -> None:
        """Write the failure of a clip whose worker process died or was stopped."""
        begun = read_begun(self.out, entry)
        kind = "outside" if loss.kind == "killed" else loss.kind
        limits = self.options.limits or Limits.none()
        limit = {"timeout": limits.timeout_s, "memory": limits.memory_gb}.get(kind)
        failure = Failure(
            clip=entry.clip,
            reason=f"{loss.reason}; {_AGAIN[kind]}",
            sha256=begun.sha256 if begun else "",
            kind=kind,
            limit=limit,
        )
        with self._in_place():
            self._fail(entry, failure)

    def _fail(self, entry: Entry, failure: Failure) -> None:
        failure.write(failure_path(self.out, entry))
        self._end("failed", entry, failure.sha256)

    def _end(self, event: str, entry: Entry, sha256: str) -> None:
        """Log the outcome of a clip, then remove the note that it is in work."""
        if not self.logs:
            return
        result = self.out / entry.name / MARK
        self.log(event, failure_path(self.out, entry) if event == "failed" else result, sha256)
        if self.mirror is not None:
            self.mirror.push_outcome(entry)
        remove_document(begun_path(self.out, entry))

    def log_found(self, entry: Entry, known: Collection[str] = ()) -> None:
        """Log an outcome that another process wrote, unless its hash is known to be logged."""
        outcome = read_outcome(self.out, entry)
        if isinstance(outcome, Failure):
            event, path, sha256 = "failed", failure_path(self.out, entry), outcome.sha256
        elif outcome is not None:
            event, path, sha256 = "analyzed", self.out / entry.name / MARK, outcome.input.sha256
        else:
            return
        if _sha256(path) not in known:
            self.log(event, path, sha256)
        remove_document(begun_path(self.out, entry))

    def log(self, event: str, result: Path, input_sha256: str = "") -> str:
        """Append to the audit log; return the record's hash.

        Raises:
            OutputError: If it cannot be written.
        """
        return log_event(self.audit_log, event, self.settings, result, input_sha256)


def log_event(
    log: AuditLog, event: str, settings: Settings, result: Path, input_sha256: str = ""
) -> str:
    """Append to an audit log; return the record's hash.

    Raises:
        OutputError: If it cannot be written.
    """
    return log.append(
        Event(
            event=event,
            input_sha256=input_sha256,
            result_sha256=_sha256(result),
            model_sha256=settings.model_sha256,
            version=version("echoseg"),
            options=settings.model_dump(mode="json", exclude={"model", "model_sha256"}),
        )
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
